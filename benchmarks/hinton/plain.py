"""784-800-800-10: the main table, on the images as they are and on stored views."""

from __future__ import annotations

import record
from lab import Lab
from measure import ask, choose, compared, opened, size_of, validation_gap
from students import Student

from attar.store import Store

#: Of 512 rows: 40 passes over 60,000. With 20 a distilled student makes a sixth more errors on
#: validation; hard labels are learnt by heart long before.
STEPS, RATE = 4_700, 3e-3
#: The steps of a trial on validation: what is better in these is taken to be better in more.
TRIAL_STEPS = 1_200
SEEDS = 5
#: Views of each row that are stored.
VIEWS = 8
TEMPERATURES = (2.0, 4.0, 20.0)
SMOOTHING = (0.05, 0.1, 0.2)


def plain(lab: Lab) -> dict[str, record.Part]:
    """As in the paper: the student sees no augmentation."""
    return {"mlp800_plain": _table(lab, 1)}


def views(lab: Lab) -> dict[str, record.Part]:
    """Stored views, and hard labels on the same views beside them."""
    return {"mlp800_views": _table(lab, VIEWS)}


def _table(lab: Lab, count: int) -> record.Part:
    asked = ask(lab, "conv", views=count)
    base = Student("distilled", 800, teacher="conv", views=count, steps=lab.steps(STEPS))
    base = base.changed(learning_rate=RATE)
    settings, rows = settings_for(lab, base, asked.train)
    gap = validation_gap(lab, asked, settings["hard"])
    arms = {name: opened(lab, one, asked.train, SEEDS) for name, one in settings.items()}
    more, figures = compared(lab, arms, asked.test, gap)
    figures |= size_of(lab, base) | {"views": float(count)}
    figures["temperature"] = settings["distilled"].temperature
    return rows + more, figures


def settings_for(
    lab: Lab, base: Student, targets: Store
) -> tuple[dict[str, Student], list[dict[str, object]]]:
    """Hard, smoothed and distilled, the last two with what validation chose for them."""
    trial = base.changed(rows="train", steps=lab.steps(TRIAL_STEPS))
    distilled = [trial.changed(temperature=t) for t in TEMPERATURES]
    best, rows = choose(lab, distilled, targets)
    trial = trial.changed(arm="smoothed", teacher="")
    smooth, more = choose(lab, [trial.changed(smoothing=s) for s in SMOOTHING], None)
    return {
        "hard": base.changed(arm="hard", teacher=""),
        "smoothed": smooth.changed(rows="all", steps=base.steps),
        "distilled": best.changed(rows="all", steps=base.steps),
    }, rows + more
