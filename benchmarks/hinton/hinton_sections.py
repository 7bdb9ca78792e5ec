"""The sections of the page, a table each; empty where a table was not run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from record import Figures

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


def teachers(figures: Figures, table: Any) -> str:
    """The ensemble of convolutional networks."""
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
two pixels, made 67.{_processor(figures)}"""


def _processor(figures: Figures) -> str:
    if "processor_errors" not in figures:
        return ""
    wrong, each = (figures[f"processor_{name}"] for name in ("errors", "member_errors_mean"))
    return f""" These five were trained on a GPU and teach the students that were, too; five that
were trained on two cores, from the same seeds and by the same command, make **{wrong:.0f}
errors**, {each:.1f} each."""


def arms(
    figures: Figures, table: Any, part: str, title: str, text: str, rows: Sequence[Any]
) -> str:
    """Students that differ in what they learn from, and the verdict."""
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


def missing(figures: Figures, table: Any) -> str:
    """Transfer sets that lack classes."""
    if "without3_none_errors_mean" not in figures:
        return ""

    def body(name: str) -> str:
        lines = []
        for part, shown in ((name, "none"), (f"views_{name}", "stored")):
            if f"{part}_none_errors_mean" not in figures:
                continue
            for correction, words in CORRECTIONS.items():
                mean, sd = (figures[f"{part}_{correction}_errors_{w}"] for w in ("mean", "sd"))
                of_missing = figures[f"{part}_{correction}_errors_on_missing_mean"]
                right = f"{100 * figures[f'{part}_{correction}_missing_right']:.2f}"
                lines.append([shown, words, f"{mean:.1f} ± {sd:.1f}", f"{of_missing:.1f}", right])
        head = ["views", "bias", "errors", "on the missing", "of these right %"]
        return str(table(head, lines))

    return f"""## Classes that the transfer set lacks

The student (784-800-800-10) is distilled on images of the other classes alone, by the soft loss
only; then the bias of its output is corrected by `attar.evaluation.correct_bias`: on the 5,000
labelled validation images, by likelihood or from there by errors, or on the same images without a
label, by how frequent each class is among the training images
([when and why](../how-to/transfer-sets.md)). Three seeds.

No threes, of which the test set has {figures["without3_rows_of_missing"]:,.0f}. The paper reports
206 errors, 133 of them on threes, and 109 and 14 (98.6 % right) with a bias set by hand on
test. Stored views: eight shifted views of each image.

{body("without3")}

Only sevens and eights: the other eight classes are missing. The paper reports 47.3 % of errors,
and 13.2 % corrected.{_kinds(figures)}

{body("only78")}{_what_it_took(figures)}"""


def _kinds(figures: Figures) -> str:
    if "views_only78_none_errors_mean" not in figures:
        return ""
    return f""" Stored views: {figures["views_only78_views"]:.0f} of each image, moved and with a
box of it replaced by what another seven or eight has there (CutMix); chosen on validation, beside
views that are only moved and views that are also averaged (mixup), which all stand in the raw
results."""


def _what_it_took(figures: Figures) -> str:
    """What brought the errors down, where the numbers say so."""
    if "views_only78_labels_errors_mean" not in figures:
        return ""
    plain, viewed = (figures[f"{part}only78_labels_errors_mean"] for part in ("", "views_"))
    if viewed > plain / 2:
        return ""
    return f"""

What the student lacked was not a bias. Without views, {plain / 100:.1f} % of errors stay whatever
the bias is: clean sevens and eights show it too little of the rest. The teacher sees a little of a
nine, a three or a zero in a seven and an eight that are cut into each other, and says so: a student
that was never shown one image of eight of the ten classes, and no label at all, then makes
**{viewed / 100:.2f} %** of errors."""


def widths(figures: Figures, table: Any, rows: Sequence[Any]) -> str:
    """Small students, and the curve over temperature."""
    if "mlp30_plain_distilled_errors_mean" not in figures:
        return ""
    text = "No augmentation; T chosen on validation among 1 to 40."
    tables = [
        arms(figures, table, f"mlp{w}_plain", f"784-{w}-{w}-10", text, rows) for w in (230, 30)
    ]
    return "\n\n".join(
        [
            *tables,
            "Errors of the 5,000 validation images over T:\n\n"
            "![Errors over temperature and width](hinton-temperature.svg)",
        ]
    )


