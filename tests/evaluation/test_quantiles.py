"""Scores of quantiles, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_pinball_loss

from attar import AttarError
from attar.evaluation import quantile_scores
from attar.evaluation.quantiles import at_levels, even_levels, pinball_rows

RANDOM = np.random.default_rng(0)


def test_the_loss_is_that_of_scikit_learn_and_of_the_loss_that_trains():
    from attar.losses import pinball

    labels, said = (
        torch.tensor(RANDOM.normal(size=(40, 1))),
        torch.tensor(RANDOM.normal(size=(40, 2))),
    )
    levels = [0.2, 0.7]
    scores = quantile_scores(said, labels, levels)
    each = [mean_pinball_loss(labels, said[:, [i]], alpha=level) for i, level in enumerate(levels)]
    assert scores.pinball == pytest.approx(np.mean(each))
    rows = pinball_rows(said, labels, levels)
    torch.testing.assert_close(rows, pinball(said, labels, levels=levels))
    assert pinball_rows(said.expand(3, 40, 2), labels, levels).shape == (3, 40)


def test_coverage_is_the_share_that_lies_below():
    labels = torch.arange(10.0)[:, None]
    exact = quantile_scores(torch.full((10, 1), 4.5), labels, [0.5])
    off = quantile_scores(torch.full((10, 1), 8.5), labels, [0.5])
    assert (exact.coverage_error, off.coverage_error) == pytest.approx((0.0, 0.4))


def test_quantiles_between_known_ones_lie_on_the_line_and_beyond_stay():
    known = torch.tensor([[0.0, 10.0, 30.0]])  # at 1/6, 1/2, 5/6
    assert even_levels(3) == pytest.approx((1 / 6, 1 / 2, 5 / 6))
    found = at_levels(known, [0.01, 1 / 3, 0.5, 2 / 3, 0.99])
    torch.testing.assert_close(found, torch.tensor([[0.0, 5.0, 10.0, 20.0, 30.0]]))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(AttarError, match="2 levels"):
        quantile_scores(torch.zeros(3, 1), torch.zeros(3, 1), [0.1, 0.9])
