"""The page of this benchmark in the docs: its text, its tables and its pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hinton_sections
from hinton_sections import ARMS, Figures
from pictures import Dot, curves, dots


@dataclass(frozen=True)
class Goal:
    """What was to be reached.

    Attributes:
        what: In words.
        figure: Its name in the results.
        paper: What the paper reports.
        goal: In words.
        met: Whether a value meets it.
        scale: What the value is multiplied by to be shown.
        unit: Behind it.
    """

    what: str
    figure: str
    paper: str
    goal: str
    met: Callable[[float], bool]
    scale: float = 1.0
    unit: str = ""


GOALS = (
    Goal("the teacher, errors", "processor_errors", "67", "below 35", lambda v: v < 35),
    Goal(
        "the same trained on a GPU, which teaches below, errors",
        "teacher_conv_errors",
        "67",
        "below 35",
        lambda v: v < 35,
    ),
    Goal(
        "784-800-800-10, no augmentation, errors",
        "mlp800_plain_distilled_errors_mean",
        "74",
        "at most 74",
        lambda v: v <= 74,
    ),
    Goal(
        "the same on stored views, errors",
        "mlp800_views_distilled_errors_mean",
        "",
        "at most 55",
        lambda v: v <= 55,
    ),
    Goal(
        "no threes in the transfer set, stored views, corrected, errors",
        "views_without3_labels_errors_mean",
        "109",
        "at most 80",
        lambda v: v <= 80,
    ),
    Goal(
        "of these: threes that are right",
        "views_without3_labels_missing_right",
        "98.6 %",
        "at least 99 %",
        lambda v: v >= 0.99,
        100,
        " %",
    ),
    Goal(
        "only sevens and eights, stored views, corrected, errors",
        "views_only78_labels_errors_mean",
        "13.2 %",
        "below 8 %",
        lambda v: v < 800,
        0.01,
        " %",
    ),
)


def pages(
    results: dict[str, Any],
    table: Any,
    made: str,
    docs: Path,
    ensemble: dict[str, Any] | None = None,
) -> dict[Path, str]:
    """The page and its pictures, by their paths.

    Args:
        results: What the tables left in results.json.
        table: Makes a Markdown table of a head and rows.
        made: Where the numbers come from.
        docs: The folder of the page.
        ensemble: The results of ``benchmarks/ensemble``, where there are any.
    """
    figures, rows = results["figures"], results["rows"]
    sections = {
        "teachers": hinton_sections.teachers(figures, table),
        "plain": hinton_sections.arms(
            figures,
            table,
            "mlp800_plain",
            "784-800-800-10, no augmentation",
            "As in the paper: the student sees the 60,000 images as they are. The paper reports "
            "146 errors on hard labels and 74 distilled at T = 20, from a teacher of 67.",
            rows,
        ),
        "views": hinton_sections.arms(
            figures,
            table,
            "mlp800_views",
            "784-800-800-10, on stored views",
            "Eight shifted views of each image, each with its own stored soft target; the students "
            "on labels learn from the same views.",
            rows,
        ),
        "missing": hinton_sections.missing(figures, table),
        "widths": hinton_sections.widths(figures, table, rows),
        "few-labels": hinton_sections.few_labels(figures, table, rows),
        "paper": hinton_sections.paper(figures),
        "view-counts": hinton_sections.view_counts(figures, table),
        "convolutional": hinton_sections.convolutional(figures, table, rows),
        "ensemble": "" if ensemble is None else hinton_sections.ensemble(ensemble, table),
    }
    # Tables whose numbers stand in the section of another one.
    within = {
        "missing-views": "views_only78_views",
        "view-times": "viewtime_live_seconds_with_labelling",
        "latency": "latency_10x_p50_ms_mean",
    }
    done = [text for text in sections.values() if text]
    missing = [name for name, text in sections.items() if not text]
    missing += [name for name, figure in within.items() if figure not in figures]
    page = (
        "\n\n".join([_head(figures, table, rows), *done, *_not_run(missing), made.strip()]) + "\n"
    )
    found = {docs / "hinton.md": page}
    return found | _pictures(figures, docs)


def summary(figures: Figures, table: Any) -> str:
    """The table in the README: what the paper reports, and what came of it here."""

    def errors(name: str) -> str:
        mean, sd = (figures[f"{name}_errors_{which}"] for which in ("mean", "sd"))
        return f"{mean:.0f} ± {sd:.0f}"

    seen = [
        ("every image once, as it is", "plain", "146", "74"),
        ("eight stored views of each", "views", "", ""),
    ]
    lines = [
        [words, there, errors(f"mlp800_{part}_hard"), paper, errors(f"mlp800_{part}_distilled")]
        for words, part, there, paper in seen
    ]
    for words, part, paper in (
        ("no image of a three", "without3", "109"),
        ("sevens and eights alone", "only78", "1,320"),
    ):
        lines.append([words, "", "", paper, errors(f"views_{part}_labels")])
    return str(
        table(["the student sees", "hard labels: paper", "here", "distilled: paper", "here"], lines)
    )


def _head(figures: Figures, table: Any, runs: Sequence[Any]) -> str:
    rows = []
    for goal in GOALS:
        if goal.figure in figures:
            value = figures[goal.figure]
            here = f"{value * goal.scale:.{1 if goal.scale != 100 else 2}f}{goal.unit}"
            rows.append([goal.what, goal.paper, goal.goal, here, _reached(goal.met(value))])
        else:
            rows.append([goal.what, goal.paper, goal.goal, "not run yet", ""])
    head = ["", "paper", "goal", "here", "reached"]
    return f"""# Hinton's experiments, repeated

