"""Few labels: the rest of the rows is unlabelled, and labelled by the teacher."""

from __future__ import annotations

from typing import Any

import record
from lab import Lab
from measure import Asked, ask, best_of, compared, opened, validation_gap
from plain import RATE
from students import Student, errors, on_validation, train_all

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
    asked = ask(lab, "conv")
    bases = {
        count: Student("hard", 800, rows=f"labels {count}", steps=lab.steps(STEPS)).changed(
            learning_rate=RATE
        )
        for count in COUNTS
    }
    temperature, tried = choose_temperature(lab, asked, bases)
    parts = {}
    for count, base in bases.items():
        rows, figures = _table(lab, asked, base, temperature)
        figures |= {"labels": float(count), "temperature": temperature}
        figures["teacher_errors"] = float(errors(asked.test, lab.test))
        parts[f"labels{count}"] = (tried[count] + rows, figures)
    return parts


def _distilled(base: Student, temperature: float) -> Student:
    return base.changed(arm="distilled", teacher="conv", temperature=temperature, alpha=ALPHA)


def choose_temperature(
    lab: Lab, asked: Asked, bases: dict[int, Student]
) -> tuple[float, dict[int, list[dict[str, Any]]]]:
    """One T for all counts, that of the fewest errors on validation over all, and a row a trial.

    Of 5,000 validation rows some 50 are wrong: two errors more or less in one count say nothing.
    """
    tried, totals = {}, dict.fromkeys(TEMPERATURES, (0, 0.0))
    for count, base in bases.items():
        trials = [_distilled(base, t).changed(width=CHOOSING_WIDTH) for t in TEMPERATURES]
        train_all(lab, trials, asked.train)
        scores = [on_validation(lab, trial, asked.train) for trial in trials]
        tried[count] = best_of(trials, scores)[1]
        for temperature, (wrong, nll) in zip(TEMPERATURES, scores, strict=True):
            before = totals[temperature]
            totals[temperature] = (before[0] + wrong, before[1] + nll)
    best = min(TEMPERATURES, key=lambda t: totals[t])
    for rows in tried.values():
        for temperature, row in zip(TEMPERATURES, rows, strict=True):
            row["chosen"] = temperature == best
    return best, tried


def _table(lab: Lab, asked: Asked, base: Student, temperature: float) -> record.Part:
    settings = {
        "hard": base,
        "smoothed": base.changed(arm="smoothed", smoothing=SMOOTHING),
        "pseudo": base.changed(arm="pseudo", teacher="conv"),
        "distilled": _distilled(base, temperature),
    }
    gap = validation_gap(lab, asked, base)
    arms = {name: opened(lab, one, asked.train, SEEDS) for name, one in settings.items()}
    return compared(lab, arms, asked.test, gap)
