"""What an experiment on a regression, or on several labels a row, leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from attar.checks import AttarError
from attar.evaluation import Interval, Latency
from attar.experiment.keep import curves
from attar.experiment.result import ArmResult, Experiment, export_dict, setting_dict
from attar.experiment.summary import ARM_NAMES, markdown
from attar.experiment.task_scores import row_scores, score_interval
from attar.export import Export, to_onnx

#: By task: the heads of the table, the scores below them, and how each is written.
_COLUMNS: dict[str, list[tuple[str, str, float, str]]] = {
    "regression": [("R²", "r2", 1, ".3f"), ("MSE", "mse", 1, ".4g"), ("MAE", "mae", 1, ".4g")],
    "quantiles": [
        ("pinball", "pinball", 1, ".4g"),
        ("coverage error %", "coverage_error", 100, ".1f"),
    ],
    "multilabel": [
        ("accuracy a label %", "accuracy", 100, ".2f"),
        ("all right %", "exact", 100, ".2f"),
        ("macro AUC", "macro_auc", 1, ".3f"),
        ("NLL", "nll", 1, ".3f"),
    ],
}


@dataclass
class TaskExperiment(Experiment):
    """The result of :func:`attar.distill` for a regression, or for several labels a row.

    What an :class:`~attar.experiment.Experiment` has is here too, with scores of its own:
    ``teacher`` and ``arms[name].scores`` are :class:`~attar.evaluation.ValueScores` or
    :class:`~attar.evaluation.LabelScores`, ``comparison`` is a
    :class:`~attar.evaluation.ValueComparison`, or a :class:`~attar.evaluation.Comparison` of the
    share of a row's labels that are right. A regression has the arms ``hard`` and ``distilled``.
    With ``loss=functools.partial(attar.losses.pinball, levels=[...])`` a regression learns
    quantiles: the teacher gives its own at evenly spread levels, scores are
    :class:`~attar.evaluation.QuantileScores`, and errors in the verdict are pinball losses.
    ``arms[name].logits`` are values in the unit of the labels, or log-odds, ``[S, N, D]``.
    :meth:`report` and :meth:`bundle` do what they do for classes.

    Attributes:
        task: ``"regression"`` or ``"multilabel"``.

    Example:
        >>> import attar
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.ensemble import ExtraTreesRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> experiment = attar.distill(
        ...     ExtraTreesRegressor(20, random_state=0), attar.students.mlp, train=(X, y),
        ...     task="regression", parameters=200, seeds=2, steps=50)
        >>> experiment.retention is None, sorted(experiment.arms)
        (True, ['distilled', 'hard'])
    """

    task: str = "regression"

    @property
    def one_minus_mse_ratio(self) -> float | None:
        """Of a regression: 1 - MSE (or pinball loss) of the students over the teacher's."""
        value: float | None = getattr(self.comparison, "one_minus_mse_ratio", None)
        return value

    @property
    def calibration(self) -> None:
        """None: a temperature is fitted to classes alone."""
        return

    @property
    def levels(self) -> tuple[float, ...] | None:
        """Of quantiles their levels; None of any other experiment."""
        levels: tuple[float, ...] | None = self.facts.get("levels")
        return levels

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """The head and the cells of :meth:`table`."""
        columns, sizes = _COLUMNS["quantiles" if self.levels else self.task], self.facts["sizes"]
        head = ["", *[name for name, *_ in columns], "parameters", "latency p50 ms"]
        teacher = [
            _number(getattr(self.teacher, score), scale, form) for _, score, scale, form in columns
        ]
        size = _count(sizes["teacher_parameters"])
        times = {name: _milliseconds(self.latency.get(name)) for name in ("teacher", "student")}
        lines = [[f"teacher: {self.teacher_name}", *teacher, size, times["teacher"]]]
        for name, arm in self.arms.items():
            found = [_mean(arm, score, scale, form) for _, score, scale, form in columns]
            size = _count(sizes["student_parameters"])
            lines.append([f"student: {ARM_NAMES[name]}", *found, size, times["student"]])
        return head, lines

    def table(self) -> str:
        """The teacher and every arm, mean and spread over the seeds, as Markdown."""
        return markdown(*self.rows())

    def summary(self) -> str:
        """The whole result as Markdown, verdict first."""
        c, rows, setting = self.comparison, self.facts["rows"], self.arms["distilled"].setting
        temperature = "" if self.task == "regression" else f"T = {setting.temperature:g}, "
        what = "pinball loss" if self.levels else "R²"
        unit = f"points of {what}" if self.task == "regression" else "points"
        lines = [
            f"# {c.verdict}",
            "",
            c.reason,
            "",
            f"Learnt from {rows['labelled']:,} labelled and {rows['unlabelled']:,} unlabelled "
            f"rows; choices made on {rows['validation']:,} others; opened once: "
            f"{rows['test']:,} test rows. {len(self.facts['seeds'])} seeds, "
            f"{self.facts['steps']:,} steps each. {temperature}alpha = {setting.alpha:g}, loss "
            f"{self.facts['loss']}.",
            "",
            self.table(),
            "",
            f"- Distilled against hard labels: {_points(c.against_hard, unit)}.",
        ]
        if self.task == "multilabel":
            lines += [
                f"- Distilled against smoothed labels: {_points(c.against_smoothed, unit)}.",
                f"- Accuracy kept: {100 * c.retention:.1f} % of the teacher's.",
            ]
        elif self.one_minus_mse_ratio is not None:
            error = "pinball" if self.levels else "MSE"
            lines.append(
                f"- 1 - {error} ratio: {self.one_minus_mse_ratio:+.3f} (0: as good as the teacher)."
            )
        gap, recovered = c.gap_recovered, f"not reported: {c.gap_reason}"
        if gap is not None:
            ends = f"{100 * gap.low:.0f} to {100 * gap.high:.0f}"
            recovered = f"{100 * gap.mean:.0f} % ({ends})."
        lines.append(f"- Gap recovered: {recovered}")
        lines += [f"- Warning: {text}" for text in self.warnings]
        return "\n".join([*lines, ""])

    def to_dict(self) -> dict[str, Any]:
        """Everything but the tensors, JSON-ready."""
        facts = {name: value for name, value in self.facts.items() if name != "recipe"}
        return {
            "format": 1,
            "task": self.task,
            "verdict": self.verdict,
            "sentence": self.comparison.reason,
            "comparison": self.comparison.to_dict(),
            "teacher": {
                "name": self.teacher_name,
                "scores": self.teacher.to_dict(),
                "score_interval": None
                if self.teacher_logits is None
                else score_interval(self._row_scores(self.teacher_logits[None])),
            },
            "student": {
                "name": self.student_name,
                "seed": self.student_seed,
                **self.facts["recipe"],
            },
            "arms": {
                name: {
                    "setting": setting_dict(arm.setting),
                    "score_interval": score_interval(rows),
                    "runs": [
                        {
                            "seed": run.seed,
                            "validation": dict(run.validation),
                            "test": scores.to_dict(),
                            "score": float(one.mean()),
                        }
                        for run, scores, one in zip(arm.runs, arm.scores, rows, strict=True)
                    ],
                }
                for name, arm in self.arms.items()
                for rows in [self._row_scores(arm.logits)]
            },
            "trials": [
                {
                    "setting": setting_dict(trial.setting),
                    "seed": trial.seed,
                    "validation": dict(trial.validation),
                    "chosen": trial.chosen,
                }
                for trial in self.trials
            ],
            "columns": self.columns,
            "latency": {name: value.to_dict() for name, value in self.latency.items()},
            "export": None if self.exported is None else export_dict(self.exported),
            "warnings": self.warnings,
            **facts,
        }

    def export(self, path: str | Path, *, calibrate: bool | None = None) -> Export:
        """Write the student as ONNX, with proof on real rows that it says the same.

        Args:
            path: Where to write; a file that is there is replaced.
            calibrate: Must not be asked for: a temperature is fitted to classes alone.

        Raises:
            AttarError: As :meth:`Experiment.export`.
        """
        if calibrate:
            raise AttarError("Experiment.export: calibrate= is there for classes alone.")
        if self.example is None:
            raise AttarError("Experiment.export: the student takes a mapping of inputs.")
        scores = self.arms["distilled"].scores[self.chosen]
        return to_onnx(
            self.student,
            path,
            example=self.example,
            classes=self.test.classes,
            metadata={"verdict": self.verdict, "teacher": self.teacher_name, **scores.to_dict()},
            columns=self.columns,
            task=self.task,
        )

    def contents(self) -> dict[str, Any]:
        """What :meth:`save` writes beside the student, by file name: JSON values and arrays."""
        assert self.test.labels is not None
        arrays = {"rows": self.test.rows, "labels": self.test.labels}
        arrays |= {name: arm.logits for name, arm in self.arms.items()}
        if self.teacher_logits is not None:
            arrays["teacher"] = self.teacher_logits
        found: dict[str, Any] = {f"answers/{name}.npy": x.numpy() for name, x in arrays.items()}
        return {**found, "curves.json": curves(self), "result.json": self.to_dict()}

    def _row_scores(self, answers: Tensor) -> NDArray[np.float64]:
        """``[S, N]`` the part of each row in the score that the page draws."""
        assert self.test.labels is not None
        found = row_scores(answers, self.test.labels, task=self.task, levels=self.levels)
        return found.numpy()


def _mean(arm: ArmResult, score: str, scale: float, form: str) -> str:
    if any(getattr(one, score) is None for one in arm.scores):
        return ""
    spread = arm.spread(score)
    around = "" if spread is None else f" ± {scale * spread:{form.replace('4', '3')}}"
    return f"{scale * arm.mean(score):{form}}{around}"


def _number(value: float | None, scale: float, form: str) -> str:
    return "" if value is None else f"{scale * value:{form}}"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _milliseconds(latency: Latency | None) -> str:
    return "" if latency is None else f"{latency.batches[1].p50_ms:.3f}"


def _points(interval: Interval, unit: str) -> str:
    return (
        f"{100 * interval.mean:+.2f} {unit} ({100 * interval.low:+.2f} to "
        f"{100 * interval.high:+.2f})"
    )
