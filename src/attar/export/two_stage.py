"""Student first, teacher where the student is unsure: numpy and onnxruntime alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError, check_number
from attar.confidence import check_measure, confidence
from attar.export.runtime import Student, load


def load_cascade(path: str | Path, *, threads: int | None = None) -> TwoStage:
    """Read a bundle that holds a student, a teacher and a threshold.

    Args:
        path: The folder or the ``.zip`` that :meth:`attar.export.cascade.Cascade.export` wrote.
        threads: Threads of each model, as in :func:`attar.export.runtime.load`.

    Raises:
        AttarError: If it is no bundle, not whole, or has no cascade in it.
    """
    student = load(path, threads=threads)
    about = getattr(student, "bundle", None)
    rule = (about or {}).get("cascade")
    if not isinstance(rule, dict):
        raise AttarError(
            f"load_cascade: {path} holds no cascade. Load the model alone: runtime.load."
        )
    return TwoStage(
        load(path, role=rule["student"], threads=threads),
        load(path, role=rule["teacher"], threads=threads),
        threshold=rule["threshold"],
        measure=rule.get("confidence", "probability"),
    )


class TwoStage:
    """Two models as one classifier; safe to call from many threads.

    A row whose confidence (of the student) is below the threshold is answered by the teacher.

    Args:
        student: Asked about every row.
        teacher: Asked where the student is unsure; the same classes in the same order.
        threshold: In [0, 1]; 0 never asks the teacher.
        measure: ``"probability"``, ``"margin"`` or ``"entropy"``, as when it was chosen.

    Attributes:
        student: The first model.
        teacher: The second model.
        classes: The names of the classes.

    Raises:
        AttarError: If the classes or the shapes of the inputs differ, or the threshold is not
            in [0, 1].
    """

    def __init__(
        self,
        student: Student,
        teacher: Student,
        *,
        threshold: float,
        measure: str = "probability",
    ) -> None:
        check_number("cascade", "threshold", threshold, low=0.0, high=1.0)
        check_measure("cascade", measure)
        for what in ("classes", "input_shape"):
            ours, theirs = getattr(student, what), getattr(teacher, what)
            if ours != theirs:
                raise AttarError(
                    f"cascade: student and teacher must have the same {what}. Got "
                    f"{str(ours)[:100]} and {str(theirs)[:100]}."
                )
        self.student, self.teacher = student, teacher
        self.threshold, self.measure = float(threshold), measure
        self.classes = student.classes
        self._names = np.array(self.classes)

    def __repr__(self) -> str:
        return (
            f"TwoStage({self.student!r}, then {self.teacher!r} below a {self.measure} of "
            f"{self.threshold:.6g})"
        )

    def predict(self, x: Any) -> NDArray[np.str_]:
        """The name of the likeliest class of each row, ``[N]``; takes what a student does.

        Raises:
            AttarError: As :meth:`attar.export.runtime.Student.predict`.
        """
        likeliest: NDArray[np.str_] = self._names[self.answer(x)[0].argmax(axis=1)]
        return likeliest

    def predict_proba(self, x: Any) -> NDArray[np.float32]:
        """The probability of each class, ``[N, C]``, of the model that answers the row."""
        logits = self.answer(x)[0].astype(np.float64)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
        return probabilities.astype(np.float32)

    def answer(self, x: Any) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Logits ``[N, C]``, and for each row ``[N]`` whether the teacher gave them."""
        logits = self.student.logits(x)
        asked = confidence(logits, self.measure) < self.threshold
        if asked.any():
            logits = logits.copy()
            logits[asked] = self.teacher.logits(_rows(x, np.flatnonzero(asked)))
        return logits, asked


def _rows(x: Any, chosen: NDArray[np.intp]) -> Any:
    """Some rows of whatever a student takes."""
    if len(chosen) == _count(x):
        return x
    if isinstance(x, dict):
        return {name: [values[i] for i in chosen] for name, values in _columns(x).items()}
    if hasattr(x, "iloc"):
        return x.iloc[chosen]
    if isinstance(x, list | tuple):
        return [x[i] for i in chosen]
    return x[chosen]


def _columns(x: dict[str, Any]) -> dict[str, Any]:
    return {name: list(values) for name, values in x.items()}


def _count(x: Any) -> int:
    return len(next(iter(x.values()))) if isinstance(x, dict) else len(x)
