"""The students of a table: what is chosen for each, then trained, kept, exported and timed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from stack import Class, Lesson
from torch import nn

from attar.columns import raw_columns
from attar.data import Batches, join
from attar.engine import Distiller, TrainConfig, train
from attar.evaluation import nll, predict_logits
from attar.experiment.growing import grow
from attar.experiment.inputs import plan_student
from attar.export import to_onnx
from attar.export.weights import load_weights, save_weights
from attar.losses import Objective, hard, kl, soft
from attar.students import TABLES, TreeEnsemble, count_parameters, mlp
from attar.types import Teacher

#: The same stack; asked about training rows that it was not fitted on, and that it was.
TEACHERS = ("out_of_fold", "in_sample")
#: Students that learn step by step.
NETWORKS = ("table_mlp", "mlp")
_PLAIN = ("hard", "smoothed", "distilled")
#: What each kind of student learns from.
ARMS = {
    "table_mlp": (*_PLAIN, "out_of_fold", "in_sample", "synthetic", "no_synthetic"),
    "mlp": _PLAIN,
    "boosted": _PLAIN,
    "tree": _PLAIN,
}
#: The most parameters of each; a tree that can be read has few leaves.
BUDGETS = {"table_mlp": 50_000, "mlp": 50_000, "boosted": 20_000, "tree": 2_000}
#: Bytes of its file for each, about: a file is to be no more than a tenth of the stack.
BYTES = {"table_mlp": 6, "mlp": 6, "boosted": 22, "tree": 24}
SMOOTHING, LEARNING_RATE, BATCH = 0.1, 5e-3, 256
_CALLS = 2000


@dataclass(frozen=True)
class Setting:
    """What is chosen for an arm.

    Attributes:
        share: Of the most steps; a network that is trained on labels alone may want fewer.
        weight_decay: AdamW's.
        teacher: ``"out_of_fold"``, ``"in_sample"`` or ``""`` for none.
        temperature: Of the soft targets.
        alpha: Their weight where there is a label.
        synthetic: Whether the teacher is asked about synthetic rows, too.
        smoothing: Of the labels.
    """

    share: float = 1.0
    weight_decay: float = 0.01
    teacher: str = ""
    temperature: float = 1.0
    alpha: float = 0.0
    synthetic: bool = False
    smoothing: float = 0.0

    def __str__(self) -> str:
        words = [f"{self.share:g}", f"wd{self.weight_decay:g}"]
        if self.teacher:
            words += [self.teacher, f"T{self.temperature:g}", f"alpha{self.alpha:g}"]
        words += ["synthetic"] if self.synthetic else []
        return "-".join([*words, *([f"smooth{self.smoothing:g}"] if self.smoothing else [])])


def settings(student: str, arm: str) -> list[Setting]:
    """What is tried; the first is taken where all are as good.

    As many for each arm of a network: what is found here for the distilled one is then tried with
    :func:`lengths`, so that it has 18 trials, too. Trees have no steps, and nothing to choose on
    labels. They say at T what they were built on (see
    :func:`attar.experiment.growing.at_most_one`), so that T above 1 means nothing to them.
    """
    smoothing = SMOOTHING if arm == "smoothed" else 0.0
    is_network = student in NETWORKS
    if arm != "distilled":
        shares, decays = (1.0, 0.75, 0.5, 0.25, 0.125, 0.0625), (0.01, 0.1, 0.3)
        tried = product(shares, decays) if is_network else [(1.0, 0.01)]
        return [Setting(share, decay, smoothing=smoothing) for share, decay in tried]
    weights = [(2.0, 0.5), (2.0, 0.9), (1.0, 0.5)]
    if not is_network:
        weights = [(temperature, alpha) for alpha in (0.5, 0.9) for temperature in (1.0, 0.5)]
    return [
        Setting(teacher=teacher, temperature=temperature, alpha=alpha, synthetic=synthetic)
        for synthetic, teacher, (temperature, alpha) in product((True, False), TEACHERS, weights)
    ]


def lengths(setting: Setting) -> list[Setting]:
    """The same thing taught for other shares of the steps, with other weight decays."""
    tried = ((1.0, 0.1), (1.0, 0.3), (0.5, 0.1), (0.25, 0.1), (0.25, 0.3), (0.125, 0.3))
    return [replace(setting, share=share, weight_decay=decay) for share, decay in tried]


class Done(NamedTuple):
    """A trained student: what it says of the test rows, and itself."""

    logits: torch.Tensor
    model: nn.Module


@dataclass(frozen=True)
class School:
    """A table, where what is trained on it is kept, and the most steps."""

    lesson: Lesson
    folder: Path
    steps: int

    def budget(self, student: str) -> int:
        """The most parameters: where the stack is small, so is what is a tenth of it."""
        fits = int(self.lesson.told["bytes"] / 10 / BYTES[student]) // 1000 * 1000
        return min(BUDGETS[student], max(fits, 1000))

    def setting(self, student: str, arm: str) -> Setting:
        """What was best on the rows of the cuts: accuracy, then NLL."""
        if arm in TEACHERS:
            return replace(self.setting(student, "distilled"), teacher=arm)
        if arm in ("synthetic", "no_synthetic"):
            return replace(self.setting(student, "distilled"), synthetic=arm == "synthetic")
        tried = settings(student, arm)
        if len(tried) == 1:
            return tried[0]
        best = min(tried, key=lambda one: self.tried(student, one))
        if arm != "distilled" or student not in NETWORKS:
            return best
        return min([best, *lengths(best)], key=lambda one: self.tried(student, one))

    def tried(self, student: str, setting: Setting) -> tuple[float, float]:
        """The error and the NLL on rows that were kept apart, the mean over the cuts."""
        name = f"{student}-{self.budget(student)}-{self.steps}-{setting}"
        path = self.folder / "trials" / f"{name}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            found = []
            for cut in self.lesson.cuts:
                model = self.trained(student, setting, cut, seed=1000)
                logits, truth = predict_logits(model, cut.judge), cut.judge.labels
                assert truth is not None
                wrong = (logits.argmax(dim=1) != truth).float().mean()
                found.append((float(wrong), nll(logits, truth)))
            path.write_text(json.dumps(np.mean(found, axis=0).tolist()))
        error, said = json.loads(path.read_text())
        return error, said

    def run(self, student: str, arm: str, seed: int) -> Done:
        """One student of one arm and seed on all training rows, trained or read back."""
        setting = self.setting(student, arm)
        name = f"{student}-{self.budget(student)}-{self.steps}-{setting}-{seed}"
        path = self.folder / "students" / f"{name}.safetensors"
        if path.exists():
            model = self.blank(student, seed)
            load_weights(model, path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            model = self.trained(student, setting, self.lesson, seed)
            save_weights(model, path)
        return Done(predict_logits(model.eval(), self.lesson.test), model)

    def blank(self, student: str, seed: int) -> nn.Module:
        """The untrained student: one start for all arms of a seed."""
        family = {**TABLES, "mlp": mlp}[student]
        plan = plan_student(family, self.lesson.train, parameters=self.budget(student))
        torch.manual_seed(seed)
        return plan.make()

    def trained(self, student: str, setting: Setting, given: Class, seed: int) -> nn.Module:
        """A student that learnt these rows."""
        model = self.blank(student, seed)
        teacher: Teacher | None = getattr(given, setting.teacher) if setting.teacher else None
        rows = join(given.train, given.synthetic) if setting.synthetic else given.train
        if isinstance(model, TreeEnsemble):
            grow(
                model,
                rows,
                teacher,
                temperature=setting.temperature,
                alpha=setting.alpha,
                smoothing=setting.smoothing,
                seed=seed,
            )
            return model.eval()
        terms = [hard(1 - setting.alpha, smoothing=setting.smoothing)]
        if teacher is not None:
            terms = [soft(kl, setting.alpha, temperature=setting.temperature), *terms]
        config = TrainConfig(
            steps=max(1, round(self.steps * setting.share)),
            learning_rate=LEARNING_RATE,
            weight_decay=setting.weight_decay,
            seed=seed,
        )
        batches = Batches(rows, min(BATCH, len(rows)), seed=seed)
        for _ in train(Distiller(model, Objective(terms), teacher), batches, config):
            pass
        return model.eval()

    def told(self, student: str) -> dict[str, float]:
        """What the first seed's distilled student costs, as it was timed; kept beside the stack's.

        The two are set against each other: both are of the run that first came here.
        """
        setting = self.setting(student, "distilled")
        path = (
            self.folder / "costs" / f"{student}-{self.budget(student)}-{self.steps}-{setting}.json"
        )
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(dict(self._ask_file(student))))
        found: dict[str, float] = json.loads(path.read_text())
        return found

    def _ask_file(self, student: str) -> Iterator[tuple[str, float]]:
        """Of its file: raw rows in, probabilities out."""
        import onnxruntime

        given = self.lesson
        model = self.run(student, "distilled", 0).model
        path = self.folder / f"{student}.onnx"
        numbers = all(column["kind"] == "number" for column in given.columns)
        to_onnx(
            model,
            path,
            example=given.test.inputs[:256],
            classes=given.test.classes,
            columns=given.columns,
            takes="matrix" if numbers else "columns",
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_inputs()]
        raw = {str(name): given.raw[name].to_numpy() for name in given.raw.columns}
        columns = raw_columns(raw, given.columns)
        asked = [np.concatenate(columns, axis=1)] if numbers else columns
        one: dict[str, Any] = {n: values[:1] for n, values in zip(names, asked, strict=True)}
        many: dict[str, Any] = {n: values[:1024] for n, values in zip(names, asked, strict=True)}
        taken = []
        for _ in range(_CALLS):
            started = time.perf_counter()
            session.run(None, one)
            taken.append(time.perf_counter() - started)
        started = time.perf_counter()
        for _ in range(20):
            session.run(None, many)
        seconds = (time.perf_counter() - started) / 20
        yield "parameters", float(count_parameters(model))
        yield "file_bytes", float(path.stat().st_size)
        yield "p50_us", 1e6 * float(np.median(taken))
        yield "rows_a_second", min(1024, len(given.raw)) / seconds
