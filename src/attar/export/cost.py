"""What a smaller file costs beside the float student, on labelled rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from attar.checks import AttarError
from attar.data import as_data
from attar.evaluation import Scores, scores_from_logits
from attar.export import runtime
from attar.export.integers import CHUNK, logits_of
from attar.types import UNLABELLED, Data


@dataclass(frozen=True)
class Cost:
    """What the smaller file does on one set of labelled rows, beside the float student.

    Attributes:
        rows: Labelled rows.
        accuracy: Of the smaller file, a fraction.
        drop: Accuracy lost, in points (100 times the difference of the fractions); below 0
            where it is the better one.
        lost: Rows that the float student had right and the smaller file has wrong.
        won: The other way round: ``drop = 100 * (lost - won) / rows``.
        agreement: Fraction of the rows with the float student's class.
        ece: Expected calibration error of the smaller file.
        ece_before: Of the float student.
        worst_class: Its class of the lowest accuracy.
        worst_class_accuracy: That accuracy.
        worst_class_before: The float student's lowest accuracy of a class.
    """

    rows: int
    accuracy: float
    drop: float
    lost: int
    won: int
    agreement: float
    ece: float
    ece_before: float
    worst_class: str
    worst_class_accuracy: float
    worst_class_before: float


def cost_of(before: runtime.Student, after: runtime.Student, data: Data, rows: int) -> Cost:
    """Both on the same labelled rows, the smaller file on so many a call."""
    labels = data.labels
    assert labels is not None
    pieces = torch.split(torch.arange(len(data))[labels != UNLABELLED], CHUNK)
    batches = [data.batch(piece) for piece in pieces]
    truth = labels[labels != UNLABELLED].cpu()
    logits = {
        student: torch.cat([logits_of(student, batch.inputs.numpy(), many) for batch in batches])
        for student, many in ((before, CHUNK), (after, rows))
    }
    old: Scores = scores_from_logits(logits[before], truth, before.classes)
    new = scores_from_logits(logits[after], truth, before.classes, teacher_logits=logits[before])
    right = {student: said.argmax(dim=1) == truth for student, said in logits.items()}
    assert new.agreement is not None
    lost = int((right[before] & ~right[after]).sum())
    won = int((right[after] & ~right[before]).sum())
    return Cost(
        rows=new.rows,
        accuracy=new.accuracy,
        drop=100.0 * (lost - won) / new.rows,
        lost=lost,
        won=won,
        agreement=new.agreement,
        ece=new.ece,
        ece_before=old.ece,
        worst_class=new.worst_class,
        worst_class_accuracy=new.worst_class_accuracy,
        worst_class_before=old.worst_class_accuracy,
    )


def labelled(name: str, data: Data) -> None:
    """Raise unless some rows have a label."""
    if data.labels is None or not bool((data.labels != UNLABELLED).any()):
        raise AttarError(f"quantize: {name} must have labels, to see what the rounding costs.")


def held_rows(name: str, value: Any, student: runtime.Student) -> Data:
    """Labelled rows with the student's classes."""
    data = as_data(value, classes=student.classes)
    labelled(name, data)
    return data
