"""Several stores as one, and less of one: files are copied or removed, nobody is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attar.checks import AttarError, check_number
from attar.store import claims, folder, layout, rows, sealed
from attar.store.description import Description
from attar.store.layout import Span
from attar.store.places import Place, place_of
from attar.store.writer import LayerWriter


def merge(out: str | Path, sources: Sequence[str | Path]) -> None:
    """Put what is in several stores into one.

    Other teachers, other rows, further views, and the shares of one job that was labelled into
    several folders (:func:`attar.store.label_shard`): finished or not, what they hold is
    copied, each block checked on the way, and what is complete then is finished. Killed and
    called again, it goes on. The sources stay as they are.

    Args:
        out: A store, or a folder that does not exist yet or is empty.
        sources: Stores.

    Raises:
        AttarError: If a source is no store or a block in it is damaged; if two of them
            contradict each other: one name for two teachers, other classes, the same answers in
            two encodings, the same rows with other contents. Nothing of that source's layer is
            copied then.
    """
    if not sources:
        raise AttarError("merge: give at least one store to copy from.")
    place = place_of(out)
    there = [(one, folder.descriptions(one)) for one in map(place_of, sources)]
    folder.claim(place)
    for source, layers in there:
        for about in layers:
            _merge_layer(place, source, about)


def _merge_layer(place: Place, source: Place, about: Description) -> None:
    others = folder.descriptions(place)
    there = next((other for other in others if other.name == about.name), None)
    if there is None:
        numbers = _rows(source, about)
        claims.refuse_contradiction(
            place, others, about.teacher, about.data, about.classes, numbers
        )
        there = folder.write_description(place, about.with_views(0), new=True)
    claims.refuse_another(place, there, about.encoding, about.data)
    if about.data.transforms and not there.data.transforms:
        data = dataclasses.replace(there.data, transforms=about.data.transforms)
        there = folder.write_description(place, dataclasses.replace(there, data=data))
    writer = LayerWriter(place, there)
    if about.data.start is None:
        _copy(source, place, f"{about.name}/{layout.ROWS}", rows.block_bytes(about.data.count))
    begun = _copy_answers(source, place, about, writer)
    for span in begun:
        writer.join(span)
    writer.conclude()


def _rows(source: Place, about: Description) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if about.data.start is not None:
        return np.arange(about.data.start, about.data.start + about.data.count)
    name = f"{about.name}/{layout.ROWS}"
    raw = np.fromfile(source.local(name), dtype=np.uint8)
    return rows.unpack(f"{source.address}/{name}", raw, about.data.count, about.name)


def _copy_answers(
    source: Place, place: Place, about: Description, writer: LayerWriter
) -> set[Span]:
    """Copy files and parts that are not there; the files that parts belong to."""
    block, done = about.geometry.block_bytes, writer.finished()
    for span in sorted(LayerWriter(source, about).finished() - done):
        _copy(source, place, layout.answers_name(about.name, span), block)
        done.add(span)
    begun = set()
    for name in source.sizes(f"{about.name}/{layout.PARTS}"):
        part = Span.of_part(name)
        if part is None:
            continue
        whole = about.geometry.span(part.view, part.start >> about.geometry.segment_shift)
        if whole not in done:
            _copy(source, place, f"{about.name}/{layout.PARTS}/{name}", block)
            begun.add(whole)
    return begun


def _copy(source: Place, place: Place, name: str, block: int) -> None:
    """Copy one sealed file, after it was checked."""
    raw = np.fromfile(source.local(name), dtype=np.uint8)
    payload, sums = sealed.split_by_size(raw, block)
    damaged = sealed.damaged(payload, sums, block, name)
    if damaged:
        raise AttarError(
            f"merge: block {damaged[0]} of {source.address}/{name} is not what was written. "
            f"Repair that store first: `attar store repair`."
        )
    place.write(name, [raw.data])


def prune(
    path: str | Path,
    *,
    teachers: Sequence[str] = (),
    views: int | None = None,
    unfinished: bool = False,
) -> int:
    """Remove what is no longer wanted; what killed writers left behind always goes.

    Args:
        path: A store, to which nobody writes and from which nobody reads meanwhile.
        teachers: The names of teachers whose answers go.
        views: Keep so many views, at least 1; all if None.
        unfinished: Whether also answers go that belong to no finished view. Without this they
            stay, and labelling goes on from them.

    Returns:
        How many bytes went.

    Raises:
        AttarError: If it is no store, or a teacher was never asked.
    """
    if views is not None:
        check_number("prune", "views", views, low=1, whole=True)
    place = place_of(path)
    layers = folder.descriptions(place)
    unknown = sorted(set(teachers) - {about.teacher.name for about in layers})
    if unknown:
        raise AttarError(
            f"prune: {place.address} knows {sorted({a.teacher.name for a in layers})}. Got "
            f"{unknown[0]!r}."
        )
    before = _size(place, layers)
    for about in layers:
        if about.teacher.name in teachers:
            _drop(place, about)
        else:
            _cut(place, about, views, unfinished)
    place.sweep("")
    return before - _size(place, layers)


def _drop(place: Place, about: Description) -> None:
    """Remove a layer: first what makes it one, so that a kill leaves no half of it."""
    place.remove(f"{about.name}/{layout.LAYER}")
    place.remove(f"{about.name}/{layout.COPY}")
    place.remove_folder(about.name)


def _cut(place: Place, about: Description, views: int | None, unfinished: bool) -> None:
    if views is not None and views < about.data.views:
        about = folder.write_description(place, about.with_views(views))
    cut = about.data.views if unfinished or views is not None else None
    parts = f"{about.name}/{layout.PARTS}"
    if cut is not None:
        for span in LayerWriter(place, about).finished():
            if span.view >= cut:
                place.remove(layout.answers_name(about.name, span))
        place.remove_folder(parts)
    if cut == 0:
        _drop(place, about)
    for where in (about.name, parts):
        place.sweep(where)


def _size(place: Place, layers: Sequence[Description]) -> int:
    folders = [where for about in layers for where in (about.name, f"{about.name}/{layout.PARTS}")]
    return sum(sum(place.sizes(where).values()) for where in folders)
