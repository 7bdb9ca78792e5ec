"""One layer, read: the records of any rows and views in one gather, each block checked once."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.checks import AttarError
from attar.store import description, layout, mapped, rows, sealed
from attar.store.layout import Span
from attar.store.places import Place
from attar.types import VIEW

_VIEW_SHIFT = VIEW.bit_length() - 1


@dataclass(frozen=True)
class Damage:
    """A block that is not what was written.

    Attributes:
        file: Its name within the store.
        block: Its number within the file.
        span: The rows that it holds; None where the file holds no answers.
    """

    file: str
    block: int
    span: Span | None = None

    def __str__(self) -> str:
        if self.span is None:
            return f"block {self.block} of {self.file}"
        view, start, stop = self.span
        return f"block {self.block} of {self.file} (rows {start} to {stop - 1} of view {view})"


class Layer:
    """What one teacher said about all finished views of one set of rows.

    Opening reads the description and the sizes of the files. A file is mapped when a row in it
    is first asked for, and a block is checked when one of its rows is.

    Args:
        place: Where the store lies.
        about: What its ``layer.json`` says.

    Raises:
        AttarError: If a file is missing or has another size than it must have.
    """

    def __init__(self, place: Place, about: description.Description) -> None:
        self.place = place
        self.about = about
        self.name = about.name
        self.geometry = about.geometry
        self.views = about.data.views
        self.count = about.data.count * self.views
        self._record = about.encoding.record
        self._check_sizes()

    @property
    def address(self) -> str:
        """What people call it."""
        return f"{self.place.address}/{self.name}"

    def _check_sizes(self) -> None:
        there = self.place.sizes(self.name)
        expected = {} if self.about.data.start is not None else self._rows_file()
        if expected:
            self._check_size(there, layout.ROWS, expected[layout.ROWS])
        full = self.geometry.file_size(self.geometry.segment_rows)
        for span in self.geometry.spans(range(self.views)):
            count = span.stop - span.start
            whole = count == self.geometry.segment_rows
            size = full if whole else self.geometry.file_size(count)
            self._check_size(there, f"{span}{layout.ANSWERS}", size)

    def _rows_file(self) -> dict[str, int]:
        return {layout.ROWS: rows.file_size(self.about.data.count)}

    def _check_size(self, there: dict[str, int], name: str, size: int) -> None:
        found = there.get(name)
        if found is None:
            raise AttarError(
                f"Store: {self.address}/{name} is missing. `attar store repair` asks the teacher "
                f"for what it held."
            )
        if found != size:
            raise AttarError(
                f"Store: {self.address}/{name} is torn: {size} bytes expected, {found} found. "
                f"`attar store repair` asks the teacher for what it held."
            )

    # From ids to rows in memory.

    @functools.cached_property
    def rows(self) -> rows.RowRange | rows.RowTable:
        """The row numbers; a file of them is read and checked here, at the first look-up."""
        data = self.about.data
        if data.start is not None:
            return rows.RowRange(data.start, data.count)
        path = self.place.local(f"{self.name}/{layout.ROWS}")
        owner = f"{self.address}/{layout.ROWS}"
        raw = np.fromfile(path, dtype=np.uint8)
        if len(raw) != rows.file_size(data.count):
            raise AttarError(f"Store: {owner} is torn.")
        return rows.RowTable(rows.unpack(owner, raw, data.count, self.name))

    def ids(self) -> NDArray[np.int64]:
        """``[N * V]`` int64, view by view, rising."""
        views = np.arange(self.views, dtype=np.int64)[:, None] * VIEW
        return (views + self.rows.all()).reshape(-1)

    def flat(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
        """``[B]`` places of ids in memory, and which of the ids are here; None if all are.

        The place of one that is not here is without meaning.
        """
        numbers = self.about.data.count
        if self.views == 1:
            places = self.rows.places(ids)
            if not len(ids) or int(places.view(np.uint64).max()) < numbers:
                return self._spread(places), None
            return self._spread(places), places.view(np.uint64) < numbers
        views, places = ids >> _VIEW_SHIFT, self.rows.places(ids & (VIEW - 1))
        good = (places.view(np.uint64) < numbers) & (views.view(np.uint64) < self.views)
        return self._spread(places) + views * self._view_slot, None if bool(good.all()) else good

    def left_out(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """``[B]``: which of these ids, if they are not here, are not here on purpose."""
        runs = np.array(self.about.data.left_out, dtype=np.int64).reshape(-1, 2)
        rows = ids & (VIEW - 1)
        inside = np.searchsorted(runs[:, 0], rows, side="right") - 1
        found: NDArray[np.bool_] = inside >= 0
        found[found] = rows[found] < runs[inside[found], 1]
        return found

    def _spread(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places within a view, with the gaps that there are in memory between its files."""
        if not self._gap:
            return places
        return places + (places >> self.geometry.segment_shift) * self._gap

    # From rows in memory to records.

    @functools.cached_property
    def _slots(self) -> tuple[int, int]:
        return self.geometry.slot(mapped.GRAIN)

    @functools.cached_property
    def _gap(self) -> int:
        several = self.geometry.segments > 1
        return self._slots[0] - self.geometry.segment_rows if several else 0

    @functools.cached_property
    def _view_slot(self) -> int:
        return self._slots[1]

    @functools.cached_property
    def _memory(self) -> Memory:
        return Memory(self)

    def records(self, flat: NDArray[np.int64]) -> NDArray[Any]:
        """Records ``[B]`` at these places in memory, a copy.

        Raises:
            AttarError: If one stands in a damaged block; the block is named.
        """
        memory = self._memory
        memory.touch(flat)
        # One copy of so many bytes a row: numpy does that with less beside it than torch.
        return memory.records.take(flat).view(self._record)

    def plain(self, flat: NDArray[np.int64]) -> Tensor:
        """``[B, C]`` as it was stored, of an encoding that keeps just the values."""
        encoding = self.about.encoding
        assert encoding.plain is not None
        memory = self._memory
        memory.touch(flat)
        values = memory.records.take(flat).view(encoding.plain)
        return torch.from_numpy(values.reshape(len(flat), encoding.classes))

    def sums(self) -> NDArray[Any]:
        """The checksums of all answers, as they stand in the files."""
        size = self.geometry.record
        return np.concatenate(
            [
                np.fromfile(
                    self.place.local(layout.answers_name(self.name, span)),
                    dtype=sealed.SUM,
                    offset=(span.stop - span.start) * size,
                )
                for span in self.geometry.spans(range(self.views))
            ]
        )


