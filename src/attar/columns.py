"""Tables as numbers, in training and in production alike: numpy alone.

A description of the columns, made once from the training table and shipped with the student,
decides how every later table is encoded. It is plain data, ready for JSON.
"""

from __future__ import annotations

import collections
import contextlib
import math
import numbers
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError

#: Beyond this many, a column of texts is more likely a name or a note than a category.
MOST_CATEGORIES = 100

_LARGEST = float(np.finfo(np.float32).max)

#: One column: ``{"name", "kind": "number"}`` or ``{"name", "kind": "category", "categories"}``.
#: A number may have a ``"fill"``, which stands in for a gap, and ``"mark": True``: a second
#: feature, 1 where there was a gap. A category may have ``"unknown": "ignore"``: a text that was
#: not there in training is none of the categories, instead of an error.
Column = Mapping[str, Any]


def describe_columns(
    rows: Mapping[str, Sequence[Any]], *, skip: Collection[str] = (), lenient: bool = False
) -> list[dict[str, Any]]:
    """How each column is to be encoded: numbers and bools as they are, texts as categories.

    Args:
        rows: Column name -> one value a row.
        skip: Columns to leave out, such as the label.
        lenient: Take every later table, too: a gap among numbers becomes the median (and is
            marked, where training had gaps), a text that is new is none of the categories, and
            of more than :data:`MOST_CATEGORIES` texts the most frequent are kept.

    Raises:
        AttarError: If a column holds neither numbers nor texts, both, no value at all, or more
            than :data:`MOST_CATEGORIES` different texts (unless ``lenient``).

    Example:
        >>> describe_columns({"age": [30, 41], "city": ["Rome", None]})
        [{'name': 'age', 'kind': 'number'},
         {'name': 'city', 'kind': 'category', 'categories': ['', 'Rome']}]
        >>> describe_columns({"age": [30, None, 41]}, lenient=True)
        [{'name': 'age', 'kind': 'number', 'fill': 35.5, 'mark': True}]
    """
    columns: list[dict[str, Any]] = []
    for name, values in rows.items():
        if name in skip:
            continue
        array = _array(name, values)
        if lenient and array.dtype == object and all(is_missing(value) for value in array):
            array = np.full(len(array), np.nan)  # nothing to learn from, nothing to stop for
        if _is_number(name, array):
            fill = _fill(name, array) if lenient else {}
            columns.append({"name": name, "kind": "number", **fill})
            continue
        texts = collections.Counter("" if is_missing(value) else str(value) for value in array)
        if lenient:
            frequent = sorted(text for text, _ in texts.most_common(MOST_CATEGORIES))
            columns.append(
                {"name": name, "kind": "category", "categories": frequent, "unknown": "ignore"}
            )
            continue
        categories = sorted(texts)
        if len(categories) > MOST_CATEGORIES:
            raise AttarError(
                f"columns: {name!r} has {len(categories)} different texts, more than the "
                f"{MOST_CATEGORIES} that are taken as categories. Leave the column out, or put "
                f"rare values together."
            )
        columns.append({"name": name, "kind": "category", "categories": categories})
    if not columns:
        raise AttarError("columns: the table has no column to learn from, beside the label.")
    return columns


def encode_columns(
    rows: Mapping[str, Sequence[Any]], columns: Sequence[Column]
) -> NDArray[np.float32]:
    """The rows as numbers: a number column gives one feature, a category one a category.

    Numbers may come as text (``"3.5"``, ``"true"``), as they do from a CSV file, and whole
    numbers may stand for the category of that name. A missing text is the category ``""``.

    Args:
        rows: Column name -> one value a row; columns that are not described are left aside.
        columns: The description, from :func:`describe_columns`.

    Returns:
        ``[N, D]`` float32, with the features in the order of the description.

    Raises:
        AttarError: If a column or a number is missing, a category was not there in training, or
            a value is of another kind or beyond float32; the message names column and row.

    Example:
        >>> columns = describe_columns({"age": [30, 41], "city": ["Rome", "Oslo"]})
        >>> encode_columns({"city": ["Rome"], "age": ["35"]}, columns).tolist()  # age, Oslo, Rome
        [[35.0, 0.0, 1.0]]
    """
    arrays = _arrays(rows, columns)
    count = len(next(iter(arrays.values()), ()))
    encoded = np.zeros((count, encoded_width(columns)), dtype=np.float32)
    place = 0
    for column in columns:
        name, array = column["name"], arrays[column["name"]]
        if column["kind"] == "number":
            encoded[:, place], gaps = _numbers(name, array, column.get("fill"))
            if column.get("mark"):
                encoded[:, place + 1] = gaps
        else:
            positions = _positions(name, array, column["categories"], column.get("unknown"))
            known = positions >= 0
            encoded[np.flatnonzero(known), place + positions[known]] = 1
        place += _width(column)
    return encoded


