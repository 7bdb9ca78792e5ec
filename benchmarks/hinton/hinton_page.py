"""The page of this benchmark in the docs: its text, its tables and its pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pictures import Dot, curves, dots

Figures = Mapping[str, float]
ARMS = {
    "hard": "hard labels",
    "smoothed": "smoothed labels",
    "pseudo": "the teacher's guesses",
    "distilled": "distilled",
}
CORRECTIONS = {
    "none": "as it is",
    "labels": "by labels, likelihood",
    "errors": "by labels, errors",
    "priors": "by priors, no label",
}


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
    Goal("the teacher, errors", "teacher_conv_errors", "67", "below 35", lambda v: v < 35),
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
        "no threes in the transfer set, corrected, errors",
        "without3_labels_errors_mean",
        "109",
        "at most 80",
        lambda v: v <= 80,
    ),
    Goal(
        "of these: threes that are right",
        "without3_labels_missing_right",
        "98.6 %",
        "at least 99 %",
        lambda v: v >= 0.99,
        100,
        " %",
    ),
    Goal(
        "only sevens and eights, corrected, errors",
        "only78_labels_errors_mean",
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
        "teachers": _teachers(figures, table),
        "plain": _arms(
            figures,
            table,
            "mlp800_plain",
            "784-800-800-10, no augmentation",
            "As in the paper: the student sees the 60,000 images as they are. The paper reports "
            "146 errors on hard labels and 74 distilled at T = 20, from a teacher of 67.",
            rows,
        ),
        "views": _arms(
            figures,
            table,
            "mlp800_views",
            "784-800-800-10, on stored views",
            "Eight shifted views of each image, each with its own stored soft target; the students "
            "on labels learn from the same views.",
            rows,
        ),
        "missing": _missing(figures, table),
        "widths": _widths(figures, table, rows),
        "few-labels": _few_labels(figures, table, rows),
        "paper": _paper(figures),
        "view-counts": _view_counts(figures, table),
        "convolutional": _convolutional(figures, table, rows),
        "ensemble": "" if ensemble is None else _ensemble(ensemble, table),
    }
    done = [text for text in sections.values() if text]
    missing = [name for name, text in sections.items() if not text]
    page = "\n\n".join([_head(figures, table), *done, *_not_run(missing), made.strip()]) + "\n"
    found = {docs / "hinton.md": page}
    return found | _pictures(figures, docs)


def _head(figures: Figures, table: Any) -> str:
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
`make reproduce`, on two cores without a GPU. 5,000 of the 60,000 training images are kept for
choices and no teacher sees them; the 10,000 test images are opened once a table, at its end. All
students of a table take the same number of steps from the same starting weights. Errors are of
10,000 test images; mean ± standard deviation over the seeds.

{table(head, rows)}{_picture(figures)}"""


def _picture(figures: Figures) -> str:
    return "\n\n![Errors of the students](hinton-errors.svg)" if _lines(figures) else ""


def _reached(met: bool) -> str:
    return "yes" if met else "**no**"


def _teachers(figures: Figures, table: Any) -> str:
    if "teacher_conv_errors" not in figures:
        return ""
    count = round(figures["teacher_conv_members"])
    networks = "One convolutional network" if count == 1 else f"{count} convolutional networks"
    each = "" if count == 1 else f", {figures['teacher_conv_member_errors_mean']:.1f} each"
    size, passes, wrong, nll = (
        figures[f"teacher_conv_{name}"] for name in ("member_parameters", "epochs", "errors", "nll")
    )
    return f"""## The teacher

{networks} of {size:,.0f} parameters, {passes:.0f} passes over 55,000 images, turned by up to 10
degrees, stretched by up to a tenth and moved by up to 2.5 pixels: **{wrong:.0f} errors**{each};
NLL {nll:.4f}. The paper's teacher, a multilayer perceptron with dropout on images moved by up to
two pixels, made 67."""