"Distilling the Knowledge in a Neural Network" (Hinton, Vinyals and Dean, 2015) made the field
believe in soft targets with a few tables on MNIST. They are repeated here with one command,
`make reproduce`, on two cores without a GPU or, with `--gpu`, in minutes on one. 5,000 of the
60,000 training images are kept for choices and no teacher sees them; the 10,000 test images are
opened once a table, at its end. All students of a table take the same number of steps from the same
starting weights. Errors are of 10,000 test images; mean ± standard deviation over the
seeds.{_devices(runs)}

{table(head, rows)}{_picture(figures)}"""


def _devices(runs: Sequence[Any]) -> str:
    """Which students were trained where."""
    trained = [row for row in runs if "training_seconds" in row]
    count = sum(row.get("device") == "cuda" for row in trained)
    if not count:
        return ""
    share = "All" if count == len(trained) else f"{count} of the {len(trained)}"
    return (
        f"\n{share} students below were trained on a GPU (NVIDIA H100); the raw results say which."
    )


def _picture(figures: Figures) -> str:
    return "\n\n![Errors of the students](hinton-errors.svg)" if _lines(figures) else ""


def _reached(met: bool) -> str:
    return "yes" if met else "**no**"


def _not_run(missing: Sequence[str]) -> list[str]:
    if not missing:
        return []
    commands = {"ensemble": "python benchmarks/ensemble/run.py"}
    lines = "\n".join(
        "    " + commands.get(name, f"python benchmarks/hinton/run.py {name}") for name in missing
    )
    return [
        f"## Not run yet\n\nThese tables are written, and have not been run in full:\n\n{lines}"
    ]


def _lines(figures: Figures) -> list[Dot]:
    lines = []
    for part, name in (
        ("mlp800_plain", "800 units"),
        ("mlp800_views", "800 units, views"),
        ("mlp230_plain", "230 units"),
        ("mlp30_plain", "30 units"),
    ):
        for arm in ("hard", "smoothed", "distilled"):
            if f"{part}_{arm}_errors_mean" in figures:
                mean, sd = (figures[f"{part}_{arm}_errors_{which}"] for which in ("mean", "sd"))
                lines.append(Dot(f"{name}, {ARMS[arm]}", mean, sd, arm))
    return lines


def _pictures(figures: Figures, docs: Path) -> dict[Path, str]:
    lines = _lines(figures)
    if not lines:
        return {}
    marks = {"paper, hard: 146": 146.0, "paper, distilled: 74": 74.0}
    if "teacher_conv_errors" in figures:
        teacher = figures["teacher_conv_errors"]
        marks[f"teacher: {teacher:.0f}"] = teacher
    unit = "errors of 10,000 test images, mean and standard deviation over seeds"
    found = {docs / "hinton-errors.svg": dots("Errors of the students", unit, lines, marks)}
    over_t = {
        f"{width} units": _over_temperature(figures, f"mlp{width}_plain") for width in (230, 30)
    }
    if all(over_t.values()):
        title = "Errors over temperature and width"
        text = curves(title, "temperature", "errors of 5,000 validation images", over_t)
        found[docs / "hinton-temperature.svg"] = text
    return found


def _over_temperature(figures: Figures, part: str) -> list[tuple[float, float, float]]:
    points = []
    for name, mean in figures.items():
        if name.startswith(f"{part}_T") and name.endswith("_validation_errors_mean"):
            temperature = float(name.removeprefix(f"{part}_T").split("_")[0])
            points.append((temperature, mean, figures[name.removesuffix("mean") + "sd"]))
    return sorted(points)
