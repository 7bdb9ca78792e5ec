"""Scores of values and of several labels, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics

from attar import AttarError
from attar.evaluation import label_scores, value_scores
from attar.evaluation.values import label_nll, share_right, squared_errors

RANDOM = np.random.default_rng(0)


def test_values_are_scored_as_scikit_learn_does():
    labels, said = RANDOM.normal(size=(50, 3)), RANDOM.normal(size=(50, 3))
    scores = value_scores(torch.tensor(said), torch.tensor(labels), teacher=torch.tensor(labels))
    assert scores.mse == pytest.approx(metrics.mean_squared_error(labels, said))
    assert scores.mae == pytest.approx(metrics.mean_absolute_error(labels, said))
    assert scores.r2 == pytest.approx(metrics.r2_score(labels, said))
    assert scores.mse_to_teacher == pytest.approx(scores.mse)


def test_labels_are_scored_as_scikit_learn_does():
    labels = RANDOM.integers(0, 2, (60, 3))
    logits = RANDOM.normal(size=(60, 3)).round(1)  # with ties
    scores = label_scores(torch.tensor(logits), torch.tensor(labels, dtype=torch.float32))
    assert scores.accuracy == pytest.approx(1 - metrics.hamming_loss(labels, logits > 0))
    assert scores.exact == pytest.approx(metrics.accuracy_score(labels, logits > 0))
    assert scores.macro_auc == pytest.approx(metrics.roc_auc_score(labels, logits))
    odds = 1 / (1 + np.exp(-logits))
    assert scores.nll == pytest.approx(
        sum(metrics.log_loss(labels[:, place], odds[:, place]) for place in range(3))
    )


def test_what_is_not_known_counts_for_nothing():
    nan = torch.nan
    values, labels = torch.tensor([[1.0, 5.0], [3.0, 3.0]]), torch.tensor([[0.0, nan], [nan, nan]])
    assert squared_errors(values, labels).tolist() == [1.0, 0.0]
    assert value_scores(values, labels).rows == 1
    assert value_scores(values, labels).r2 is None  # one label has no spread
    logits = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    known = torch.tensor([[1.0, nan], [0.0, 1.0]])
    assert share_right(logits, known).tolist() == [1.0, 0.5]
    assert label_nll(logits, known)[0].item() == pytest.approx(np.log1p(np.exp(-1)))
    scores = label_scores(logits, known)
    assert (scores.rows, scores.accuracy, scores.exact) == (2, 0.75, 0.5)


def test_seeds_stand_in_front_of_rows():
    labels, said = torch.zeros(4, 2), torch.ones(3, 4, 2)
    assert squared_errors(said, labels).shape == (3, 4)
    assert share_right(said, labels).tolist() == [[0.0] * 4] * 3


def test_nothing_to_score_against_is_an_error():
    with pytest.raises(AttarError, match="no label is known"):
        value_scores(torch.zeros(1, 1), torch.tensor([[torch.nan]]))
    with pytest.raises(AttarError, match="one shape"):
        label_scores(torch.zeros(2, 1), torch.zeros(2, 2))
    with pytest.raises(AttarError, match="finite"):
        value_scores(torch.tensor([[torch.inf]]), torch.zeros(1, 1))
