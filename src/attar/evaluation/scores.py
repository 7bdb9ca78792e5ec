"""What a model's logits are worth on one data set, all figures of the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from attar.checks import AttarError, check_labels, check_logits
from attar.evaluation import metrics
from attar.evaluation.latency import Latency
from attar.types import UNLABELLED


@dataclass(frozen=True)
class Scores:
    """How a model did on the labelled rows of one data set.

    Attributes:
        rows: Labelled rows; everything below is counted on them.
        accuracy: Fraction in [0, 1].
        nll: Negative log-likelihood, nats a row.
        brier: Brier score, [0, 2].
        ece: Expected calibration error, 15 bins, [0, 1].
        per_class_accuracy: Class name to the accuracy on its rows; None for a class without.
        worst_class: The class of the lowest accuracy; of several the first.
        worst_class_accuracy: Its accuracy.
        errors: Rows that are wrong.
        agreement: Fraction of rows with the teacher's prediction; None without a teacher.
        kl_to_teacher: KL to the teacher at T = 1, nats a row; None without a teacher.
        errors_inherited: Errors that are the teacher's own wrong prediction; None without one.
        errors_own: The other errors; None without a teacher.
        parameters: Numbers in the model's parameters (shared ones once); None if not known.
        macs: Multiply-adds of one row, see :func:`count_macs`; None if not known.
        bytes: Size of parameters and buffers in memory; None if not known.
        latency: Time of an answer; None if not measured.
    """

    rows: int
    accuracy: float
    nll: float
    brier: float
    ece: float
    per_class_accuracy: Mapping[str, float | None]
    worst_class: str
    worst_class_accuracy: float
    errors: int
    agreement: float | None = None
    kl_to_teacher: float | None = None
    errors_inherited: int | None = None
    errors_own: int | None = None
    parameters: int | None = None
    macs: int | None = None
    bytes: int | None = None
    latency: Latency | None = None

    @property
    def macro_recall(self) -> float:
        """The mean of the classes' accuracies: each counts alike, however rare it is."""
        seen = [share for share in self.per_class_accuracy.values() if share is not None]
        return sum(seen) / len(seen)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: numbers, strings, None; nothing of ours, no NaN."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {
            "per_class_accuracy": dict(self.per_class_accuracy),
            "latency": None if self.latency is None else self.latency.to_dict(),
        }


def scores_from_logits(
    logits: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    *,
    teacher_logits: Tensor | None = None,
) -> Scores:
    """Score logits that are there already.

    Args:
        logits: ``[N, C]`` floating, finite.
        labels: ``[N]`` int64, ``UNLABELLED`` where not known: such rows are left out of
            everything, the figures of fidelity too, so that all are of the same rows.
        classes: The C class names, in the order of the labels.
        teacher_logits: ``[N, C]``, for the figures of fidelity.

    Raises:
        AttarError: If shapes, types or values are wrong, or no row is labelled.

    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 0.0]])
    >>> teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    >>> labels = torch.tensor([0, 1, 1, 1])
    >>> scores = scores_from_logits(logits, labels, ("cat", "dog"), teacher_logits=teacher)
    >>> scores.accuracy, scores.worst_class, scores.errors_inherited, scores.errors_own
    (0.5, 'dog', 1, 1)
    >>> round(scores.macro_recall, 3)  # 1 of 1 cats, 1 of 3 dogs
    0.667
    """
    owner = "scores_from_logits"
    check_logits(owner, "logits", logits)
    check_labels(owner, labels, classes=logits.shape[1])
    if len(classes) != logits.shape[1] or len(set(classes)) != len(classes):
        raise AttarError(
            f"{owner}: logits must have one column a class, the names all different: "
            f"{len(classes)} ({_some(classes)}). Got {logits.shape[1]} columns; check the model's "
            f"last layer, and the names."
        )
    accuracy = metrics.accuracy(logits, labels)  # checks the rest: rows, values, one label
    labels = labels.to(logits.device)
    known = labels != UNLABELLED
    teacher = None if teacher_logits is None else _teacher_rows(owner, teacher_logits, logits)
    logits, labels = logits[known], labels[known]
    predicted = logits.argmax(dim=1)
    wrong = predicted != labels
    by_class = _by_class(wrong, labels, classes)
    seen = {name: share for name, share in by_class.items() if share is not None}
    worst = min(seen, key=seen.__getitem__)
    errors = int(wrong.sum())
    fidelity: dict[str, Any] = {}
    if teacher is not None:
        teacher = teacher[known]
        inherited = int((wrong & (predicted == teacher.argmax(dim=1))).sum())
        fidelity = {
            "agreement": metrics.agreement(logits, teacher),
            "kl_to_teacher": metrics.kl_to_teacher(logits, teacher),
            "errors_inherited": inherited,
            "errors_own": errors - inherited,
        }
    return Scores(
        rows=len(labels),
        accuracy=accuracy,
        nll=metrics.nll(logits, labels),
        brier=metrics.brier(logits, labels),
        ece=metrics.ece(logits, labels),
        per_class_accuracy=by_class,
        worst_class=worst,
        worst_class_accuracy=seen[worst],
        errors=errors,
        **fidelity,
    )


def _teacher_rows(owner: str, teacher: Tensor, logits: Tensor) -> Tensor:
    check_logits(owner, "teacher_logits", teacher, rows=len(logits))
    if teacher.shape != logits.shape:
        raise AttarError(
            f"{owner}: teacher_logits must have the shape of logits, {tuple(logits.shape)}. Got "
            f"{tuple(teacher.shape)}."
        )
    return teacher.to(logits.device)


def _by_class(wrong: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, float | None]:
    counts = torch.bincount(labels, minlength=len(classes)).tolist()
    right = torch.bincount(labels[~wrong], minlength=len(classes)).tolist()
    return {
        name: right[index] / counts[index] if counts[index] else None
        for index, name in enumerate(classes)
    }


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
