"""The verdict: each of the four by its rule, and how often it is right on known truth."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest

from attar import AttarError
from attar.evaluation import compare, crossed_interval

ROWS, SEEDS = 1000, 5


def arm(wrong, *, rows=ROWS, seeds=SEEDS, spread=2):
    """Right but for about the first ``wrong`` rows: every seed errs on a few more or fewer."""
    table = np.ones((seeds, rows), dtype=bool)
    for seed in range(seeds):
        table[seed, : wrong + spread * (seed % 3 - 1)] = False
    return table


def tables(hard, smoothed, distilled, pseudo=None, **shape):
    arms = {"hard": hard, "smoothed": smoothed, "distilled": distilled, "pseudo": pseudo}
    return {name: arm(wrong, **shape) for name, wrong in arms.items() if wrong is not None}


TEACHER = arm(30, seeds=1)[0]


def test_beats_needs_both_intervals_above_zero():
    result = compare(tables(100, 90, 50), teacher=TEACHER)
    assert result.verdict == "BEATS"
    assert result.against_hard.mean == pytest.approx(0.05)
    assert result.against_smoothed.mean == pytest.approx(0.04)
    assert result.against_hard.above
    assert result.against_smoothed.above
    assert "5.0 points" in result.reason
    assert "4.0 points" in result.reason

    result = compare(tables(100, 51, 50), teacher=TEACHER)
    assert result.against_hard.above
    assert not result.against_smoothed.above
    assert result.verdict == "INCONCLUSIVE"
    assert "regularisation" in result.reason


def test_beating_smoothed_alone_is_no_beat():
    result = compare(tables(51, 100, 50), teacher=TEACHER)
    assert result.against_smoothed.above
    assert result.verdict == "INCONCLUSIVE"


def test_worse_is_decided_against_hard_alone():
    result = compare(tables(50, 150, 100), teacher=TEACHER)
    assert result.verdict == "WORSE"
    assert result.against_smoothed.above
    assert "-5.0 points" in result.reason


def test_no_gain_is_an_interval_inside_the_margin():
    near = tables(50, 50, 50, rows=20_000)
    near["distilled"] = near["distilled"][::-1]  # the same seeds in another order: not all zero
    teacher = arm(30, seeds=1, rows=20_000)[0]
    result = compare(near, teacher=teacher)
    assert result.verdict == "NO GAIN"
    assert -0.002 < result.against_hard.low < 0 < result.against_hard.high < 0.002
    assert "0.2 points" in result.reason


def test_the_margin_is_a_tenth_of_the_gap_on_validation_and_not_less_than_a_fifth_of_a_point():
    near = tables(101, 101, 100)
    near["distilled"] = near["distilled"][::-1]
    assert compare(near, teacher=TEACHER).no_gain_margin == 0.002
    assert compare(near, teacher=TEACHER).verdict == "INCONCLUSIVE"
    wide = compare(near, teacher=TEACHER, validation_gap=0.20)
    assert wide.no_gain_margin == pytest.approx(0.02)
    assert wide.verdict == "NO GAIN"
    # A teacher that was worse than hard labels on validation leaves the least margin.
    assert compare(near, teacher=TEACHER, validation_gap=-0.5).no_gain_margin == 0.002


def test_a_gain_is_no_no_gain_even_inside_the_margin():
    result = compare(tables(100, 100, 50), teacher=TEACHER, validation_gap=0.9)
    assert result.against_hard.inside(result.no_gain_margin)
    assert result.verdict == "BEATS"
    result = compare(tables(50, 50, 100), teacher=TEACHER, validation_gap=0.9)
    assert result.against_hard.inside(result.no_gain_margin)
    assert result.verdict == "WORSE"


def test_the_same_answers_everywhere_are_no_gain():
    same = tables(50, 50, 50)
    result = compare(same, teacher=TEACHER)
    assert result.verdict == "NO GAIN"
    assert (result.against_hard.low, result.against_hard.high) == (0.0, 0.0)


@pytest.mark.parametrize(("hard", "distilled"), [(500, 50), (50, 500), (50, 50)])
def test_one_seed_is_always_inconclusive(hard, distilled):
    result = compare(tables(hard, hard, distilled, seeds=1), teacher=TEACHER, compression=20.0)
    assert result.verdict == "INCONCLUSIVE"
    assert "One seed" in result.reason
    assert result.gap_recovered is None
    assert "one seed" in result.gap_reason
    assert result.against_hard.low == -math.inf
    json.dumps(result.to_dict(), allow_nan=False)


def test_retention_accuracy_and_goal():
    arms = tables(100, 100, 60)
    result = compare(arms, teacher=TEACHER, compression=10.0)
    assert result.retention == pytest.approx(arms["distilled"].mean() / 0.972)
    assert result.accuracy["teacher"] == pytest.approx(0.972)
    assert result.accuracy["hard"] == pytest.approx(arms["hard"].mean())
    assert (result.rows, result.seeds) == (ROWS, SEEDS)
    assert result.goal_met is True
    assert compare(arms, teacher=TEACHER, compression=9.9).goal_met is False
    assert compare(arms, teacher=TEACHER).goal_met is None
    low = compare(tables(100, 100, 95), teacher=TEACHER, compression=50.0)
    assert low.retention < 0.95
    assert low.goal_met is False


def test_the_gap_recovered_is_the_share_of_the_way_to_the_teacher():
    result = compare(tables(100, 100, 65), teacher=TEACHER)
    gap = 0.972 - result.accuracy["hard"]
    expected = (result.accuracy["distilled"] - result.accuracy["hard"]) / gap
    assert result.gap_recovered.mean == pytest.approx(expected)
    assert result.gap_recovered.low < expected < result.gap_recovered.high
    assert result.gap_reason is None


def test_a_student_as_good_as_its_teacher_recovers_all():
    arms = tables(100, 100, 30, spread=0)
    result = compare(arms, teacher=arms["distilled"][0])
    gap = result.gap_recovered
    assert (gap.low, gap.mean, gap.high) == pytest.approx((1.0, 1.0, 1.0))


@pytest.mark.parametrize("hard", [27, 10])
def test_without_a_sure_gap_there_is_no_share_of_it(hard):
    result = compare(tables(hard, hard, 20), teacher=TEACHER)
    assert result.gap_recovered is None
    assert "not significantly above 0" in result.gap_reason


def test_soft_targets_against_the_argmax():
    def nll(value, slope=0.01):
        return value + slope * np.arange(SEEDS * ROWS).reshape(SEEDS, ROWS) % 0.07

    arms = tables(100, 100, 50, pseudo=50)
    arms["distilled"] = arms["distilled"][::-1]
    figures = {"hard": nll(0.5), "distilled": nll(0.2), "pseudo": nll(0.3)}
    result = compare(arms, teacher=TEACHER, nll=figures)
    assert result.nll_against_hard.mean == pytest.approx(-0.3)
    assert result.nll_against_pseudo.mean == pytest.approx(-0.1)
    assert result.soft_targets_beat_argmax_in_nll is True
    assert result.soft_targets_beat_argmax_in_accuracy is None  # open: the interval holds 0
    assert result.against_pseudo is not None

    worse = compare(tables(100, 100, 80, pseudo=50), teacher=TEACHER)
    assert worse.soft_targets_beat_argmax_in_accuracy is False
    assert worse.soft_targets_beat_argmax_in_nll is None
    better = compare(tables(100, 100, 50, pseudo=80), teacher=TEACHER)
    assert better.soft_targets_beat_argmax_in_accuracy is True
    without = compare(tables(100, 100, 50), teacher=TEACHER)
    assert without.against_pseudo is None
    assert without.soft_targets_beat_argmax_in_accuracy is None


def test_the_intervals_are_those_of_the_paired_table():
    arms = tables(100, 80, 50)
    difference = arms["distilled"].astype(float) - arms["hard"]
    assert compare(arms, teacher=TEACHER).against_hard == crossed_interval(difference.T)


def test_zeros_and_ones_are_as_good_as_false_and_true():
    arms = tables(100, 80, 50)
    numbers = {name: table.astype(np.int64).tolist() for name, table in arms.items()}
    assert compare(numbers, teacher=TEACHER.astype(int)) == compare(arms, teacher=TEACHER)


def test_it_is_ready_for_json():
    nll = dict.fromkeys(("hard", "distilled"), np.ones((SEEDS, ROWS)))
    result = compare(tables(100, 80, 50, pseudo=60), teacher=TEACHER, nll=nll, compression=12)
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert data["verdict"] == "BEATS"
    assert data["against_hard"]["mean"] == pytest.approx(0.05)
    assert data["gap_recovered"]["degrees"] is None
    assert data["accuracy"]["teacher"] == pytest.approx(0.972)


def good():
    return {"correct": tables(100, 80, 50), "teacher": TEACHER}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"correct": {"hard": arm(5), "distilled": arm(5)}}, "Missing: smoothed"),
        ({"correct": tables(9, 8, 7) | {"soft": arm(5)}}, "not known: soft"),
        (
            {"correct": tables(9, 8, 7) | {"hard": arm(5, seeds=4)}},
            r"correct\['hard'\] has shape \(4, 1000\).*\(5, 1000\)",
        ),
        ({"correct": tables(9, 8, 7) | {"hard": arm(5) * 0.5}}, "right or wrong"),
        ({"correct": dict.fromkeys(("hard", "smoothed", "distilled"), TEACHER)}, r"\[S, R\]"),
        ({"teacher": TEACHER[:-1]}, r"teacher must have shape \[R\] = \(1000,\)"),
        ({"teacher": np.zeros(ROWS, dtype=bool)}, "right on none of 1000 rows"),
        ({"nll": {"distilled": np.ones((SEEDS, ROWS))}}, "Missing: hard"),
        (
            {"nll": dict.fromkeys(("hard", "distilled"), np.ones((ROWS, SEEDS)))},
            r"nll\['hard'\] has shape \(1000, 5\)",
        ),
        (
            {"nll": dict.fromkeys(("hard", "distilled"), np.full((SEEDS, ROWS), np.inf))
             | {"hard": np.ones((SEEDS, ROWS))}},
            "NaN or infinite",
        ),
        ({"compression": 0.0}, "'compression' parameter of compare"),
        ({"validation_gap": 4.0}, "'validation_gap' parameter of compare"),
        ({"bootstrap": 5}, "'bootstrap' parameter of compare"),
    ],
)  # fmt: skip
def test_broken_inputs_are_refused(change, message):
    arguments = good() | change
    with pytest.raises(AttarError, match=message):
        compare(arguments.pop("correct"), **arguments)


def simulate(random, accuracy, *, rows=700, seeds=5):
    """Latent probit tables: rows hard for all, rows hard for one kind of arm, luck of seeds."""
    from scipy.stats import norm

    hard_row = random.normal(size=rows) * math.sqrt(0.82)
    kin = random.normal(size=rows) * math.sqrt(0.11)  # hard and smoothed err alike
    result = {}
    for name, wanted in accuracy.items():
        own = random.normal(size=rows) * math.sqrt(0.03)
        other = random.normal(size=rows) * math.sqrt(0.11) if name == "distilled" else kin
        luck = random.normal(size=(seeds, 1)) * math.sqrt(0.0019)
        rest = random.normal(size=(seeds, rows)) * math.sqrt(0.04)
        mean = norm.ppf(wanted) * math.sqrt(1.0019)
        result[name] = hard_row + other + own + luck + rest + mean > 0
    return result


def verdicts(accuracy, trials):
    random = np.random.default_rng(0)
    right = np.ones(700, dtype=bool)
    return Counter(
        compare(simulate(random, accuracy), teacher=right, bootstrap=100).verdict
        for _ in range(trials)
    )


def test_three_points_are_seen_in_nine_of_ten_trials():
    said = verdicts({"hard": 0.92, "smoothed": 0.92, "distilled": 0.95}, 300)
    assert said["BEATS"] >= 270
    assert said["WORSE"] == 0


def test_arms_of_equal_truth_raise_few_alarms():
    said = verdicts(dict.fromkeys(("hard", "smoothed", "distilled"), 0.92), 300)
    assert said["BEATS"] <= 15
    assert said["WORSE"] <= 15
