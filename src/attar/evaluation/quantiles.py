"""What quantiles of a regression are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attar.checks import AttarError


@dataclass(frozen=True)
class QuantileScores:
    """How quantiles did against the labels of a regression.

    Attributes:
        rows: Rows with a label.
        pinball: Mean quantile loss over rows and levels, in the unit of the labels.
        coverage_error: Mean absolute difference between a level and the share of labels that do
            not lie above its quantile: 0 where 10 % lie below the 10 % quantile, and so on.
    """

    rows: int
    pinball: float
    coverage_error: float

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def even_levels(count: int) -> tuple[float, ...]:
    """Levels at which quantiles count as equally likely draws, ``(j - 1/2) / count``.

    >>> even_levels(2)
    (0.25, 0.75)
    """
    return tuple((place + 0.5) / count for place in range(count))


def at_levels(values: Tensor, levels: Sequence[float]) -> Tensor:
    """Quantiles ``[N, Q]`` at these levels, between quantiles ``[N, M]`` at :func:`even_levels`.

    Beyond the outermost of the M it is these.

    >>> at_levels(torch.tensor([[0.0, 1.0]]), [0.1, 0.5])  # of 25 % and 75 %
    tensor([[0.0000, 0.5000]])
    """
    known = even_levels(values.shape[1])
    columns = []
    for level in levels:
        place = float(np.interp(level, known, np.arange(len(known))))
        low = int(place)
        high = min(low + 1, len(known) - 1)
        columns.append(torch.lerp(values[:, low], values[:, high], place - low))
    return torch.stack(columns, dim=1)


def pinball_rows(values: Tensor, labels: Tensor, levels: Sequence[float]) -> Tensor:
    """``[..., N]`` quantile loss of each row ``[..., N, Q]``, the mean over its levels.

    Args:
        values: Quantiles, one column a level.
        labels: ``[N, D]``, of which the first column counts.
        levels: Q numbers between 0 and 1.
    """
    above = labels[:, :1].double() - values.double()
    tau = torch.tensor(list(levels), dtype=torch.float64)
    return torch.maximum(tau * above, (tau - 1) * above).mean(dim=-1)


def quantile_scores(values: Tensor, labels: Tensor, levels: Sequence[float]) -> QuantileScores:
    """Score quantiles.

    Args:
        values: ``[N, Q]`` finite, one column a level.
        labels: ``[N, D]`` finite, of which the first column counts.
        levels: Q numbers between 0 and 1.

    Raises:
        AttarError: If shapes do not fit.

    Example:
        >>> quantile_scores(torch.tensor([[0.0], [0.0]]), torch.tensor([[-1.0], [3.0]]), [0.5])
        QuantileScores(rows=2, pinball=1.0, coverage_error=0.0)
    """
    if values.ndim != 2 or len(values) != len(labels) or values.shape[1] != len(levels):
        raise AttarError(
            f"quantile_scores: values must be [N, Q], here {len(labels)} rows and {len(levels)} "
            f"levels. Got {tuple(values.shape)}."
        )
    below = (labels[:, :1] <= values).double().mean(dim=0)
    wanted = torch.tensor(list(levels), dtype=torch.float64)
    return QuantileScores(
        len(labels),
        float(pinball_rows(values, labels, levels).mean()),
        float((below - wanted).abs().mean()),
    )
