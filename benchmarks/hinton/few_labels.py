"""Few labels: the rest of the rows is unlabelled, and labelled by the teacher."""

from __future__ import annotations

import record
from lab import Lab
from measure import ask, choose, compared, opened, validation_gap
from plain import RATE
from students import Student

COUNTS = (100, 1_000, 10_000)
SEEDS = 3
#: Of 512 rows: 22 passes over 55,000.
STEPS = 2_400
TEMPERATURES = (2.0, 4.0, 8.0)
#: T is chosen with students of this width, which take a fifth of the time.
CHOOSING_WIDTH = 230
#: Nearly all weight on the teacher: few rows have a label.
ALPHA, SMOOTHING = 0.9, 0.1


def few_labels(lab: Lab) -> dict[str, record.Part]:
    """100, 1,000 and 10,000 labelled images of 55,000.

    The teacher has learnt from all 55,000 labels: the table shows what a student without labels
    can take from a teacher that had them, not what few labels are worth.
    """
    return {f"labels{count}": _table(lab, count) for count in COUNTS}


def _table(lab: Lab, count: int) -> record.Part:
    asked = ask(lab, "conv")
    base = Student("hard", 800, rows=f"labels {count}", steps=lab.steps(STEPS))
    base = base.changed(learning_rate=RATE)
    soft = base.changed(arm="distilled", teacher="conv", alpha=ALPHA)
    small = soft.changed(width=CHOOSING_WIDTH)
    trials = [small.changed(temperature=temperature) for temperature in TEMPERATURES]
    chosen, tried = choose(lab, trials, asked.train)
    best = soft.changed(temperature=chosen.temperature)
    settings = {
        "hard": base,
        "smoothed": base.changed(arm="smoothed", smoothing=SMOOTHING),
        "pseudo": base.changed(arm="pseudo", teacher="conv"),
        "distilled": best,
    }
    gap = validation_gap(lab, asked, base)
    arms = {name: opened(lab, one, asked.train, SEEDS) for name, one in settings.items()}
    rows, figures = compared(lab, arms, asked.test, gap)
    return tried + rows, figures | {"labels": float(count), "temperature": best.temperature}
