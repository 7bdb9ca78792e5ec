"""What ``layer.json`` says: written by one, read by anyone, and believed only when checked."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import xxhash

from attar.checks import AttarError
from attar.store import encodings, layout
from attar.store.encodings import Encoding
from attar.store.layout import MOST_RECORD, MOST_ROWS, MOST_VIEWS, Geometry

JSON_LIMIT = 64 * 2**20  # bytes; the names of a million classes fit
_MOST_CLASSES = 2**21  # of those that are only counted; a longer list does not fit either
_ADVICE = "It is torn or was changed. `attar store repair` mends what can be mended"


@dataclass(frozen=True)
class Source:
    """The teacher, as a store remembers it.

    Attributes:
        name: What people call it.
        fingerprint: The hash of what decides its answers.
        verified: Whether the fingerprint covers all of that; False for a function.
        outputs: ``"logits"`` or ``"probabilities"``, as the teacher gave them; None if unknown.
        parameters: How many it has; None if unknown or meaningless.
        bytes: Its size; None if unknown.
    """

    name: str
    fingerprint: str
    verified: bool
    outputs: str | None = None
    parameters: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Inputs:
    """The rows that were labelled, as a store remembers them.

    Attributes:
        fingerprint: The hash of inputs and row numbers; not of the views.
        count: How many rows, N.
        start: The first row number where they are a range; None where a file lists them.
        transforms: What makes the views, in words; empty where there is view 0 alone.
        views: How many views are finished; 0 while the first is being labelled.
        left_out: Runs ``(start, stop)`` of row numbers: a row in one of them that is not in the
            layer was left out on purpose, since whoever could label it has seen its label.
    """

    fingerprint: str
    count: int
    start: int | None
    transforms: str = ""
    views: int = 0
    left_out: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Description:
    """Everything that ``layer.json`` says, checked.

    Attributes:
        teacher: Who was asked.
        data: About what.
        classes: The name of each class, in the order of the logits.
        encoding: How a row is kept.
        created_with: The Attar that wrote it.
        asked: How the teacher was asked (backend, batch size, ...); JSON values.
        fidelity: What the encoding loses, as measured; JSON values.
    """

    teacher: Source
    data: Inputs
    classes: tuple[str, ...]
    encoding: Encoding
    created_with: str
    asked: Mapping[str, Any] = field(default_factory=dict)
    fidelity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The folder that it belongs into."""
        return layout.layer_name(self.teacher.fingerprint, self.data.fingerprint)

    @property
    def geometry(self) -> Geometry:
        """Where its rows stand."""
        return Geometry(self.encoding.record.itemsize, self.data.count)

    def with_views(self, views: int) -> Description:
        """The same with so many finished views."""
        return replace(self, data=replace(self.data, views=views))


def to_json(description: Description) -> dict[str, Any]:
    """The description as plain JSON values."""
    names = description.classes
    return {
        "format": layout.LAYER_FORMAT,
        "version": layout.VERSION,
        "created_with": description.created_with,
        "teacher": asdict(description.teacher),
        "data": {
            **asdict(description.data),
            "left_out": [list(run) for run in description.data.left_out],
        },
        "encoding": description.encoding.to_json(),
        "classes": len(names) if names == numbered(len(names)) else list(names),
        "pass": dict(description.asked),
        "fidelity": dict(description.fidelity),
    }


def numbered(count: int) -> tuple[str, ...]:
    """The names of classes that have none: their numbers."""
    return tuple(map(str, range(count)))


def pack(value: Mapping[str, Any]) -> bytes:
    """JSON that notices a changed bit: there is one way to write it, and a checksum inside."""
    text = json.dumps({**value, "checksum": _checksum(value)}, indent=1, allow_nan=False)
    return text.encode("ascii") + b"\n"


def _checksum(value: Mapping[str, Any]) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(value, allow_nan=False).encode("ascii"))


def unpack(owner: str, data: bytes, kind: str) -> dict[str, Any]:
    """The values of a file that :func:`pack` wrote.

    Raises:
        AttarError: If it is no JSON of this kind, is newer than this Attar, or has changed.
    """
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AttarError(f"Store: {owner} is not JSON ({str(error)[:80]}). {_ADVICE}.") from None
    if not isinstance(raw, dict) or raw.get("format") != kind:
        raise AttarError(f"Store: {owner} is not of the format {kind!r}. {_ADVICE}.")
    version = raw.get("version")
    if type(version) is not int or version < 1:
        raise broken(owner, "version", "an integer of 1 or more", version)
    if version > layout.VERSION:
        raise AttarError(
            f"Store: {owner} has format version {version}, and this Attar reads up to "
            f"{layout.VERSION}. Update attar, or label again with this one."
        )
    found = raw.pop("checksum", None)
    try:
        good = found == _checksum(raw) and pack(raw) == data
    except (ValueError, RecursionError):  # NaN, infinity, or too deep
        good = False
    if not good:
        raise AttarError(f"Store: {owner} is not what was written (its checksum). {_ADVICE}.")
    return raw