def _arms(
    figures: Figures, table: Any, part: str, title: str, text: str, rows: Sequence[Any]
) -> str:
    if f"{part}_distilled_errors_mean" not in figures:
        return ""
    names = [arm for arm in ARMS if f"{part}_{arm}_errors_mean" in figures]
    body = table(
        ["student", "errors", "NLL"], [[ARMS[a], *_scores(figures, part, a)] for a in names]
    )
    temperature = figures.get(f"{part}_temperature")
    chosen = "" if temperature is None else f" T = {temperature:g}, chosen on validation."
    verdict = next(row for row in rows if row["part"] == part and "verdict" in row)
    return f"""## {title}

{text}{chosen} {figures[f"{part}_seeds"]:.0f} seeds.

{body}

**{verdict["verdict"]}**: {verdict["reason"]} Gap recovered: {_gap(figures, part)}."""


def _scores(figures: Figures, part: str, name: str) -> list[str]:
    mean, sd = (figures[f"{part}_{name}_errors_{which}"] for which in ("mean", "sd"))
    return [f"{mean:.1f} ± {sd:.1f}", f"{figures[f'{part}_{name}_nll_mean']:.4f}"]


def _gap(figures: Figures, part: str) -> str:
    if f"{part}_gap_recovered" not in figures:
        return "not reported, as there is no sure gap"
    mean, low, high = (figures[f"{part}_gap_recovered{end}"] for end in ("", "_low", "_high"))
    return f"{100 * mean:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def _missing(figures: Figures, table: Any) -> str:
    if "without3_none_errors_mean" not in figures:
        return ""

    def body(part: str) -> str:
        lines = []
        for name, words in CORRECTIONS.items():
            mean, sd = (figures[f"{part}_{name}_errors_{which}"] for which in ("mean", "sd"))
            of_missing = figures[f"{part}_{name}_errors_on_missing_mean"]
            right = 100 * figures[f"{part}_{name}_missing_right"]
            lines.append([words, f"{mean:.1f} ± {sd:.1f}", f"{of_missing:.1f}", f"{right:.2f}"])
        return str(table(["bias", "errors", "on the missing", "of these right %"], lines))

    return f"""## Classes that the transfer set lacks

The student is distilled on images of the other classes alone (soft loss only, no augmentation,
784-800-800-10), then the bias of its output is corrected by `attar.evaluation.correct_bias`: on the
5,000 labelled validation images, by likelihood or from there by errors, or on the same images
without a label, by how frequent each class is among the training images
([when and why](../how-to/transfer-sets.md)).

No threes: {figures["without3_rows_of_missing"]:,.0f} of the test images are threes. The paper
reports 206 errors, 133 of them on threes, and 109 and 14 (98.6 % right) with a bias set by hand on
test.

{body("without3")}

Only sevens and eights: the other eight classes are missing. The paper reports 47.3 % of errors,
and 13.2 % corrected.

{body("only78")}"""


def _widths(figures: Figures, table: Any, rows: Sequence[Any]) -> str:
    if "mlp30_plain_distilled_errors_mean" not in figures:
        return ""
    text = "No augmentation; T chosen on validation among 1 to 40."
    tables = [
        _arms(figures, table, f"mlp{w}_plain", f"784-{w}-{w}-10", text, rows) for w in (230, 30)
    ]
    return "\n\n".join(
        [
            *tables,
            "Errors of the 5,000 validation images over T:\n\n"
            "![Errors over temperature and width](hinton-temperature.svg)",
        ]
    )


def _few_labels(figures: Figures, table: Any, rows: Sequence[Any]) -> str:
    text = (
        "The other images have no label and are labelled by the teacher, which has learnt from all "
        "55,000 labels: what a student without labels can take from a teacher that had them."
    )
    counts = [count for count in (100, 1_000, 10_000) if f"labels{count}_labels" in figures]
    return "\n\n".join(
        _arms(figures, table, f"labels{count}", f"{count:,} labelled images", text, rows)
        for count in counts
    )


