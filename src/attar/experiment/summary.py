"""An experiment as text: the table and the summary, verdict first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from attar.evaluation import Interval, Latency

if TYPE_CHECKING:
    from attar.experiment.result import Experiment

#: How the arms are called in a table, in its order.
ARM_NAMES = {
    "hard": "hard labels",
    "smoothed": "smoothed labels",
    "pseudo": "pseudo-labels",
    "distilled": "distilled",
}


def cells(experiment: Experiment) -> tuple[list[str], list[list[str]]]:
    """The head and the cells of the table: the teacher, then every arm.

    Where some classes are rare, accuracy says little about them: macro recall then stands beside.
    """
    head = ["", "accuracy %", "NLL", "ECE %", "agrees %", "worst class %", "parameters"]
    head += ["latency p50 ms"]
    sizes = experiment.facts["sizes"]
    rows = [
        [
            f"teacher: {experiment.teacher_name}",
            f"{100 * experiment.teacher.accuracy:.2f}",
            f"{experiment.teacher.nll:.3f}",
            f"{100 * experiment.teacher.ece:.1f}",
            "",
            f"{100 * experiment.teacher.worst_class_accuracy:.1f}",
            _count(sizes["teacher_parameters"]),
            _milliseconds(experiment.latency.get("teacher")),
        ]
    ]
    recalls = [experiment.teacher.macro_recall]
    for name, arm in experiment.arms.items():
        rows.append(
            [
                f"student: {ARM_NAMES[name]}",
                f"{100 * arm.mean('accuracy'):.2f}" + arm.plus_minus("accuracy", 100, 2),
                f"{arm.mean('nll'):.3f}" + arm.plus_minus("nll", 1, 3),
                f"{100 * arm.mean('ece'):.1f}",
                f"{100 * arm.mean('agreement'):.1f}",
                f"{100 * arm.mean('worst_class_accuracy'):.1f}",
                _count(sizes["student_parameters"]),
                _milliseconds(experiment.latency.get("student")),
            ]
        )
        recalls.append(arm.mean("macro_recall"))
    if _has_rare_classes(experiment.test.labels):
        place = head.index("worst class %")
        head.insert(place, "macro recall %")
        for row, recall in zip(rows, recalls, strict=True):
            row.insert(place, f"{100 * recall:.1f}")
    return head, rows


def _has_rare_classes(labels: Tensor | None) -> bool:
    """Whether the largest class of the test rows has five times the rows of the smallest."""
    if labels is None:
        return False
    counts = torch.bincount(labels[labels >= 0])
    counts = counts[counts > 0]
    return bool(counts.max() >= 5 * counts.min())


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _milliseconds(latency: Latency | None) -> str:
    return "" if latency is None else f"{latency.batches[1].p50_ms:.3f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column to the left, numbers to the right.

    >>> print(markdown(["", "n"], [["a", "1"], ["bb", "20"]]))
    |    |  n |
    |:---|---:|
    | a  |  1 |
    | bb | 20 |
    """
    lines = [list(head), *[list(row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]

    def row(cells: Sequence[str]) -> str:
        first, *rest = [
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join([first, *rest]) + " |"

    rule = "|:" + "-" * (widths[0] + 1) + "|"
    rule += "|".join("-" * (w + 1) + ":" for w in widths[1:]) + "|"
    return "\n".join([row(head), rule, *[row(line) for line in rows]])


def points(interval: Interval | None) -> str:
    """An interval of accuracies, in points: ``+1.20 (+0.40 to +2.00)``."""
    if interval is None:
        return "not available"
    if not math.isfinite(interval.low):
        return f"{100 * interval.mean:+.2f} points (one seed: no interval)"
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * interval.mean:+.2f} points ({low:+.2f} to {high:+.2f})"


def nats(interval: Interval | None) -> str:
    """An interval of NLL, in nats."""
    if interval is None:
        return "not available"
    if not math.isfinite(interval.low):
        return f"{interval.mean:+.3f} nats (one seed: no interval)"
    return f"{interval.mean:+.3f} nats ({interval.low:+.3f} to {interval.high:+.3f})"


def unlabelled(rows: Mapping[str, int], setting: Any) -> int:
    """How many rows without a label an arm with this setting learnt from."""
    further = rows.get("drawn", 0) + rows.get("further", 0)
    return rows["unlabelled"] - (0 if setting.further else further)


def _learnt(rows: Mapping[str, int], setting: Any) -> str:
    """What the distilled student learnt from; rows that were drawn here are told apart.

    >>> from attar.experiment.arms import Setting
    >>> rows = {"labelled": 9, "unlabelled": 22, "drawn": 20}
    >>> _learnt(rows, Setting("distilled", 0.1))
    '9 labelled and 2 unlabelled rows, and 20 rows drawn between them'
    >>> _learnt(rows, Setting("distilled", 0.1, further=False))
    '9 labelled and 2 unlabelled rows (not from the 20 drawn between them)'
    """
    drawn = rows.get("drawn", 0)
    own = unlabelled(rows, setting) - (drawn if setting.further else 0)
    words = f"{rows['labelled']:,} labelled and {own:,} unlabelled rows"
    if setting.further:
        return words + (f", and {drawn:,} rows drawn between them" if drawn else "")
    left = f"{drawn:,} drawn between them" if drawn else f"{rows.get('further', 0):,} further ones"
    return f"{words} (not from the {left})"


def _without(setting: Any) -> str:
    """What the student chose to do without, or with."""
    words = "" if setting.views else ", without views"
    words += "" if setting.further else ", without the further rows"
    return words + (", with pseudo-labels" if setting.pseudo_labels else "")


def _chosen(experiment: Experiment) -> list[str]:
    """What the distilled student chose on validation, where there was a choice."""
    tried = [one.setting for one in experiment.trials if one.setting.arm == "distilled"]
    setting = experiment.arms["distilled"].setting
    words = {
        "temperature": f"T = {setting.temperature:g}",
        "alpha": f"alpha = {setting.alpha:g}",
        "loss": f"loss = {setting.loss}",
        "views": "with views" if setting.views else "without views",
        "further": "with further rows" if setting.further else "without further rows",
        "pseudo_labels": f"{'with' if setting.pseudo_labels else 'without'} pseudo-labels",
    }
    open_ = [name for name in words if len({getattr(one, name) for one in tried}) > 1]
    return [f"- Chosen on validation: {', '.join(words[name] for name in open_)}."] if open_ else []


def summarise(experiment: Experiment) -> str:
    """The Markdown of ``summary.md``."""
    e, c = experiment, experiment.comparison
    rows, sizes = e.facts["rows"], e.facts["sizes"]
    setting = e.arms["distilled"].setting
    gap = c.gap_recovered
    lines = [
        f"# {c.verdict}",
        "",
        c.reason,
        "",
        f"Learnt from {_learnt(rows, setting)}; "
        f"choices made on {rows['validation']:,} others; opened once: {rows['test']:,} test rows. "
        f"{len(e.facts['seeds'])} seeds, {e.facts['steps']:,} steps each. "
        f"T = {setting.temperature:g}, alpha = {setting.alpha:g}{_without(setting)}."
        f"{_transfer(rows)}",
        "",
        e.table(),
        "",
        "Mean ± standard deviation over seeds. Differences below: mean with 95 % interval over "
        "test rows and seeds.",
        "",
        *_chosen(e),
        f"- Distilled against hard labels: {points(c.against_hard)}; {nats(c.nll_against_hard)}.",
        f"- Distilled against smoothed labels: {points(c.against_smoothed)}.",
    ]
    if "pseudo" in e.arms:
        lines.append(
            f"- Distilled against the teacher's argmax (pseudo-labels): "
            f"{points(c.against_pseudo)}; {nats(c.nll_against_pseudo)}."
        )
    lines += [
        f"- Accuracy kept: {100 * c.retention:.1f} % of the teacher's.",
        "- Gap recovered: "
        + (
            f"{100 * gap.mean:.0f} % ({100 * gap.low:.0f} to {100 * gap.high:.0f})."
            if gap is not None
            else f"not reported: {c.gap_reason}"
        ),
        f"- Times smaller: {_times(sizes['compression'])} than the whole teacher, "
        f"{_times(sizes['compression_smallest_member'])} than its smallest member "
        f"(by {sizes['compression_of']}).",
        *_work(sizes),
        f"- Goal of at least 10x fewer parameters and at least 95 % kept: {_goal(c.goal_met)}.",
    ]
    student, teacher = e.latency.get("student"), e.latency.get("teacher")
    if student is not None and teacher is not None:
        fast, slow = student.batches[1].p50_ms, teacher.batches[1].p50_ms
        lines.append(
            f"- Times faster at batch 1: {slow / fast:.0f}x at p50 ({fast:.3f} ms against "
            f"{slow:.3f} ms, teacher {e.facts['teacher_runtime']})."
        )
    lines += _calibration(e)
    if e.exported is not None:
        lines.append(
            f"- Exported: `student.onnx`, {e.exported.bytes:,} bytes; on "
            f"{e.exported.rows_checked} real rows its probabilities differ from the student's by "
            f"at most {e.exported.max_probability_difference:.1e}."
        )
    lines += [f"- Warning: {text}" for text in e.warnings]
    lines += ["", _inherited(e), ""]
    return "\n".join(lines)


def _transfer(rows: Mapping[str, int]) -> str:
    if "transfer" not in rows:
        return ""
    return (
        f" The transfer set is a part of the training rows: the distilled student has seen "
        f"{rows['transfer']:,} of them."
    )


def _work(sizes: Mapping[str, Any]) -> list[str]:
    student, teacher = sizes.get("student_macs"), sizes.get("teacher_macs")
    if not student or not teacher:
        return []
    ratio = teacher / student
    return [f"- Times less work: {ratio:.0f}x ({student:,} multiply-adds against {teacher:,})."]


def _calibration(e: Experiment) -> list[str]:
    """What a temperature does to the student, and whether it is all that soft targets did."""
    found = e.calibration
    if found is None:
        return []
    if found.note is not None:
        return [f"- Calibration: the temperature stays 1: {found.note}."]
    before, after = found.test["before"], found.test["after"]
    where = "inside the exported graph" if e.calibrate else "not in the export (calibrate=True)"
    arms = {ARM_NAMES[name]: arm.calibrated("nll") for name, arm in e.arms.items()}
    each = ", ".join(f"{name} {value:.3f}" for name, value in arms.items() if value is not None)
    return [
        f"- Calibration: T = {found.temperature:.3f}, fitted on validation, {where}. On test the "
        f"student's ECE goes from {100 * before['ece']:.1f} to {100 * after['ece']:.1f} %, its NLL "
        f"from {before['nll']:.3f} to {after['nll']:.3f}.",
        f"- NLL of every arm at a temperature of its own: {each}.",
    ]


def _inherited(e: Experiment) -> str:
    arm = e.arms["distilled"]
    return (
        f"Of the {arm.mean('errors'):.1f} errors of a distilled student on test, "
        f"{arm.mean('errors_inherited'):.1f} are the teacher's own and "
        f"{arm.mean('errors_own'):.1f} are new (the teacher makes {e.teacher.errors})."
    )


def _times(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1f}x"


def _goal(met: bool | None) -> str:
    return {True: "met", False: "not met", None: "not known (no parameters to count)"}[met]
