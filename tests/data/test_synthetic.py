"""Synthetic rows: the published algorithm, close to the data, every type kept, nothing copied."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars
import pytest

from attar.checks import AttarError
from attar.data import mix_neighbours, munge, resample, without_copies
from attar.data.codes import Index, encode

SAMPLERS = {"munge": munge, "mix_neighbours": mix_neighbours, "resample": resample}
samplers = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())


def people(rows: int = 200) -> pd.DataFrame:
    random = np.random.default_rng(0)
    old = random.random(rows) < 0.5
    frame = pd.DataFrame(
        {
            "age": np.where(old, 70, 20) + random.integers(-5, 6, rows),
            "income": np.where(old, 30.0, 10.0) + random.standard_normal(rows),
            "city": np.where(old, "Rome", "Oslo"),
            "member": old,
            "note": [None if i % 7 == 0 else f"n{i % 3}" for i in range(rows)],
            "grade": pd.Categorical(np.where(old, "low", "high"), ["low", "mid", "high"]),
        }
    )
    frame.loc[::10, "income"] = np.nan
    return frame


def slow_munge(table, codes, *, passes, probability, variance, seed):
    """Algorithm 1 of the paper, attribute by attribute, with the same random numbers."""
    distance = ((table[:, None] - table[None]) / table.std(axis=0)) ** 2
    for column in codes:
        distance[:, :, column] = table[:, None, column] != table[None, :, column]
    distance = distance.sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    random = np.random.default_rng(seed)
    made = []
    for _ in range(passes):
        copy = table.copy()
        chosen = random.random(table.shape) < probability
        noise = random.standard_normal((2, *table.shape))
        for row in range(len(table)):
            other = int(distance[row].argmin())
            for column in range(table.shape[1]):
                if not chosen[row, column]:
                    continue
                mine, theirs = copy[row, column], copy[other, column]
                spread = 0.0 if column in codes else abs(mine - theirs) / variance
                copy[row, column] = theirs + spread * noise[0, row, column]
                copy[other, column] = mine + spread * noise[1, row, column]
        made.append(copy)
    return np.concatenate(made)


@pytest.mark.parametrize(("probability", "variance"), [(0.5, 1.0), (0.2, 4.0), (1.0, 0.5)])
def test_munge_is_the_published_algorithm(probability, variance):
    random = np.random.default_rng(1)
    table = np.column_stack([random.standard_normal((60, 3)), random.integers(0, 4, 60)])
    settings = {"probability": probability, "variance": variance, "seed": 3}
    made = munge(table, count=150, categorical=[3], **settings)
    slow = slow_munge(table, [3], passes=3, **settings)
    np.testing.assert_allclose(made, slow[:150])


def test_munge_with_probability_0_repeats_the_table():
    table = np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(munge(table, count=8, probability=0), np.tile(table, (2, 1)))


def test_munge_with_a_high_local_variance_parameter_exchanges_the_values_themselves():
    table = np.array([[0.0, 0.0], [1.0, 3.0]])
    made = munge(table, count=2, probability=1, variance=1e9)
    # Exchanged once for each of the two rows, so that both are back where they were.
    np.testing.assert_allclose(made, table, atol=1e-6)


@samplers
def test_the_same_seed_gives_the_same_rows_and_another_one_others(sampler):
    table = np.random.default_rng(0).standard_normal((40, 3))
    first, again, other = (sampler(table, count=70, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (70, 3)


@samplers
def test_the_table_is_not_touched_and_global_randomness_neither(sampler):
    table = np.random.default_rng(0).standard_normal((40, 3))
    before, state = table.copy(), np.random.get_state()[1].copy()  # noqa: NPY002
    sampler(table, count=50)
    np.testing.assert_array_equal(table, before)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@samplers
def test_a_frame_comes_back_with_its_types_and_known_values_alone(sampler):
    frame = people()
    made = sampler(frame, count=500)
    assert len(made) == 500
    assert list(made.dtypes) == list(frame.dtypes)
    assert set(made["city"]) == {"Rome", "Oslo"}
    assert set(made["member"]) == {True, False}
    assert set(made["note"].dropna()) == {"n0", "n1", "n2"}
    assert made["note"].isna().any()
    assert set(made["grade"].dropna()) <= {"low", "high"}
    assert made["income"].isna().any()
    assert made["income"].notna().mean() > 0.5


@samplers
def test_what_hangs_together_stays_together(sampler):
    made = sampler(people(), count=1000)
    # Two clusters that lie far apart: a neighbour is never one of the other cluster.
    for column, low in (("age", 45), ("income", 20)):
        rows = made[made[column].notna()]
        agree = (rows[column] > low) == (rows["city"] == "Rome")
        assert agree.mean() > 0.97


@samplers
def test_polars_gives_what_pandas_gives(sampler):
    frame = people()[["age", "income", "city", "member"]].fillna({"income": 0.0})
    made = sampler(polars.from_pandas(frame), count=50)
    assert isinstance(made, polars.DataFrame)
    pd.testing.assert_frame_equal(made.to_pandas(), sampler(frame, count=50), check_dtype=False)
    assert made.schema == polars.from_pandas(frame).schema


@samplers
def test_a_mapping_and_an_array_give_the_same_rows(sampler):
    table = np.random.default_rng(0).standard_normal((30, 2))
    made = sampler({"a": table[:, 0], "b": table[:, 1]}, count=40)
    np.testing.assert_array_equal(np.column_stack([made["a"], made["b"]]), sampler(table, count=40))


def test_mixed_rows_lie_between_their_parents():
    table = np.random.default_rng(0).random((50, 1))
    made = mix_neighbours(table, count=500, neighbours=3)
    assert made.min() >= table.min()
    assert made.max() <= table.max()
    assert len(np.unique(made)) > 400


def test_every_row_is_used_equally_often():
    table = np.eye(5) * 100
    made = mix_neighbours(table, count=13, neighbours=1, seed=0)
    assert made.shape == (13, 5)
    # 5 rows, 13 draws: each two times, three of them once more.
    from attar.data.synthetic import _spread_over

    counts = np.bincount(_spread_over(5, 13, np.random.default_rng(0)))
    assert sorted(counts.tolist()) == [2, 2, 3, 3, 3]


def test_resample_draws_from_the_conditional_distribution():
    random = np.random.default_rng(0)
    first = random.integers(0, 2, 4000)
    # The second column is 1 in 10 % of the rows where the first is 0, and in 80 % where it is 1.
    second = (random.random(4000) < np.where(first == 1, 0.8, 0.1)).astype(int)
    table = np.column_stack([first, second])
    made = resample(table, count=8000, sweeps=2, neighbours=200, categorical=[0, 1])
    for value, share in ((0, 0.1), (1, 0.8)):
        assert made[made[:, 0] == value, 1].mean() == pytest.approx(share, abs=0.1)


def test_distances_of_kinds_of_columns():
    table = pd.DataFrame({"x": [0.0, 2.0, np.nan], "c": ["a", "b", "a"]})
    codes = encode("here", table, 1, ())
    index = Index(codes, np.array([True, True]))
    places = index._place(codes.values)
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    # x: mean 1, standard deviation 1 over the two known; a gap stands in the middle, 1 apart.
    assert apart[0, 1] == pytest.approx(np.sqrt(2**2 + 1))
    assert apart[0, 2] == pytest.approx(np.sqrt(1 + 1))
    assert apart[1, 2] == pytest.approx(np.sqrt(1 + 1 + 1))


def test_twins_are_each_others_neighbours():
    made = mix_neighbours(np.zeros((20, 2)), count=40, neighbours=5)
    np.testing.assert_array_equal(made, 0)


def test_whole_numbers_stay_within_their_type():
    table = np.array([[0], [255], [250]], dtype=np.uint8)
    made = munge(table, count=300, probability=1, variance=0.1)
    assert made.dtype == np.uint8
    assert {int(made.min()), int(made.max())} <= set(range(256))


def test_copies_of_other_tables_are_taken_out():
    frame = people(50)
    made = pd.concat([frame.iloc[:5], munge(frame, count=100)], ignore_index=True)
    kept = without_copies(made, frame.iloc[:20], frame.iloc[20:])
    rows = {tuple(map(str, row)) for row in frame.to_numpy()}
    assert not any(tuple(map(str, row)) in rows for row in kept.to_numpy())
    assert 0 < len(kept) <= 100
    np.testing.assert_array_equal(
        without_copies(np.array([[np.nan, 1.0], [2.0, 2.0]]), np.array([[np.nan, 1.0]])), [[2, 2]]
    )


@samplers
@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.ones((1, 2)), "two rows or more"),
        (np.ones((5, 0)), "two rows or more"),
        (np.ones(5), r"\[N, D\]"),
        (np.array([[1.0, 2.0], [np.inf, 1.0], [0.0, 0.0]]), "must be finite"),
        ({"a": [1, 2], "b": [1]}, "one value a row"),
        ([1, 2], "Got list"),
    ],
)
def test_broken_tables_are_named(sampler, table, message):
    with pytest.raises(AttarError, match=message):
        sampler(table, count=5)


@samplers
def test_broken_numbers_are_named(sampler):
    table = np.ones((5, 2))
    for count in (0, -1, 1.5):
        with pytest.raises(AttarError, match="count"):
            sampler(table, count=count)
    with pytest.raises(AttarError, match=r"categorical names \['x'\]"):
        sampler(table, count=5, categorical=["x"])


@pytest.mark.parametrize(
    ("sampler", "settings", "name"),
    [
        (munge, {"probability": 1.5}, "probability"),
        (munge, {"variance": 0}, "variance"),
        (mix_neighbours, {"neighbours": 0}, "neighbours"),
        (resample, {"sweeps": 0}, "sweeps"),
    ],
)
def test_settings_out_of_range_are_named(sampler, settings, name):
    with pytest.raises(AttarError, match=name):
        sampler(np.ones((5, 2)), count=5, **settings)


def test_a_single_column_cannot_be_resampled_and_other_columns_not_compared():
    with pytest.raises(AttarError, match="one column"):
        resample(np.ones((5, 1)), count=5)
    with pytest.raises(AttarError, match="same columns"):
        without_copies({"a": [1]}, {"b": [1]})