def few_labels(figures: Figures, table: Any, rows: Sequence[Any]) -> str:
    """Few labelled images."""
    text = (
        "The other images have no label and are labelled by the teacher, which has learnt from all "
        "55,000 labels: what a student without labels can take from a teacher that had them. T is "
        "one of 2, 4 and 8, the same for all three tables, chosen with students of 230 hidden "
        "units; alpha is 0.9."
    )
    counts = [count for count in (100, 1_000, 10_000) if f"labels{count}_labels" in figures]
    tried = {
        count: [row for row in rows if row["part"] == f"labels{count}" and "trial" in row]
        for count in counts
    }
    if all(tried.values()):
        alone = [
            min(some, key=lambda row: (row["validation_errors"], row["validation_nll"]))
            for some in tried.values()
        ]
        each = ", ".join(f"{row['temperature']:g}" for row in alone)
        text += f" (Each table by itself would have taken {each}; two or three errors decide.)"
    wrong = {figures.get(f"labels{count}_teacher_errors") for count in counts} - {None}
    if wrong:
        each = " and ".join(f"{one:.0f}" for one in sorted(wrong))
        text += f" The teacher was trained where the students were, and makes {each} errors."
    return "\n\n".join(
        arms(figures, table, f"labels{count}", f"{count:,} labelled images", text, rows)
        for count in counts
    )


def paper(figures: Figures) -> str:
    """The paper's own teacher."""
    if "teacher_paper_errors" not in figures:
        return ""
    mean, sd = (figures[f"mlp800_paperteacher_distilled_errors_{w}"] for w in ("mean", "sd"))
    return f"""## The paper's own teacher

784-1200-1200-10 with dropout, on images moved by up to two pixels: \
{figures["teacher_paper_errors"]:.0f} errors (67 in the paper). 784-800-800-10 distilled from it
without augmentation at T = {figures["mlp800_paperteacher_temperature"]:g}: {mean:.1f} ± {sd:.1f}
errors (74 in the paper)."""


def view_counts(figures: Figures, table: Any) -> str:
    """How many views."""
    if "viewcount_live_errors_mean" not in figures:
        return ""
    names = {f"v{count}": f"{count} stored" for count in (1, 2, 8, 32)}
    lines = [
        [
            words,
            *_scores(figures, "viewcount", name),
            *_times(figures, name),
        ]
        for name, words in (names | {"live": "live teacher, fresh jitter"}).items()
    ]
    head = ["views", "errors", "NLL"]
    timed = ""
    if "viewtime_live_seconds_with_labelling" in figures:
        head += ["seconds of a student, labelling included", "step, live over stored"]
        timed = """Time is measured apart, a step of each in turn on one core: 3,750 steps and the
labelling of the views that are stored."""
    return f"""## How many views

784-230-230-10, T = 4, one network of the ensemble as teacher. A stored view is labelled once, for
all students that ever learn from it; a live teacher answers at every step of every student. In 32
passes a student on 32 stored views sees each of them once, as it would see fresh ones: its numbers
are those of the live teacher.
{timed}

{table(head, lines)}"""


def _times(figures: Figures, name: str) -> list[str]:
    if "viewtime_live_seconds_with_labelling" not in figures:
        return []
    seconds = figures[f"viewtime_{name}_seconds_with_labelling"]
    ratio, sd = (figures[f"viewtime_{name}_live_over_stored_{which}"] for which in ("mean", "sd"))
    return [f"{seconds:.0f}", "" if name == "live" else f"{ratio:.1f} ± {sd:.1f}"]