def from_json(owner: str, raw: Mapping[str, Any]) -> Description:
    """The description in these values, every field checked.

    Raises:
        AttarError: If a field is missing, or is of another kind or size than it must be.
    """
    classes = raw.get("classes")
    if type(classes) is int and 2 <= classes <= _MOST_CLASSES:
        names = numbered(classes)
    elif (
        isinstance(classes, list)
        and len(classes) >= 2
        and all(isinstance(name, str) for name in classes)
    ):
        names = tuple(classes)
    else:
        raise broken(owner, "classes", "a list of at least two names, or their number", classes)
    created_with = raw.get("created_with")
    if not isinstance(created_with, str):
        raise broken(owner, "created_with", "a text", created_with)
    try:
        encoding = encodings.from_json(_mapping(owner, raw, "encoding"), len(names))
    except AttarError as error:
        raise AttarError(f"Store: in {owner}, {error}") from None
    if not 1 <= encoding.record.itemsize <= MOST_RECORD:
        raise broken(owner, "encoding", f"of at most {MOST_RECORD} bytes a row", raw["encoding"])
    return Description(
        teacher=_source(owner, _mapping(owner, raw, "teacher")),
        data=_inputs(owner, _mapping(owner, raw, "data")),
        classes=names,
        encoding=encoding,
        created_with=created_with,
        asked=_mapping(owner, raw, "pass"),
        fidelity=_mapping(owner, raw, "fidelity"),
    )


def _source(owner: str, raw: Mapping[str, Any]) -> Source:
    for name in ("name", "fingerprint"):
        if not isinstance(raw.get(name), str):
            raise broken(owner, f"teacher.{name}", "a text", raw.get(name))
    if type(raw.get("verified")) is not bool:
        raise broken(owner, "teacher.verified", "true or false", raw.get("verified"))
    if raw.get("outputs") not in (None, "logits", "probabilities"):
        expected = "logits, probabilities or null"
        raise broken(owner, "teacher.outputs", expected, raw.get("outputs"))
    for name in ("parameters", "bytes"):
        value = raw.get(name)
        if value is not None and (type(value) is not int or value < 0):
            raise broken(owner, f"teacher.{name}", "a count or null", value)
    known = Source.__dataclass_fields__
    return Source(**{name: value for name, value in raw.items() if name in known})


def _inputs(owner: str, raw: Mapping[str, Any]) -> Inputs:
    for name in ("fingerprint", "transforms"):
        if not isinstance(raw.get(name), str):
            raise broken(owner, f"data.{name}", "a text", raw.get(name))
    count, start, views = raw.get("count"), raw.get("start"), raw.get("views")
    if type(count) is not int or not 1 <= count <= MOST_ROWS:
        raise broken(owner, "data.count", f"an integer from 1 to {MOST_ROWS}", count)
    if start is not None and (type(start) is not int or not 0 <= start <= MOST_ROWS - count):
        raise broken(owner, "data.start", "a row number or null", start)
    if type(views) is not int or not 0 <= views <= MOST_VIEWS:
        raise broken(owner, "data.views", f"an integer from 0 to {MOST_VIEWS}", views)
    known = Inputs.__dataclass_fields__
    values = {name: value for name, value in raw.items() if name in known}
    return Inputs(**{**values, "left_out": _runs(owner, raw.get("left_out", []))})


def _runs(owner: str, raw: Any) -> tuple[tuple[int, int], ...]:
    pairs = isinstance(raw, list) and all(isinstance(run, list) and len(run) == 2 for run in raw)
    edges = [-1, *itertools.chain(*raw), MOST_ROWS + 1] if pairs else []
    whole = bool(edges) and all(type(edge) is int for edge in edges)
    if not whole or not all(low < high for low, high in itertools.pairwise(edges)):
        raise broken(owner, "data.left_out", "pairs of row numbers that rise", raw)
    return tuple((start, stop) for start, stop in raw)


def _mapping(owner: str, raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    if not isinstance(value, dict):
        raise broken(owner, name, "an object", value)
    return value


def broken(owner: str, name: str, expected: str, got: Any) -> AttarError:
    """An error about one field."""
    shown = repr(got)
    return AttarError(
        f"Store: the field {name!r} of {owner} must be {expected}. Got "
        f"{shown if len(shown) <= 80 else shown[:77] + '...'}. {_ADVICE}."
    )
