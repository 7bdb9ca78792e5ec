"""A table as numbers, to look for neighbours in and to draw new rows from, and back again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError, check_number, need
from attar.columns import is_missing


@dataclass(frozen=True)
class Codes:
    """A table as numbers: categories as codes, gaps as NaN.

    Attributes:
        table: What it was made from.
        values: ``[N, D]`` float64.
        is_number: ``[D]`` bool; False for a column of categories.
        columns: By name, the column as it came.
        categories: By name, the values that the codes of a column stand for.
        whole: By name, the least and the largest value of a column of whole numbers.
    """

    table: Any
    values: NDArray[np.float64]
    is_number: NDArray[np.bool_]
    columns: dict[Any, NDArray[Any]]
    categories: dict[Any, NDArray[Any]]
    whole: dict[Any, tuple[int, int]]

    def decode(self, values: NDArray[np.float64]) -> Any:
        """New rows as the same kind of table, each column of the type that it had."""
        made = {}
        for place, (name, old) in enumerate(self.columns.items()):
            new = values[:, place]
            if name in self.categories:
                made[name] = self.categories[name][new.astype(np.int64)]
                continue
            if name in self.whole:
                new = new.round().clip(*self.whole[name])
            if old.dtype.kind in "iu" or (old.dtype.kind == "f" and name not in self.whole):
                made[name] = new.astype(old.dtype)
            else:  # numbers with None among them
                number = int if name in self.whole else float
                made[name] = np.array([None if np.isnan(x) else number(x) for x in new], object)
        return like(self.table, made)


def encode(owner: str, table: Any, count: int, categorical: Sequence[str | int]) -> Codes:
    """A table as numbers; ``categorical`` columns, and those that hold no numbers, as codes."""
    check_number(owner, "count", count, low=1, whole=True)
    columns = columns_of(owner, table)
    unknown = [name for name in categorical if name not in columns]
    if unknown:
        raise AttarError(f"{owner}: categorical names {unknown}, and the table has {[*columns]}.")
    length = len(next(iter(columns.values()))) if columns else 0
    if length < 2:
        raise AttarError(f"{owner}: the table must have two rows or more, and a column. Got none.")
    values = np.empty((length, len(columns)))
    is_number = np.ones(len(columns), dtype=bool)
    categories, whole = {}, {}
    for place, (name, column) in enumerate(columns.items()):
        gaps = gaps_of(column)
        numbers = name not in categorical and not _is_category(table, name)
        if numbers and _all_numbers(column[~gaps]):
            limits = _whole(table, name, column[~gaps])
            if limits is not None:
                whole[name] = limits
            values[gaps, place] = np.nan
            values[~gaps, place] = column[~gaps].astype(np.float64)
            if np.isinf(values[:, place]).any():
                raise AttarError(f"{owner}: the column {name!r} must be finite. It holds infinity.")
            continue
        is_number[place] = False
        different, codes = _categories(column, gaps)
        categories[name], values[:, place] = different, codes
    return Codes(table, values, is_number, columns, categories, whole)


def columns_of(owner: str, table: Any) -> dict[Any, NDArray[Any]]:
    """The columns of a table by name; those of an array by number."""
    if isinstance(table, np.ndarray):
        if table.ndim != 2:
            raise AttarError(f"{owner}: an array must be [N, D]. Got shape {table.shape}.")
        return {place: table[:, place] for place in range(table.shape[1])}
    if isinstance(table, Mapping):
        columns = {name: np.asarray(values) for name, values in table.items()}
    elif hasattr(table, "columns") and hasattr(table, "__getitem__"):
        columns = {name: table[name].to_numpy() for name in table.columns}
    else:
        raise AttarError(
            f"{owner}: a table is an array [N, D], a mapping of columns, or a DataFrame of pandas "
            f"or polars. Got {type(table).__name__}."
        )
    lengths = {name: values.shape for name, values in columns.items()}
    if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
        raise AttarError(f"{owner}: every column must have one value a row. Got {lengths}.")
    return columns


def like(table: Any, columns: Mapping[Any, NDArray[Any]]) -> Any:
    """Columns as the kind of table that was given."""
    if isinstance(table, np.ndarray):
        length = len(next(iter(columns.values()), ()))
        made = np.empty((length, len(columns)), dtype=table.dtype)
        for place, values in columns.items():
            made[:, place] = values
        return made
    if isinstance(table, Mapping):
        return dict(columns)
    if hasattr(table, "iloc"):  # pandas: categories and nullable numbers get their type back
        return type(table)(dict(columns)).astype({name: table[name].dtype for name in columns})
    lists = {name: values.tolist() for name, values in columns.items()}
    return type(table)(lists, schema=dict(table.schema))


def gaps_of(column: NDArray[Any]) -> NDArray[np.bool_]:
    """``[N]`` which values of a column are missing: NaN, None, and what pandas has for it."""
    if column.dtype.kind == "f":
        missing: NDArray[np.bool_] = np.isnan(column)
        return missing
    if column.dtype.kind != "O":
        return np.zeros(len(column), dtype=bool)
    return np.array([is_missing(one) for one in column], dtype=bool)


def _is_category(table: Any, name: Any) -> bool:
    """Whether pandas was told that the numbers of a column are names."""
    return hasattr(table, "iloc") and type(table[name].dtype).__name__ == "CategoricalDtype"


def _whole(table: Any, name: Any, values: NDArray[Any]) -> tuple[int, int] | None:
    """The limits of a column of whole numbers; None for others.

    Where there are gaps, numpy has whole numbers as floats or objects: the table knows better.
    """
    dtype = values.dtype
    if not isinstance(table, np.ndarray | Mapping):
        told = str(table[name].dtype).lower()  # "int64", of pandas "Int64", of polars "Int64"
        dtype = np.dtype(told) if told.startswith(("int", "uint")) else dtype
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return int(limits.min), int(limits.max)
    if dtype.kind == "O" and all(isinstance(one, int | np.integer) for one in values):
        return np.iinfo(np.int64).min, np.iinfo(np.int64).max
    return None


def _all_numbers(values: NDArray[Any]) -> bool:
    if values.dtype.kind in "iuf":
        return True
    return values.dtype.kind == "O" and all(
        isinstance(value, int | float | np.number) and not isinstance(value, bool)
        for value in values
    )


def _categories(
    column: NDArray[Any], gaps: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The different values of a column, a gap among them, and each row's place in that list."""
    keys = [None if gap else value for value, gap in zip(column.tolist(), gaps, strict=True)]
    known = sorted({key for key in keys if key is not None}, key=lambda key: (str(type(key)), key))
    places = {key: place for place, key in enumerate(known)}
    gap = column[gaps][0] if gaps.any() else None
    places[None] = len(known)
    values = np.empty(len(known) + 1, dtype=object)
    values[:] = [*known, gap]
    return values, np.array([places[key] for key in keys], dtype=np.int64)


