"""Labels of any kind -> int64 classes and their names."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attar.checks import AttarError
from attar.types import UNLABELLED

_WHOLE = re.compile(r"-?\d+")


def encode_labels(
    owner: str, labels: Any, *, classes: Sequence[str] | None = None
) -> tuple[Tensor, tuple[str, ...]]:
    """Classes ``[N]`` int64 and their names, from integers, texts, bools or whole floats.

    None, NaN and :data:`~attar.UNLABELLED` mark a row whose class is not known. Without
    ``classes`` the names are the different labels, sorted (numbers by size), so that integers
    that are 0 to C - 1 already stay what they are. With ``classes``, texts must be among them;
    integers are names too where any class is named by an integer, and positions otherwise.

    Args:
        owner: Whose labels these are, for the messages.
        labels: ``[N]`` or ``[N, 1]``: a tensor, an array, a list or a pandas Series.
        classes: The names to use, in their order.

    Raises:
        AttarError: If the labels are of several kinds, not whole, negative, or not among the
            classes.

    Example:
        >>> encode_labels("you", ["cat", None, "ant"])
        (tensor([   1, -100,    0]), ('ant', 'cat'))
    """
    values = _values(owner, labels)
    kind, known = _known(owner, values)
    names = _names(owner, kind, known) if classes is None else tuple(classes)
    result = torch.full((len(values),), UNLABELLED, dtype=torch.int64)
    if not known:
        return result, names
    if kind == "text" or any(_WHOLE.fullmatch(name) for name in names) or _bools(kind, names):
        place = {name: position for position, name in enumerate(names)}
        positions = [place.get(str(value), -1) for value in known.values()]
    else:
        positions = [int(v) if 0 <= int(v) < len(names) else -1 for v in known.values()]
    if -1 in positions:
        row = list(known)[positions.index(-1)]
        raise AttarError(
            f"{owner}: row {row} has the label {known[row]!r}, which is not among the "
            f"{len(names)} classes {_shown(names)}."
        )
    result[torch.tensor(list(known))] = torch.tensor(positions)
    return result, names


def _values(owner: str, labels: Any) -> list[Any]:
    """The labels as a list of Python values."""
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu().numpy()
    elif hasattr(labels, "to_numpy"):  # pandas
        labels = labels.to_numpy()
    if isinstance(labels, np.ndarray):
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim != 1:
            raise AttarError(
                f"{owner}: labels must be one class a row, [N]. Got shape {labels.shape}. For "
                f"one-hot rows give y.argmax(axis=1)."
            )
        labels = labels.tolist()
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise AttarError(f"{owner}: labels must be a list or an array. Got {labels!r}.")
    return [value.item() if isinstance(value, np.generic | Tensor) else value for value in labels]


def _known(owner: str, values: list[Any]) -> tuple[str, dict[int, Any]]:
    """What kind the labels are, and those that are known by their row, whole floats as ints."""
    known: dict[int, Any] = {}
    kinds: dict[str, Any] = {}
    for row, value in enumerate(values):
        if value is None or type(value).__name__ in ("NAType", "NaTType"):
            continue
        if isinstance(value, str):
            kind = "text"
        elif isinstance(value, bool):
            kind = "bool"
        elif isinstance(value, numbers.Real):
            if math.isnan(value) or value == UNLABELLED:
                continue
            if not float(value).is_integer():
                raise AttarError(
                    f"{owner}: labels must name classes. Row {row} has {value!r}, which is not "
                    f"whole. For the values of a regression say task='regression'."
                )
            kind, value = "number", int(float(value))
        else:
            kind = type(value).__name__
        kinds.setdefault(kind, value)
        known[row] = value
    if len(kinds) > 1 or not set(kinds) <= {"text", "bool", "number"}:
        raise AttarError(
            f"{owner}: labels must be integers, texts or bools, all of one kind, with None or "
            f"{UNLABELLED} where unlabelled. Got {' and '.join(map(repr, kinds.values()))}."
        )
    return next(iter(kinds), "none"), known


def _names(owner: str, kind: str, known: dict[int, Any]) -> tuple[str, ...]:
    if kind == "bool":
        return ("False", "True")
    different = sorted(set(known.values()))
    if kind == "number" and different[0] < 0 and different != [-1, 1]:
        raise AttarError(
            f"{owner}: integer labels must be 0 or more. Got {different[0]}. Rows whose class is "
            f"not known are marked {UNLABELLED} (or None)."
        )
    return tuple(str(value) for value in different)


def _bools(kind: str, names: tuple[str, ...]) -> bool:
    return kind == "bool" and {"False", "True"} <= set(names)


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
