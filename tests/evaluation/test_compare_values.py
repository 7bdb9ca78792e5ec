"""The verdict on a regression."""

from __future__ import annotations

import json

import numpy as np
import pytest

from attar import AttarError
from attar.evaluation import compare, compare_values, crossed_interval

RANDOM = np.random.default_rng(0)
ROW = RANDOM.random(300)  # how hard each row is


def arm(error: float, seeds: int = 3) -> np.ndarray:
    return ROW * error + 0.02 * RANDOM.random((seeds, 300))


def test_a_clear_gain_beats_and_the_same_turned_round_is_worse():
    good, bad = arm(0.2), arm(0.4)
    teacher = 0.1 * ROW
    found = compare_values({"hard": bad, "distilled": good}, teacher=teacher)
    assert found.verdict == "BEATS"
    assert found.against_hard == crossed_interval((bad - good).T)
    assert found.gap_recovered.mean == pytest.approx((bad - good).mean() / (bad - teacher).mean())
    assert found.one_minus_mse_ratio == pytest.approx(1 - good.mean() / teacher.mean())
    assert found.retention is None
    json.dumps(found.to_dict(), allow_nan=False)
    assert compare_values({"hard": good, "distilled": bad}, teacher=teacher).verdict == "WORSE"


def test_a_difference_inside_the_margin_is_no_gain_and_a_wide_one_is_open():
    same = {"hard": arm(0.2), "distilled": arm(0.2)}
    found = compare_values(same, teacher=0.2 * ROW, validation_gap=0.5)
    assert (found.verdict, found.no_gain_margin) == ("NO GAIN", 0.05)
    wild = {"hard": RANDOM.random((3, 30)), "distilled": RANDOM.random((3, 30))}
    found = compare_values(wild, teacher=np.ones(30))
    assert (found.verdict, found.no_gain_margin) == ("INCONCLUSIVE", 0.002)
    assert found.gap_recovered is None
    assert "no sure gap" in found.gap_reason


def test_one_seed_never_gives_a_verdict():
    found = compare_values({"hard": arm(0.9, 1), "distilled": arm(0.1, 1)}, teacher=0 * ROW)
    assert found.verdict == "INCONCLUSIVE"
    assert found.one_minus_mse_ratio is None  # the teacher makes no error at all


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ({"hard": arm(0.2)}, "'distilled'.* is none"),
        ({"hard": arm(0.2), "distilled": -arm(0.2)}, "0 or more"),
        ({"hard": arm(0.2), "distilled": arm(0.2, 2)}, "one shape"),
    ],
)
def test_what_are_no_errors_is_refused(errors, message):
    with pytest.raises(AttarError, match=message):
        compare_values(errors, teacher=ROW)


def test_shares_of_labels_are_compared_as_truths_are():
    truths = {name: RANDOM.random((3, 50)) < 0.7 for name in ("hard", "smoothed", "distilled")}
    teacher = RANDOM.random(50) < 0.9
    assert compare(truths, teacher=teacher, shares=True) == compare(truths, teacher=teacher)
    halves = {name: table / 2 for name, table in truths.items()}
    with pytest.raises(AttarError, match="true or false"):
        compare(halves, teacher=teacher)
    found = compare(halves, teacher=teacher, shares=True)
    assert found.accuracy["hard"] == pytest.approx(truths["hard"].mean() / 2)
    with pytest.raises(AttarError, match=r"\[0, 1\]"):
        compare({**halves, "hard": halves["hard"] * 3}, teacher=teacher, shares=True)