def raw_columns(rows: Mapping[str, Sequence[Any]], columns: Sequence[Column]) -> list[NDArray[Any]]:
    """The rows with the checks of :func:`encode_columns` made, but not encoded.

    For a model that encodes them itself (:func:`attar.export.to_onnx` with ``takes="columns"``).

    Args:
        rows: Column name -> one value a row.
        columns: The description, from :func:`describe_columns`.

    Returns:
        For each column of the description ``[N, 1]``: float32 with NaN for a gap, or texts with
        ``""`` for one.

    Raises:
        AttarError: As :func:`encode_columns`.

    Example:
        >>> columns = describe_columns({"age": [30, 41], "city": ["Rome", None]}, lenient=True)
        >>> age, city = raw_columns({"age": [None], "city": ["Lima"]}, columns)
        >>> age.tolist(), city.tolist()
        ([[nan]], [['Lima']])
    """
    made: list[NDArray[Any]] = []
    for column, (name, array) in zip(columns, _arrays(rows, columns).items(), strict=True):
        if column["kind"] == "number":
            values, gaps = _numbers(name, array, column.get("fill"))
            values[gaps] = np.nan
            made.append(values[:, None])
            continue
        texts = np.array([_text(name, row, value) for row, value in enumerate(array)], object)
        if column.get("unknown") != "ignore":
            _positions(name, texts, column["categories"], None)  # refuses what is new
        made.append(texts[:, None])
    return made


def decode_columns(rows: NDArray[Any], columns: Sequence[Column]) -> list[list[Any]]:
    """What :func:`encode_columns` was given, row by row: numbers, and the names of categories.

    Args:
        rows: ``[N, D]``, encoded.
        columns: The description that encoded it.

    Returns:
        For each row one value a column, a float or a text; None for a gap that was marked, and
        for a category that was not there in training.

    Example:
        >>> columns = describe_columns({"age": [30, 41], "city": ["Rome", "Oslo"]})
        >>> decode_columns(encode_columns({"age": [35], "city": ["Rome"]}, columns), columns)
        [[35.0, 'Rome']]
    """
    values: list[list[Any]] = [[] for _ in rows]
    place = 0
    for column in columns:
        if column["kind"] == "number":
            gaps = rows[:, place + 1] > 0 if column.get("mark") else np.zeros(len(rows), bool)
            for row, number, gap in zip(values, rows[:, place].tolist(), gaps, strict=True):
                # float32 holds about seven digits
                row.append(None if gap else float(f"{number:.7g}"))
        else:
            names = column["categories"]
            hot = rows[:, place : place + len(names)]
            found = np.where(hot.any(axis=1), hot.argmax(axis=1), -1)
            for row, position in zip(values, found.tolist(), strict=True):
                row.append(None if position < 0 else names[position])
        place += _width(column)
    return values


def encoded_names(columns: Sequence[Column]) -> list[str]:
    """What each feature stands for, in the order of :func:`encode_columns`.

    Example:
        >>> rows = {"age": [30, None], "city": ["Rome", "Oslo"]}
        >>> encoded_names(describe_columns(rows, lenient=True))
        ['age', 'age is missing', 'city = Oslo', 'city = Rome']
    """
    names = []
    for column in columns:
        if column["kind"] == "number":
            names += [column["name"], f"{column['name']} is missing"][: _width(column)]
        else:
            names += [f"{column['name']} = {category}" for category in column["categories"]]
    return names


def encoded_width(columns: Sequence[Column]) -> int:
    """How many features a row has once encoded, D."""
    for column in columns:
        if column.get("kind") not in ("number", "category"):
            raise AttarError(
                f"columns: a column must be of the kind 'number' or 'category'. Got {column!r}."
            )
    return sum(_width(column) for column in columns)


def _arrays(
    rows: Mapping[str, Sequence[Any]], columns: Sequence[Column]
) -> dict[str, NDArray[Any]]:
    """The described columns, all there and of one length."""
    absent = [column["name"] for column in columns if column["name"] not in rows]
    if absent:
        raise AttarError(
            f"columns: the table lacks {_listed(absent)}, which the model was trained on. It has "
            f"{_listed(rows)}."
        )
    arrays = {column["name"]: _array(column["name"], rows[column["name"]]) for column in columns}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise AttarError(f"columns: all columns must have the same length. Got {lengths}.")
    return arrays


def _width(column: Column) -> int:
    if column["kind"] == "number":
        return 2 if column.get("mark") else 1
    return len(column["categories"])


