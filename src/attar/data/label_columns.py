"""Labels that are no classes -> columns of float32: the values of a regression, several labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attar.checks import AttarError

#: What a label can be.
TASKS = ("multiclass", "multilabel", "regression")


def check_task(owner: str, task: Any) -> None:
    """Raise unless this is a task that there is.

    >>> check_task("distill", "ranking")
    Traceback (most recent call last):
    attar.checks.AttarError: The 'task' parameter of distill must be 'multiclass',
    'multilabel' or 'regression'. Got 'ranking' instead.
    """
    if task not in TASKS:
        raise AttarError(
            f"The 'task' parameter of {owner} must be 'multiclass', 'multilabel' or 'regression'. "
            f"Got {task!r} instead."
        )


def label_columns(
    owner: str, labels: Any, *, task: str, names: Sequence[str] | None = None
) -> tuple[Tensor, tuple[str, ...]]:
    """Labels ``[N, D]`` float32 and the names of their columns.

    Args:
        owner: Whose labels these are, for the messages.
        labels: ``[N]`` or ``[N, D]`` numbers, NaN or None where not known: an array, a tensor, a
            list, a Series or a DataFrame (whose columns then give the names).
        task: ``"regression"``; or ``"multilabel"``, where each is 0 or 1.
        names: Of the columns; ``"0"``, ``"1"``, ... by default.

    Raises:
        AttarError: If they are no numbers, infinite, beyond float32, or of several labels other
            than 0 and 1.

    Example:
        >>> label_columns("you", [1.5, None], task="regression")
        (tensor([[1.5000],
                [   nan]]), ('0',))
    """
    check_task(owner, task)
    if names is None and hasattr(labels, "columns"):
        names = [str(name) for name in labels.columns]
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu()
    try:
        values = np.asarray(labels)
        values = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise AttarError(f"{owner}: for {task} y must hold numbers ({error}).") from None
    if values.ndim == 1 and task == "regression":
        values = values[:, None]
    if values.ndim != 2 or not values.shape[1]:
        raise AttarError(
            f"{owner}: for {task} y must have the shape "
            f"{'[N] or [N, D]' if task == 'regression' else '[N, L], a column a label'}. Got "
            f"{values.shape}."
        )
    known = values[~np.isnan(values)]
    if task == "multilabel" and not np.isin(known, (0, 1)).all():
        bad = known[~np.isin(known, (0, 1))][0]
        raise AttarError(f"{owner}: for multilabel y must hold 0, 1 or NaN. Got {bad:g}.")
    if known.size and np.abs(known).max() > np.finfo(np.float32).max:
        raise AttarError(f"{owner}: y holds {np.abs(known).max():g}, which float32 cannot hold.")
    if names is None:
        names = [str(place) for place in range(values.shape[1])]
    return torch.from_numpy(values.astype(np.float32)), tuple(names)
