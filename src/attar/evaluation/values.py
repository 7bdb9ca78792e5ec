"""What students of a regression, or of several labels a row, are worth."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from attar.checks import AttarError, check_finite, need


@dataclass(frozen=True)
class ValueScores:
    """How values did against the labels of a regression, over what is known.

    Attributes:
        rows: Rows with a label.
        mse: Mean squared error, in squared units of the labels; the mean over their columns.
        mae: Mean absolute error, in their unit.
        r2: 1 - squared error / squared distance from the mean, the mean over the columns; None
            where the labels of a column are all the same.
        mse_to_teacher: Mean squared distance from the teacher's values; None without a teacher.
    """

    rows: int
    mse: float
    mae: float
    r2: float | None
    mse_to_teacher: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class LabelScores:
    """How logits did against several labels a row, over what is known.

    Attributes:
        rows: Rows with a label.
        accuracy: The share of labels that are right (1 - Hamming loss), rows weighing the same.
        exact: The share of rows of which every label is right.
        nll: Negative log-likelihood, nats a row: the sum over its labels.
        macro_auc: Area under the ROC curve, the mean over the labels that apply to some rows and
            not to others; None without any.
        agreement: The share of labels answered as the teacher does; None without a teacher.
    """

    rows: int
    accuracy: float
    exact: float
    nll: float
    macro_auc: float | None
    agreement: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def value_scores(values: Tensor, labels: Tensor, *, teacher: Tensor | None = None) -> ValueScores:
    """Score the values of a regression.

    Args:
        values: ``[N, D]`` finite.
        labels: ``[N, D]``, NaN where not known.
        teacher: ``[N, D]`` the teacher's values for the same rows.

    Raises:
        AttarError: If shapes differ, or no label is known.

    Example:
        >>> labels = torch.tensor([[0.0], [2.0], [torch.nan]])
        >>> scores = value_scores(torch.tensor([[1.0], [2.0], [5.0]]), labels)
        >>> scores.mse, scores.mae, scores.r2
        (0.5, 0.5, 0.5)
    """
    values, labels, known = _checked("value_scores", values, labels)
    error = torch.where(known, values - labels, 0.0)
    count = known.sum(dim=0)
    has = count > 0
    middle = torch.where(known, labels, 0.0).sum(dim=0) / count.clamp(min=1)
    apart = torch.where(known, labels - middle, 0.0).square().sum(dim=0)
    told = has & (apart > 0)
    r2 = (1 - error.square().sum(dim=0)[told] / apart[told]).mean() if bool(told.any()) else None
    square = error.square().sum(dim=0)[has] / count[has]
    return ValueScores(
        rows=int(known.any(dim=1).sum()),
        mse=float(square.mean()),
        mae=float((error.abs().sum(dim=0)[has] / count[has]).mean()),
        r2=None if r2 is None else float(r2),
        mse_to_teacher=None if teacher is None else float((values - teacher).square().mean()),
    )


def label_scores(logits: Tensor, labels: Tensor, *, teacher: Tensor | None = None) -> LabelScores:
    """Score the logits of several labels a row; a label is said to apply above a logit of 0.

    Args:
        logits: ``[N, L]`` finite.
        labels: ``[N, L]`` of 0 and 1, NaN where not known.
        teacher: ``[N, L]`` the teacher's logits for the same rows.

    Raises:
        AttarError: If shapes differ, or no label is known.

    Example:
        >>> labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> scores = label_scores(torch.tensor([[2.0, -2.0], [1.0, 2.0]]), labels)
        >>> scores.accuracy, scores.exact, scores.macro_auc
        (0.75, 0.5, 1.0)
    """
    logits, labels, known = _checked("label_scores", logits, labels)
    rows = known.any(dim=1)
    right = ((logits > 0) == (labels > 0.5)) & known
    areas = [
        _auc(logits[known[:, place], place], labels[known[:, place], place] > 0.5)
        for place in range(labels.shape[1])
    ]
    told = [area for area in areas if area is not None]
    return LabelScores(
        rows=int(rows.sum()),
        accuracy=float(share_right(logits, labels)[rows].mean()),
        exact=float((right.sum(dim=1) == known.sum(dim=1))[rows].double().mean()),
        nll=float(label_nll(logits, labels)[rows].mean()),
        macro_auc=float(np.mean(told)) if told else None,
        agreement=None
        if teacher is None
        else float(((logits > 0) == (teacher > 0)).double().mean()),
    )


def squared_errors(values: Tensor, labels: Tensor) -> Tensor:
    """``[..., N]`` mean squared error of each row ``[..., N, D]`` over its known labels."""
    known = ~labels.isnan()
    error = torch.where(known, values.double() - labels, 0.0).square()
    return error.sum(dim=-1) / known.sum(dim=-1).clamp(min=1)


def share_right(logits: Tensor, labels: Tensor) -> Tensor:
    """``[..., N]`` share of the known labels of each row ``[..., N, L]`` that are right."""
    known = ~labels.isnan()
    right = ((logits > 0) == (labels > 0.5)) & known
    return right.sum(dim=-1).double() / known.sum(dim=-1).clamp(min=1)


def label_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """``[..., N]`` nats of each row ``[..., N, L]``, the sum over its known labels."""
    known = ~labels.isnan()
    sign = torch.where(labels > 0.5, 1.0, -1.0)
    return torch.where(known, -F.logsigmoid(logits.double() * sign), 0.0).sum(dim=-1)


def _auc(scores: Tensor, applies: Tensor) -> float | None:
    """The chance that one to whom the label applies scores above one to whom it does not."""
    positive, negative = int(applies.sum()), int((~applies).sum())
    if not positive or not negative:
        return None
    ranks = need("scipy.stats", extra="train", purpose="label_scores").rankdata(scores.numpy())
    above = float(ranks[applies.numpy()].sum()) - positive * (positive + 1) / 2
    return above / (positive * negative)


def _checked(owner: str, values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if values.ndim != 2 or values.shape != labels.shape:
        raise AttarError(
            f"{owner}: answers and labels must have one shape [N, D]. Got {tuple(values.shape)} "
            f"and {tuple(labels.shape)}."
        )
    check_finite(owner, "the answers", values)
    known = ~labels.isnan()
    if not bool(known.any()):
        raise AttarError(f"{owner}: no label is known, so there is nothing to score against.")
    return values.double(), labels.double(), known
