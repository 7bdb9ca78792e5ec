from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import beta, binom

from attar.checks import AttarError
from attar.confidence import MEASURES, confidence
from attar.evaluation import choose_threshold
from attar.evaluation.threshold import GRID


def population(rows: int, seed: int, *, student=0.93, teacher=0.99):
    """Logits of three classes: a student that is mostly right where it is sure, and a teacher."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    sure = rng.beta(2.2, 0.35, rows)
    easy = rng.random(rows) < 1 - (1 - sure) ** 1.3 * (1 - student) / 0.075
    wise = rng.random(rows) < teacher
    answers = np.where(easy, labels, (labels + 1) % 3)
    said = np.zeros((rows, 3))
    said[np.arange(rows), answers] = 0.5 + 9 * sure
    taught = np.zeros((rows, 3))
    taught[np.arange(rows), np.where(wise, labels, (labels + 2) % 3)] = 5.0
    return said, taught, labels


def by_hand(said, taught, labels, threshold):
    """Share of calls and accuracy, row by row."""
    right = asked = 0
    for one, two, label in zip(said, taught, labels, strict=True):
        probabilities = np.exp(one) / np.exp(one).sum()
        calls = probabilities.max() < threshold
        asked += calls
        right += (two if calls else one).argmax() == label
    return asked / len(labels), right / len(labels)


def test_what_it_says_of_its_rows_is_what_a_loop_counts():
    said, taught, labels = population(3000, 1)
    found = choose_threshold(said, taught, labels, keep=0.98)
    share, accuracy = by_hand(said, taught, labels, found.threshold)
    assert found.met
    assert found.share == pytest.approx(share)
    assert found.accuracy == pytest.approx(accuracy)
    teacher = (taught.argmax(axis=1) == labels).mean()
    assert found.kept == pytest.approx(accuracy / teacher)
    assert found.kept >= found.kept_low >= 0.98
    assert found.share < found.share_high < 1
    assert accuracy == pytest.approx(teacher + (found.won - found.lost) / 3000)
    # This threshold's test is passed and the next one's is not: nine tenths of the error are for
    # what is lost, one tenth for the teacher's accuracy.
    correct = int((taught.argmax(axis=1) == labels).sum())
    limit = 0.02 * beta.ppf(0.005, correct, 3000 - correct + 1)
    place = int(np.flatnonzero(found.threshold == GRID)[0])
    sure = confidence(said)
    for step, passed in ((place, True), (place + 1, False)):
        student_lost = (said.argmax(axis=1) != labels) & (taught.argmax(axis=1) == labels)
        lost = (student_lost & (sure >= GRID[step])).sum()
        assert (binom.cdf(lost, 3000, limit) <= 0.045) == passed


@pytest.mark.parametrize("measure", [*MEASURES, "auto"])
def test_the_promise_holds_for_rows_that_nobody_saw(measure):
    """At least 95 of 100 validation sets give a threshold that keeps the promise in truth."""
    said, taught, labels = population(200_000, 2)
    student, teacher = (x.argmax(axis=1) == labels for x in (said, taught))
    by_measure = {}
    for name in MEASURES:
        sure = confidence(said, name)
        order = np.argsort(sure)
        sums = (np.append(0, np.cumsum(right[order])) for right in (student, teacher))
        by_measure[name] = (sure[order], *sums)
    rng = np.random.default_rng(3)
    kept, cheap, both, met = [], [], [], 0
    for _ in range(300):
        rows = rng.integers(0, len(labels), 1500)
        sample = said[rows], taught[rows], labels[rows]

        def truth(found):
            """Accuracy kept and share of calls, over the whole population."""
            sure, by_student, by_teacher = by_measure[found.confidence]
            asked = np.searchsorted(sure, found.threshold)
            right = by_teacher[asked] + by_student[-1] - by_student[asked]
            return right / by_teacher[-1], asked / len(labels)

        found = choose_threshold(*sample, keep=0.98, measure=measure)
        met += found.met
        kept.append(not found.met or truth(found)[0] >= 0.98)
        found = choose_threshold(*sample, teacher_share=0.2, measure=measure)
        cheap.append(not found.met or truth(found)[1] <= 0.2)
        found = choose_threshold(*sample, keep=0.95, teacher_share=0.3, measure=measure)
        both.append(not found.met or (truth(found)[0] >= 0.95 and truth(found)[1] <= 0.3))
    assert met == 300  # the promise is kept by thresholds, not by silence
    for held in (kept, cheap, both):
        assert np.mean(held) >= 0.95


def many_classes(rows: int, seed: int):
    """A student whose doubt lies between two of ten classes, or is spread over all of them.

    Only the first kind is in doubt about its answer, at the same probability of it.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, rows)
    kind = rng.choice(3, rows, p=[0.8, 0.1, 0.1])
    said = np.full((rows, 10), -12.0)
    said[kind == 2] = np.log(0.4 / 9)
    place = np.arange(rows)
    said[place, labels] = np.log(0.6)
    two = kind == 1
    said[place[two], (labels[two] + 1) % 10] = np.log(0.4)
    said[place[kind == 0], labels[kind == 0]] = 8.0
    swapped = two & (rng.random(rows) < 0.4)  # the other one of the two is right
    truth = np.where(swapped, (labels + 1) % 10, labels)
    return said, 8.0 * np.eye(10)[truth], truth