def keys(columns: Mapping[Any, NDArray[Any]]) -> Iterator[tuple[Any, ...]]:
    """Each row as something that can be compared; a gap equals a gap."""
    lists = []
    for column in columns.values():
        gaps = gaps_of(column)
        lists.append([None if gap else x for x, gap in zip(column.tolist(), gaps, strict=True)])
    yield from zip(*lists, strict=True)


class Index:
    """Finds the nearest rows of a table, in all columns or in some.

    Numbers count in units of their standard deviation; another category, or a gap on one side
    alone, counts as one such unit.
    """

    def __init__(self, codes: Codes, columns: NDArray[np.bool_]) -> None:
        neighbors = need("sklearn.neighbors", extra="train", purpose="Synthetic rows")
        self._codes = codes
        numbers = codes.is_number & columns
        self._numbers = np.flatnonzero(numbers)
        self._texts = np.flatnonzero(~codes.is_number & columns)
        seen = codes.values[:, self._numbers]
        with np.errstate(invalid="ignore"):
            filled = np.where(np.isnan(seen), 0.0, seen)
            known = np.maximum((~np.isnan(seen)).sum(axis=0), 1)
            self._mean = filled.sum(axis=0) / known
            spread = np.sqrt(np.nansum((seen - self._mean) ** 2, axis=0) / known)
        self._spread = np.where(spread > 0, spread, 1.0)
        self._holey = np.isnan(seen).any(axis=0)
        self._sizes = codes.values[:, self._texts].max(axis=0, initial=0).astype(int) + 1
        self._index = neighbors.NearestNeighbors().fit(self._place(codes.values))

    def nearest(self, values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
        """``[B, count]`` the rows of the table that are nearest to these."""
        found = self._index.kneighbors(self._place(values), count, return_distance=False)
        rows: NDArray[np.int64] = found
        return rows

    def _place(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        numbers = (values[:, self._numbers] - self._mean) / self._spread
        gaps = np.isnan(numbers)
        parts = [np.where(gaps, 0.0, numbers), gaps[:, self._holey].astype(float)]
        for column, size in zip(self._texts, self._sizes, strict=True):
            codes = values[:, column].astype(int)
            # Two different categories are then 1 apart.
            parts.append(np.eye(size)[codes] * np.sqrt(0.5))
        return np.hstack(parts)
