"""What is in a store, finished or not, for a person to read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from attar.store import folder, layout
from attar.store.description import Description
from attar.store.layout import Span
from attar.store.places import Place, place_of
from attar.store.writer import LayerWriter


@dataclass(frozen=True)
class Content:
    """One layer: what one teacher said about the views of one set of rows.

    Attributes:
        about: What its description says.
        rows: Rows of one view.
        views: Views that are finished.
        begun: Inputs beyond them that are labelled already.
        record: Bytes of a row.
        size: Bytes of its files.
    """

    about: Description
    rows: int
    views: int
    begun: int
    record: int
    size: int


def contents(path: str | Path) -> list[Content]:
    """The layers of a store, in the order of teachers' names; only descriptions are read.

    Raises:
        AttarError: If it is no store, or a description is damaged.
    """
    place = place_of(path)
    return [_content(place, about) for about in folder.descriptions(place)]


def _content(place: Place, about: Description) -> Content:
    writer, views = LayerWriter(place, about), about.data.views
    whole = {span for span in writer.finished() if span.view >= views}
    parts = place.sizes(f"{about.name}/{layout.PARTS}")
    loose = sorted(
        span
        for span in map(Span.of_part, parts)
        if span is not None
        and span.view >= views
        and about.geometry.span(span.view, span.start >> about.geometry.segment_shift) not in whole
    )
    begun, view, at = sum(span.stop - span.start for span in whole), -1, 0
    for span in loose:
        at = at if span.view == view else 0
        begun += max(span.stop - max(span.start, at), 0)
        view, at = span.view, max(at, span.stop)
    return Content(
        about=about,
        rows=about.data.count,
        views=views,
        begun=begun,
        record=about.geometry.record,
        size=sum(place.sizes(about.name).values()) + sum(parts.values()),
    )
