"""The tables of this benchmark: rows as a DataFrame, labels as codes, with the classes' names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from packages import frame

#: More rows than these are not used: one table is to take minutes.
ROWS = 20_000


@dataclass(frozen=True)
class Table:
    """One data set.

    Attributes:
        rows: A DataFrame; a text is a category.
        labels: ``[N]`` codes.
        classes: Their names.
    """

    rows: Any
    labels: NDArray[np.int64]
    classes: list[str]


def _table(rows: Any, label: str) -> Table:
    rows = rows.reset_index(drop=True)
    if len(rows) > ROWS:
        rows = rows.sample(ROWS, random_state=0).reset_index(drop=True)
    texts = rows.pop(label).astype(str).to_numpy()
    classes, labels = np.unique(texts, return_inverse=True)
    for name in rows.columns:
        numeric = rows[name].dtype.kind in "iufb"
        rows[name] = rows[name].astype(float) if numeric else rows[name].astype(str)
    return Table(rows, labels.astype(np.int64), classes.tolist())


def _shipped(name: str) -> Table:
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")(as_frame=True)
    return _table(found.frame, "target")


#: By name, from the cache folder.
SETS: dict[str, Callable[[Path], Table]] = {
    "letter": lambda cache: _table(frame(cache, "mlbench", "LetterRecognition"), "lettr"),
    "diamonds": lambda cache: _table(frame(cache, "ggplot2", "diamonds"), "cut"),
    "churn": lambda cache: _table(frame(cache, "modeldata", "wa_churn"), "churn"),
    "lending": lambda cache: _table(frame(cache, "modeldata", "lending_club"), "Class"),
    "breast_cancer": lambda cache: _shipped("breast_cancer"),
    "digits": lambda cache: _shipped("digits"),
    "wine": lambda cache: _shipped("wine"),
}
