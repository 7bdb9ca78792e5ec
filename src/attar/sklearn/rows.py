"""Rows of a table as scikit-learn's users have them: arrays, or frames of pandas and polars."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import (
    KFold,
    ShuffleSplit,
    StratifiedKFold,
    StratifiedShuffleSplit,
)

from attar.data.codes import gaps_of


def is_frame(X: Any) -> bool:
    """Whether the columns have names."""
    return hasattr(X, "columns") and hasattr(X, "__getitem__")


def named(X: Any) -> dict[str, Any]:
    """The columns of a table by name; what pandas was told to be a category is a text."""
    if is_frame(X):
        return {str(name): _column(X[name]) for name in X.columns}
    return {str(place): X[:, place] for place in range(X.shape[1])}


def _column(values: Any) -> NDArray[Any]:
    found: NDArray[Any] = values.to_numpy()
    if type(values.dtype).__name__ != "CategoricalDtype":
        return found
    texts = np.empty(len(found), dtype=object)
    texts[:] = [None if gap else str(x) for x, gap in zip(found, gaps_of(found), strict=True)]
    return texts


def length(X: Any) -> int:
    """How many rows."""
    return int(X.shape[0])


def take(X: Any, rows: NDArray[Any]) -> Any:
    """These rows, as the same kind of table."""
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def middle(value: Any, found: Sequence[float]) -> float:
    """One value out of a parameter, where nothing is chosen by trial."""
    if isinstance(value, str):
        return float(found[len(found) // 2])
    return float(value[len(value) // 2]) if isinstance(value, list | tuple) else float(value)


def folds(
    codes: NDArray[Any], count: int, seed: int
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Stratified folds; a class that is rarer than that is missing from some of them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        splitter = StratifiedKFold(count, shuffle=True, random_state=seed % 2**32)
        yield from splitter.split(np.zeros(len(codes)), codes)


def cut(codes: NDArray[Any], share: float, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two stratified parts, the second with this share of the rows."""
    splitter = StratifiedShuffleSplit(1, test_size=share, random_state=seed % 2**32)
    first, second = next(splitter.split(np.zeros(len(codes)), codes))
    return first, second


def plain_folds(count: int, folds: int, seed: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Shuffled folds of so many rows."""
    yield from KFold(folds, shuffle=True, random_state=seed % 2**32).split(np.zeros(count))


def plain_cut(count: int, share: float, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two parts of so many rows, the second with this share of them."""
    splitter = ShuffleSplit(1, test_size=share, random_state=seed % 2**32)
    first, second = next(splitter.split(np.zeros(count)))
    return first, second
