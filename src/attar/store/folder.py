"""The folder of a store as a whole: what it is, and which layers are in it."""

from __future__ import annotations

from attar.checks import AttarError
from attar.store import description, layout
from attar.store.description import Description
from attar.store.places import Place

_MARK = description.pack({"format": layout.FORMAT, "version": layout.VERSION})


def check_mark(place: Place) -> None:
    """Raise unless the folder is a store that this Attar reads."""
    data = place.read(layout.MARK, description.JSON_LIMIT)
    if data == _MARK:
        return
    if data is not None:
        description.unpack(f"{place.address}/{layout.MARK}", data, layout.FORMAT)
        return
    if "logits.npy" in place.sizes():
        raise AttarError(
            f"Store: {place.address} was written by an Attar before 0.2, in a format that is no "
            f"longer read. Label again, into another folder."
        )
    raise AttarError(f"Store: {place.address} is no store. label() makes one.")


def claim(place: Place) -> None:
    """Make the folder a store, or find that it is one.

    Raises:
        AttarError: If it holds something else; nothing is changed then.
    """
    if place.read(layout.MARK, description.JSON_LIMIT) is not None:
        check_mark(place)
        return
    if place.is_file():
        raise AttarError(f"label: {place.address} is a file; choose another folder.")
    strange = sorted([*place.sizes(), *place.folders()])
    if strange and mark_is_sound(place):
        return  # another writer has made it one between the two looks
    if strange:
        raise AttarError(
            f"label: {place.address} is not empty and is no store: it holds "
            f"{', '.join(strange[:3])}{' ...' if len(strange) > 3 else ''}. Choose another "
            f"folder; nothing was changed there."
        )
    place.write(layout.MARK, [_MARK], new=True)


def mark_is_sound(place: Place) -> bool:
    """Whether the file that says what the folder is, is what it must be."""
    return place.read(layout.MARK, description.JSON_LIMIT) == _MARK


def write_mark(place: Place) -> None:
    """Write that file again."""
    place.write(layout.MARK, [_MARK])


def layer_names(place: Place) -> list[str]:
    """The folders in it that are layers by their names."""
    return [name for name in place.folders() if layout.is_layer_name(name)]


def read_description(place: Place, layer: str, name: str = layout.LAYER) -> Description | None:
    """What a layer says about itself; None where it says nothing.

    Raises:
        AttarError: If it is damaged, or stands in a folder that is not its own.
    """
    path = f"{layer}/{name}"
    data = place.read(path, description.JSON_LIMIT)
    if data is None:
        return None
    owner = f"{place.address}/{path}"
    found = description.from_json(owner, description.unpack(owner, data, layout.LAYER_FORMAT))
    if found.name != layer:
        raise AttarError(
            f"Store: {owner} describes another layer, {found.name}. A folder in a store keeps its "
            f"name: put it back, or delete it."
        )
    return found


def descriptions(place: Place) -> list[Description]:
    """All layers, finished or not, in the order of teachers' names.

    Raises:
        AttarError: If it is no store, a description is damaged, or layers contradict each other.
    """
    check_mark(place)
    found = []
    for name in layer_names(place):
        about = read_description(place, name)
        if about is not None:
            found.append(about)
    found.sort(key=lambda about: (about.teacher.name, about.data.start or 0, about.name))
    for about in found[1:]:
        if about.classes != found[0].classes:
            raise AttarError(
                f"Store: the layers of {place.address} must answer for the same classes, and "
                f"those of {found[0].teacher.name!r} and {about.teacher.name!r} do not. Keep "
                f"them in two stores."
            )
    return found


def settle_copy(place: Place, layer: str) -> None:
    """Make the copy of a description say what the description says: a kill may come between."""
    data = place.read(f"{layer}/{layout.LAYER}", description.JSON_LIMIT)
    if data is not None and data != place.read(f"{layer}/{layout.COPY}", description.JSON_LIMIT):
        place.write(f"{layer}/{layout.COPY}", [data])


def write_description(place: Place, about: Description, *, new: bool = False) -> Description:
    """Write what a layer says about itself, and its copy.

    Args:
        place: The store.
        about: What to say.
        new: Do not touch what is there; of several writers, one begins.

    Returns:
        What stands there now.
    """
    data = description.pack(description.to_json(about))
    path = f"{about.name}/{layout.LAYER}"
    if not place.write(path, [data], new=new):
        there = read_description(place, about.name)
        assert there is not None  # somebody wrote it, and nobody removes it
        return there
    place.write(f"{about.name}/{layout.COPY}", [data])
    return about
