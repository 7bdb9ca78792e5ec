"""What was lost where answers are values, or several labels a row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.report.figure import Figure, percent
from attar.report.figures.lost import MOST_CLASSES
from attar.report.run import Floats, Run, as_run

#: Test rows that are drawn; of more, so many evenly taken.
MOST_ROWS = 400


def by_column(source: Any) -> Figure | None:
    """The run's measure of each label, or of each value: teacher, student alone, distilled.

    None of classes, of one value, of quantiles, and where the run keeps no answers.
    """
    run = as_run(source)
    truth, told = run.truth, _everybody(run)
    if truth is None or told is None or len(run.classes) < 2 or run.task == "quantiles":
        return None
    score = _accuracy if run.task == "multilabel" else _r2
    by = {who: np.mean([score(one, truth) for one in said], axis=0) for who, said in told.items()}
    known = np.flatnonzero(np.isfinite(by["teacher"]))
    order = known[np.argsort((by["distilled"] - by["teacher"])[known], kind="stable")]
    points = [
        {"name": run.classes[c], **{who: float(values[c]) for who, values in by.items()}}
        for c in order[:MOST_CLASSES]
    ]
    if not points:
        return None
    what = "label" if run.task == "multilabel" else "value"
    worst = points[0]
    return Figure(
        name="columns",
        kind="classes",
        title=f"{what.capitalize()} by {what}",
        caption=f"{run.measure.heading} of each {what} on the test "
        "rows; students: mean over the seeds. Sorted by what the student lost against the teacher."
        + ("" if len(points) == len(known) else f" The {len(points)} that lost most are drawn."),
        alt=f"Most is lost on {worst['name']}: teacher {percent(worst['teacher'])}, distilled "
        f"{percent(worst['distilled'])}, student alone {percent(worst['hard'])}.",
        data={"points": points},
        head=[what, "teacher", "student, hard labels", "student, distilled"],
        rows=[
            [p["name"], percent(p["teacher"]), percent(p["hard"]), percent(p["distilled"])]
            for p in points
        ],
    )


def said_and_true(source: Any) -> Figure | None:
    """What teacher and shipped student say of each test row over what is true; of one value.

    None of any other run, and where it keeps no answers.
    """
    run = as_run(source)
    truth, told = run.truth, _everybody(run)
    if truth is None or told is None or run.task != "regression" or len(run.classes) > 1:
        return None
    seeds = [seed.seed for seed in run.arms["distilled"].seeds]
    mine = told["distilled"][seeds.index(run.student_seed) if run.student_seed in seeds else 0]
    known = np.flatnonzero(np.isfinite(truth[:, 0]))
    shown = known[:: -(-len(known) // MOST_ROWS)]
    teacher = told["teacher"][0]
    points = [
        {
            "true": _short(truth[row, 0]),
            "teacher": _short(teacher[row, 0]),
            "distilled": _short(mine[row, 0]),
        }
        for row in shown
    ]
    return Figure(
        name="said",
        kind="against",
        title="What it says, and what is true",
        caption="Each test row twice: what the teacher says, and the student that ships. On the "
        "broken line both would be right."
        + ("" if len(shown) == len(known) else f" {len(shown)} of {len(known):,} rows."),
        alt="; ".join(
            f"the {who} is off by {_short(_mean_error(said, truth)):g} on average"
            for who, said in (("teacher", teacher), ("distilled student", mine))
        )
        + ".",
        data={"points": points, "column": run.classes[0]},
    )


def errors_by_range(source: Any) -> tuple[list[str], list[list[str]]] | None:
    """Of one value: the mean absolute error in each fifth of the test rows, from low to high.

    Returns:
        The head and the cells of a table; None of any other run.
    """
    run = as_run(source)
    truth, told = run.truth, _everybody(run)
    if truth is None or told is None or run.task != "regression" or len(run.classes) > 1:
        return None
    known = np.flatnonzero(np.isfinite(truth[:, 0]))
    order = known[np.argsort(truth[known, 0], kind="stable")]
    rows = []
    for part in np.array_split(order, 5):
        if len(part):
            ends = f"{truth[part[0], 0]:.4g} to {truth[part[-1], 0]:.4g}"
            errors = [
                np.mean([_mean_error(one[part], truth[part]) for one in told[who]])
                for who in ("teacher", "hard", "distilled")
            ]
            rows.append([ends, f"{len(part):,}", *[f"{error:.4g}" for error in errors]])
    head = [run.classes[0], "rows", "teacher", "student, hard labels", "student, distilled"]
    return head, rows


def _everybody(run: Run) -> dict[str, Floats] | None:
    """``[S, N, D]`` of the teacher and the two arms that every run has; None where one is gone."""
    found = {who: run.told_columns(who) for who in ("teacher", "hard", "distilled")}
    kept = {who: said for who, said in found.items() if said is not None}
    return kept if len(kept) == len(found) else None


def _accuracy(said: Floats, truth: Floats) -> Floats:
    known = np.isfinite(truth)
    return _over(((said > 0) == (truth > 0.5)) & known, known)


def _r2(said: Floats, truth: Floats) -> Floats:
    known = np.isfinite(truth)
    middle = _over(np.where(known, truth, 0), known)
    spread = np.where(known, truth - middle, 0) ** 2
    error = np.where(known, said - truth, 0) ** 2
    total = spread.sum(axis=0)
    return np.where(total > 0, 1 - error.sum(axis=0) / np.where(total > 0, total, 1), np.nan)


def _over(values: NDArray[Any], known: NDArray[np.bool_]) -> Floats:
    count = known.sum(axis=0)
    means: Floats = np.where(count > 0, values.sum(axis=0) / np.maximum(count, 1), np.nan)
    return means


def _mean_error(said: Floats, truth: Floats) -> float:
    return float(np.nanmean(np.abs(said - truth)))


def _short(value: float) -> float:
    """As many digits as are seen."""
    return float(f"{value:.6g}")
