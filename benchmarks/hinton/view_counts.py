"""How many stored views: against one fixed view, and against a live teacher on fresh jitter."""

from __future__ import annotations

import time

import record
import torch
from lab import ASK, Lab, student_views
from measure import Asked, ask, opened
from students import Student

from attar.types import Batch

COUNTS = (1, 2, 8, 32)
WIDTH, SEEDS, TEMPERATURE = 230, 3, 4.0
#: Of 512 rows: 32 passes over 60,000, so that every view of the most is seen once.
STEPS = 3_750
#: A view for each pass: none is seen twice.
FRESH = 33


def view_counts(lab: Lab) -> dict[str, record.Part]:
    """784-230-230-10 on V views, V = 1, 2, 8, 32, with the wall-clock time of both.

    The teacher is one network: a live ensemble of five would answer for an hour and a half.
    """
    asked = ask(lab, "conv1", views=max(COUNTS))
    label_seconds = _seconds_a_pass(lab, asked)
    base = Student("distilled", WIDTH, teacher="conv1", temperature=TEMPERATURE)
    base = base.changed(steps=lab.steps(STEPS))
    rows, figures = [], {"label_seconds_per_view": label_seconds}
    for count in COUNTS:
        arm = opened(lab, base.changed(views=count), asked.train, SEEDS)
        rows += arm.rows
        seconds = sum(row["training_seconds"] for row in arm.rows) / len(arm.rows)
        figures |= arm.figures(f"v{count}")
        figures[f"v{count}_training_seconds"] = seconds
        figures[f"v{count}_seconds_with_labelling"] = seconds + count * label_seconds
    live = opened(lab, base.changed(views=FRESH, live=True), None, SEEDS, teacher=asked.teacher)
    seconds = sum(row["training_seconds"] for row in live.rows) / len(live.rows)
    figures |= live.figures("live") | {"live_seconds_with_labelling": seconds}
    return {"viewcount": (rows + live.rows, figures)}


def _seconds_a_pass(lab: Lab, asked: Asked) -> float:
    """How long the teacher takes for one view of all rows, from a part of them."""
    rows = lab.everything.with_views(student_views(2))
    asked_about = min(len(rows), 3_200)
    began = time.perf_counter()
    with lab.cast():
        for start in range(0, asked_about, ASK):
            batch: Batch = rows.batch(torch.arange(start, min(start + ASK, asked_about)), 1)
            asked.teacher(batch)
    return (time.perf_counter() - began) * len(rows) / asked_about