class Memory:
    """The answers of a layer in one stretch of memory, block by block as they are checked."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        geometry = layer.geometry
        self._file_slot, self._view_slot = geometry.slot(mapped.GRAIN)
        total = self._view_slot * layer.views
        self._stretch = mapped.Stretch(total * geometry.record)
        raw = self._stretch.bytes
        self.records: NDArray[Any] = raw.view(f"V{geometry.record}")
        self._shift = geometry.block_shift
        self._checked = np.zeros(total >> self._shift, dtype=np.bool_)
        # Blocks that hold rows; when all are checked, there is nothing left to look up.
        self._left = layer.views * sum(
            sealed.blocks(span.stop - span.start, geometry.block_rows)
            for span in geometry.spans(range(1))
        )
        self._sums: dict[tuple[int, int], NDArray[Any]] = {}

    def touch(self, flat: NDArray[np.int64]) -> None:
        """Make sure that the blocks of these places are mapped and are what was written."""
        if not self._left:
            return
        blocks = flat >> self._shift
        known = self._checked.take(blocks)
        if not known.all():
            for block in np.unique(blocks[~known]).tolist():
                self._check(block)

    def _check(self, block: int) -> None:
        layer, geometry = self._layer, self._layer.geometry
        at = block << self._shift
        view, inside = divmod(at, self._view_slot)
        segment = inside // self._file_slot
        span = geometry.span(view, segment)
        name = layout.answers_name(layer.name, span)
        begin = (view * self._view_slot + segment * self._file_slot) * geometry.record
        sums = self._sums.get((view, segment))
        if sums is None:
            sums = self._show(layer.place.local(name), span, begin)
            self._sums[view, segment] = sums
        payload = self._stretch.bytes[begin : begin + (span.stop - span.start) * geometry.record]
        number = (inside - segment * self._file_slot) >> self._shift
        if sealed.damaged(payload, sums, geometry.block_bytes, name, [number]):
            damage = Damage(name, number, geometry.block_span(span, number))
            raise AttarError(
                f"Store: {damage} in {layer.place.address} is not what was written. "
                f"`attar store repair` asks the teacher for these rows again."
            )
        self._checked[block] = True
        self._left -= 1

    def _show(self, path: Path, span: Span, begin: int) -> NDArray[Any]:
        """Map the file of this span; its checksums."""
        length = (span.stop - span.start) * self._layer.geometry.record
        size = path.stat().st_size
        if size != self._layer.geometry.file_size(span.stop - span.start):
            raise AttarError(f"Store: {path} is torn: it has changed its size. Open it again.")
        self._stretch.show(path, begin, length)
        return np.fromfile(path, dtype=sealed.SUM, offset=length)
