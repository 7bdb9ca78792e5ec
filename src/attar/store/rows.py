"""From a row number to its place in a layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError
from attar.store import sealed
from attar.store.layout import Geometry

# A table with one entry a row number is the fastest way from a row to its place. It is made
# when the row numbers are dense enough for it: 32 MiB are always granted.
_TABLE_ALWAYS = 4 * 2**20
_TABLE_FACTOR = 8

DTYPE: np.dtype[Any] = np.dtype("<i8")


class RowRange:
    """All row numbers from ``start`` on; nothing to read and nothing to keep."""

    def __init__(self, start: int, count: int) -> None:
        self.start = start
        self.count = count

    def all(self) -> NDArray[np.int64]:
        """``[N]`` int64, rising."""
        return np.arange(self.start, self.start + self.count, dtype=np.int64)

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """``[B]`` places, below 0 or from N on for a row that is not there."""
        return rows - self.start if self.start else rows


class RowTable:
    """Row numbers that are no range.

    Args:
        rows: ``[N]`` int64, rising.
    """

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self._rows = rows
        self._low = int(rows[0])
        span = int(rows[-1]) - self._low + 1
        self._table: NDArray[np.int64] | None = None
        if span <= max(_TABLE_ALWAYS, _TABLE_FACTOR * len(rows)):
            self._table = np.full(span, -1, dtype=np.int64)
            self._table[rows - self._low] = np.arange(len(rows))

    def all(self) -> NDArray[np.int64]:
        """``[N]`` int64, rising."""
        return self._rows

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """``[B]`` places, -1 for a row that is not there."""
        found: NDArray[np.int64]
        if self._table is not None:
            offsets = rows - self._low
            found = self._table.take(offsets, mode="clip")
            outside = offsets.view(np.uint64) >= len(self._table)
        else:
            found = np.searchsorted(self._rows, rows)
            np.minimum(found, len(self._rows) - 1, out=found)
            outside = self._rows.take(found) != rows
        if outside.any():
            found[outside] = -1
        return found


def runs(wanted: NDArray[np.int64], others: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """The wanted row numbers as runs ``(start, stop)``; a run goes on over numbers of others.

    So it takes few of them where the others are easily told apart.

    >>> runs(np.array([4, 0, 1, 9]), np.array([2, 3, 5]))
    ((0, 5), (9, 10))
    """
    wanted = np.unique(wanted)
    places = np.searchsorted(np.union1d(wanted, others), wanted)
    # Between neighbours of one run there are as many numbers as there are rows.
    breaks = (np.diff(wanted) != np.diff(places)).nonzero()[0] + 1
    return tuple((int(run[0]), int(run[-1]) + 1) for run in np.split(wanted, breaks))


def pack(rows: NDArray[np.int64], layer: str) -> list[memoryview]:
    """The file of the row numbers of a layer, in pieces."""
    payload = np.ascontiguousarray(rows, dtype=DTYPE).view(np.uint8)
    return sealed.seal(payload, _geometry(len(rows)).block_bytes, f"{layer}/rows")


def block_bytes(count: int) -> int:
    """The bytes of a block of that file."""
    return _geometry(count).block_bytes


def file_size(count: int) -> int:
    """The bytes of that file."""
    return _geometry(count).file_size(count)


def damage(data: NDArray[np.uint8], count: int, layer: str) -> list[int]:
    """The damaged blocks of the bytes of that file."""
    payload, sums = sealed.split(data, count * DTYPE.itemsize)
    return sealed.damaged(payload, sums, _geometry(count).block_bytes, f"{layer}/rows")


def unpack(owner: str, data: NDArray[np.uint8], count: int, layer: str) -> NDArray[np.int64]:
    """The row numbers ``[N]`` in the bytes of that file.

    Raises:
        AttarError: If a block is damaged, or the numbers do not rise from 0 or more.
    """
    damaged = damage(data, count, layer)
    if damaged:
        raise AttarError(
            f"Store: block {damaged[0]} of {owner} is not what was written. `attar store repair` "
            f"writes it again from the data."
        )
    rows = data[: count * DTYPE.itemsize].view(DTYPE).astype(np.int64)
    if int(rows[0]) < 0 or not bool((rows[1:] > rows[:-1]).all()):
        raise AttarError(
            f"Store: {owner} must hold row numbers of 0 or more that rise. Delete the folder and "
            f"label again."
        )
    return rows


def _geometry(count: int) -> Geometry:
    return Geometry(DTYPE.itemsize, count)