def _paper(figures: Figures) -> str:
    if "teacher_paper_errors" not in figures:
        return ""
    mean, sd = (figures[f"mlp800_paperteacher_distilled_errors_{w}"] for w in ("mean", "sd"))
    return f"""## The paper's own teacher

784-1200-1200-10 with dropout, on images moved by up to two pixels: \
{figures["teacher_paper_errors"]:.0f} errors (67 in the paper). 784-800-800-10 distilled from it
without augmentation at T = {figures["mlp800_paperteacher_temperature"]:g}: {mean:.1f} ± {sd:.1f}
errors (74 in the paper)."""


def _view_counts(figures: Figures, table: Any) -> str:
    if "viewcount_live_errors_mean" not in figures:
        return ""
    names = {f"v{count}": f"{count} stored" for count in (1, 2, 8, 32)}
    lines = [
        [
            words,
            *_scores(figures, "viewcount", name),
            f"{figures[f'viewcount_{name}_seconds_with_labelling']:.0f}",
        ]
        for name, words in (names | {"live": "live teacher, fresh jitter"}).items()
    ]
    head = ["views", "errors", "NLL", "seconds, labelling included"]
    return f"""## How many views

784-230-230-10, T = 4, one network of the ensemble as teacher. A stored view is labelled once, for
all students that ever learn from it; a live teacher answers at every step of every student.

{table(head, lines)}"""


def _convolutional(figures: Figures, table: Any, rows: Sequence[Any]) -> str:
    parts = []
    for times in (10, 50, 200):
        part = f"conv{times}x"
        if f"{part}_distilled_errors_mean" not in figures:
            continue
        p50, p99, big, big99 = (
            figures[f"{part}_{who}_latency_{which}_ms"]
            for who in ("student", "teacher_network")
            for which in ("p50", "p99")
        )
        text = (
            f"{figures[f'{part}_parameters']:,.0f} parameters, on eight stored views. Latency at "
            f"batch 1 through ONNX Runtime on one thread: {p50:.3f} ms at p50 and {p99:.3f} ms at "
            f"p99, against {big:.3f} and {big99:.3f} ms of the teacher's network."
        )
        title = f"Convolutional student, {times} times smaller than one network of the teacher"
        parts.append(_arms(figures, table, part, title, text, rows))
    return "\n\n".join(parts)


def _ensemble(results: dict[str, Any], table: Any) -> str:
    figures, rows = results["figures"], results["rows"]
    texts = {
        "ten": (
            "One network from ten",
            "784-230-230-10 throughout, no augmentation: ten networks that differ in their seed, "
            "and one of the same architecture that is distilled from them. On speech the paper "
            "kept 86 % of what an ensemble of ten gains over one network.",
        ),
        "unlike": (
            "One network from unlike members",
            "A convolutional network, a multilayer perceptron and boosted trees that label out of "
            "fold, mixed by learnt weights; the student is 784-230-230-10 again.",
        ),
    }
    mixed = {"arithmetic": "arithmetic mean", "geometric": "geometric mean"}
    sections = []
    for part, (title, text) in texts.items():
        if f"{part}_arithmetic_errors" not in figures:
            continue
        single = [figures[f"{part}_single_{score}_mean"] for score in ("errors", "nll")]
        lines = [["a member, on average", f"{single[0]:.1f}", f"{single[1]:.4f}"]]
        for name, words in (mixed | {"learnt": "arithmetic mean, learnt weights"}).items():
            errors, nll = figures[f"{part}_{name}_errors"], figures[f"{part}_{name}_nll"]
            lines.append([f"all: {words}", f"{errors:.0f}", f"{nll:.4f}"])
        body = table(["", "errors", "NLL"], lines)
        students = _arms(figures, table, part, title, f"{text}\n\n{body}\n\nThe students:", rows)
        sections.append(students)
    return "\n\n".join(sections)


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