def test_auto_takes_the_measure_that_asks_least_and_pays_for_the_choice():
    rows = many_classes(6000, 9)
    found = choose_threshold(*rows, keep=0.99, measure="auto")
    alone = {name: choose_threshold(*rows, keep=0.99, measure=name) for name in MEASURES}
    assert found.met
    assert found.confidence == "margin"  # of the two kinds of doubt it sees the one that matters
    assert found.share < 0.12 < 0.18 < alone["probability"].share
    # Its tests are stricter than those of the same measure alone.
    assert found.threshold >= alone["margin"].threshold
    said, taught, labels = population(3000, 1)
    for choice in ({"teacher_share": 0.2}, {"keep": 0.98}):
        auto = choose_threshold(said, taught, labels, measure="auto", **choice)
        one = choose_threshold(said, taught, labels, **choice)
        assert auto.share == pytest.approx(one.share, abs=0.05)
    few = choose_threshold(said[:200], taught[:200], labels[:200], keep=0.999, measure="auto")
    assert not few.met


def test_the_bound_is_not_so_cautious_that_it_is_of_no_use():
    """With a level of 60 % a good part of the sets fails: the promise is as strong as it says."""
    said, taught, labels = population(100_000, 4)
    sure, student, teacher = confidence(said), *(x.argmax(axis=1) == labels for x in (said, taught))
    rng = np.random.default_rng(5)
    failed = 0
    for _ in range(200):
        rows = rng.integers(0, len(labels), 2000)
        found = choose_threshold(said[rows], taught[rows], labels[rows], keep=0.97, level=0.6)
        asks = sure < found.threshold
        # What the student wins is not counted by the bound: the promise is of what is lost.
        lost = (~asks & ~student & teacher).mean()
        failed += lost > 0.03 * teacher.mean()
    assert 0.1 <= failed / 200 <= 0.4


def test_too_few_rows_show_nothing_and_it_says_how_many_it_takes():
    said, taught, labels = population(300, 6)
    taught = said  # the two agree everywhere: not one row is lost
    found = choose_threshold(said, taught, labels, keep=0.999)
    assert not found.met
    assert found.lost == 0
    needed = math.ceil(math.log(0.045) / math.log(1 - 0.001))
    assert f"takes {needed}" not in found.reason  # the teacher is not perfect: more than that
    assert int(found.reason.split("it takes ")[1].split(" rows")[0]) > needed
    labels = said.argmax(axis=1)
    found = choose_threshold(said, said, labels, keep=0.9)
    assert found.met
    assert found.threshold == 0.0  # a student that is as good never asks
    assert found.share == 0.0


