"""Data in memory: a batch is one indexing operation, not one Python call a sample."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from attar.checks import AttarError
from attar.data import fingerprints
from attar.data.array_checks import (
    Inputs,
    check_indices,
    check_inputs,
    checked_labels,
    checked_rows,
    checked_views,
    checked_weights,
    view_offsets,
)
from attar.data.mixture import Pool
from attar.data.views import Views
from attar.types import Batch, is_known, unknown_labels


class ArrayData:
    """Rows in memory, asked for by position.

    The tensors are kept as they are, not copied; do not change them afterwards. ``uint8``
    images stay ``uint8`` (a student normalises inside its graph).

    Args:
        inputs: A tensor ``[N, ...]`` of at least two dimensions, or a mapping of tensors with N
            rows each. Floating values must be finite.
        labels: ``[N]`` int64 in ``[0, C)``, or :data:`~attar.UNLABELLED`; ``[N, D]`` floating
            for the values of a regression, or 0 and 1 of several labels a row, NaN where not
            known; None without labels.
        rows: ``[N]`` int64 row numbers in the user's whole data set, all different, at least 0
            and less than 2**40; 0 to N - 1 if not given.
        classes: The name of each class, or column of the labels; ``"0", "1", ...`` up to the
            highest if not given.
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
        count, device = check_inputs(inputs)
        self.inputs = inputs
        self.labels, self.classes = checked_labels(labels, classes, count, device)
        self.rows = checked_rows(rows, count, device)
        self.weights = checked_weights(weights, count, device)
        self.columns = None if columns is None else [dict(column) for column in columns]
        self._length = count
        self._settle()
        self.views = self._among_us(checked_views(views, inputs))

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
        """``[N]`` bool: is the label of the row known?"""
        if self.labels is None:
            return torch.zeros(len(self), dtype=torch.bool, device=self._device)
        return is_known(self.labels)

    @property
    def class_counts(self) -> Tensor:
        """``[C]`` int64: how many rows are labelled with each class."""
        known = self.rows[:0] if self.labels is None else self.labels[self.labelled]
        if known.is_floating_point():
            raise AttarError("ArrayData.class_counts: these labels are values, and no classes.")
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
        except (IndexError, RuntimeError):
            check_indices(indices, self._length)
            raise
        mixture = None
        if not isinstance(views, int) or views != 0:
            ids = ids + view_offsets(views, ids, self.view_count)
            if self.views is not None:
                inputs, labels, mixture = self.views.see(inputs, ids, labels)
        return Batch(inputs, ids, labels, weights, mixture)

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
        other.views = other._among_us(checked_views(views, self.inputs))
        return other

    def _among_us(self, views: Views | None) -> Views | None:
        """Views whose partners, if they mix rows, are the rows of this data."""
        if views is None or not views.mixes:
            return views
        inputs = self.inputs
        if self.labels is not None and self.labels.is_floating_point():
            raise AttarError("ArrayData: views that mix rows are there for classes alone.")
        assert isinstance(inputs, Tensor)  # checked: views are there for tensors alone

        def read(places: Tensor) -> Tensor:
            return inputs.index_select(0, places)

        return views.among(Pool(read, self.rows, self.labels, self.contents_fingerprint))

    def with_labels(
        self, labels: Tensor | None, *, classes: Sequence[str] | None = None
    ) -> ArrayData:
        """The same rows with other labels ``[N]``, of the same classes unless others are given."""
        other = copy.copy(self)
        names = classes if classes is not None else (self.classes or None)
        other.labels, other.classes = checked_labels(labels, names, len(self), self._device)
        if self.views is not None and self.views.pool is not None:
            other.views = self.views.among(self.views.pool.relabelled(self.rows, other.labels))
        return other

    def fingerprint(self) -> str:
        """A hash of inputs, row numbers and the definition of the views; not of the labels."""
        return fingerprints.with_views(self.contents_fingerprint(), self.views)

    def contents_fingerprint(self) -> str:
        """A hash of inputs and row numbers, whatever their views."""
        if self._fingerprint is None:
            named = self.inputs if isinstance(self.inputs, Mapping) else {"inputs": self.inputs}
            parts = [(n, x.dtype, tuple(x.shape), [x]) for n, x in sorted(named.items())]
            self._fingerprint = fingerprints.contents(parts, self.rows)
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
            f"join: the two have {shared} row number{'s' if shared > 1 else ''} in common. If the "
            f"second holds other rows, number them on: as_data(..., "
            f"first_row={int(first.rows.max()) + 1})."
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
        like = first.labels if first.labels is not None else second.labels
        labels = torch.cat(
            [
                unknown_labels(len(x), like) if x.labels is None else x.labels
                for x in (first, second)
            ]
        )
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
