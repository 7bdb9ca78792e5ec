"""The transfer set: the rows that the student is distilled on, where these are not just `train`."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attar.checks import AttarError
from attar.data import ArrayData, as_data, join
from attar.types import UNLABELLED, Data, unknown_labels


def read_transfer(
    train: Data, value: Any, *, first_row: int, task: str = "multiclass"
) -> tuple[Data, bool]:
    """What the user gave as a transfer set, and whether it is a part of the training rows.

    Args:
        train: All training rows, before anything is held out of them.
        value: A mask ``[N]`` of bools over these rows; or data, which is a part of them where
            its row numbers are (``train.take(...)``), or where it is a pair ``(X, y)`` all of
            whose rows are found in ``train``.
        first_row: The number of the first row of a pair that is no such part.
        task: What its labels are, if it has any.

    Returns:
        The rows, and True where they are training rows: these have the row numbers, the views
        and the inputs of ``train``, and the labels that were given, none for ``(X, None)``.

    Raises:
        AttarError: If a mask has another length or chooses no row, or rows of other inputs have
            the numbers of training rows.
    """
    mask = _as_mask(value, len(train))
    if mask is not None:
        return train.take(mask.nonzero()[:, 0]), True
    pair = isinstance(value, tuple | list)
    columns = getattr(train, "columns", None) if pair else None
    first = first_row if pair else 0
    given = as_data(value, classes=train.classes, first_row=first, columns=columns, task=task)
    if not (isinstance(train, ArrayData) and isinstance(given, ArrayData)):
        raise AttarError(
            "distill: transfer needs train and transfer in memory (arrays, tensors or ArrayData). "
            f"Got {type(train).__name__} and {type(given).__name__}; put both into one data "
            f"set with the label {UNLABELLED} for the transfer rows instead."
        )
    places = find_rows(train, given) if pair else _same_numbers(train, given)
    if places is None:
        return given, False
    labels = given.labels
    if labels is None:
        labels = unknown_labels(len(given), train.labels)
    return train.take(places).with_labels(labels), True


def add_rows(train: ArrayData, further: ArrayData) -> ArrayData:
    """Train and further rows as one; the labels of these, if any, are not used."""
    nothing = unknown_labels(len(further), train.labels)
    unlabelled = further.with_labels(nothing, classes=train.classes)
    if train.views is not None and further.views is None:
        unlabelled = unlabelled.with_views(train.views)
    return join(train, unlabelled)


def still_there(part: Data, train: Data) -> Data:
    """The rows of a part of the training rows that were not held out to judge on."""
    kept = torch.isin(part.rows, train.rows)
    if not bool(kept.any()):
        raise AttarError(
            "distill: no row of transfer is left, since all were held out of train as validation "
            "and test. Give validation= and test= rows of their own, or a larger transfer set."
        )
    return part if bool(kept.all()) else part.take(kept.nonzero()[:, 0])


def find_rows(data: ArrayData, wanted: ArrayData) -> Tensor | None:
    """The positions in ``data`` of rows with the inputs of ``wanted``; None unless all are there.

    Each row of ``data`` stands for one wanted row: of a row that is wanted twice two are needed.

    Example:
        >>> data = ArrayData(torch.tensor([[1.0], [2.0], [2.0]]))
        >>> find_rows(data, ArrayData(torch.tensor([[2.0], [1.0], [2.0]])))
        tensor([1, 0, 2])
        >>> find_rows(data, ArrayData(torch.tensor([[1.0], [1.0]]))) is None
        True
    """
    if len(wanted) > len(data) or _kind(data) != _kind(wanted):
        return None
    places: dict[bytes, list[int]] = defaultdict(list)
    for place, digest in enumerate(_digests(data)):
        places[digest].append(place)
    found = []
    # From the front: rows that are there twice are taken in the order in which they stand.
    turns = {digest: iter(some) for digest, some in places.items()}
    for digest in _digests(wanted):
        free = next(turns[digest], -1) if digest in turns else -1
        if free < 0:
            return None
        found.append(free)
    return torch.tensor(found)


def count_copies(data: Data, *parts: Data) -> list[int]:
    """How many rows of each part have the inputs of a row of ``data``; 0 if not in memory.

    Example:
        >>> data = ArrayData(torch.tensor([[1.0], [2.0]]))
        >>> count_copies(data, ArrayData(torch.tensor([[2.0], [3.0], [2.0]])))
        [2]
    """
    if not isinstance(data, ArrayData):
        return [0] * len(parts)
    known = set(_digests(data))
    return [
        sum(digest in known for digest in _digests(part))
        if isinstance(part, ArrayData) and _kind(part) == _kind(data)
        else 0
        for part in parts
    ]


def _as_mask(value: Any, rows: int) -> Tensor | None:
    """A mask as a tensor; None where the value is something else."""
    if not isinstance(value, np.ndarray | Tensor):
        return None
    mask = torch.as_tensor(value)
    if mask.dtype != torch.bool or mask.ndim != 1:
        raise AttarError(
            "distill: a transfer set is (X, None), an object of attar.data, or a mask of bools, "
            f"one for each training row. Got {mask.dtype} of shape {list(mask.shape)}."
        )
    if len(mask) != rows or not bool(mask.any()):
        raise AttarError(
            f"distill: the mask of the transfer set must have one bool for each of the {rows} "
            f"training rows and choose at least one. Got {len(mask)}, {int(mask.sum())} of them "
            "True."
        )
    return mask


def _same_numbers(train: ArrayData, given: ArrayData) -> Tensor | None:
    """The positions in ``train`` of rows that have its numbers; None where there are none."""
    shared = torch.isin(given.rows, train.rows)
    if not bool(shared.any()):
        return None
    order = train.rows.argsort()
    at = torch.searchsorted(train.rows[order], given.rows[shared])
    places = order[at]
    there, here = train.take(places), given.take(shared.nonzero()[:, 0])
    if bool(shared.all()) and _kind(there) == _kind(here):
        differing = [
            i
            for i, (a, b) in enumerate(zip(_digests(there), _digests(here), strict=True))
            if a != b
        ]
        if not differing:
            return places
    raise AttarError(
        f"distill: {int(shared.sum())} of the {len(given)} rows of transfer have the row numbers "
        "of training rows. Where all have, with the inputs of those rows, they are the part of "
        "train that the student is distilled on (train.take(...)); other rows need numbers of "
        f"their own: ArrayData(..., rows=...), from {int(train.rows.max()) + 1} on."
    )


def _named(data: ArrayData) -> Mapping[str, Tensor]:
    inputs = data.inputs
    return dict(sorted(inputs.items())) if isinstance(inputs, Mapping) else {"": inputs}


def _kind(data: ArrayData) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
    return [(name, x.dtype, tuple(x.shape[1:])) for name, x in _named(data).items()]


def _digests(data: ArrayData) -> Iterator[bytes]:
    """What tells the inputs of one row from another's, row by row."""
    arrays = [np.ascontiguousarray(x.cpu().numpy()) for x in _named(data).values()]
    for row in range(len(data)):
        digest = hashlib.blake2b(digest_size=16)
        for array in arrays:
            digest.update(array[row].tobytes())
        yield digest.digest()
