from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.naive_bayes import GaussianNB

from attar.checks import AttarError
from attar.data import ArrayData
from attar.evaluation import fit_temperature
from attar.experiment.inputs import make_splits
from attar.experiment.targets import teacher_of
from attar.teachers import (
    EnsembleTeacher,
    GivenTeacher,
    fit_weights,
    mean_log_probability,
    mean_logit,
    mean_probability,
    weigh,
)
from attar.types import UNLABELLED, Batch

RANDOM = np.random.default_rng(0)
LABELS = torch.from_numpy(RANDOM.integers(3, size=600))
ROWS = ArrayData(torch.zeros(600, 1), LABELS)


def member(skill: float, name: str, *, sure: float | None = None) -> GivenTeacher:
    """Says the truth with some noise; as sure of itself as it is right, or as it is told."""
    truth = np.eye(3)[LABELS.numpy()]
    logits = (skill if sure is None else sure) * (skill * truth + RANDOM.normal(size=(600, 3)))
    return GivenTeacher(logits, name=name, outputs="logits")


GOOD, FAIR, NOISE = member(3, "good"), member(2.8, "fair"), member(0, "noise", sure=5)


def said(teacher: EnsembleTeacher) -> torch.Tensor:
    return teacher(Batch(ROWS.inputs, torch.arange(600))).logits


def nll(teacher: EnsembleTeacher) -> float:
    return float(torch.nn.functional.cross_entropy(said(teacher), LABELS))


def test_a_member_that_knows_nothing_is_dropped_and_the_rest_is_weighed():
    together = EnsembleTeacher([GOOD, NOISE, FAIR])
    found = weigh(together, ROWS)
    assert [one.name for one in found.members] == ["good", "fair"]
    expected = fit_weights(torch.stack([GOOD._logits, FAIR._logits]), LABELS)
    torch.testing.assert_close(found.weights, expected)
    assert nll(found) < nll(EnsembleTeacher([GOOD, FAIR])) < nll(together)
    assert found.name == f"{expected[0]:.2f} good + {expected[1]:.2f} fair"


def test_nobody_is_dropped_where_nothing_is_too_little():
    found = weigh(EnsembleTeacher([GOOD, NOISE, FAIR]), ROWS, least=0)
    assert len(found.members) == 3
    torch.testing.assert_close(found.weights.sum(), torch.tensor(1.0))


def test_a_member_that_is_never_sure_is_made_as_sure_as_it_is_right():
    shy = member(3, "shy", sure=0.3)
    found = weigh(EnsembleTeacher([GOOD, shy]), ROWS)
    assert [one.name for one in found.members] == ["good", "shy"]
    own = [fit_temperature(one._logits, LABELS, low=0.05, high=20) for one in (GOOD, shy)]
    assert found.temperatures.tolist() == pytest.approx(own)
    assert 0.05 < own[1] < 0.15  # a tenth: what it should be is 3
    plain = EnsembleTeacher(
        [GOOD, shy], weights=fit_weights(torch.stack([GOOD._logits, shy._logits]), LABELS)
    )
    assert nll(found) < nll(plain) - 0.02


def test_temperatures_that_gain_no_more_than_chance_are_left_at_1():
    assert fit_temperature(GOOD._logits[:20], LABELS[:20], level=0) != 1
    few = LABELS.clone()
    few[20:] = UNLABELLED
    found = weigh(EnsembleTeacher([GOOD, FAIR]), ArrayData(torch.zeros(600, 1), few))
    assert found.temperatures.tolist() == [1.0] * len(found.members)


def test_temperatures_never_make_the_mixture_worse():
    # What is too sure alone may be as sure as it should be once it is mixed with another.
    pair = [member(3, "one", sure=6), member(3, "other", sure=6)]
    for combine in (mean_probability, mean_logit):
        found = weigh(EnsembleTeacher(pair, combine=combine), ROWS)
        said_at_1 = torch.stack([one._logits for one in pair])
        plain = EnsembleTeacher(
            pair, weights=fit_weights(said_at_1, LABELS, combine=combine), combine=combine
        )
        assert nll(found) <= nll(plain) + 1e-6


def test_the_way_of_combining_is_kept():
    found = weigh(EnsembleTeacher([GOOD, FAIR], combine=mean_log_probability), ROWS)
    assert found.combine is mean_log_probability


def test_rows_without_a_label_do_not_count():
    labels = LABELS.clone()
    labels[:300] = UNLABELLED
    half = weigh(EnsembleTeacher([GOOD, FAIR]), ArrayData(torch.zeros(600, 1), labels))
    rest = fit_weights(torch.stack([GOOD._logits, FAIR._logits])[:, 300:], LABELS[300:])
    torch.testing.assert_close(half.weights, rest)
    with pytest.raises(AttarError, match="no row is labelled"):
        weigh(EnsembleTeacher([GOOD]), ArrayData(torch.zeros(600, 1), None))


def test_weights_of_single_rows_are_not_thrown_away():
    own = EnsembleTeacher([GOOD, FAIR], row_weights=(torch.tensor([1]), [[0.0, 1.0]]))
    with pytest.raises(AttarError, match="weights for single rows"):
        weigh(own, ROWS)


def test_estimators_in_a_list_are_weighed_out_of_fold():
    X = RANDOM.normal(size=(240, 4)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)  # naive Bayes can make nothing of it
    splits = make_splits((X, y), None, None, None, classes=None, seed=0)
    stack = [RandomForestClassifier(30, random_state=0), GaussianNB()]
    found = teacher_of(stack, splits, 3, refit=True)
    assert "RandomForestClassifier" in found.name
    assert float(found.weights[0]) > 0.7
