"""The contract on disk: which files a store holds and what may stand in them.

A store is a folder of layers and nothing that can run code. A layer is what one teacher said
about the views of one set of rows::

    store.json                                  what this folder is; the same bytes in every store
    <layer>/layer.json                          who said what about which data, in which encoding
    <layer>/layer.copy.json                     the same again, should the first be damaged
    <layer>/rows                                the row numbers, where they are not a range
    <layer>/0000-0000000000-0000131072.answers  view 0, the first 131,072 rows
    <layer>/parts/                              while a teacher labels: what it has said so far

The name of a layer is a hash of its teacher and its data, and the name of a file of answers says
which rows it covers. So any number of writers agree on the names without speaking to each other;
two that write the same file write the same bytes. A file appears whole or not at all, and is
never changed afterwards. What is finished follows from what is there, and ``layer.json`` says
how many views are.

Rows stand in a layer by rising number. Answers are records of one size (:mod:`.encodings`) in
files of blocks with checksums (:mod:`.sealed`).

A store may come from someone else: names are made here and never read from a file, every field
is checked, and a file must have exactly the size that follows.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from attar.store import sealed

FORMAT, LAYER_FORMAT = "attar.store", "attar.store.layer"
VERSION = 2

MARK, LAYER, COPY, ROWS, PARTS = "store.json", "layer.json", "layer.copy.json", "rows", "parts"
ANSWERS, PART = ".answers", ".part"

#: A checksum covers about this many bytes: what one look at a row reads and checks at first.
BLOCK_BYTES = 2**16
#: A file of answers has about this many: what a writer may need twice on the disk.
SEGMENT_BYTES = 2**26
#: A row number takes 40 bits of an id, a view 22.
MOST_ROWS, MOST_VIEWS = 2**40, 2**22
#: A record of all the logits of a vocabulary is a megabyte; more than this is a mistake.
MOST_RECORD = 2**30

_LAYER_NAME = re.compile(r"[0-9a-f]{24}")
_PART_NAME = re.compile(r"(\d{4,7})-(\d{10,13})-(\d{10,13})\.part")


def layer_name(teacher: str, data: str) -> str:
    """The folder of what this teacher said about this data, from their fingerprints."""
    text = f"{len(teacher)}:{teacher}:{data}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def answers_name(layer: str, span: Span) -> str:
    """The file that holds these rows, within the store."""
    return f"{layer}/{span}{ANSWERS}"


def is_layer_name(name: str) -> bool:
    """Whether a folder of this name can be a layer."""
    return _LAYER_NAME.fullmatch(name) is not None


class Span(NamedTuple):
    """Rows ``[start, stop)`` of one view, counted in the order of the layer."""

    view: int
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.view:04d}-{self.start:010d}-{self.stop:010d}"

    @classmethod
    def of_part(cls, name: str) -> Span | None:
        """What the part of this name covers; None if it is no name of a part."""
        found = _PART_NAME.fullmatch(name)
        if found is None:
            return None
        span = cls(*map(int, found.groups()))
        return span if f"{span}{PART}" == name and span.start < span.stop else None


@dataclass(frozen=True)
class Geometry:
    """Where a row stands, decided by the size of a record and the number of rows alone.

    Attributes:
        record: Bytes of a record.
        rows: Rows of one view, N.
    """

    record: int
    rows: int

    @functools.cached_property
    def block_shift(self) -> int:
        """The logarithm to the base 2 of :attr:`block_rows`."""
        return max(BLOCK_BYTES // self.record, 1).bit_length() - 1

    @property
    def block_rows(self) -> int:
        """Rows that share a checksum."""
        return 1 << self.block_shift

    @property
    def block_bytes(self) -> int:
        """Bytes that share a checksum."""
        return self.record << self.block_shift

    @functools.cached_property
    def segment_shift(self) -> int:
        """The logarithm to the base 2 of :attr:`segment_rows`."""
        return max(SEGMENT_BYTES // self.record, 1).bit_length() - 1

    @property
    def segment_rows(self) -> int:
        """Rows of a file of answers; the last one of a view has fewer."""
        return 1 << self.segment_shift

    @property
    def segments(self) -> int:
        """Files a view."""
        return -(-self.rows // self.segment_rows)

    def span(self, view: int, segment: int) -> Span:
        """What a file of answers covers."""
        start = segment << self.segment_shift
        return Span(view, start, min(start + self.segment_rows, self.rows))

    def spans(self, views: range) -> Iterator[Span]:
        """What all files of answers of these views cover, in order."""
        return (self.span(view, index) for view in views for index in range(self.segments))

    def block_span(self, span: Span, block: int) -> Span:
        """The rows of one block of a file of answers."""
        start = span.start + (block << self.block_shift)
        return Span(span.view, start, min(start + self.block_rows, span.stop))

    def file_size(self, count: int) -> int:
        """The bytes of a file of ``count`` records."""
        return sealed.file_size(count * self.record, self.block_bytes)

    def slot(self, grain: int) -> tuple[int, int]:
        """How far apart files and views stand in memory, in rows.

        Args:
            grain: A file begins at a multiple of this many bytes.

        Returns:
            From one file to the next, and from one view to the next.
        """
        step = math.lcm(grain // math.gcd(grain, self.record), self.block_rows)
        file = -(-self.segment_rows // step) * step
        last = self.rows - (self.segments - 1) * self.segment_rows
        return file, (self.segments - 1) * file + -(-last // step) * step

    def shard(self, index: int, count: int, views: int) -> tuple[int, int]:
        """The positions ``[start, stop)`` of one of ``count`` equal shares of all views.

        Position ``view * rows + row``. Shares meet where a batch of any usual size ends, so that
        a teacher is asked the same questions whatever the number of shares.
        """
        total = self.rows * views
        unit = 1 << max(min(total // (4 * count), 1024).bit_length() - 1, 0)

        def edge(number: int) -> int:
            at = total * number // count
            if at == total:
                return at
            view, row = divmod(at, self.rows)
            begin = row >> self.segment_shift << self.segment_shift
            return view * self.rows + begin + (row - begin) // unit * unit

        return edge(index), edge(index + 1)
