"""What was lost on the way from teacher to student: by class, by kind of error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.report.figure import Figure, percent, whole
from attar.report.figures.accuracy import arm_label
from attar.report.figures.dark import short
from attar.report.run import Floats, Run, as_run

#: Classes that are drawn; of more, those that lost most.
MOST_CLASSES = 30


def lost_by_class(source: Any) -> Figure | None:
    """Accuracy of each true class: teacher, student alone, student distilled.

    None where the run does not keep the answers.
    """
    run = as_run(source)
    labels, teacher = run.labels, run.teacher_logits
    hard, distilled = run.logits("hard"), run.logits("distilled")
    if labels is None or teacher is None or hard is None or distilled is None:
        return None
    by_class = {
        "teacher": _per_class(teacher[None], labels, len(run.classes)),
        "hard": _per_class(hard, labels, len(run.classes)),
        "distilled": _per_class(distilled, labels, len(run.classes)),
    }
    counts = np.bincount(labels, minlength=len(run.classes))
    lost = by_class["teacher"] - by_class["distilled"]
    present = np.flatnonzero(counts)
    order = present[np.argsort(-lost[present], kind="stable")]
    shown = order[:MOST_CLASSES]
    points = [
        {
            "name": run.classes[c],
            "rows": int(counts[c]),
            **{who: float(values[c]) for who, values in by_class.items()},
        }
        for c in shown
    ]
    worst = points[0]
    caption = (
        "For each true class the share of its test rows that are answered right; students: mean "
        "over the seeds. Classes are sorted by what the student lost against the teacher."
    )
    if len(shown) < len(present):
        caption += f" Of {len(present):,} classes the {len(shown)} that lost most are drawn."
    return Figure(
        name="classes",
        kind="classes",
        title="Class by class",
        caption=caption,
        alt=f"Most is lost on {short(worst['name'])}: the teacher is right on "
        f"{percent(worst['teacher'])} of its rows, the distilled student on "
        f"{percent(worst['distilled'])}, the student alone on {percent(worst['hard'])}.",
        data={"points": points},
        head=["class", "test rows", "teacher", "student, hard labels", "student, distilled"],
        rows=[
            [
                p["name"],
                whole(p["rows"]),
                percent(p["teacher"]),
                percent(p["hard"]),
                percent(p["distilled"]),
            ]
            for p in points
        ],
    )


def _per_class(logits: NDArray[Any], labels: NDArray[np.int64], classes: int) -> Floats:
    """``[C]`` mean accuracy over seeds of each class; NaN without rows."""
    right = np.zeros(classes)
    for one in logits:
        right += np.bincount(labels[one.argmax(axis=1) == labels], minlength=classes)
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    counts[counts == 0] = np.nan
    found: Floats = right / len(logits) / counts
    return found


def errors(source: Any) -> Figure | None:
    """Errors of each arm: those that repeat the teacher's, and those of its own."""
    run = as_run(source)
    points = _error_points(run)
    if not points:
        return None
    mine = next(p for p in points if p["key"] == "distilled")
    told = "" if run.teacher.errors is None else f" The teacher makes {run.teacher.errors}."
    return Figure(
        name="errors",
        kind="errors",
        title="Whose errors they are",
        caption="Inherited: the student gives the very answer that the teacher gives, and both "
        "are wrong. Own: all its other errors. Mean over the seeds, on the test rows.",
        alt=f"A distilled student makes {mine['inherited'] + mine['own']:.1f} errors: "
        f"{mine['inherited']:.1f} inherited and {mine['own']:.1f} of its own.{told}",
        data={"points": points, "teacher": run.teacher.errors},
        head=["", "inherited", "own", "together"],
        rows=[
            [
                p["label"],
                f"{p['inherited']:.1f}",
                f"{p['own']:.1f}",
                f"{p['inherited'] + p['own']:.1f}",
            ]
            for p in points
        ],
    )


def _error_points(run: Run) -> list[dict[str, Any]]:
    points = []
    for name, arm in run.arms.items():
        inherited, own = arm.mean("inherited"), arm.mean("own")
        if inherited is None or own is None:
            return []
        label = arm_label(name)
        points.append({"key": name, "label": label, "inherited": inherited, "own": own})
    return points
