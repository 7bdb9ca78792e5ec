"""Temperature scaling against scipy, by hand, at its limits."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import chi2

from attar.checks import AttarError
from attar.evaluation import accuracy, calibrate, ece, nll
from attar.evaluation import fit_temperature as shown
from attar.types import UNLABELLED

#: The most likely temperature, whether the rows show that it is not 1 or not.
fit_temperature = partial(shown, level=0)


def sample(temperature, *, rows=2000, classes=5, seed=0, scale=2.0):
    """Logits whose labels were drawn from their softmax at this temperature."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    probabilities = (logits / temperature).softmax(dim=1)
    labels = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
    return logits, labels


def by_scipy(logits, labels):
    found = minimize_scalar(
        lambda t: nll(logits.double() / math.exp(t), labels),
        bounds=(math.log(0.01), math.log(100)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return math.exp(found.x)


@pytest.mark.parametrize("temperature", [0.3, 0.7, 1.0, 1.8, 6.0])
@pytest.mark.parametrize(("classes", "scale"), [(2, 0.5), (5, 2.0), (100, 8.0)])
def test_it_finds_what_scipy_finds(temperature, classes, scale):
    logits, labels = sample(temperature, classes=classes, scale=scale, rows=600)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(by_scipy(logits, labels), rel=1e-5)
    # No temperature of a fine grid is better: scipy could be wrong too.
    grid = np.geomspace(found / 3, min(100, found * 3), 400)
    best = min(nll(logits / t, labels) for t in grid)
    assert nll(logits / found, labels) <= best + 1e-12


def test_it_finds_the_temperature_that_the_labels_were_drawn_with():
    for temperature in (0.5, 1.0, 2.5):
        logits, labels = sample(temperature, rows=50_000)
        assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.02)


def test_by_hand_two_classes():
    # One gap for all rows: softmax(gap / T) must be the share of right rows, 3 of 4.
    for gap in (0.1, 1.0, 40.0):
        logits = torch.tensor([[gap, 0.0]] * 4)
        found = fit_temperature(logits, torch.tensor([0, 0, 1, 0]))
        assert found == pytest.approx(gap / math.log(3), rel=1e-6)


def test_what_it_must_not_depend_on():
    logits, labels = sample(1.7, rows=400)
    found = fit_temperature(logits, labels)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(3))
    place = order.argsort()
    some = torch.randperm(400, generator=torch.Generator().manual_seed(4))
    same = {
        "the shift of a row": (logits + torch.arange(400)[:, None], labels),
        "the order of classes": (logits[:, order], place[labels]),
        "the order of rows": (logits[some], labels[some]),
        "rows given twice": (logits.repeat(2, 1), labels.repeat(2)),
        "rows without a label": (
            torch.cat([logits, 9 * logits]),
            torch.cat([labels, torch.full((400,), UNLABELLED)]),
        ),
        "the type": (logits.float(), labels),
    }
    for what, given in same.items():
        assert fit_temperature(*given) == pytest.approx(found, rel=1e-6), what
    assert fit_temperature(3 * logits, labels) == pytest.approx(3 * found)
    assert fit_temperature(logits / found, labels) == pytest.approx(1.0)


def test_it_never_makes_the_rows_of_the_fit_less_likely_and_keeps_every_prediction():
    for seed in range(30):
        logits, labels = sample(math.exp(seed % 5 - 2), rows=3 + 5 * seed, seed=seed)
        found = fit_temperature(logits, labels)
        assert nll(logits / found, labels) <= nll(logits, labels) + 1e-12
        assert accuracy(logits / found, labels) == accuracy(logits, labels)
        assert torch.equal((logits / found).argmax(dim=1), logits.argmax(dim=1))


def test_at_the_limits_it_stops_at_a_bound():
    right = torch.tensor([[3.0, 0.0], [0.0, 1e-3]]), torch.tensor([0, 1])
    assert fit_temperature(*right) == 0.01
    assert fit_temperature(*right, low=0.5) == 0.5
    sure = torch.tensor([[900.0, 0.0], [0.0, 900.0]]), torch.tensor([0, 1])  # the NLL is 0 at T = 1
    assert fit_temperature(*sure) == 0.01
    wrong = torch.tensor([[3.0, 0.0], [0.0, 5.0]]), torch.tensor([1, 0])
    assert fit_temperature(*wrong) == 100.0
    assert fit_temperature(*wrong, high=2.0) == 2.0
    flat = torch.zeros(3, 4), torch.tensor([0, 1, 2])
    assert fit_temperature(*flat) == 1.0
    assert fit_temperature(*flat, low=2.0) == 2.0
    for size in (1e-30, 1e30):  # beyond both bounds, and no overflow on the way
        logits, labels = sample(1.0, rows=50)
        assert fit_temperature(size * logits, labels) == (0.01 if size < 1 else 100.0)


