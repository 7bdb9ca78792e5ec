from __future__ import annotations

import numpy as np
import pytest
import torch

from attar.checks import AttarError
from attar.data import ArrayData, split
from attar.types import UNLABELLED


def labelled(counts: list[int], unlabelled: int = 0, seed: int = 0) -> ArrayData:
    labels = np.repeat([*range(len(counts)), UNLABELLED], [*counts, unlabelled])
    np.random.default_rng(seed).shuffle(labels)
    inputs = torch.arange(len(labels)).float()[:, None]
    names = [str(i) for i in range(len(counts))]
    rows = torch.arange(len(labels)) * 3 + 5
    return ArrayData(inputs, torch.from_numpy(labels), rows=rows, classes=names)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fractions", [(0.6, 0.4), (0.7, 0.15, 0.15), (0.5, 0.3, 0.1, 0.1), (1.0,)])
def test_every_row_is_in_one_part_and_every_class_in_proportion(fractions, seed):
    data = labelled([37, 100, 4, 11, 50], seed=seed)
    parts = split(data, fractions, seed=seed)
    numbers = torch.cat([part.rows for part in parts])
    assert sorted(numbers.tolist()) == data.rows.tolist()
    for part, fraction in zip(parts, fractions, strict=True):
        for count, whole in zip(part.class_counts, data.class_counts, strict=True):
            assert count >= 1
            lifted = 1 if whole * min(fractions) < 1 else 0  # a small class gives one row to each
            assert abs(int(count) - float(whole * fraction)) < 1 + lifted
        assert abs(len(part) - len(data) * fraction) < 2
        assert part.rows.tolist() == sorted(part.rows.tolist())
        assert torch.equal(part.inputs[:, 0] * 3 + 5, part.rows.float())


def test_roundings_even_out_from_class_to_class():
    halves = split(labelled([15] * 10), (0.5, 0.5))
    assert [len(half) for half in halves] == [75, 75]
    thirds = split(labelled([10] * 9), (1 / 3, 1 / 3, 1 / 3))
    assert [len(third) for third in thirds] == [30, 30, 30]


def test_a_small_class_is_in_each_part_and_a_tiny_one_where_it_fits():
    parts = split(labelled([100, 3, 1]), (0.8, 0.1, 0.1))
    counts = torch.stack([part.class_counts for part in parts])
    assert counts[:, 1].tolist() == [1, 1, 1]
    assert counts[:, 2].sum() == 1


def test_unlabelled_rows_go_to_the_first_part():
    data = labelled([20, 20], unlabelled=60)
    first, second = split(data, (0.5, 0.5))
    assert (len(first), len(second)) == (80, 20)
    assert int((~first.labelled).sum()) == 60
    assert bool(second.labelled.all())


def test_data_without_any_label_is_cut_at_random():
    for data in (ArrayData(torch.zeros(10, 1)), labelled([], unlabelled=10)):
        parts = split(data, (0.7, 0.3))
        assert [len(part) for part in parts] == [7, 3]
        assert parts[0].rows.tolist() != data.rows[:7].tolist()


def test_the_seed_decides_and_nothing_else():
    data = labelled([50, 50])
    before = torch.get_rng_state()
    once, again, other = (split(data, (0.5, 0.5), seed=seed)[0].rows for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_row_has_the_same_chance():
    data = labelled([10, 10])
    chosen = torch.zeros(20)
    for seed in range(400):
        chosen[(split(data, (0.3, 0.7), seed=seed)[0].rows - 5) // 3] += 1
    assert float(chosen.min()) > 80  # 120 expected, 9.2 the standard deviation
    assert float(chosen.max()) < 160


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ((0.5, 0.4), r"sum to 1. Got \(0.5, 0.4\), which sum to 0.9"),
        ((1.2, -0.2), "'fractions' parameter of split"),
        ((1.0, 0.0), "'fractions' parameter of split"),
        ((), "sum to 1"),
        ((float("nan"), 0.5), "'fractions' parameter of split"),
    ],
)
def test_broken_fractions_are_refused(fractions, message):
    with pytest.raises(AttarError, match=message):
        split(labelled([5, 5]), fractions)


def test_a_part_without_rows_is_refused():
    with pytest.raises(AttarError, match=r"part 1 of \(0.9, 0.1\) would have no row.*1 rows"):
        split(labelled([1]), (0.9, 0.1))
