"""The students of a table: trained, kept, exported and timed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from stack import Lesson
from torch import nn

from attar.columns import raw_columns
from attar.data import ArrayData, Batches, join
from attar.engine import Distiller, TrainConfig, train
from attar.evaluation import predict_logits
from attar.experiment.growing import grow
from attar.experiment.inputs import plan_student
from attar.export import to_onnx
from attar.export.weights import load_weights, save_weights
from attar.losses import Objective, hard, kl, soft
from attar.students import TABLES, TreeEnsemble, count_parameters, mlp
from attar.types import Teacher

_PLAIN = ("hard", "smoothed", "distilled")
#: What each kind of student learns from.
ARMS = {
    "table_mlp": (*_PLAIN, "in_sample", "no_synthetic"),
    "mlp": _PLAIN,
    "boosted": _PLAIN,
    "tree": _PLAIN,
}
#: The most parameters of each; a tree that can be read has few leaves.
BUDGETS = {"table_mlp": 50_000, "mlp": 50_000, "boosted": 20_000, "tree": 2_000}
ALPHA, TEMPERATURE, SMOOTHING = 0.5, 2.0, 0.1
LEARNING_RATE, BATCH = 5e-3, 256
_CALLS = 2000


class Done(NamedTuple):
    """A trained student: what it says of the test rows, and itself."""

    logits: torch.Tensor
    model: nn.Module


def run(given: Lesson, student: str, arm: str, seed: int, steps: int, folder: Path) -> Done:
    """One student of one arm and seed, trained or read back."""
    family = {**TABLES, "mlp": mlp}[student]
    plan = plan_student(family, given.train, parameters=BUDGETS[student])
    torch.manual_seed(seed)
    model = plan.make()
    # Other settings are other students: what was kept under the old ones is not taken for theirs.
    settings = f"steps{steps}-alpha{ALPHA:g}-T{TEMPERATURE:g}-lr{LEARNING_RATE:g}"
    path = folder / settings / f"{student}-{BUDGETS[student]}-{arm}-{seed}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        load_weights(model, path)
    else:
        _train(model, given, arm, seed, steps)
        save_weights(model.eval(), path)
    return Done(predict_logits(model.eval(), given.test), model)


def _train(model: nn.Module, given: Lesson, arm: str, seed: int, steps: int) -> None:
    """The same starting weights and steps in every arm."""
    teacher: Teacher | None = None
    rows: ArrayData = given.train
    terms = [hard(1.0, smoothing=SMOOTHING if arm == "smoothed" else 0.0)]
    if arm in ("distilled", "in_sample", "no_synthetic"):
        teacher = given.in_sample if arm == "in_sample" else given.out_of_fold
        rows = rows if arm == "no_synthetic" else join(rows, given.synthetic)
        terms = [soft(kl, ALPHA, temperature=TEMPERATURE), hard(1 - ALPHA)]
    if isinstance(model, TreeEnsemble):
        smoothing = SMOOTHING if arm == "smoothed" else 0.0
        grow(model, rows, teacher, alpha=ALPHA, smoothing=smoothing, seed=seed)
        return
    config = TrainConfig(steps=steps, learning_rate=LEARNING_RATE, seed=seed)
    batches = Batches(rows, min(BATCH, len(rows)), seed=seed)
    for _ in train(Distiller(model, Objective(terms), teacher), batches, config):
        pass


def ask_file(given: Lesson, student: str, steps: int, folder: Path) -> Iterator[tuple[str, float]]:
    """The file of the first seed's distilled student: raw rows in, probabilities out."""
    import onnxruntime

    model = run(given, student, "distilled", 0, steps, folder).model
    path = folder / f"{student}.onnx"
    example = given.test.inputs[:256]
    to_onnx(
        model,
        path,
        example=example,
        classes=given.test.classes,
        columns=given.columns,
        takes="columns",
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    raw = {str(name): given.raw[name].to_numpy() for name in given.raw.columns}
    columns = raw_columns(raw, given.columns)
    one: dict[str, Any] = {n: values[:1] for n, values in zip(names, columns, strict=True)}
    many: dict[str, Any] = {n: values[:1024] for n, values in zip(names, columns, strict=True)}
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
