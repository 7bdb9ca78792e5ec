"""What an experiment leaves: the student, the scores of every arm and seed, the verdict."""

from __future__ import annotations

import functools
import itertools
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attar.checks import AttarError
from attar.evaluation import Calibration, Comparison, Interval, Latency, Scores
from attar.experiment.arms import Run, Setting
from attar.experiment.keep import accuracy_interval, contents
from attar.experiment.summary import cells, markdown, summarise
from attar.export import Export, ModelFile, to_onnx, write_bundle
from attar.export.weights import save_weights
from attar.files import write_text, write_whole
from attar.report import write_page
from attar.types import Data


@dataclass(frozen=True)
class Trial:
    """A setting that was tried and what it gave on validation.

    Attributes:
        setting: What was tried.
        seed: Under which seed.
        validation: What it gave, or had given when it was stopped.
        chosen: Whether the arm goes on with it.
        stopped_at: The share of its steps after which a search gave it up; None where it ended.
    """

    setting: Setting
    seed: int
    validation: Mapping[str, float]
    chosen: bool
    stopped_at: float | None = None


@dataclass
class ArmResult:
    """One arm: its chosen setting and, for each seed, the run and its scores on test."""

    setting: Setting
    runs: list[Run]
    scores: list[Scores]
    logits: Tensor  # (seeds, rows, classes), on test
    calibrations: list[Calibration] = field(default_factory=list)  # one a seed

    def calibrated(self, name: str) -> float | None:
        """The mean over seeds of ``nll`` or ``ece`` on test, each run at its own temperature."""
        values = [found.test["after"][name] for found in self.calibrations]
        return float(np.mean(values)) if values else None

    def mean(self, name: str) -> float:
        """The mean over seeds of one score."""
        return float(np.mean([getattr(score, name) for score in self.scores]))

    def spread(self, name: str) -> float | None:
        """The standard deviation over seeds of one score; None with one seed."""
        values = [getattr(score, name) for score in self.scores]
        if len(values) > 1 and len(set(values)) == 1:
            return 0.0  # of equal numbers numpy's is not always 0
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
        columns: Of a table, how its columns become numbers.
        exported: What :meth:`save` found when it exported the student.
        calibrate: Whether the student ships with its temperature inside the graph.
        warnings: What to know before trusting the rest.
        teacher_logits: ``[N, C]``, the teacher's answers on test.
        labelled: The teacher's logits and the labels of labelled training rows (at most 5,000).
        members: Of an ensemble, what each member scores alone; JSON-ready.
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
    calibrate: bool = False
    warnings: list[str] = field(default_factory=list)
    teacher_logits: Tensor | None = None
    labelled: tuple[Tensor, Tensor] | None = None
    members: list[dict[str, Any]] = field(default_factory=list)

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

    @property
    def calibration(self) -> Calibration | None:
        """The temperature that was fitted to the student on validation, and what it changes."""
        found = self.arms["distilled"].calibrations
        return found[self.chosen] if found else None

    def table(self) -> str:
        """The teacher and every arm, mean and spread over the seeds, as Markdown."""
        return markdown(*self.rows())

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """The head and the cells of :meth:`table`."""
        return cells(self)

    def summary(self) -> str:
        """The whole result as Markdown, verdict first."""
        return summarise(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the tensors, JSON-ready."""
        return {
            "format": 1,
            "verdict": self.verdict,
            "sentence": self.comparison.reason,
            "comparison": self.comparison.to_dict(),
            "teacher": {
                "name": self.teacher_name,
                "scores": self.teacher.to_dict(),
                "accuracy_interval": self._teacher_interval(),
                "members": self.members,
            },
            "student": {
                "name": self.student_name,
                "seed": self.student_seed,
                **self.facts["recipe"],
            },
            "arms": {
                name: {
                    "setting": setting_dict(arm.setting),
                    "accuracy_interval": accuracy_interval(self._right(arm.logits)),
                    "runs": [
                        {
                            "seed": run.seed,
                            "validation": dict(run.validation),
                            "test": scores.to_dict(),
                            **({} if found is None else {"calibration": found.to_dict()}),
                        }
                        for run, scores, found in itertools.zip_longest(
                            arm.runs, arm.scores, arm.calibrations
                        )
                    ],
                }
                for name, arm in self.arms.items()
            },
            "trials": [
                {
                    "setting": setting_dict(trial.setting),
                    "seed": trial.seed,
                    "validation": dict(trial.validation),
                    "chosen": trial.chosen,
                    **({} if trial.stopped_at is None else {"stopped_at": trial.stopped_at}),
                }
                for trial in self.trials
            ],
            "columns": self.columns,
            "latency": {name: value.to_dict() for name, value in self.latency.items()},
            "export": None if self.exported is None else export_dict(self.exported),
            "warnings": self.warnings,
            **{name: value for name, value in self.facts.items() if name != "recipe"},
        }

    def export(self, path: str | Path, *, calibrate: bool | None = None) -> Export:
        """Write the student as ONNX, with proof on real rows that it says the same.

        Args:
            path: Where to write; a file that is there is replaced.
            calibrate: Divide the logits by the temperature that was fitted on validation, inside
                the graph; by default as the experiment was told.

        Raises:
            AttarError: If the student's inputs are not one tensor, or if the exported graph
                differs from the student.
        """
        if self.example is None:
            raise AttarError(
                "Experiment.export: the student takes a mapping of inputs; export it with "
                "torch.onnx.export, naming each input."
            )
        scores = self.arms["distilled"].scores[self.chosen]
        metadata = {
            "verdict": self.verdict,
            "accuracy": scores.accuracy,
            "nll": scores.nll,
            "retention": self.retention,
            "teacher": self.teacher_name,
            "rows_tested": scores.rows,
        }
        wanted = self.calibrate if calibrate is None else calibrate
        found = self.calibration if wanted else None
        if found is not None:
            metadata |= found.test["after"]
        return to_onnx(
            self.student,
            path,
            example=self.example,
            classes=self.test.classes,
            metadata=metadata,
            columns=self.columns,
            temperature=1.0 if found is None else found.temperature,
        )

    def bundle(
        self, path: str | Path, *, weights: bool = True, calibrate: bool | None = None
    ) -> Path:
        """Write the student with its schema, scores, verdict and card: a ``.zip``, or a folder.

        Args:
            path: A name that ends in ``.zip``, or a folder that is not there yet.
            weights: Put ``student.safetensors`` into it, too.
            calibrate: As in :meth:`export`.

        Raises:
            AttarError: As :meth:`export` and :func:`attar.export.write_bundle`.
        """
        with tempfile.TemporaryDirectory() as scratch:
            export = self.export(Path(scratch) / "student.onnx", calibrate=calibrate)
            kept = Path(scratch) / "student.safetensors"
            self._save_weights(kept)
            return write_bundle(
                path,
                {"student": ModelFile(export.path, parity=export_dict(export))},
                result=self.to_dict(),
                weights=kept.read_bytes() if weights else None,
            )

    def save(self, folder: str | Path) -> Path:
        """Write ``result.json``, ``summary.md``, the student as ONNX and as safetensors.

        The answers of the teacher and of every arm on the test rows, the training curves and
        some samples go beside them, for whoever draws or tests: :mod:`attar.report` makes its
        page from this folder alone.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if self.example is not None:
            try:
                self.exported = self.export(folder / "student.onnx")
            except AttarError as error:  # nothing of the experiment is lost for that
                self.warnings.append(f"the student was not exported: {error}")
            np.save(folder / "example.npy", self.example.numpy(), allow_pickle=False)
        self._save_weights(folder / "student.safetensors")
        write_text("Experiment.save", folder / "summary.md", self.summary())
        for name, value in self.contents().items():  # result.json is the last of them
            _write(folder / name, value)
        return folder

    def contents(self) -> dict[str, Any]:
        """What :meth:`save` writes beside the student, by file name: JSON values and arrays."""
        return contents(self)

    def report(self, path: str | Path = "report.html") -> Path:
        """Write the page of this experiment: one HTML file, complete in itself.

        Returns:
            The path.

        Raises:
            AttarError: If ``path`` is a folder.
        """
        return write_page(self, path)

    @property
    def chosen(self) -> int:
        """The place of the shipped student among the distilled runs."""
        seeds = [run.seed for run in self.arms["distilled"].runs]
        return seeds.index(self.student_seed)

    def _save_weights(self, path: Path) -> None:
        metadata = {
            "name": self.student_name,
            "classes": json.dumps(self.test.classes),
            **self.facts["recipe"],
        }
        save_weights(self.student, path, metadata=metadata)

    def _right(self, logits: Tensor) -> NDArray[np.bool_]:
        """``[S, N]``: which answers on test are right."""
        assert self.test.labels is not None
        right: NDArray[np.bool_] = logits.argmax(dim=-1).eq(self.test.labels).numpy()
        return right

    def _teacher_interval(self) -> dict[str, float | None] | None:
        if self.teacher_logits is None:
            return None
        return accuracy_interval(self._right(self.teacher_logits)[None])


def _write(path: Path, value: Any) -> None:
    if isinstance(value, np.ndarray):
        save = functools.partial(np.save, arr=value, allow_pickle=False)
        write_whole("Experiment.save", path, save)
    else:
        write_text("Experiment.save", path, json.dumps(value, indent=1, allow_nan=False))


def setting_dict(setting: Setting) -> dict[str, Any]:
    """The numbers of a setting that it has, JSON-ready."""
    values = {name: getattr(setting, name) for name in Setting.__dataclass_fields__}
    return {name: value for name, value in values.items() if value is not None}


def export_dict(export: Export) -> dict[str, Any]:
    """What an export was proven to be, JSON-ready."""
    return {**asdict(export), "path": export.path.name}


def example_tensor(data: Data, count: int = 256) -> Tensor | None:
    """Real rows to prove an export on; None where inputs are a mapping."""
    inputs = data.batch(torch.arange(min(count, len(data)))).inputs
    return inputs if isinstance(inputs, Tensor) else None
