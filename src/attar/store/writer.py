"""From what a teacher says, batch by batch, to finished views; killed at any point, it goes on.

What has been said of a file that is not finished is kept in parts: runs of whole batches, whose
names say what they cover. When parts cover a file, whoever notices writes it and removes them.
Parts and files are written whole, under names that follow from their contents, and never
changed: so writers need not know of each other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.store import folder, layout, sealed
from attar.store.description import Description
from attar.store.layout import Span
from attar.store.places import Place

#: A part is written when it is so many seconds old, or this share of all the time so far: a
#: kill costs a slow teacher's last seconds, and a fast one makes no parts at all.
PART_SECONDS = 2.0
PART_SHARE = 1 / 256


class LayerWriter:
    """The unfinished side of a layer.

    Args:
        place: The store, which is claimed already.
        about: What ``layer.json`` says.
    """

    def __init__(self, place: Place, about: Description) -> None:
        self.place = place
        self.about = about
        self.geometry = about.geometry
        self.name = about.name
        self.began = time.monotonic()

    def _part(self, span: Span) -> str:
        return f"{self.name}/{layout.PARTS}/{span}{layout.PART}"

    def _file(self, span: Span) -> str:
        return f"{self.name}/{span}{layout.ANSWERS}"

    def finished(self) -> set[Span]:
        """The files of answers that are there and have the right size."""
        there = self.place.sizes(self.name)
        found = set()
        for name, size in there.items():
            if not name.endswith(layout.ANSWERS):
                continue
            span = Span.of_part(name.removesuffix(layout.ANSWERS) + layout.PART)
            if span is not None and size == self.geometry.file_size(span.stop - span.start):
                found.add(span)
        return found

    def parts(self, within: Span) -> list[Span]:
        """The sound parts of one file of answers, in order; damaged ones are removed."""
        found = []
        for name, size in sorted(self.place.sizes(f"{self.name}/{layout.PARTS}").items()):
            span = Span.of_part(name)
            if span is None or span.view != within.view:
                continue
            if not within.start <= span.start < span.stop <= within.stop:
                continue
            good = size == self.geometry.file_size(span.stop - span.start)
            if good and self._read(span) is not None:
                found.append(span)
            elif not good:
                self.place.remove(self._part(span))
        return found

    def _read(self, span: Span) -> NDArray[np.uint8] | None:
        """The records of a part, as bytes; None, and it is gone, if it is damaged."""
        name, count = self._part(span), span.stop - span.start
        data = self.place.read(name, self.geometry.file_size(count))
        if data is None:
            return None
        raw = np.frombuffer(data, dtype=np.uint8)
        if len(raw) == self.geometry.file_size(count):
            payload, sums = sealed.split(raw, count * self.geometry.record)
            if not sealed.damaged(payload, sums, self.geometry.block_bytes, name):
                return payload
        self.place.remove(name)
        return None

    def gaps(self, within: Span, start: int, stop: int) -> list[tuple[int, int]]:
        """What of rows ``[start, stop)`` of a file no sound part covers."""
        found, at = [], start
        for part in self.parts(within):
            if part.start > at:
                found.append((at, min(part.start, stop)))
            at = max(at, part.stop)
            if at >= stop:
                break
        if at < stop:
            found.append((at, stop))
        return found

    def gap(self, within: Span, start: int, stop: int) -> GapWriter:
        """A context in which the records of rows ``[start, stop)`` are added, in order."""
        return GapWriter(self, within, start, stop)

    def write(self, span: Span, records: NDArray[Any], *, whole: bool) -> None:
        """Put records on the disk: a file of answers if ``whole``, else a part of one."""
        name = self._file(span) if whole else self._part(span)
        payload = np.ascontiguousarray(records).view(np.uint8).reshape(-1)
        self.place.write(name, sealed.seal(payload, self.geometry.block_bytes, name))

    def join(self, span: Span) -> bool:
        """Write a file of answers if parts cover it; False if something is missing."""
        parts = self.parts(span)
        size = self.geometry.record
        payload = np.empty((span.stop - span.start) * size, dtype=np.uint8)
        at = span.start
        for part in parts:
            if part.start > at or at == span.stop:
                break
            if part.stop <= at:
                continue
            records = self._read(part)
            if records is None:
                break  # another writer was faster, or the disk has lost it
            payload[(at - span.start) * size : (part.stop - span.start) * size] = records[
                (at - part.start) * size :
            ]
            at = part.stop
        if at < span.stop:
            return span in self.finished()
        self.write(span, payload, whole=True)
        for part in parts:
            self.place.remove(self._part(part))
        return True

    def conclude(self) -> Description:
        """Make the description say what is there, and remove what nobody needs any more.

        Returns:
            The description, with the number of finished views.
        """
        while True:
            there = folder.read_description(self.place, self.name)
            about = self.about if there is None else there
            views = self._complete()
            if there is not None and about.data.views >= views:
                break
            # And look again: another writer may have finished more in the meantime.
            self.about = folder.write_description(self.place, about.with_views(views))
        self.about = about
        folder.settle_copy(self.place, self.name)
        self._tidy()
        return about

    def _complete(self) -> int:
        """How many views, from the first on, are wholly there."""
        there = self.finished()
        view = 0
        while all(span in there for span in self.geometry.spans(range(view, view + 1))):
            view += 1
        return view

    def _tidy(self) -> None:
        parts = f"{self.name}/{layout.PARTS}"
        left = False
        for name in self.place.sizes(parts):
            span = Span.of_part(name)
            if span is None or span.view < self.about.data.views:
                self.place.remove(f"{parts}/{name}")
            else:
                left = True
        for where in ("", self.name, parts):
            self.place.sweep(where)
        if not left:
            self.place.remove_folder(parts)


class GapWriter:
    """Collects records of consecutive rows and writes them: now and then, and on leaving."""

    def __init__(self, writer: LayerWriter, within: Span, start: int, stop: int) -> None:
        self._writer = writer
        self._within = within
        self._start = start
        self._whole = (start, stop) == (within.start, within.stop)
        self._blocks: list[NDArray[Any]] = []
        self._count = 0
        self._since = time.monotonic()

    def add(self, records: NDArray[Any]) -> None:
        """The next rows, ``[B]`` records."""
        self._blocks.append(records)
        self._count += len(records)
        now = time.monotonic()
        if now - self._since >= max(PART_SECONDS, PART_SHARE * (now - self._writer.began)):
            self._flush()

    def _flush(self) -> None:
        if self._blocks:
            records = np.concatenate(self._blocks)
            span = Span(self._within.view, self._start, self._start + self._count)
            self._writer.write(span, records, whole=self._whole and span == self._within)
            self._start, self._whole = span.stop, False
            self._blocks, self._count = [], 0
        self._since = time.monotonic()

    def __enter__(self) -> GapWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._flush()  # also when the teacher raised: what it said before is kept


def batches(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """``[start, stop)`` in steps of ``size``."""
    return ((at, min(at + size, stop)) for at in range(start, stop, size))
