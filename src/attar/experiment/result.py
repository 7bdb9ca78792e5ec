"""What an experiment leaves: the student, the scores of every arm and seed, the verdict."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attar.checks import AttarError
from attar.evaluation import Comparison, Interval, Latency, Scores
from attar.experiment.arms import Run, Setting, write_text
from attar.export import Export, to_onnx
from attar.export.weights import save_weights
from attar.types import Data

#: How the arms are called in a table, in its order.
ARM_NAMES = {
    "hard": "hard labels",
    "smoothed": "smoothed labels",
    "pseudo": "pseudo-labels",
    "distilled": "distilled",
}


@dataclass(frozen=True)
class Trial:
    """A setting that was tried and what it gave on validation."""

    setting: Setting
    seed: int
    validation: Mapping[str, float]
    chosen: bool


@dataclass
class ArmResult:
    """One arm: its chosen setting and, for each seed, the run and its scores on test."""

    setting: Setting
    runs: list[Run]
    scores: list[Scores]
    logits: Tensor  # (seeds, rows, classes), on test

    def mean(self, name: str) -> float:
        """The mean over seeds of one score."""
        return float(np.mean([getattr(score, name) for score in self.scores]))

    def spread(self, name: str) -> float | None:
        """The standard deviation over seeds of one score; None with one seed."""
        values = [getattr(score, name) for score in self.scores]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def plus_minus(self, name: str, scale: float, digits: int) -> str:
        """The spread as text behind a mean; nothing with one seed, which has none."""
        spread = self.spread(name)
        return "" if spread is None else f" ± {scale * spread:.{digits}f}"


@dataclass
class Experiment:
    """The result of :func:`attar.distill`.

    Attributes:
        student: The distilled student of the seed that was best on validation, in eval mode.
        student_seed: That seed.
        student_name: Its family and size.
        teacher: The scores of the teacher on test.
        teacher_name: What it is.
        arms: By name: ``hard``, ``smoothed``, ``distilled``, and ``pseudo`` where rows are
            unlabelled.
        comparison: The paired tests and the verdict.
        trials: Every setting that was tried on validation.
        test: The test rows.
        facts: Rows, seeds, sizes, settings, versions, times: JSON-ready.
        latency: Of ``"student"`` and ``"teacher"``, taken in turn.
        example: Real training rows, used to prove the parity of an export.
    """

    student: nn.Module
    student_seed: int
    student_name: str
    teacher: Scores
    teacher_name: str
    arms: dict[str, ArmResult]
    comparison: Comparison
    trials: list[Trial]
    test: Data
    facts: dict[str, Any]
    latency: dict[str, Latency]
    example: Tensor | None = None
    columns: list[dict[str, Any]] | None = None
    exported: Export | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """``BEATS``, ``NO GAIN``, ``WORSE`` or ``INCONCLUSIVE``."""
        return self.comparison.verdict

    @property
    def retention(self) -> float:
        """Student accuracy over teacher accuracy; proves nothing alone."""
        return self.comparison.retention

    @property
    def gap_recovered(self) -> Interval | None:
        """(distilled - hard) / (teacher - hard), or None: ``comparison.gap_reason`` says why."""
        return self.comparison.gap_recovered

    @property
    def compression(self) -> float | None:
        """Parameters of the whole teacher over those of the student; of bytes without any."""
        ratio: float | None = self.facts["sizes"]["compression"]
        return ratio

    def table(self) -> str:
        """The teacher and every arm, mean and spread over the seeds, as Markdown."""
        return markdown(*self.rows())

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """The head and the cells of :meth:`table`."""
        head = ["", "accuracy %", "NLL", "ECE %", "agrees %", "worst class %", "parameters"]
        head += ["latency p50 ms"]
        sizes = self.facts["sizes"]
        rows = [
            [
                f"teacher: {self.teacher_name}",
                f"{100 * self.teacher.accuracy:.2f}",
                f"{self.teacher.nll:.3f}",
                f"{100 * self.teacher.ece:.1f}",
                "",
                f"{100 * self.teacher.worst_class_accuracy:.1f}",
                _count(sizes["teacher_parameters"]),
                _milliseconds(self.latency.get("teacher")),
            ]
        ]
        for name, arm in self.arms.items():
            rows.append(
                [
                    f"student: {ARM_NAMES[name]}",
                    f"{100 * arm.mean('accuracy'):.2f}" + arm.plus_minus("accuracy", 100, 2),
                    f"{arm.mean('nll'):.3f}" + arm.plus_minus("nll", 1, 3),
                    f"{100 * arm.mean('ece'):.1f}",
                    f"{100 * arm.mean('agreement'):.1f}",
                    f"{100 * arm.mean('worst_class_accuracy'):.1f}",
                    _count(sizes["student_parameters"]),
                    _milliseconds(self.latency.get("student")),
                ]
            )
        return head, rows

    def summary(self) -> str:
        """The whole result as Markdown, verdict first."""
        return summary(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the tensors, JSON-ready."""
        return {
            "format": 1,
            "verdict": self.verdict,
            "sentence": self.comparison.reason,
            "comparison": self.comparison.to_dict(),
            "teacher": {"name": self.teacher_name, "scores": self.teacher.to_dict()},
            "student": {
                "name": self.student_name,
                "seed": self.student_seed,
                **self.facts["recipe"],
            },
            "arms": {
                name: {
                    "setting": _setting(arm.setting),
                    "runs": [
                        {
                            "seed": run.seed,
                            "validation": dict(run.validation),
                            "test": scores.to_dict(),
                        }
                        for run, scores in zip(arm.runs, arm.scores, strict=True)
                    ],
                }
                for name, arm in self.arms.items()
            },
            "trials": [
                {
                    "setting": _setting(trial.setting),
                    "seed": trial.seed,
                    "validation": dict(trial.validation),
                    "chosen": trial.chosen,
                }
                for trial in self.trials
            ],
            "columns": self.columns,
            "latency": {name: value.to_dict() for name, value in self.latency.items()},
            "export": None if self.exported is None else _export(self.exported),
            "warnings": self.warnings,
            **{name: value for name, value in self.facts.items() if name != "recipe"},
        }

    def export(self, path: str | Path) -> Export:
        """Write the student as ONNX, with proof on real rows that it says the same.

        Raises:
            AttarError: If the student's inputs are not one tensor, or if the exported graph
                differs from the student.
        """
        if self.example is None:
            raise AttarError(
                "Experiment.export: the student takes a mapping of inputs; export it with "
                "torch.onnx.export, naming each input."
            )
        scores = self.arms["distilled"].scores[self._chosen()]
        metadata = {
            "verdict": self.verdict,
            "accuracy": scores.accuracy,
            "nll": scores.nll,
            "retention": self.retention,
            "teacher": self.teacher_name,
            "rows_tested": scores.rows,
        }
        return to_onnx(
            self.student,
            path,
            example=self.example,
            classes=self.test.classes,
            metadata=metadata,
            columns=self.columns,
        )

    def save(self, folder: str | Path) -> Path:
        """Write ``result.json``, ``summary.md``, the student as ONNX and as safetensors.

        The answers of every arm on the test rows go beside them, for whoever draws or tests.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if self.example is not None:
            self.exported = self.export(folder / "student.onnx")
            np.save(folder / "example.npy", self.example.numpy(), allow_pickle=False)
        save_weights(
            self.student,
            folder / "student.safetensors",
            metadata={"name": self.student_name, "classes": json.dumps(self.test.classes)},
        )
        answers = folder / "answers"
        answers.mkdir(exist_ok=True)
        assert self.test.labels is not None
        for name, values in {
            "rows": self.test.rows,
            "labels": self.test.labels,
            **{name: arm.logits for name, arm in self.arms.items()},
        }.items():
            np.save(answers / f"{name}.npy", values.numpy(), allow_pickle=False)
        write_text(folder / "summary.md", self.summary())
        # Last: a folder with a result.json is a finished one.
        write_text(folder / "result.json", json.dumps(self.to_dict(), indent=1, allow_nan=False))
        return folder

    def _chosen(self) -> int:
        seeds = [run.seed for run in self.arms["distilled"].runs]
        return seeds.index(self.student_seed)


def _setting(setting: Setting) -> dict[str, Any]:
    values = {name: getattr(setting, name) for name in Setting.__dataclass_fields__}
    return {name: value for name, value in values.items() if value is not None}


def _export(export: Export) -> dict[str, Any]:
    return {**asdict(export), "path": export.path.name}


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


def summary(experiment: Experiment) -> str:
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
        f"Learnt from {rows['labelled']:,} labelled and {rows['unlabelled']:,} unlabelled rows; "
        f"choices made on {rows['validation']:,} others; opened once: {rows['test']:,} test rows. "
        f"{len(e.facts['seeds'])} seeds, {e.facts['steps']:,} steps each. "
        f"T = {setting.temperature:g}, alpha = {setting.alpha:g}.",
        "",
        e.table(),
        "",
        "Mean ± standard deviation over seeds. Differences below: mean with 95 % interval over "
        "test rows and seeds.",
        "",
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
    if e.exported is not None:
        lines.append(
            f"- Exported: `student.onnx`, {e.exported.bytes:,} bytes; on "
            f"{e.exported.rows_checked} real rows its probabilities differ from the student's by "
            f"at most {e.exported.max_probability_difference:.1e}."
        )
    lines += [f"- Warning: {text}" for text in e.warnings]
    lines += ["", _inherited(e), ""]
    return "\n".join(lines)


def _work(sizes: Mapping[str, Any]) -> list[str]:
    student, teacher = sizes.get("student_macs"), sizes.get("teacher_macs")
    if not student or not teacher:
        return []
    ratio = teacher / student
    return [f"- Times less work: {ratio:.0f}x ({student:,} multiply-adds against {teacher:,})."]


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


def example_tensor(data: Data, count: int = 256) -> Tensor | None:
    """Real rows to prove an export on; None where inputs are a mapping."""
    inputs = data.batch(torch.arange(min(count, len(data)))).inputs
    return inputs if isinstance(inputs, Tensor) else None
