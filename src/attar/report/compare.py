"""Several runs side by side on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attar.checks import AttarError
from attar.files import write_text
from attar.report.figure import Figure, percent, span
from attar.report.page import fill
from attar.report.run import Run, as_run
from attar.report.words import headline, setting

#: More runs than this make no page that can be read.
MOST_RUNS = 60


def comparison_page(sources: Sequence[Any]) -> str:
    """One page with a column of figures a run.

    Args:
        sources: Two or more of what :func:`attar.report.as_run` takes.

    Raises:
        AttarError: If there are fewer than two or more than 60, or one is no finished run.
    """
    if not 2 <= len(sources) <= MOST_RUNS:
        raise AttarError(
            f"compare: give from 2 to {MOST_RUNS} runs. Got {len(sources)}."
            + (" The page of one run is made by attar report." if len(sources) == 1 else "")
        )
    runs = [as_run(source) for source in sources]
    tasks = sorted({run.task for run in runs})
    if len(tasks) > 1:
        raise AttarError(
            f"compare: runs of one task can be set side by side. Got {' and '.join(tasks)}."
        )
    names = _names(runs)
    rows = []
    for run, name in zip(runs, names, strict=True):
        kept, gap, smaller, faster = (one["value"] for one in headline(run))
        mine, teacher = run.arms["distilled"].score, run.teacher.score
        rows.append(
            [
                name,
                run.verdict,
                percent(mine.mean, 2),
                percent(run.arms["hard"].score.mean, 2),
                percent(teacher.mean if teacher else None, 2),
                kept,
                gap,
                smaller,
                faster,
                run.student.name,
                run.teacher.name,
                setting(run),
            ]
        )
    made = [accuracies(runs, names), sizes(runs, names)]
    return fill(
        "compare.html",
        [figure for figure in made if figure is not None],
        title=f"{len(runs)} runs",
        table={"head": _head(runs[0]), "rows": rows},
        runs=list(zip(names, runs, strict=True)),
        same=len({run.told["fingerprints"]["test"].text() for run in runs}) == 1,
    )


def _head(run: Run) -> list[str]:
    return [
        "run",
        "verdict",
        *("distilled", "hard labels", "teacher"),
        *(one["name"] for one in headline(run)),
        *("student", "teacher", "setting"),
    ]


def write_comparison(sources: Sequence[Any], path: str | Path) -> Path:
    """Write :func:`comparison_page` to a file, whole or not at all; returns the path."""
    path = Path(path)
    write_text("compare", path, comparison_page(sources))
    return path


def _names(runs: Sequence[Run]) -> list[str]:
    """Names of the folders, numbered where two are called alike."""
    seen: dict[str, int] = {}
    names = []
    for run in runs:
        seen[run.name] = seen.get(run.name, 0) + 1
        names.append(run.name if seen[run.name] == 1 else f"{run.name} ({seen[run.name]})")
    return names


def accuracies(runs: Sequence[Run], names: Sequence[str]) -> Figure:
    """Accuracy of teacher and every arm, a line a run."""
    points: list[dict[str, Any]] = []
    for run, name in zip(runs, names, strict=True):
        found = [(arm, told.score) for arm, told in run.arms.items()]
        if run.teacher.score is not None:
            found.append(("teacher", run.teacher.score))
        points += [
            {"run": name, "key": key, "mean": s.mean, "low": s.low, "high": s.high}
            for key, s in found
        ]
    return Figure(
        name="accuracies",
        kind="runs",
        title=f"{runs[0].measure.heading}, run by run",
        caption="Each line is a run: its teacher and its students, on its own test rows, with "
        "95 % intervals.",
        alt="; ".join(
            f"{name}: distilled {percent(run.arms['distilled'].score.mean)}"
            for run, name in zip(runs, names, strict=True)
        )
        + ".",
        data={"points": points, "runs": list(names)},
        head=["run", "", runs[0].measure.name, "95 % interval"],
        rows=[
            [p["run"], p["key"], percent(p["mean"], 2), span(p["low"], p["high"], 2)]
            for p in points
        ],
    )


def sizes(runs: Sequence[Run], names: Sequence[str]) -> Figure | None:
    """Accuracy of the distilled students over their parameters; None with one size alone."""
    points: list[dict[str, Any]] = [
        {
            "label": name,
            "key": "distilled",
            "x": run.student.parameters,
            "mean": run.arms["distilled"].score.mean,
            "low": run.arms["distilled"].score.low,
            "high": run.arms["distilled"].score.high,
            "seeds": [seed.score for seed in run.arms["distilled"].seeds],
        }
        for run, name in zip(runs, names, strict=True)
        if run.student.parameters
    ]
    if len({p["x"] for p in points}) < 2:
        return None
    return Figure(
        name="parameters",
        kind="scatter",
        title=f"{runs[0].measure.heading} over size, across the runs",
        caption="The distilled student of each run. To the left is smaller, up is better.",
        alt="; ".join(f"{p['label']}: {p['x']:,} parameters, {percent(p['mean'])}" for p in points)
        + ".",
        data={"axis": "parameters", "points": points, "named": True},
        head=["run", "parameters", runs[0].measure.name],
        rows=[[p["label"], f"{p['x']:,}", percent(p["mean"], 2)] for p in points],
    )
