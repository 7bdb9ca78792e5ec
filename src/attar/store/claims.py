"""Whose layer it is: begun by one, gone on with by the same alone, beside others in peace."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from attar import __version__
from attar.checks import AttarError
from attar.store import folder, layout, rows
from attar.store.asking import Asker
from attar.store.description import Description, Inputs, Source, numbered
from attar.store.encodings import Encoding
from attar.store.pace import Pace
from attar.store.places import Place
from attar.store.wish import Wish


def claim_layer(place: Place, asker: Asker, wish: Wish) -> Description:
    """The layer of this teacher and this data, as it stands there or newly begun.

    Args:
        place: A store.
        asker: The teacher and the data.
        wish: How the rows are to be kept.

    Raises:
        AttarError: If the store holds something that this would contradict; what differs is
            said, and nothing is changed.
    """
    source, inputs = asker.source(), asker.inputs()
    name = layout.layer_name(source.fingerprint, inputs.fingerprint)
    others = folder.descriptions(place)
    there = next((about for about in others if about.name == name), None)
    if there is None:
        classes = tuple(asker.data.classes) or None
        refuse_contradiction(place, others, source, inputs, classes, asker.rows)
        there = _begin(place, asker, wish, source, inputs)
    # What the layer says, also where another process began it at the same moment.
    asker.keep(Pace.from_json(there.asked) or Pace())
    refuse_another(place, there, wish, inputs)
    if there.data.views <= 1 and inputs.transforms and not there.data.transforms:
        data = dataclasses.replace(there.data, transforms=inputs.transforms)
        there = folder.write_description(place, dataclasses.replace(there, data=data))
    return there


def _begin(place: Place, asker: Asker, wish: Wish, source: Source, inputs: Inputs) -> Description:
    if getattr(asker.teacher, "outputs", None) == "auto" or asker.columns is None:
        asker.first()
        source = dataclasses.replace(source, outputs=asker.outputs())
    assert asker.columns is not None  # the first answer has told
    pace = asker.find_pace(wish.pass_kl(), wish.temperatures)
    asker.keep(pace)
    encoding, fidelity = wish.choose(asker.columns, asker.sample)
    about = Description(
        teacher=source,
        data=inputs,
        classes=tuple(asker.data.classes) or numbered(asker.columns),
        encoding=encoding,
        created_with=f"attar {__version__}",
        asked=pace.to_json(),
        fidelity=fidelity,
    )
    return folder.write_description(place, about, new=True)


def refuse_another(place: Place, there: Description, wish: Wish | Encoding, inputs: Inputs) -> None:
    """Raise if a layer keeps its rows in another way, or has other views, than is wanted."""
    differences = []
    granted = isinstance(wish, Wish) and not wish.refuses(there.encoding)
    if not granted and there.encoding != wish:
        wanted = wish if isinstance(wish, Wish) else _named(wish)
        differences.append(f"the dtype ({_named(there.encoding)} there; {wanted} here)")
    if inputs.transforms and there.data.transforms not in ("", inputs.transforms):
        differences.append(f"the views ({there.data.transforms} there; {inputs.transforms} here)")
    _refuse(place, differences)


def refuse_contradiction(
    place: Place,
    others: list[Description],
    source: Source,
    inputs: Inputs,
    classes: tuple[str, ...] | None,
    numbers: NDArray[np.int64],
) -> None:
    """Raise if a layer of this teacher and data cannot stand beside the others.

    Args:
        place: A store.
        others: What is in it.
        source: The teacher.
        inputs: The data.
        classes: The names of its classes; None if they are not known.
        numbers: Its row numbers, rising.
    """
    for other in others:
        if other.teacher.name == source.name and other.teacher.fingerprint != source.fingerprint:
            _refuse(
                place,
                [
                    f"the teacher ({source.name}, {other.teacher.fingerprint[:12]} there; "
                    f"{source.name}, {source.fingerprint[:12]} here)"
                ],
            )
        if classes is not None and other.classes != classes:
            _refuse(place, [f"the classes ({_few(other.classes)} there)"])
        same = other.teacher.fingerprint == source.fingerprint
        if same and _overlap(place, other, numbers):
            _refuse(
                place,
                [
                    f"the data ({other.data.count} inputs, {other.data.fingerprint[:12]} there; "
                    f"{inputs.count} inputs, {inputs.fingerprint[:12]} here)"
                ],
            )


def _refuse(place: Place, differences: list[str]) -> None:
    if differences:
        raise AttarError(
            f"label: {place.address} holds the answers of another job. What differs: "
            f"{'; '.join(differences)}. Choose another folder, delete this one, or give a "
            f"teacher that is to be added a name of its own, name= or --name."
        )


def _overlap(place: Place, other: Description, here: NDArray[np.int64]) -> bool:
    """Whether a row number stands in another layer too."""
    start, count = other.data.start, other.data.count
    if start is not None:
        return bool(((here >= start) & (here < start + count)).any())
    name = f"{other.name}/{layout.ROWS}"
    data = place.read(name, rows.file_size(count))
    if data is None:
        return False
    raw = np.frombuffer(data, dtype=np.uint8)
    there = rows.unpack(f"{place.address}/{name}", raw, count, other.name)
    return bool(np.isin(here, there, assume_unique=True).any())


def _named(encoding: Encoding) -> str:
    said = encoding.to_json()
    others = ", ".join(f"{field}={value}" for field, value in said.items() if field != "name")
    return f"{said['name']}, {others}" if others else str(said["name"])


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
