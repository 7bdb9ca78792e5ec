"""Data that is read batch by batch, for what does not fit into memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from attar.checks import AttarError, check_finite
from attar.data import fingerprints
from attar.data.array_checks import (
    check_indices,
    checked_labels,
    checked_rows,
    checked_views,
    view_offsets,
)
from attar.data.mixture import Pool
from attar.data.views import Views
from attar.types import UNLABELLED, Batch

#: Rows read at a time for the fingerprint.
_CHUNK = 256


class MappedData:
    """Rows behind a function that reads them by position.

    Args:
        read: Positions -> inputs ``[B, ...]``, the same for the same position at any time.
        count: How many rows there are.
        labels: ``[N]`` int64, :data:`~attar.UNLABELLED` where not known; None without labels.
        rows: ``[N]`` int64 row numbers, all different; 0 to N - 1 if not given.
        classes: The name of each class; ``"0", "1", ...`` up to the highest label if not given.
        views: Further forms of each row; None for the rows alone.

    Raises:
        AttarError: If the labels or row numbers do not suit the count.
    """

    def __init__(
        self,
        read: Callable[[list[int]], Tensor],
        count: int,
        labels: Tensor | None = None,
        *,
        rows: Tensor | None = None,
        classes: Sequence[str] | None = None,
        views: Views | None = None,
    ) -> None:
        if count < 1:
            raise AttarError("MappedData: the data has no rows.")
        here = torch.device("cpu")
        self._read = read
        self._positions = torch.arange(count)
        self.labels, self.classes = checked_labels(labels, classes, count, here)
        self.rows = checked_rows(rows, count, here)
        self._fingerprint: str | None = None
        self.views = self._among_us(checked_views(views, torch.empty(0, 0)))

    def __len__(self) -> int:
        return len(self._positions)

    def __repr__(self) -> str:
        known = int(self.labelled.sum())
        return (
            f"MappedData({known} of {len(self)} rows labelled, {len(self.classes)} classes, "
            f"view_count={self.view_count})"
        )

    @property
    def view_count(self) -> int:
        """How many views each row has, view 0 (the row itself) included."""
        return 1 if self.views is None else self.views.count

    @property
    def labelled(self) -> Tensor:
        """``[N]`` bool: is the class of the row known?"""
        if self.labels is None:
            return torch.zeros(len(self), dtype=torch.bool)
        return self.labels != UNLABELLED

    def batch(self, indices: Tensor, views: Tensor | int = 0) -> Batch:
        """The rows at these positions ``[B]`` (int64), each in its view.

        Raises:
            AttarError: If a position or a view is out of range, or what was read is not finite.
        """
        indices = indices.to("cpu")
        check_indices(indices, len(self))
        rows = self.rows[indices]
        offsets = view_offsets(views, rows, self.view_count)
        inputs = self._read(self._positions[indices].tolist())
        check_finite("from_dataset", "inputs", inputs, ids=rows)
        ids = rows + offsets
        labels, mixture = None if self.labels is None else self.labels[indices], None
        if self.views is not None:
            inputs, labels, mixture = self.views.see(inputs, ids, labels)
        return Batch(inputs, ids, labels, mixture=mixture)

    def take(self, indices: Tensor) -> MappedData:
        """The same data with only these positions (or a mask); row numbers and views stay.

        Raises:
            AttarError: If a position is out of range or comes twice.
        """
        indices = torch.as_tensor(indices, device="cpu")
        if indices.dtype == torch.bool and indices.shape == self.rows.shape:
            indices = indices.nonzero()[:, 0]
        check_indices(indices, len(self))
        if len(torch.unique(indices)) != len(indices):
            raise AttarError("MappedData.take: a position was given twice; rows must all differ.")
        other = copy.copy(self)
        other.labels = None if self.labels is None else self.labels[indices]
        other.rows, other._positions = self.rows[indices], self._positions[indices]
        other._fingerprint = None
        return other

    def with_views(self, views: Views | None) -> MappedData:
        """The same rows with other views; None for the rows alone."""
        other = copy.copy(self)
        other.views = other._among_us(checked_views(views, torch.empty(0, 0)))
        return other

    def _among_us(self, views: Views | None) -> Views | None:
        """Views whose partners, if they mix rows, are the rows of this data."""
        if views is None or not views.mixes:
            return views
        positions = self._positions

        def read(places: Tensor) -> Tensor:
            return self._read(positions[places].tolist())

        return views.among(Pool(read, self.rows, self.labels, self.contents_fingerprint))

    def with_labels(
        self, labels: Tensor | None, *, classes: Sequence[str] | None = None
    ) -> MappedData:
        """The same rows with other labels ``[N]``, of the same classes unless others are given."""
        other = copy.copy(self)
        names = classes if classes is not None else (self.classes or None)
        other.labels, other.classes = checked_labels(labels, names, len(self), self.rows.device)
        if self.views is not None and self.views.pool is not None:
            other.views = self.views.among(self.views.pool.relabelled(self.rows, other.labels))
        return other

    def fingerprint(self) -> str:
        """The hash that the same rows have in memory. Reads all of them, the first time."""
        return fingerprints.with_views(self.contents_fingerprint(), self.views)

    def contents_fingerprint(self) -> str:
        """A hash of inputs and row numbers, whatever their views."""
        if self._fingerprint is None:
            first = self._read(self._positions[:1].tolist())
            shape = (len(self), *first.shape[1:])
            parts = [("inputs", first.dtype, shape, self._pieces())]
            self._fingerprint = fingerprints.contents(parts, self.rows)
        return self._fingerprint

    def _pieces(self) -> Iterator[Tensor]:
        for positions in torch.split(self._positions, _CHUNK):
            yield self._read(positions.tolist())
