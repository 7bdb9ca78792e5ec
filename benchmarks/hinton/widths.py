"""Small students: accuracy over temperature and width."""

from __future__ import annotations

import record
from lab import Lab
from measure import ask, best_of, compared, opened, size_of, spread, validation_gap
from plain import RATE, SMOOTHING
from students import Student, on_validation, train_all

#: Units of a hidden layer: 10.15 and 97 times smaller than the paper's teacher.
WIDTHS = (230, 30)
TEMPERATURES = (1.0, 2.0, 2.5, 4.0, 8.0, 20.0, 40.0)
SEEDS = 3
#: Of 512 rows: 30 passes over 60,000.
STEPS = 3_500


def widths(lab: Lab) -> dict[str, record.Part]:
    """784-230-230-10 and 784-30-30-10, T from 1 to 40.

    The curve over T is drawn on the validation rows; test is opened for the chosen T alone.
    """
    return {f"mlp{width}_plain": _table(lab, width) for width in WIDTHS}


def _table(lab: Lab, width: int) -> record.Part:
    asked = ask(lab, "conv")
    base = Student("distilled", width, teacher="conv", rows="train", steps=lab.steps(STEPS))
    base = base.changed(learning_rate=RATE)
    rows, figures, scores = [], {}, []
    trials = [base.changed(temperature=t) for t in TEMPERATURES]
    seeded = [trial.changed(seed=seed) for trial in trials for seed in range(lab.seeds(SEEDS))]
    train_all(lab, seeded, asked.train)
    for trial in trials:
        found = [
            on_validation(lab, trial.changed(seed=seed), asked.train)
            for seed in range(lab.seeds(SEEDS))
        ]
        wrong = [one[0] for one in found]
        figures |= spread(wrong, f"T{trial.temperature:g}_validation_errors")
        rows += [
            {"temperature": trial.temperature, "seed": seed}
            | {"validation_errors": one[0], "validation_nll": one[1]}
            for seed, one in enumerate(found)
        ]
        scores.append((sum(wrong), sum(one[1] for one in found)))
    best, _ = best_of(trials, scores)
    smoothed = [base.changed(arm="smoothed", teacher="", smoothing=s) for s in SMOOTHING]
    train_all(lab, smoothed)
    smooth, more = best_of(smoothed, [on_validation(lab, one) for one in smoothed])
    settings = {
        "hard": base.changed(arm="hard", teacher="", rows="all"),
        "smoothed": smooth.changed(rows="all"),
        "distilled": best.changed(rows="all"),
    }
    gap = validation_gap(lab, asked, settings["hard"])
    arms = {name: opened(lab, one, asked.train, SEEDS) for name, one in settings.items()}
    last, opened_figures = compared(lab, arms, asked.test, gap)
    figures |= opened_figures | size_of(lab, base) | {"temperature": best.temperature}
    return rows + more + last, figures
