"""What is damaged in a store, and mending it: from copies, or by asking for those rows again."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError, check_number
from attar.store import description, folder, layout, rows, sealed
from attar.store.asking import Asker
from attar.store.description import Description
from attar.store.layer import Damage
from attar.store.layout import Span
from attar.store.pace import Pace
from attar.store.places import Place, place_of
from attar.types import Data, Teacher


@dataclass(frozen=True)
class Repaired:
    """What :func:`repair` found.

    Attributes:
        mended: What was damaged and is whole again.
        left: What is still damaged: nobody was asked who could say it again.
    """

    mended: tuple[Damage, ...]
    left: tuple[Damage, ...]


def damage(path: str | Path) -> list[Damage]:
    """Read a whole store and name everything in it that is not what was written.

    Descriptions, row numbers and answers of finished views; missing and torn files count with
    all of their blocks.

    Args:
        path: A store.

    Raises:
        AttarError: If it is no store.
    """
    place = place_of(path)
    found = _damaged_texts(place)
    for about in _readable(place):
        found += _damaged_rows(place, about)
        for span in about.geometry.spans(range(about.data.views)):
            found += _damaged_blocks(place, about, span)[1]
    return found


def repair(
    path: str | Path,
    teacher: Teacher | None = None,
    data: Data | None = None,
    *,
    batch_size: int | Literal["auto"] = "auto",
    backends: Mapping[str, Any] | None = None,
) -> Repaired:
    """Mend a store: descriptions from their copies, blocks by asking for their rows again.

    The teacher is asked about the batches that the damaged rows stood in, and about nothing
    else. Asked as at the first labelling, which ``"auto"`` does, a deterministic teacher gives
    the same bytes.

    Args:
        path: A store, to which nobody writes meanwhile.
        teacher: The one whose answers are to be mended; None to mend descriptions alone.
        data: What it was asked about then.
        batch_size: Rows of one question; ``"auto"``: as many as at the first labelling.
        backends: As in :func:`attar.store.label`.

    Returns:
        What was mended, and what is left: the answers of other teachers, or about other data.

    Raises:
        AttarError: If it is no store, a description and its copy are both damaged, or this
            teacher was not asked about this data.
    """
    if batch_size != "auto":
        check_number("repair", "batch_size", batch_size, low=1, whole=True)
    place = place_of(path)
    mended = _mend_texts(place)
    if teacher is not None and data is not None:
        asker = Asker(teacher, data, batch_size=batch_size, backends=backends)
        name = layout.layer_name(asker.source().fingerprint, asker.inputs().fingerprint)
        about = next((some for some in folder.descriptions(place) if some.name == name), None)
        if about is None:
            raise AttarError(
                f"repair: {place.address} holds no answers of this teacher about this data. "
                f"Give those that the store was labelled with."
            )
        if about.data.views > data.view_count:
            raise AttarError(
                f"repair: {place.address} holds {about.data.views} views of this data. Got "
                f"{data.view_count}: give as many views, made in the same way."
            )
        asker.keep(Pace.from_json(about.asked) or Pace())
        mended += _mend_rows(place, about, asker)
        for span in about.geometry.spans(range(about.data.views)):
            mended += _mend_blocks(place, about, span, asker)
    return Repaired(tuple(mended), tuple(damage(path)))


def _texts(place: Place) -> list[tuple[str, str]]:
    """Every description and its copy, by layer and name."""
    names = (layout.LAYER, layout.COPY)
    return [(layer, name) for layer in folder.layer_names(place) for name in names]


def _damaged_texts(place: Place) -> list[Damage]:
    found = []
    if not folder.mark_is_sound(place):
        if not any(place.sizes(layer) for layer in folder.layer_names(place)):
            folder.check_mark(place)  # raises: it is no store
        found.append(Damage(layout.MARK, 0))
    for layer, name in _texts(place):
        if not place.sizes(layer):
            continue
        try:
            about = folder.read_description(place, layer, name)
        except AttarError:
            about = None
        if about is None:
            found.append(Damage(f"{layer}/{name}", 0))
    return found


def _readable(place: Place) -> list[Description]:
    """The layers whose description can be read."""
    found = []
    for layer in folder.layer_names(place):
        with contextlib.suppress(AttarError):
            about = folder.read_description(place, layer)
            if about is not None:
                found.append(about)
    return found


def _mend_texts(place: Place) -> list[Damage]:
    found = _damaged_texts(place)
    for one in found:
        if one.file == layout.MARK:
            folder.write_mark(place)
            continue
        layer, name = one.file.split("/")
        other = layout.COPY if name == layout.LAYER else layout.LAYER
        about = folder.read_description(place, layer, other)
        if about is None:
            raise AttarError(
                f"repair: {place.address}/{layer} does not say what it holds: {layout.LAYER} and "
                f"{layout.COPY} are missing. Delete this folder and label again."
            )
        place.write(one.file, [description.pack(description.to_json(about))])
    return found


def _damaged_rows(place: Place, about: Description) -> list[Damage]:
    if about.data.start is not None:
        return []
    name = f"{about.name}/{layout.ROWS}"
    size = place.sizes(about.name).get(layout.ROWS)
    if size != rows.file_size(about.data.count):
        return [Damage(name, 0)]
    raw = np.fromfile(place.local(name), dtype=np.uint8)
    return [Damage(name, block) for block in rows.damage(raw, about.data.count, about.name)]


def _mend_rows(place: Place, about: Description, asker: Asker) -> list[Damage]:
    found = _damaged_rows(place, about)
    if found:
        place.write(f"{about.name}/{layout.ROWS}", rows.pack(asker.rows, about.name))
    return found


def _damaged_blocks(
    place: Place, about: Description, span: Span
) -> tuple[NDArray[np.uint8] | None, list[Damage]]:
    """The bytes of a file of answers, None if they are not there; and what is damaged."""
    geometry = about.geometry
    name = layout.answers_name(about.name, span)
    count = span.stop - span.start
    size = place.sizes(about.name).get(name.rsplit("/", 1)[1])
    raw, bad = None, list(range(sealed.blocks(count, geometry.block_rows)))
    if size == geometry.file_size(count):
        raw = np.memmap(place.local(name), np.uint8, "r")
        payload, sums = sealed.split(raw, count * geometry.record)
        bad = sealed.damaged(payload, sums, geometry.block_bytes, name)
    return raw, [Damage(name, block, geometry.block_span(span, block)) for block in bad]


def _mend_blocks(place: Place, about: Description, span: Span, asker: Asker) -> list[Damage]:
    raw, found = _damaged_blocks(place, about, span)
    if not found:
        return []
    geometry = about.geometry
    length, block = (span.stop - span.start) * geometry.record, geometry.block_bytes
    name = layout.answers_name(about.name, span)
    sums: NDArray[np.uint64]
    if raw is None:
        payload = np.zeros(length, dtype=np.uint8)
        sums = np.zeros(sealed.blocks(length, block), dtype=sealed.SUM)
    else:
        payload, sums = sealed.split(np.array(raw), length)
        sums = sums.copy()
    for start, stop in _batches(found, span, asker.batch_size):
        records = about.encoding.encode(*asker(span.view, start, stop))
        said = np.ascontiguousarray(records).view(np.uint8).reshape(stop - start, -1)
        for one in found:
            assert one.span is not None
            low, high = max(start, one.span.start), min(stop, one.span.stop)
            if low < high:
                at = (low - span.start) * geometry.record
                part = said[low - start : high - start].reshape(-1)
                payload[at : at + len(part)] = part
    key = sealed.key(name)
    for one in found:
        data = payload[one.block * block : (one.block + 1) * block]
        sums[one.block] = sealed.checksum(data.data, key, one.block)
    place.write(name, [payload.data, sums.view(np.uint8).data])
    return found


def _batches(found: Sequence[Damage], span: Span, size: int) -> list[tuple[int, int]]:
    """The batches of the first labelling that the damaged blocks stood in."""
    numbers: set[int] = set()
    for one in found:
        assert one.span is not None
        first, last = one.span.start - span.start, one.span.stop - 1 - span.start
        numbers.update(range(first // size, last // size + 1))
    edges = ((span.start + n * size, span.start + (n + 1) * size) for n in sorted(numbers))
    return [(start, min(stop, span.stop)) for start, stop in edges]
