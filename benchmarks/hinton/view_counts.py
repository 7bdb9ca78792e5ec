"""How many stored views: against one fixed view, and against a live teacher on fresh jitter."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import record
import torch
from lab import Lab, student_views
from measure import ask, opened, spread
from students import Student, fresh
from torch import nn

from attar.data import ArrayData, Batches
from attar.engine import Distiller, TrainConfig, train
from attar.teachers import StoredTeacher
from attar.types import Teacher

COUNTS = (1, 2, 8, 32)
WIDTH, SEEDS, TEMPERATURE = 230, 3, 4.0
#: Of 512 rows: 32 passes over 60,000, so that every view of the most is seen once.
STEPS = 3_750
#: A view for each pass: none is seen twice.
FRESH = 33
#: What is timed: this many rows in all their views, and rounds of so many steps.
TIMED_ROWS, ROUNDS, ROUND_STEPS = 3_000, 5, 40


def _base(lab: Lab) -> Student:
    base = Student("distilled", WIDTH, teacher="conv1", temperature=TEMPERATURE)
    return base.changed(steps=lab.steps(STEPS))


def view_counts(lab: Lab) -> dict[str, record.Part]:
    """784-230-230-10 on V views, V = 1, 2, 8, 32, and on fresh views that a live teacher labels.

    The teacher is one network: a live ensemble of five would answer for an hour and a half.
    """
    asked = ask(lab, "conv1", views=max(COUNTS))
    base = _base(lab)
    arms = {
        f"v{count}": opened(lab, base.changed(views=count), asked.train, SEEDS) for count in COUNTS
    }
    live = base.changed(views=FRESH, live=True)
    arms["live"] = opened(lab, live, None, SEEDS, teacher=asked.teacher)
    rows = [row for arm in arms.values() for row in arm.rows]
    figures: dict[str, float] = {}
    for name, arm in arms.items():
        figures |= arm.figures(name)
    return {"viewcount": (rows, figures)}


def view_times(lab: Lab) -> dict[str, record.Part]:
    """The wall-clock time of both ways: a step of each in turn, and the labelling of a view."""
    teacher = ask(lab, "conv1").teacher
    part = lab.everything.take(torch.arange(min(TIMED_ROWS, len(lab.everything))))
    began = time.perf_counter()
    targets = lab.targets(teacher, "conv1-timed", max(COUNTS), rows=part)
    label_seconds = (time.perf_counter() - began) / max(COUNTS)
    label_seconds *= len(lab.everything) / len(part)
    stored = StoredTeacher(targets)
    arms: dict[str, tuple[Student, Teacher]] = {
        f"v{count}": (_base(lab).changed(views=count), stored) for count in COUNTS
    }
    arms["live"] = (_base(lab).changed(views=FRESH, live=True), teacher)
    running = {name: _steps(lab, part, one, said) for name, (one, said) in arms.items()}
    for steps in running.values():
        next(steps)  # The first round pays for what is made once.
    seconds: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(ROUNDS):
        for name, steps in running.items():
            seconds[name].append(next(steps))
    rows = [
        {"views": name, "round": number, "step_seconds": value}
        for name, values in seconds.items()
        for number, value in enumerate(values)
    ]
    figures = {"label_seconds_per_view": label_seconds}
    for name, values in seconds.items():
        figures |= spread([1e3 * value for value in values], f"{name}_step_ms")
        labelled = 0 if name == "live" else int(name[1:])
        whole = STEPS * float(np.median(values)) + labelled * label_seconds
        figures[f"{name}_seconds_with_labelling"] = whole
        against = np.array(seconds["live"]) / np.array(values)
        figures |= spread(against.tolist(), f"{name}_live_over_stored")
    return {"viewtime": (rows, figures)}


def _steps(lab: Lab, rows: ArrayData, student: Student, teacher: Teacher) -> Iterator[float]:
    """Train on and on; the seconds a step of each round."""
    model: nn.Module = fresh(lab, student)
    viewed = rows.with_views(student_views(student.views, student.view))
    batches = Batches(viewed, min(student.batch_size, len(rows)), seed=0)
    config = TrainConfig(steps=(ROUNDS + 1) * ROUND_STEPS, log_every=ROUND_STEPS)
    distiller = Distiller(model, student.objective(), teacher)
    running = train(distiller, batches, config, accelerator=lab.accelerator)
    while True:
        began = time.perf_counter()
        next(running)
        yield (time.perf_counter() - began) / ROUND_STEPS
