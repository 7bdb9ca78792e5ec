"""Data in memory: a batch is one indexing operation, not one Python call a sample."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from attar.checks import AttarError, check_finite, check_labels
from attar.data.fingerprints import fingerprint
from attar.data.views import Views
from attar.types import UNLABELLED, VIEW, Batch

#: What models are given: a tensor, or a mapping of tensors (text).
Inputs = Tensor | Mapping[str, Tensor]


class ArrayData:
    """Rows in memory, asked for by position.

    The tensors are kept as they are, not copied; do not change them afterwards. ``uint8``
    images stay ``uint8`` (a student normalises inside its graph).

    Args:
        inputs: A tensor ``[N, ...]`` of at least two dimensions, or a mapping of tensors with N
            rows each. Floating values must be finite.
        labels: ``[N]`` int64 in ``[0, C)``, or :data:`~attar.UNLABELLED`; None without labels.
        rows: ``[N]`` int64 row numbers in the user's whole data set, all different, at least 0
            and less than 2**40; 0 to N - 1 if not given.
        classes: The name of each class; ``"0", "1", ...`` up to the highest label if not given.
        weights: ``[N]`` sample weights, 0 or more, not all 0.
        views: Further forms of each row; None for the rows alone.
        columns: For tables, the description that encodes another file the same way.

    Raises:
        AttarError: If lengths, dtypes or ranges are not as above.

    Example:
        >>> data = ArrayData(torch.arange(6.0).reshape(3, 2), torch.tensor([1, 0, -100]))
        >>> batch = data.batch(torch.tensor([2, 0]))
        >>> batch.inputs.tolist(), batch.ids.tolist(), batch.labels.tolist()
        ([[4.0, 5.0], [0.0, 1.0]], [2, 0], [-100, 1])
        >>> data.take(torch.tensor([2])).rows.tolist()  # row numbers survive
        [2]
    """

    def __init__(
        self,
        inputs: Inputs,
        labels: Tensor | None = None,
        *,
        rows: Tensor | None = None,
        classes: Sequence[str] | None = None,
        weights: Tensor | None = None,
        views: Views | None = None,
        columns: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        count, device = _check_inputs(inputs)
        self.inputs = inputs
        self.labels, self.classes = _checked_labels(labels, classes, count, device)
        self.rows = _checked_rows(rows, count, device)
        self.weights = _checked_weights(weights, count, device)
        self.columns = None if columns is None else [dict(column) for column in columns]
        self.views = _checked_views(views, inputs)
        self._length = count
        self._settle()

    def _settle(self) -> None:
        """What is worked out once, so that a batch need not."""
        self._fingerprint: str | None = None
        self._device = self.rows.device
        counted = torch.arange(len(self.rows), device=self._device)
        #: Are the row numbers the positions themselves? Then ids need no look-up.
        self._counted = torch.equal(self.rows, counted)

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        if isinstance(self.inputs, Mapping):
            shape = ", ".join(f"{name}{list(x.shape)}" for name, x in self.inputs.items())
        else:
            shape = f"{list(self.inputs.shape)} {self.inputs.dtype}"
        known = 0 if self.labels is None else int(self.labelled.sum())
        return (
            f"ArrayData({shape}, {known} of {len(self)} rows labelled, "
            f"{len(self.classes)} classes, view_count={self.view_count})"
        )

    @property
    def view_count(self) -> int:
        """How many views each row has, view 0 (the row itself) included."""
        return 1 if self.views is None else self.views.count

    @property
    def labelled(self) -> Tensor:
        """``[N]`` bool: is the class of the row known?"""
        if self.labels is None:
            return torch.zeros(len(self), dtype=torch.bool, device=self._device)
        return self.labels != UNLABELLED

    @property
    def class_counts(self) -> Tensor:
        """``[C]`` int64: how many rows are labelled with each class."""
        known = self.rows[:0] if self.labels is None else self.labels[self.labelled]
        return torch.bincount(known, minlength=len(self.classes))

    def batch(self, indices: Tensor, views: Tensor | int = 0) -> Batch:
        """The rows at these positions, each in its view.

        Args:
            indices: ``[B]`` int64 positions in ``[0, N)``.
            views: The view of all rows, or ``[B]`` int64; less than ``view_count``.

        Raises:
            AttarError: If a position or a view is out of range.
        """
        if indices.device != self._device:
            indices = indices.to(self._device)
        inputs: Any = self.inputs
        labels, weights = self.labels, self.weights
        try:
            # index_select: quicker than inputs[indices], and it refuses a negative position.
            if isinstance(inputs, Tensor):
                inputs = inputs.index_select(0, indices)
            else:
                inputs = {name: value.index_select(0, indices) for name, value in inputs.items()}
            if labels is not None:
                labels = labels.index_select(0, indices)
            if weights is not None:
                weights = weights.index_select(0, indices)
            ids = indices if self._counted else self.rows.index_select(0, indices)
        except (IndexError, RuntimeError) as error:
            raise self._bad_indices(indices) from error
        if not isinstance(views, int) or views != 0:
            ids = ids + self._offsets(views, ids)
            if self.views is not None:
                inputs = self.views(inputs, ids)
        return Batch(inputs, ids, labels, weights)

    def _offsets(self, views: Tensor | int, ids: Tensor) -> Tensor | int:
        """What is added to the row numbers to name the views, ``view * VIEW``."""
        if isinstance(views, Tensor):
            views = views.to(ids.device)
            if views.shape != ids.shape or views.dtype != torch.int64:
                raise AttarError(
                    f"ArrayData.batch: views must be a whole number or int64 of shape "
                    f"{tuple(ids.shape)}, one a position. Got shape {tuple(views.shape)}, dtype "
                    f"{views.dtype}."
                )
            low, high = (int(views.min()), int(views.max())) if len(views) else (0, 0)
        else:
            low = high = views
        if low < 0 or high >= self.view_count:
            raise AttarError(
                f"ArrayData.batch: a view must lie in [0, {self.view_count - 1}], since the data "
                f"has {self.view_count} (view 0 is the row itself). Got "
                f"{low if low < 0 else high}. with_views(Views(transforms, count)) gives more."
            )
        return views * VIEW

    def _bad_indices(self, indices: Tensor) -> AttarError:
        whole = indices.dtype in (torch.int64, torch.int32) and indices.ndim == 1
        bad = indices[(indices < 0) | (indices >= len(self))] if whole else indices[:0]
        came = f"position {int(bad[0])}" if len(bad) else f"{tuple(indices.shape)} {indices.dtype}"
        return AttarError(
            f"ArrayData.batch: indices must be int64 positions [B] in [0, {len(self) - 1}]. "
            f"Got {came}. Positions are not row numbers: those are in data.rows."
        )

    def take(self, indices: Tensor) -> ArrayData:
        """The same data with only these positions; row numbers and views stay.

        Args:
            indices: ``[M]`` int64 positions, all different, or a mask ``[N]`` of bools.

        Raises:
            AttarError: If a position is out of range or comes twice (two rows of one number
                would share their soft targets).
        """
        indices = torch.as_tensor(indices, device=self._device)
        if indices.dtype == torch.bool and indices.shape == self.rows.shape:
            indices = indices.nonzero()[:, 0]
        if indices.dtype == torch.int64 and len(torch.unique(indices)) != len(indices):
            raise AttarError("ArrayData.take: a position was given twice; rows must all differ.")
        taken = self.batch(indices)
        other = copy.copy(self)
        other.inputs, other.labels, other.weights = taken.inputs, taken.labels, taken.weights
        other.rows = self.rows.index_select(0, indices)
        other._length = len(indices)
        other._settle()
        return other

    def with_views(self, views: Views | None) -> ArrayData:
        """The same rows with other views; None for the rows alone."""
        other = copy.copy(self)
        other.views = _checked_views(views, self.inputs)
        other._fingerprint = None
        return other

    def with_labels(
        self, labels: Tensor | None, *, classes: Sequence[str] | None = None
    ) -> ArrayData:
        """The same rows with other labels ``[N]``, of the same classes unless others are given."""
        other = copy.copy(self)
        names = classes if classes is not None else (self.classes or None)
        other.labels, other.classes = _checked_labels(labels, names, len(self), self._device)
        return other

    def fingerprint(self) -> str:
        """A hash of inputs, row numbers and the definition of the views; not of the labels."""
        if self._fingerprint is None:
            named = self.inputs if isinstance(self.inputs, Mapping) else {"inputs": self.inputs}
            parts = [(n, x.dtype, tuple(x.shape), [x]) for n, x in sorted(named.items())]
            self._fingerprint = fingerprint(parts, self.rows, self.views)
        return self._fingerprint


def join(first: ArrayData, second: ArrayData) -> ArrayData:
    """The rows of both, first those of ``first``. Where one has no labels its rows are unlabelled.

    Args:
        first: Its classes, views and columns are those of the result.
        second: Rows of the same kind: shape, dtype, classes and views. Data without any classes
            (unlabelled) joins with any.

    Raises:
        AttarError: If the two are not of one kind, or have a row number in common.

    Example:
        >>> known = ArrayData(torch.zeros(2, 3), torch.tensor([0, 1]))
        >>> more = ArrayData(torch.ones(1, 3), rows=torch.tensor([2]))
        >>> join(known, more).labels.tolist()
        [0, 1, -100]
    """
    _check_joinable(first, second)
    rows = torch.cat([first.rows, second.rows])
    shared = len(rows) - len(torch.unique(rows))
    if shared:
        raise AttarError(
            f"join: the two have {shared} row numbers in common. If the second holds other rows, "
            f"number them on: as_data(..., first_row={int(first.rows.max()) + 1})."
        )
    inputs: Inputs
    if isinstance(first.inputs, Mapping) or isinstance(second.inputs, Mapping):
        assert isinstance(first.inputs, Mapping)
        assert isinstance(second.inputs, Mapping)
        inputs = {name: torch.cat([x, second.inputs[name]]) for name, x in first.inputs.items()}
    else:
        inputs = torch.cat([first.inputs, second.inputs])
    labels = weights = None
    if first.labels is not None or second.labels is not None:
        labels = torch.cat([_labels_or_none_known(first), _labels_or_none_known(second)])
    if first.weights is not None or second.weights is not None:
        weights = torch.cat(
            [torch.ones(len(x)) if x.weights is None else x.weights for x in (first, second)]
        )
    return ArrayData(
        inputs,
        labels,
        rows=rows,
        classes=first.classes or second.classes,
        weights=weights,
        views=first.views,
        columns=first.columns or second.columns,
    )


def _labels_or_none_known(data: ArrayData) -> Tensor:
    return torch.full_like(data.rows, UNLABELLED) if data.labels is None else data.labels


def _check_joinable(first: ArrayData, second: ArrayData) -> None:
    for name, here, there in (
        ("kinds of rows", _kind(first.inputs), _kind(second.inputs)),
        ("classes", first.classes or second.classes, second.classes or first.classes),
        ("views", first.views, second.views),
        ("columns", first.columns or second.columns, second.columns or first.columns),
    ):
        if here != there:
            raise AttarError(f"join: the two must have the same {name}. Got {here} and {there}.")


def _kind(inputs: Inputs) -> dict[str, tuple[Any, ...]]:
    """Shape of a row and dtype, by name."""
    named = inputs if isinstance(inputs, Mapping) else {"inputs": inputs}
    return {name: (tuple(x.shape[1:]), x.dtype) for name, x in sorted(named.items())}


def _check_inputs(inputs: Any) -> tuple[int, torch.device]:
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
        check_finite("ArrayData", name, value)
    sizes = {name: len(value) for name, value in named.items()}
    devices = {value.device for value in named.values()}
    if len(set(sizes.values())) > 1 or len(devices) > 1:
        raise AttarError(
            f"ArrayData: all inputs must have the same number of rows, on one device. Got {sizes} "
            f"on {sorted(map(str, devices))}."
        )
    return next(iter(sizes.values())), next(iter(devices))


def _checked_labels(
    labels: Tensor | None, classes: Sequence[str] | None, count: int, device: torch.device
) -> tuple[Tensor | None, tuple[str, ...]]:
    if isinstance(classes, str):
        raise AttarError(f"ArrayData: classes must be a list of names. Got the text {classes!r}.")
    names = None if classes is None else tuple(classes)
    if names is not None and not all(isinstance(name, str) for name in names):
        raise AttarError(f"ArrayData: classes must be names (texts). Got {names!r}.")
    if names is not None and len(set(names)) != len(names):
        raise AttarError(f"ArrayData: classes must all be different. Got {names!r}.")
    if labels is None:
        return None, names or ()
    _check_length("labels", labels, count)
    if names is None:
        highest = int(labels.max()) if labels.numel() else -1
        names = tuple(str(label) for label in range(highest + 1))
    check_labels("ArrayData", labels, classes=len(names))
    return labels.to(device), names


def _checked_rows(rows: Tensor | None, count: int, device: torch.device) -> Tensor:
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


def _checked_weights(weights: Tensor | None, count: int, device: torch.device) -> Tensor | None:
    if weights is None:
        return None
    _check_length("weights", weights, count)
    good = weights.is_floating_point() and bool(torch.isfinite(weights).all())
    if not good or (count and (float(weights.min()) < 0 or float(weights.max()) == 0)):
        raise AttarError(
            "ArrayData: weights must be finite floating numbers, 0 or more and not all 0."
        )
    return weights.to(device, torch.float32)


def _checked_views(views: Views | None, inputs: Inputs) -> Views | None:
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