def convolutional(figures: Figures, table: Any, rows: Sequence[Any]) -> str:
    """Convolutional students."""
    parts = []
    for times in (10, 50, 200):
        part = f"conv{times}x"
        if f"{part}_distilled_errors_mean" not in figures:
            continue
        text = (
            f"{figures[f'{part}_parameters']:,.0f} parameters, on eight stored views; the teacher "
            "is one network of the ensemble above, trained again on two cores."
        )
        if f"latency_{times}x_p50_ms_mean" in figures:
            p50, p99, big, big99 = (
                figures[f"latency_{who}_{which}_ms_mean"]
                for who in (f"{times}x", "teacher_network")
                for which in ("p50", "p99")
            )
            text += (
                f" Latency at batch 1 through ONNX Runtime on one thread: {p50:.3f} ms at p50 and "
                f"{p99:.3f} ms at p99, against {big:.3f} and {big99:.3f} ms of the teacher's "
                f"network: {big / p50:.1f} times faster."
            )
        title = f"Convolutional student, {times} times smaller than its teacher"
        parts.append(arms(figures, table, part, title, text, rows))
    return "\n\n".join(parts)


def ensemble(results: dict[str, Any], table: Any) -> str:
    """The ensembles of ``benchmarks/ensemble``."""
    figures, rows = results["figures"], results["rows"]
    texts = {
        "ten": (
            "One network from ten",
            "784-230-230-10 throughout, no augmentation: ten networks that differ in their seed, "
            "and one of the same architecture that is distilled from them. On speech the paper "
            "kept 86 % of what an ensemble of ten gains over one network. The members have learnt "
            "the transfer set by heart: what they say of it is hardly more than its labels.",
        ),
        "viewed": (
            "One network from ten, on stored views",
            "The same on eight shifted views of each image, for members and students alike.",
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
        students = arms(figures, table, part, title, f"{text}\n\n{body}\n\nThe students:", rows)
        sections.append(f"{students}{_survived(figures, part)}")
    tried = [row for row in rows if row["part"] == "tries"]
    if tried:
        sections.append(_tried(tried, table))
    return "\n\n".join(sections)


def _tried(rows: Sequence[Any], table: Any) -> str:
    """The settings in which the gain of like members was looked for."""
    lines = []
    for row in rows:
        cells = [row["setting"], f"{row['single_errors']:.1f}", f"{row['ensemble_errors']:.0f}"]
        for arm in ("hard", "distilled"):
            cells.append(f"{row[f'{arm}_errors_mean']:.1f} ± {row[f'{arm}_errors_sd']:.1f}")
        gain = row["single_errors"] - row["ensemble_errors"]
        kept = row["single_errors"] - row["distilled_errors_mean"]
        lines.append([*cells, f"{100 * kept / gain:.0f} %"])
    head = ["", "a member", "all ten", "hard labels", "distilled", "of the gain kept"]
    return f"""## Where would the gain of like members survive?

Errors of the 5,000 validation images, three seeds. In none of these settings does one network keep
most of what ten like it gain: more views and steps help it, and help the same network on hard
labels more. The members have the same labels to learn from as the student, and know them nearly
by heart; on the paper's speech data no network comes near to that. A teacher that sees what the
student alone does not is another matter: five convolutional networks take a perceptron from 88
errors to 50, above.

{table(head, lines)}"""


def _survived(figures: Figures, part: str) -> str:
    """How much of what the ensemble gains over a member the student keeps."""
    if part == "unlike":
        return ""
    single, all_of_them, kept = (
        figures[f"{part}_{name}"]
        for name in ("single_errors_mean", "arithmetic_errors", "distilled_errors_mean")
    )
    share = 100 * (single - kept) / (single - all_of_them)
    return (
        f" Of the {single - all_of_them:.1f} errors that ten networks make less than one, the "
        f"student keeps {single - kept:.1f}: **{share:.0f} %**."
    )


def _scores(figures: Figures, part: str, name: str) -> list[str]:
    mean, sd = (figures[f"{part}_{name}_errors_{which}"] for which in ("mean", "sd"))
    return [f"{mean:.1f} ± {sd:.1f}", f"{figures[f'{part}_{name}_nll_mean']:.4f}"]


def _gap(figures: Figures, part: str) -> str:
    if f"{part}_gap_recovered" not in figures:
        return "not reported, as there is no sure gap"
    mean, low, high = (figures[f"{part}_gap_recovered{end}"] for end in ("", "_low", "_high"))
    return f"{100 * mean:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
