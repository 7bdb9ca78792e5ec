"""Data sets of other libraries: Hugging Face ``datasets`` and PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attar.checks import AttarError
from attar.data.array_checks import numbered
from attar.data.convert import to_tensor
from attar.data.labels import encode_labels
from attar.data.mapped import MappedData
from attar.data.pictures import mode_of, pixels

_INPUT_NAMES = ("image", "img", "images", "pixel_values", "pixels", "inputs", "features", "x")
_LABEL_NAMES = ("label", "labels", "fine_label", "class", "target", "y")


def from_dataset(
    dataset: Any,
    *,
    inputs: str | None = None,
    labels: str | None = None,
    classes: Sequence[str] | None = None,
    first_row: int = 0,
) -> MappedData:
    """A Hugging Face ``Dataset``, or a PyTorch one whose items are ``(x, y)``, ``x`` or mappings.

    Inputs are read when a batch asks for them (with ``__getitems__`` where there is one); labels
    are read once, here. Pictures become ``uint8`` ``[C, H, W]``, grey or in colour as the first
    one is; ``uint8`` stays as it is; every other number becomes float32. All rows must have the
    shape of the first.

    Args:
        dataset: Has a length and gives the same item for the same index at any time. Random
            augmentation belongs into :class:`~attar.data.Views`, or soft targets would not
            belong to what the student sees.
        inputs: The column (or key) of the inputs, a usual name such as ``image`` if not given.
        labels: Likewise of the labels. Where there is none, the data is unlabelled.
        classes: The names of the classes; those that the data set knows, else the different
            labels, sorted, if not given.
        first_row: The number of the first row. Sets that meet in one run need different numbers.

    Raises:
        AttarError: If there is no such column, an item is not numbers, or two readings of the
            first item differ.

    Example:
        >>> data = from_dataset([([1, 2], "yes"), ([3, 4], None)])
        >>> data.batch(torch.tensor([1, 0])).inputs.tolist(), data.labels.tolist()
        ([[3.0, 4.0], [1.0, 2.0]], [0, -100])
    """
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise AttarError(
            f"from_dataset: needs a data set with a length and items by index. Got "
            f"{type(dataset).__name__}; read a stream into a list or a file first."
        )
    if len(dataset) == 0:
        raise AttarError("from_dataset: the data set has no rows.")
    if hasattr(dataset, "column_names") and hasattr(dataset, "select_columns"):
        fetch, targets, known = _hugging_face(dataset, inputs, labels)
    else:
        fetch, targets, known = _torch(dataset, inputs, labels)
    read = _reader(fetch)
    first = read([0])
    if not all(torch.equal(first, read([0])) for _ in range(7)):  # a flip shows half of the time
        raise AttarError(
            "from_dataset: row 0 was not the same when it was read again. Take the random "
            "augmentation out of the data set and give it as with_views(Views([...], count)): "
            "a soft target belongs to the exact input that the teacher saw."
        )
    rows = numbered("from_dataset", first_row, len(dataset))
    if targets is None:
        return MappedData(read, len(dataset), rows=rows, classes=classes)
    if known is not None:  # numbers that stand for names; -1 is how data sets write "not known"
        targets = [None if x is None or x < 0 else known[x] for x in targets]
        classes = classes if classes is not None else known
    encoded, names = encode_labels("from_dataset", targets, classes=classes)
    return MappedData(read, len(dataset), encoded, rows=rows, classes=names)


#: Positions -> the inputs at them, as the data set gives them.
_Fetch = Callable[[list[int]], list[Any]]
_Found = tuple[_Fetch, list[Any] | None, Sequence[str] | None]


def _hugging_face(dataset: Any, inputs: str | None, labels: str | None) -> _Found:
    columns = list(dataset.column_names)
    source = _column("inputs", inputs, columns, _INPUT_NAMES)
    target = _column("labels", labels, columns, _LABEL_NAMES)
    if source is None:
        raise AttarError(
            f"from_dataset: which column holds the inputs? None has a usual name. Give "
            f"inputs=..., one of {columns}."
        )
    custom = dataset.format["type"] == "custom"  # a transform of the user's may need all columns
    narrow = dataset if custom else dataset.select_columns([source])

    def fetch(positions: list[int]) -> list[Any]:
        return list(narrow[positions][source])

    if target is None:
        return fetch, None, None
    known = getattr(dataset.features[target], "names", None)  # a ClassLabel
    plain = dataset.with_format(None).select_columns([target])
    return fetch, [item[target] for item in plain], known


def _torch(dataset: Any, inputs: str | None, labels: str | None) -> _Found:
    first = dataset[0]
    if isinstance(first, Mapping):
        source: Any = _column("inputs", inputs, list(first), _INPUT_NAMES)
        target: Any = _column("labels", labels, list(first), _LABEL_NAMES)
        if source is None:
            raise AttarError(
                f"from_dataset: which key holds the inputs? None has a usual name. Give "
                f"inputs=..., one of {list(first)}."
            )
    elif inputs is not None or labels is not None:
        raise AttarError(
            f"from_dataset: inputs and labels name columns; this data set has items of the type "
            f"{type(first).__name__}."
        )
    elif isinstance(first, tuple | list):
        if len(first) != 2:
            raise AttarError(
                f"from_dataset: an item must be (x, y), x or a mapping. Got {len(first)} values."
            )
        source, target = 0, 1
    else:
        source, target = None, None

    def items(positions: list[int]) -> list[Any]:
        if hasattr(dataset, "__getitems__"):
            return list(dataset.__getitems__(positions))
        return [dataset[position] for position in positions]

    def fetch(positions: list[int]) -> list[Any]:
        found = items(positions)
        return found if source is None else [item[source] for item in found]

    if target is None:
        return fetch, None, None
    targets = _targets(dataset, lambda position: _plain(items([position])[0][target]))
    known = getattr(dataset, "classes", None)  # as torchvision has them
    named = isinstance(known, list | tuple) and all(isinstance(name, str) for name in known)
    whole = all(isinstance(x, int) and -1 <= x < len(known or ()) for x in targets)
    return fetch, targets, known if named and whole else None


def _targets(dataset: Any, target: Callable[[int], Any]) -> list[Any]:
    """The label of every item."""
    ready = getattr(dataset, "targets", None)  # as torchvision has them
    last = len(dataset) - 1
    if isinstance(ready, list | Tensor | np.ndarray) and len(ready) == len(dataset):
        found = [_plain(value) for value in ready]
        plain = getattr(dataset, "target_transform", None) is None
        if plain and (found[0], found[last]) == (target(0), target(last)):
            return found
    return [target(position) for position in range(len(dataset))]  # reads every item once


def _column(what: str, given: str | None, columns: list[str], usual: tuple[str, ...]) -> str | None:
    """The column that was given, or the first of a usual name; None where there is none."""
    if given is not None and given not in columns:
        raise AttarError(f"from_dataset: {what}={given!r} must be one of {columns}.")
    return given or next((name for name in usual if name in columns), None)


def _plain(value: Any) -> Any:
    """A label as a Python value."""
    return value.item() if isinstance(value, Tensor | np.ndarray | np.generic) else value


def _reader(fetch: _Fetch) -> Callable[[list[int]], Tensor]:
    """From positions to a tensor ``[B, ...]``, all rows of the shape and kind of the first."""
    model = fetch([0])[0]
    mode = mode_of(model, "row 0") if _is_picture(model) else None
    shape = _row(model, mode, 0).shape

    def read(positions: list[int]) -> Tensor:
        rows = [_row(x, mode, i) for x, i in zip(fetch(positions), positions, strict=True)]
        for row, position in zip(rows, positions, strict=True):
            if row.shape != shape:
                raise AttarError(
                    f"from_dataset: all rows must have the shape of the first, {tuple(shape)}. "
                    f"Row {position} has {tuple(row.shape)}."
                )
        return to_tensor("from_dataset", torch.stack(rows))

    return read


def _is_picture(value: Any) -> bool:
    """Is it an image of Pillow? Asked without importing it."""
    return hasattr(value, "getexif") and hasattr(value, "mode")


def _row(value: Any, mode: str | None, position: int) -> Tensor:
    if mode is not None:
        if not _is_picture(value):
            raise AttarError(f"from_dataset: row {position} holds {value!r}, not a picture.")
        return torch.from_numpy(pixels(value, mode, None, f"row {position}"))
    row = to_tensor("from_dataset", [value] if isinstance(value, int | float) else value)
    return row.reshape(1) if row.ndim == 0 else row
