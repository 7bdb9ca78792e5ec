"""A folder of images, one subfolder a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from attar.checks import AttarError, check_number
from attar.data.array_checks import numbered
from attar.data.arrays import ArrayData
from attar.data.labels import encode_labels
from attar.data.pictures import mode_of, open_picture, pixels

_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}

#: What file managers leave behind; names with a leading dot are passed over too.
_LITTER = {"Thumbs.db", "desktop.ini"}


def images(
    folder: str | Path,
    *,
    size: int | tuple[int, int] | None = None,
    classes: Sequence[str] | None = None,
    first_row: int = 0,
) -> ArrayData:
    """The images of ``folder/<class>/<file>``, or of ``folder/<file>`` without labels.

    They are read into memory as ``uint8``, in the order of their paths: grey if all are, else in
    colour; upright as their camera says; without transparency; the first picture of several.

    Args:
        folder: Holds a subfolder for each class, or the images themselves where they are
            unlabelled. Links that lead out of it are refused.
        size: Height and width (or one number for both) to resize to, each at least 1; without
            it all images must have the same.
        classes: The names of the classes in their order, where they are not the subfolders,
            sorted; to be given for every set after the training data.
        first_row: The number of the first row. Sets that meet in one run need different numbers.

    Returns:
        Data of shape ``[N, C, H, W]``, C 1 or 3.

    Raises:
        AttarError: If a file is broken, of another size, too large to unpack, no image, or a
            link that leads out of the folder; the message names it.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for place, name in enumerate(("ant", "bee")):
        ...         Path(folder, name).mkdir()
        ...         Image.new("L", (2, 1), color=place).save(Path(folder, name, "0.png"))
        ...     data = images(folder)
        >>> data.inputs.tolist(), data.classes
        ([[[[0, 0]]], [[[1, 1]]]], ('ant', 'bee'))
    """
    root = Path(folder)
    if not root.is_dir():
        raise AttarError(f"images: {root} is not a folder.")
    wanted = _size(size)
    files, names = _files(root)
    inputs = _stacked(_read(files, wanted))
    rows = numbered("images", first_row, len(inputs))
    if names is None:
        return ArrayData(torch.from_numpy(inputs), rows=rows, classes=classes)
    labels, known = encode_labels("images", names, classes=classes)
    return ArrayData(torch.from_numpy(inputs), labels, rows=rows, classes=known)


def _size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = size if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2:
        raise AttarError(f"images: size must be a number or (height, width). Got {size!r}.")
    for side in sides:
        check_number("images", "size", side, low=1, high=2**13, whole=True)
    return sides[0], sides[1]


def _files(root: Path) -> tuple[list[Path], list[str] | None]:
    """The image files, and the class of each; None where they lie in the folder itself."""
    entries = _entries(root, root)
    folders = [path for path in entries if path.is_dir()]
    loose = [path for path in entries if not path.is_dir()]
    if not folders:
        if not loose:
            raise AttarError(f"images: {root} is empty. Expected a subfolder for each class.")
        return [_image(path) for path in loose], None
    if loose:
        raise AttarError(
            f"images: {root} holds files beside its subfolders, {loose[0].name} for one. Expected "
            f"{root}/<class>/<file>, or images alone where they are unlabelled."
        )
    files: list[Path] = []
    names: list[str] = []
    for subfolder in folders:
        inside = _entries(subfolder, root)
        if not inside:
            raise AttarError(f"images: the class folder {subfolder} is empty.")
        files += [_image(path) for path in inside]
        names += [subfolder.name] * len(inside)
    return files, names


def _entries(folder: Path, root: Path) -> list[Path]:
    """What lies in a folder, sorted, without litter and without ways out of the root."""
    paths = sorted(p for p in folder.iterdir() if p.name[0] != "." and p.name not in _LITTER)
    inside = root.resolve()
    for path in paths:
        if not path.resolve().is_relative_to(inside):
            raise AttarError(
                f"images: {path} is a link that leads out of {root}. Copy what it points to into "
                f"the folder."
            )
    return paths


def _image(path: Path) -> Path:
    if not path.is_file():
        raise AttarError(f"images: expected an image file at {path}; folders go one level deep.")
    if path.suffix.lower() not in _SUFFIXES:
        raise AttarError(
            f"images: {path} is not an image by its name. Expected one of "
            f"{', '.join(sorted(_SUFFIXES))}. Take it out, or convert it."
        )
    return path


def _read(files: list[Path], wanted: tuple[int, int] | None) -> list[NDArray[np.uint8]]:
    """Each picture ``[C, H, W]``, C 1 where it is grey and 3 where it has colours."""
    arrays: list[NDArray[np.uint8]] = []
    for path in files:
        with open_picture(path) as image:
            arrays.append(pixels(image, mode_of(image, str(path)), wanted, str(path)))
        first, size = arrays[0].shape[1:], arrays[-1].shape[1:]
        if size != first:
            raise AttarError(
                f"images: {path} is {size[0]} x {size[1]} (height x width) and {files[0]} is "
                f"{first[0]} x {first[1]}. Give size=(height, width) to resize all."
            )
    return arrays


def _stacked(arrays: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """All pictures as one array, in colour if any is; the list is emptied on the way."""
    shape = max(array.shape for array in arrays)  # sizes agree, so the channels decide
    stacked = np.empty((len(arrays), *shape), dtype=np.uint8)
    for place in reversed(range(len(arrays))):
        stacked[place] = arrays.pop()  # a grey picture fills all three channels
    return stacked
