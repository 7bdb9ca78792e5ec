"""What a label is: how rows are cut by it, what a teacher is fitted on, and what it says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError
from attar.experiment.task_teachers import taught_columns
from attar.sklearn import rows
from attar.sklearn.estimators import name_of
from attar.teachers import GivenTeacher
from attar.teachers.columns import label_probabilities, log_odds, values_of
from attar.types import Teacher

Array = NDArray[Any]

#: A task without classes needs as many, three tenths of them to choose on and to test on.
ROWS_IN_ALL = 30
#: A class needs as many rows for a proof: some to learn from, to choose on and to test on.
ROWS_FOR_A_PROOF = 10


class Kind(Protocol):
    """A task: what the base of the estimators does not know of labels."""

    #: ``"multiclass"``, ``"multilabel"`` or ``"regression"``.
    task: str
    #: What each of the student's outputs is called.
    names: list[str]
    #: How many numbers a teacher says of a row.
    width: int

    def taught(self, labels: Array) -> Array:
        """What a teacher is fitted on."""
        ...

    def ask(self, teacher: Any, X: Any) -> Array:
        """``[N, outputs]`` what a fitted teacher says of rows."""
        ...

    def unseen(self, labels: Array, seen: Array) -> tuple[Array, Array]:
        """``[N]`` bool: where one who saw only those labels has no say; and what stands there."""
        ...

    def folds(self, labels: Array, count: int, seed: int) -> Iterator[tuple[Array, Array]]:
        """Positions learnt from, and then labelled."""
        ...

    def cut(self, labels: Array, share: float, seed: int) -> tuple[Array, Array]:
        """Two parts, the second with this share of the rows."""
        ...

    def too_few(self, labels: Array) -> str | None:
        """Why these rows are too few for a proof; None where they are enough."""
        ...

    def as_teacher(self, answers: Array, *, numbers: Array | None = None, name: str) -> Teacher:
        """Answers that are there, as a teacher of the rows with these numbers."""
        ...


class Multiclass:
    """One class a row; labels are codes ``[N]``, answers probabilities ``[N, C]``.

    Args:
        classes: ``[C]`` the labels as they were given, sorted.
    """

    task = "multiclass"

    def __init__(self, classes: Array) -> None:
        self.classes = classes
        self.names = [str(label) for label in classes]
        self.width = len(self.names)

    def taught(self, labels: Array) -> Array:
        """The labels as they were given."""
        given: Array = self.classes[labels]
        return given

    def ask(self, teacher: Any, X: Any) -> Array:
        """Probabilities in the order of the classes; 0 for what the teacher never saw."""
        said = np.asarray(teacher.predict_proba(X), dtype=np.float64)
        known = list(np.asarray(getattr(teacher, "classes_", self.classes)).tolist())
        places = {label: place for place, label in enumerate(self.classes.tolist())}
        if said.ndim != 2 or said.shape[1] != len(known) or not places.keys() >= set(known):
            raise AttarError(
                f"the teacher {name_of(teacher)} must answer for the labels of y, "
                f"{_listed(places)}. It knows {_listed(known)} and gave an answer of shape "
                f"{said.shape}. Fit it on these labels, or give it unfitted."
            )
        answers = np.zeros((len(said), len(places)))
        answers[:, [places[label] for label in known]] = said
        return answers

    def unseen(self, labels: Array, seen: Array) -> tuple[Array, Array]:
        """Nobody can say anything about a class that he never saw: there the label stands."""
        return ~np.isin(labels, seen), np.eye(len(self.classes))[labels]

    def folds(self, labels: Array, count: int, seed: int) -> Iterator[tuple[Array, Array]]:
        """Stratified; no more folds than the largest class has rows."""
        most = int(np.bincount(labels).max())
        if most < 2:
            raise AttarError(
                "no class has two rows, so that nobody can label one without having seen it. Give "
                "more rows, or folds=None, which takes the teacher's word for rows that it knows."
            )
        return rows.folds(labels, min(count, most), seed)

    def cut(self, labels: Array, share: float, seed: int) -> tuple[Array, Array]:
        """Stratified."""
        return rows.cut(labels, share, seed)

    def too_few(self, labels: Array) -> str | None:
        """Each class needs :data:`ROWS_FOR_A_PROOF`."""
        rarest = int(np.bincount(labels).min())
        if rarest >= ROWS_FOR_A_PROOF:
            return None
        return f"the rarest class has {rarest} rows; a proof needs {ROWS_FOR_A_PROOF} of each"

    def as_teacher(self, answers: Array, *, numbers: Array | None = None, name: str) -> Teacher:
        """Log-probabilities."""
        return GivenTeacher(answers, rows=numbers, name=name, outputs="probabilities")


class Columns:
    """A task without classes: labels and answers are ``[N, D]``, and rows are cut at random."""

    task = "regression"

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.width = len(names)

    def taught(self, labels: Array) -> Array:
        """``[N]`` where there is one column, as estimators want it."""
        return taught_columns(labels, self.task)

    def unseen(self, labels: Array, seen: Array) -> tuple[Array, Array]:
        """Whoever learned values of some rows has a say about all."""
        return np.zeros(len(labels), dtype=bool), labels

    def folds(self, labels: Array, count: int, seed: int) -> Iterator[tuple[Array, Array]]:
        """Shuffled; no more folds than there are rows."""
        return rows.plain_folds(len(labels), min(count, len(labels)), seed)

    def cut(self, labels: Array, share: float, seed: int) -> tuple[Array, Array]:
        """At random."""
        return rows.plain_cut(len(labels), share, seed)

    def too_few(self, labels: Array) -> str | None:
        """There must be :data:`ROWS_IN_ALL`."""
        if len(labels) >= ROWS_IN_ALL:
            return None
        return f"there are {len(labels)} rows; a proof needs {ROWS_IN_ALL}"

    def as_teacher(self, answers: Array, *, numbers: Array | None = None, name: str) -> Teacher:
        """The answers as they are."""
        return GivenTeacher(answers, rows=numbers, name=name, outputs="values")


class Values(Columns):
    """The values of a regression.

    Args:
        count: How many a row.
    """

    def __init__(self, count: int) -> None:
        super().__init__([str(place) for place in range(count)] if count > 1 else ["value"])

    def ask(self, teacher: Any, X: Any) -> Array:
        """``[N, D]`` values."""
        return values_of(teacher, X)


class Quantiles(Columns):
    """Quantiles of one value; labels are ``[N, Q]``, the value once for each of the levels.

    Args:
        levels: Q numbers between 0 and 1, of the student.
        asked: M numbers, of the teacher.
    """

    def __init__(self, levels: Sequence[float], asked: Sequence[float]) -> None:
        super().__init__([f"{level:g}" for level in levels])
        self.width = len(asked)

    def taught(self, labels: Array) -> Array:
        """``[N]`` the value."""
        value: Array = labels[:, 0]
        return value

    def ask(self, teacher: Any, X: Any) -> Array:
        """``[N, M]`` the teacher's quantiles."""
        return values_of(teacher, X)


class Multilabel(Columns):
    """Several labels a row, each 0 or 1; answers are log-odds.

    Args:
        count: How many labels there are.
    """

    task = "multilabel"

    def __init__(self, count: int) -> None:
        super().__init__([str(place) for place in range(count)])

    def ask(self, teacher: Any, X: Any) -> Array:
        """``[N, L]`` log-odds."""
        return log_odds(label_probabilities(teacher, X))


def _listed(labels: Iterable[Any]) -> str:
    """The first few."""
    shown = [repr(label) for label in labels]
    return ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "")