def test_hopeless_rows_do_not_break_it():
    logits, labels = sample(1.0, rows=300)
    logits[0] = torch.tensor([1e4, 0, 0, 0, 0], dtype=torch.float64)
    labels[0] = 3  # sure and wrong: a single row that wants T = 1e4
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(by_scipy(logits, labels), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": torch.tensor([UNLABELLED, UNLABELLED])}, "no row is labelled"),
        ({"labels": torch.tensor([0, 5])}, r"must lie in \[0, 2\]"),
        ({"logits": torch.tensor([[0.0, 1, 2], [math.nan, 0, 0]])}, "must be finite"),
        ({"logits": torch.zeros(0, 3), "labels": torch.zeros(0).long()}, "no row is labelled"),
        ({"logits": torch.zeros(3, 3)}, "labels must have 3 rows"),
        ({"low": 0.0}, "'low' parameter of fit_temperature"),
        ({"low": 3.0, "high": 2.0}, "'high' parameter of fit_temperature"),
        ({"level": 1.0}, "'level' parameter of fit_temperature"),
    ],
    ids=range(8),
)
def test_wrong_inputs(arguments, message):
    given = {"logits": torch.zeros(2, 3), "labels": torch.tensor([0, 1]), **arguments}
    with pytest.raises(AttarError, match=message):
        shown(given.pop("logits"), given.pop("labels"), **given)


def test_it_leaves_1_only_where_the_interval_of_the_profile_likelihood_does_not_hold_it():
    kept = {True: 0, False: 0}
    for seed in range(60):
        logits, labels = sample((0.7, 1.0, 1.4)[seed % 3], rows=120, seed=seed)
        best = fit_temperature(logits, labels)

        def above(inverse, best=best, logits=logits, labels=labels):  # 0 at the ends
            more = nll(logits * inverse, labels) - nll(logits / best, labels)
            return 2 * len(labels) * more - chi2.ppf(0.99, 1)

        ends = brentq(above, 1e-3, 1 / best), brentq(above, 1 / best, 50)
        inside = ends[0] <= 1 <= ends[1]
        assert shown(logits, labels) == (1.0 if inside else best)
        kept[inside] += 1
    assert min(kept.values()) >= 10


@pytest.mark.parametrize(("level", "few", "many"), [(0.99, 3, 20), (0.95, 30, 75)])
def test_of_calibrated_students_as_many_are_moved_as_the_level_says(level, few, many):
    samples = (sample(1.0, rows=100, seed=seed) for seed in range(1000))
    moved = sum(shown(*rows, level=level) != 1.0 for rows in samples)
    assert few <= moved <= many  # 10 expected, and 50, of 1,000


def test_on_few_rows_a_calibrated_student_loses_less_on_others_than_by_the_best_fit():
    worse = dict.fromkeys((shown, fit_temperature), 0.0)
    others = sample(1.0, rows=4000, seed=1)
    for seed in range(100):
        rows = sample(1.0, rows=60, seed=100 + seed)
        for fit in worse:
            worse[fit] += nll(others[0] / fit(*rows), others[1]) - nll(*others)
    assert worse[shown] < 0.5 * worse[fit_temperature]


def test_few_rows_that_are_all_right_show_nothing_and_many_do():
    logits = torch.tensor([[1.0, 0.0]])
    for rows, expected in ((3, 1.0), (300, 0.01)):
        labels = torch.zeros(rows, dtype=torch.int64)
        assert shown(logits.repeat(rows, 1), labels) == expected
    assert shown(logits.repeat(3, 1), torch.zeros(3, dtype=torch.int64), low=2.0) == 2.0


def test_before_and_after_are_those_of_the_metrics():
    validation, test = sample(3.0, seed=1), sample(3.0, seed=2)
    found = calibrate(validation, test)
    assert found.temperature == shown(*validation)
    assert found.note is None
    for told, (logits, labels) in ((found.validation, validation), (found.test, test)):
        scaled = logits / found.temperature
        assert told["before"] == {"nll": nll(logits, labels), "ece": ece(logits, labels)}
        assert told["after"] == {"nll": nll(scaled, labels), "ece": ece(scaled, labels)}
    assert found.test["after"]["ece"] < 0.2 * found.test["before"]["ece"]
    assert found.to_dict()["test"]["after"] == found.test["after"]


def test_where_there_is_nothing_to_fit_the_temperature_stays_1_and_says_why():
    right = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    found = calibrate(right, sample(1.0, classes=2))
    assert found.temperature == 1.0
    assert found.note.startswith("all 2 validation rows are right")
    assert found.test["before"] == found.test["after"]
    few, labels = sample(1.0, rows=50, seed=3)
    labels[:10] = UNLABELLED
    kept = calibrate((few, labels), (few, labels))
    assert kept.temperature == 1.0
    assert kept.note.startswith("40 validation rows do not show that another one is better (best ")
    wrong = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 0])
    assert "no more than chance" in calibrate(wrong, right).note