def test_goals_that_exclude_each_other_are_not_met():
    said, taught, labels = population(3000, 7, student=0.7)
    found = choose_threshold(said, taught, labels, keep=0.999, teacher_share=0.01)
    assert not found.met
    assert "No threshold is shown to meet the goal" in found.reason
    assert found.share_high <= 0.015  # the best that is cheap enough
    assert found.goal == "keep 99.9 % of the teacher's accuracy, at most 1 % teacher calls"


def test_the_curve_goes_from_the_student_to_the_teacher():
    said, taught, labels = population(2000, 8)
    found = choose_threshold(said, taught, labels, teacher_share=0.1)
    assert found.curve_share[0] == 0.0
    assert found.curve_share[-1] == 1.0
    assert list(found.curve_share) == sorted(set(found.curve_share))
    assert found.curve_accuracy[0] == pytest.approx(found.student_accuracy)
    assert found.curve_accuracy[-1] == pytest.approx(found.teacher_accuracy)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert set(told["chosen"]) == {"threshold", "share", "accuracy"}
    assert told["curve"]["share"] == list(found.curve_share)
    assert isinstance(told["goal"], str)
    equal = np.tile([0.0, 1.0], (50, 1))  # all rows equally sure: none or all of them go
    found = choose_threshold(equal, equal, np.ones(50, dtype=int), teacher_share=0.5)
    assert found.curve_share == (0.0, 1.0)
    assert found.share == 0.0


def test_unlabelled_rows_have_no_say():
    said, taught, labels = population(1000, 9)
    more = np.concatenate([labels, np.full(500, -100)])
    double = [np.concatenate([x, x[:500]]) for x in (said, taught)]
    assert choose_threshold(*double, more, keep=0.9) == choose_threshold(
        said, taught, labels, keep=0.9
    )


@pytest.mark.parametrize("measure", ["probability", "margin", "entropy"])
def test_confidence_at_its_limits(measure):
    sure = confidence([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0], [5.0, 1.0, 0.0]], measure)
    assert sure[0] == 1.0
    assert sure[1] == pytest.approx({"probability": 1 / 3}.get(measure, 0.0), abs=1e-12)
    assert sure[1] < sure[2] < sure[0]
    shifted = confidence([[105.0, 101.0, 100.0], [100.0, 105.0, 101.0]], measure)
    np.testing.assert_allclose(shifted, sure[2])  # a shift, and the order of the classes


ROWS = np.array([[1.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("arguments", "choices", "message"),
    [
        ((ROWS, ROWS, [0, 1]), {}, r"name a goal: keep=0.995 .* teacher_share=0.05"),
        ((ROWS, ROWS, [0, 1]), {"keep": 1.0}, "'keep' parameter of cascade"),
        ((ROWS, ROWS, [0, 1]), {"keep": math.nan}, "'keep' parameter of cascade"),
        ((ROWS, ROWS, [0, 1]), {"teacher_share": 0.0}, "'teacher_share' parameter of cascade"),
        ((ROWS, ROWS, [0, 1]), {"keep": 0.9, "level": 1.0}, "'level' parameter"),
        ((ROWS, ROWS, [0, 1]), {"keep": 0.9, "measure": "vibes"}, "probability, margin, entropy"),
        ((ROWS, ROWS[:1], [0, 1]), {"keep": 0.9}, r"one shape \[N, C\].*\(2, 2\) and \(1, 2\)"),
        ((ROWS, ROWS, [0, 2]), {"keep": 0.9}, r"labels must lie in \[0, 1\]. Got 0 to 2"),
        ((ROWS, ROWS, [0.0, 1.0]), {"keep": 0.9}, "labels must be whole numbers"),
        ((ROWS, ROWS, [-100, -100]), {"keep": 0.9}, "no row is labelled"),
        ((ROWS, ROWS[::-1], [0, 1]), {"keep": 0.9}, "right on none of 2 rows"),
        ((ROWS * np.nan, ROWS, [0, 1]), {"keep": 0.9}, "must be finite"),
    ],
)
def test_what_is_refused(arguments, choices, message):
    with pytest.raises(AttarError, match=message):
        choose_threshold(*arguments, **choices)