def _fill(name: str, array: NDArray[Any]) -> dict[str, Any]:
    """What stands in for a gap: the median of the numbers that are there."""
    values = _as_numbers(name, array)
    gaps = np.isnan(values)
    fill = 0.0 if gaps.all() else float(np.median(values[~gaps]))
    return {"fill": fill, "mark": bool(gaps.any())}


def _array(name: str, values: Any) -> NDArray[Any]:
    """The values as a one-dimensional array; texts and mixed values as objects."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf" and values.ndim == 1:
        return values
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise AttarError(f"columns: {name!r} must be a list with one value a row. Got {values!r}.")
    listed = list(values)
    array = np.empty(len(listed), dtype=object)  # filled singly: numpy must not guess a type
    array[:] = listed
    return array


def is_missing(value: Any) -> bool:
    """Whether a value of a table is none: None, NaN, or what pandas has for it."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)


def _is_number(name: str, array: NDArray[Any]) -> bool:
    """Does the column hold numbers (or bools)? False where it holds texts."""
    if array.dtype.kind in "biuf":
        return True
    kinds = {_kind(value): value for value in array if not is_missing(value)}
    if set(kinds) == {"number"}:
        return True
    if set(kinds) == {"text"}:
        return False
    if not kinds:
        raise AttarError(f"columns: {name!r} has no value in any row. Leave it out.")
    raise AttarError(
        f"columns: {name!r} must hold numbers or texts, one of the two. It holds "
        f"{_listed(kinds.values())}. Turn it into numbers or texts, or leave it out."
    )


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, numbers.Real | np.bool_):
        return "number"
    return type(value).__name__


def _as_numbers(name: str, array: NDArray[Any]) -> NDArray[np.float64]:
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    return np.array([_number(name, row, value) for row, value in enumerate(array)], float)


def _numbers(
    name: str, array: NDArray[Any], fill: float | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The numbers of a column, gaps filled, and which of them were gaps."""
    values = _as_numbers(name, array)
    gaps: NDArray[np.bool_] = np.isnan(values)
    lacking = np.flatnonzero(gaps)
    if fill is not None:
        values[gaps] = fill
    elif len(lacking):
        raise AttarError(
            f"columns: {name!r} has no number in row {lacking[0]} (counted from 0; {len(lacking)} "
            f"of {len(values)} rows). Fill the gaps, leave the rows out, or train with "
            f"lenient=True (attar distill --lenient), which takes gaps."
        )
    beyond = np.flatnonzero(np.abs(values) > _LARGEST)
    if len(beyond):
        raise AttarError(
            f"columns: {name!r} has {values[beyond[0]]} in row {beyond[0]} (counted from 0), which "
            f"float32 cannot hold. Use another unit."
        )
    return values.astype(np.float32), gaps


def _number(name: str, row: int, value: Any) -> float:
    """One value as a number; NaN where it is missing."""
    if is_missing(value):
        return math.nan
    if _kind(value) == "number":
        return float(value)
    if isinstance(value, str):
        text = value.strip().lower()
        if text in ("", "nan"):
            return math.nan
        if text in ("true", "false"):
            return float(text == "true")
        with contextlib.suppress(ValueError):
            if "_" not in text:  # Python reads 1_000 as a number, a table does not mean it
                return float(text)
    raise AttarError(
        f"columns: {name!r} must hold numbers, as it did in training. Row {row} (counted from 0) "
        f"holds {value!r}."
    )


def _text(name: str, row: int, value: Any) -> str:
    """One value as a category's name; a missing one is the empty text."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool_)
    text = "" if is_missing(value) else str(value) if whole else value
    if not isinstance(text, str):
        raise AttarError(
            f"columns: {name!r} must hold texts, as it did in training. Row {row} (counted "
            f"from 0) holds {value!r}."
        )
    return text


def _positions(
    name: str, array: NDArray[Any], categories: Sequence[str], unknown: str | None
) -> NDArray[np.int64]:
    """The place of each value among the categories; -1 for a new one that may be ignored."""
    place = {category: position for position, category in enumerate(categories)}
    positions = np.empty(len(array), dtype=np.int64)
    for row, value in enumerate(array):
        text = _text(name, row, value)
        if unknown == "ignore":
            positions[row] = place.get(text, -1)
            continue
        if text not in place:
            raise AttarError(
                f"columns: {name!r} has {'no value' if text == '' else repr(text)} in row {row} "
                f"(counted from 0), which was not there in training. Known are "
                f"{_listed(categories)}."
            )
        positions[row] = place[text]
    return positions


def _listed(names: Iterable[Any], *, most: int = 8) -> str:
    """The first few, as a reader can use them."""
    shown = [repr(name) for name in names]
    if len(shown) > most:
        return ", ".join(shown[:most]) + f" and {len(shown) - most} more"
    return ", ".join(shown) or "none"
