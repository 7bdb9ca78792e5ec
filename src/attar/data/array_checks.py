"""What is checked once, when data is made, so that a batch need not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from attar.checks import AttarError, check_finite, check_labels, check_number
from attar.data.views import Views
from attar.types import VIEW

#: What models are given: a tensor, or a mapping of tensors (text).
Inputs = Tensor | Mapping[str, Tensor]


def check_inputs(inputs: Any) -> tuple[int, torch.device]:
    """The number of rows and their device, once the inputs are found sound."""
    named = inputs if isinstance(inputs, Mapping) else {"inputs": inputs}
    if not named:
        raise AttarError("ArrayData: inputs must be a tensor or a mapping of tensors. Got {}.")
    for name, value in named.items():
        if not isinstance(value, Tensor):
            raise AttarError(
                f"ArrayData: {name} must be a tensor. Got {type(value).__name__}; "
                f"attar.data.as_data((X, y)) takes arrays, lists and tables."
            )
        if value.ndim < (1 if isinstance(inputs, Mapping) else 2):
            raise AttarError(
                f"ArrayData: inputs must have the shape [N, ...], a row a sample. Got "
                f"{tuple(value.shape)}. One feature is [N, 1]: X.reshape(-1, 1)."
            )
        if value.numel():
            check_finite("ArrayData", name, value)
    sizes = {name: len(value) for name, value in named.items()}
    devices = {value.device for value in named.values()}
    if len(set(sizes.values())) > 1 or len(devices) > 1:
        raise AttarError(
            f"ArrayData: all inputs must have the same number of rows, on one device. Got {sizes} "
            f"on {sorted(map(str, devices))}."
        )
    return next(iter(sizes.values())), next(iter(devices))


def checked_labels(
    labels: Tensor | None, classes: Sequence[str] | None, count: int, device: torch.device
) -> tuple[Tensor | None, tuple[str, ...]]:
    """The labels, on the device of the inputs, and the names of the classes."""
    if isinstance(classes, str):
        raise AttarError(f"ArrayData: classes must be a list of names. Got the text {classes!r}.")
    names = None if classes is None else tuple(classes)
    if names is not None and not all(isinstance(name, str) for name in names):
        raise AttarError(f"ArrayData: classes must be names (texts). Got {names!r}.")
    if names is not None and len(set(names)) != len(names):
        raise AttarError(f"ArrayData: classes must all be different. Got {names!r}.")
    if labels is None:
        return None, names or ()
    if isinstance(labels, Tensor) and labels.ndim == 2 and labels.is_floating_point():
        return _checked_columns(labels, names, count).to(device), names or _numbers(labels.shape[1])
    _check_length("labels", labels, count)
    if names is None:
        highest = int(labels.max()) if labels.numel() else -1
        names = _numbers(highest + 1)
    check_labels("ArrayData", labels, classes=len(names))
    return labels.to(device), names


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def _checked_columns(labels: Tensor, names: tuple[str, ...] | None, count: int) -> Tensor:
    """Labels ``[N, D]`` that are values, or 0 and 1 of several labels; NaN where not known."""
    shape = tuple(labels.shape)
    if shape[0] != count or not shape[1] or (names is not None and len(names) != shape[1]):
        raise AttarError(
            f"ArrayData: floating labels must have the shape [N, D], here {count} rows"
            + ("" if names is None else f" and {len(names)} columns")
            + f". Got {shape}."
        )
    if bool(labels.isinf().any()):
        raise AttarError("ArrayData: floating labels must be finite, or NaN where not known.")
    return labels.to(torch.float32)


def checked_rows(rows: Tensor | None, count: int, device: torch.device) -> Tensor:
    """The row numbers, 0 to N - 1 unless given."""
    if rows is None:
        return torch.arange(count, device=device)
    _check_length("rows", rows, count)
    if rows.dtype != torch.int64:
        raise AttarError(f"ArrayData: rows must be int64. Got {rows.dtype}.")
    if count and (int(rows.min()) < 0 or int(rows.max()) >= VIEW):
        raise AttarError(
            f"ArrayData: row numbers must lie in [0, 2**40). Got {int(rows.min())} to "
            f"{int(rows.max())}."
        )
    numbers, times = torch.unique(rows, return_counts=True)
    if len(numbers) != count:
        twice = int(numbers[times > 1][0])
        raise AttarError(
            f"ArrayData: row numbers must all be different, since soft targets are kept by them. "
            f"{twice} comes {int(times[times > 1][0])} times."
        )
    return rows.to(device)


def numbered(owner: str, first_row: Any, count: int) -> Tensor:
    """The row numbers ``first_row, first_row + 1, ...``."""
    check_number(owner, "first_row", first_row, low=0, high=VIEW - count, whole=True)
    return torch.arange(first_row, first_row + count)


def checked_weights(weights: Tensor | None, count: int, device: torch.device) -> Tensor | None:
    """The weights as float32."""
    if weights is None:
        return None
    _check_length("weights", weights, count)
    good = weights.is_floating_point() and bool(torch.isfinite(weights).all())
    if not good or (count and (float(weights.min()) < 0 or float(weights.max()) == 0)):
        raise AttarError(
            "ArrayData: weights must be finite floating numbers, 0 or more and not all 0."
        )
    return weights.to(device, torch.float32)


def checked_views(views: Views | None, inputs: Inputs) -> Views | None:
    """The views, once they are found to suit the inputs."""
    if views is not None and not isinstance(views, Views):
        raise AttarError(
            f"ArrayData: views must be attar.data.Views([shift(2)], count). Got {views!r}."
        )
    if views is not None and isinstance(inputs, Mapping):
        raise AttarError("ArrayData: views are there for tensor inputs, not for a mapping of them.")
    return views


def _check_length(name: str, value: Any, count: int) -> None:
    if not isinstance(value, Tensor) or value.ndim != 1 or len(value) != count:
        came = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise AttarError(
            f"ArrayData: {name} must be a tensor of shape [{count}], one a row. Got {came}."
        )


def view_offsets(views: Tensor | int, ids: Tensor, view_count: int) -> Tensor | int:
    """What is added to row numbers ``[B]`` to name the views, ``view * VIEW``."""
    if isinstance(views, Tensor):
        views = views.to(ids.device)
        if views.shape != ids.shape or views.dtype != torch.int64:
            raise AttarError(
                f"Data.batch: views must be a whole number, or int64 of shape {tuple(ids.shape)}, "
                f"one a position. Got shape {tuple(views.shape)}, dtype {views.dtype}."
            )
        low, high = (int(views.min()), int(views.max())) if len(views) else (0, 0)
    else:
        low = high = views
    if low < 0 or high >= view_count:
        raise AttarError(
            f"Data.batch: a view must lie in [0, {view_count - 1}], since the data has "
            f"{view_count} (view 0 is the row itself). Got {low if low < 0 else high}. "
            f"with_views(Views(transforms, count)) gives more."
        )
    return views * VIEW


def check_indices(indices: Tensor, count: int) -> None:
    """Raise unless these are int64 positions ``[B]`` of data with this many rows."""
    whole = indices.dtype in (torch.int64, torch.int32) and indices.ndim == 1
    bad = indices[(indices < 0) | (indices >= count)] if whole else indices[:0]
    if whole and not len(bad):
        return
    came = f"position {int(bad[0])}" if len(bad) else f"{tuple(indices.shape)} {indices.dtype}"
    raise AttarError(
        f"Data.batch: indices must be int64 positions [B] in [0, {count - 1}]. Got {came}. "
        f"Positions are not row numbers: those are in data.rows."
    )
