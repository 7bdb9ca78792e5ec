"""`distill(student_size="auto")`: the ladder chooses the size, its experiment is the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attar.checks import AttarError
from attar.experiment.ladder import ladder
from attar.experiment.result import Experiment


def sized(teacher: Any, student: Any, *, out: str | Path | None, **given: Any) -> Experiment:
    """The experiment of a ladder with its usual goal; arguments as for :func:`attar.ladder`.

    The folder of the ladder is that of the experiment, too.
    """
    found = ladder(teacher, student, out=out, **given)
    experiment = found.experiment
    assert experiment is not None  # without a budget there is always a best
    if not found.met:
        experiment.warnings.append(" ".join([found.sentence, "What would help:", *found.advice]))
    experiment.warnings += [note for note in found.notes if note not in experiment.warnings]
    if out is not None:
        experiment.save(out)
    return experiment


def check_sizing(size: Any, task: str) -> None:
    """Raise where no size can be looked for.

    >>> check_sizing("small", "multiclass")
    Traceback (most recent call last):
    attar.checks.AttarError: distill: student_size must be 'auto'; a number goes to parameters=...
    """
    if size != "auto":
        raise AttarError(
            f"distill: student_size must be 'auto'; a number goes to parameters=. Got {size!r}."
        )
    if task != "multiclass":
        raise AttarError(
            f"distill: student_size='auto' is there for classes alone. For the task {task!r} give "
            "parameters= or shrink=."
        )
