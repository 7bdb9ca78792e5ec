"""The one score of a regression, or of several labels a row, that can be drawn: row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.evaluation import Interval, crossed_interval
from attar.evaluation.quantiles import pinball_rows
from attar.evaluation.values import share_right


def row_scores(
    answers: Tensor, labels: Tensor, *, task: str, levels: tuple[float, ...] | None = None
) -> Tensor:
    """``[S, N]`` float64 of which the mean over rows is the score: 1 is as good as it gets.

    Of values it is R² (in one column without gaps exactly, else the mean over what is known), of
    several labels the share of them that is right, and of quantiles the part of the pinball loss
    of the labels' own quantiles that is saved: 0 for who knows nothing of a row.

    Args:
        answers: ``[S, N, D]`` values in the unit of the labels, or logits.
        labels: ``[N, D]``, NaN where not known.
        task: ``"regression"`` or ``"multilabel"``.
        levels: Of quantiles.

    Example:
        >>> labels = torch.tensor([[0.0], [2.0]])
        >>> row_scores(torch.tensor([[[0.0], [1.0]]]), labels, task="regression").tolist()
        [[1.0, 0.0]]
    """
    if task == "multilabel":
        return share_right(answers, labels)
    true = labels.double()
    if levels is not None:
        own = torch.quantile(true[:, 0], torch.tensor(levels, dtype=torch.float64))
        nothing = pinball_rows(own.expand(len(true), -1), true, levels).mean()
        return 1 - pinball_rows(answers, true, levels) / nothing.clamp(min=1e-300)
    known = ~true.isnan()
    middle = true.nanmean(dim=0)
    spread = (true - middle).square().nanmean(dim=0)
    told = known & (spread > 0)
    error = torch.where(told, (answers.double() - true).square() / spread, 0.0)
    return 1 - error.sum(dim=-1) / told.sum(dim=-1).clamp(min=1)


def score_interval(rows: NDArray[np.float64]) -> dict[str, Any]:
    """The mean of ``rows [S, N]`` with its interval, ready for JSON.

    Over rows and seeds where there are several seeds; over rows alone where there is one.

    >>> told = score_interval(np.array([[0.0, 1.0, 0.0, 1.0]]))
    >>> told["mean"], round(told["high"], 2)
    (0.5, 1.07)
    """
    if len(rows) > 1:
        return crossed_interval(rows.T).to_dict()
    error = float(rows.std(ddof=1) / np.sqrt(rows.size)) if rows.size > 1 else np.inf
    mean, half = float(rows.mean()), 1.96 * error
    return Interval(mean, mean - half, mean + half, error, np.inf, 0.95).to_dict()
