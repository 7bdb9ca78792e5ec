"""Whatever people have at hand -> data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attar.checks import AttarError
from attar.columns import describe_columns, encode_columns
from attar.data.array_checks import numbered
from attar.data.arrays import ArrayData
from attar.data.label_columns import label_columns
from attar.data.labels import encode_labels
from attar.types import Data


def as_data(
    value: Any,
    *,
    classes: Sequence[str] | None = None,
    first_row: int = 0,
    columns: Sequence[Mapping[str, Any]] | None = None,
    task: str = "multiclass",
) -> Data:
    """Data from ``(X, y)`` or ``(X, None)``; data that is data already passes through.

    ``X`` is an array, a tensor, a list of rows, a mapping of tensors, or a pandas DataFrame
    (numbers and bools as they are, texts one-hot). ``uint8`` stays as it is; every other number
    becomes float32. In a mapping, integers stay integers (tokens).

    Args:
        value: The pair, or an object of ``attar.data``.
        classes: The names of the classes; the different labels, sorted, if not given. Give those
            of the training data for every further set, so that a class that is missing there
            does not move the others.
        first_row: The number of the first row. Sets that meet in one run need different numbers.
        columns: For a DataFrame, the ``columns`` of the training data, so that both are encoded
            alike.
        task: What ``y`` is: ``"multiclass"``, a class a row; ``"regression"``, a number a row or
            ``[N, D]``; ``"multilabel"``, ``[N, L]`` of 0 and 1. The latter two become float32,
            with NaN where not known.

    Raises:
        AttarError: If lengths differ, a value is not finite (also after float32), or a label is
            none of the classes.

    Example:
        >>> data = as_data(([[1, 2], [3, 4], [5, 6]], ["b", "a", None]))
        >>> data.classes, data.labels.tolist(), data.batch(torch.tensor([1])).inputs.tolist()
        (('a', 'b'), [1, 0, -100], [[3.0, 4.0]])
    """
    if isinstance(value, Data):
        return _passed(value, classes, first_row, task)
    if not isinstance(value, tuple | list) or len(value) != 2:
        came = f"{type(value).__name__}" + (
            f" of {len(value)}" if hasattr(value, "__len__") else ""
        )
        raise AttarError(
            f"as_data: data must be a pair (X, y), (X, None) where unlabelled, or an object of "
            f"attar.data. Got a {came}."
        )
    inputs, described = _inputs(value[0], columns)
    labels, names = None, classes
    if value[1] is not None:
        if task == "multiclass":
            labels, names = encode_labels("as_data", value[1], classes=classes)
        else:
            labels, names = label_columns("as_data", value[1], task=task, names=classes)
    count = len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)
    if labels is not None and len(labels) != count:
        raise AttarError(f"as_data: X has {count} rows and y has {len(labels)}; they must agree.")
    rows = numbered("as_data", first_row, count)
    return ArrayData(inputs, labels, rows=rows, classes=names, columns=described)


def _passed(data: Data, classes: Sequence[str] | None, first_row: int, task: str) -> Data:
    values = data.labels is not None and data.labels.is_floating_point()
    if data.labels is not None and values != (task != "multiclass"):
        raise AttarError(
            f"as_data: the task {task!r} needs "
            + ("int64 labels [N]" if values else "floating labels [N, D]")
            + f". The data has {data.labels.dtype} of shape {tuple(data.labels.shape)}."
        )
    if classes is not None and data.classes and tuple(classes) != data.classes:
        raise AttarError(
            f"as_data: the data has the classes {data.classes}, not {tuple(classes)}. Make it "
            f"with the classes of the training data."
        )
    if first_row:
        raise AttarError("as_data: data numbers its rows itself; first_row is for a pair (X, y).")
    return data


def _inputs(
    value: Any, columns: Sequence[Mapping[str, Any]] | None
) -> tuple[Tensor | dict[str, Tensor], Sequence[Mapping[str, Any]] | None]:
    if hasattr(value, "columns") and hasattr(value, "to_numpy"):  # a pandas DataFrame
        names = [str(name) for name in value.columns]
        if len(set(names)) != len(names):
            raise AttarError(f"as_data: columns must all have different names. Got {names}.")
        table = {name: value.iloc[:, place].to_numpy() for place, name in enumerate(names)}
        columns = describe_columns(table) if columns is None else columns
        return torch.from_numpy(encode_columns(table, columns)), columns
    if isinstance(value, Mapping):
        return {name: to_tensor("as_data", x, keep_whole=True) for name, x in value.items()}, None
    return to_tensor("as_data", value), None


def to_tensor(owner: str, value: Any, *, keep_whole: bool = False) -> Tensor:
    """Numbers as a tensor: uint8 as it is, all others as float32 (keep_whole: or int64).

    Raises:
        AttarError: If these are not numbers in rows of equal length, or float32 cannot hold one.
    """
    tensor = value.detach() if isinstance(value, Tensor) else torch.from_numpy(_array(owner, value))
    if tensor.is_complex():
        raise AttarError(f"{owner}: X must hold real numbers. Got {tensor.dtype}.")
    if tensor.dtype == torch.uint8:
        return tensor
    if keep_whole and not tensor.is_floating_point():
        return tensor.to(torch.int64)
    result = tensor.to(torch.float32)
    if tensor.dtype == torch.float64 and bool((result.isinf() & ~tensor.isinf()).any()):
        raise AttarError(
            f"{owner}: X holds {float(tensor.abs().max()):g}, which float32 cannot hold. Scale it."
        )
    return result


def _array(owner: str, value: Any) -> np.ndarray[Any, np.dtype[Any]]:
    if isinstance(value, Sequence) and len(value) and all(isinstance(x, Tensor) for x in value):
        value = [x.detach().cpu().numpy() for x in value]
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise AttarError(f"{owner}: X must be rows of equal length. numpy says: {error}") from error
    if array.dtype.kind == "O":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise AttarError(
                f"{owner}: X must hold numbers. It holds objects that are none ({error}). Texts "
                f"in columns are encoded from a DataFrame, or by attar.data.table(path)."
            ) from error
    if array.dtype.kind not in "biuf":
        raise AttarError(
            f"{owner}: X must hold numbers. Got {array.dtype}. Texts in columns are encoded from "
            f"a DataFrame, or by attar.data.table(path)."
        )
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.float64)  # torch computes little with wider unsigned types
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()  # torch takes neither
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
