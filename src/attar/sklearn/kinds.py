"""What a label is: how rows are cut by it, what a teacher is fitted on, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from attar.sklearn import rows
from attar.teachers import GivenTeacher
from attar.types import Teacher

Array = NDArray[Any]

#: A class needs as many rows for a proof: some to learn from, to choose on and to test on.
ROWS_FOR_A_PROOF = 10


class Kind(Protocol):
    """A task: what the base of the estimators does not know of labels."""

    #: What each of the student's outputs is called.
    names: list[str]

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

    def __init__(self, classes: Array) -> None:
        self.classes = classes
        self.names = [str(label) for label in classes]

    def taught(self, labels: Array) -> Array:
        """The labels as they were given."""
        given: Array = self.classes[labels]
        return given

    def ask(self, teacher: Any, X: Any) -> Array:
        """Probabilities in the order of the classes; 0 for what the teacher never saw."""
        said = np.asarray(teacher.predict_proba(X), dtype=np.float64)
        answers = np.zeros((len(said), len(self.classes)))
        answers[:, np.searchsorted(self.classes, teacher.classes_)] = said
        return answers

    def unseen(self, labels: Array, seen: Array) -> tuple[Array, Array]:
        """Nobody can say anything about a class that he never saw: there the label stands."""
        return ~np.isin(labels, seen), np.eye(len(self.classes))[labels]

    def folds(self, labels: Array, count: int, seed: int) -> Iterator[tuple[Array, Array]]:
        """Stratified; no more folds than the largest class has rows."""
        return rows.folds(labels, max(2, min(count, int(np.bincount(labels).max()))), seed)

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
