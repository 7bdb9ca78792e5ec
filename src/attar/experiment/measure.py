"""What the experiment measures besides scores: cost beforehand, size and latency afterwards."""

from __future__ import annotations

import contextlib
import copy
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attar.checks import AttarError
from attar.data import ArrayData, Batches
from attar.engine import Distiller, train
from attar.evaluation import Latency, latencies
from attar.experiment.arms import Setting, Trainer
from attar.experiment.keep import MEMBERS
from attar.export import to_onnx
from attar.export.runtime import load
from attar.teachers import EnsembleTeacher, ModelTeacher, mean_probability
from attar.types import Data, ask, dense_logits

#: Steps that are timed to say what a run will cost.
PROBE_STEPS = 20
#: Kinds of members of an ensemble that are timed.
_KINDS = 4


def seconds_per_step(trainer: Trainer, setting: Setting) -> float:
    """The cost of a training step of this student here, from a few steps on a copy.

    Leaves the random state as it was.
    """
    state = torch.get_rng_state()
    student = trainer.plan.make()
    distiller = Distiller(student, trainer.objective(setting), trainer.teacher)
    batches = Batches(setting.data(trainer.splits), trainer.batch_size)
    times = []
    for steps in (1, PROBE_STEPS):  # the first pass pays for what is only paid once
        config = replace(trainer.config, steps=steps, log_every=steps, evaluate_every=None)
        config = replace(config, checkpoint_every=steps)
        began = time.perf_counter()
        for _ in train(distiller, batches, config, accelerator=trainer.accelerator):
            pass
        times.append((time.perf_counter() - began) / steps)
    torch.set_rng_state(state)
    return times[-1]


class MeanProbability(nn.Module):
    """An ensemble of networks as one graph: the log of their mean probability."""

    log_weights: Tensor
    temperatures: Tensor

    def __init__(self, members: list[nn.Module], weights: Tensor, temperatures: Tensor) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.tempered = bool((temperatures != 1).any())  # else the graph is spared a division
        self.register_buffer("log_weights", weights.log().reshape(-1, 1, 1))
        self.register_buffer("temperatures", temperatures.reshape(-1, 1, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Log-probabilities ``[N, C]``."""
        logits = torch.stack(
            [dense_logits("measure", ask(member, inputs)) for member in self.members]
        )
        if self.tempered:
            logits = logits / self.temperatures
        return torch.logsumexp(logits.log_softmax(dim=-1) + self.log_weights, dim=0)


def as_module(teacher: Any) -> nn.Module | None:
    """The teacher as one network, where it is one or is made of some; else None."""
    if isinstance(teacher, ModelTeacher):
        return copy.deepcopy(teacher.module).cpu().eval()
    if isinstance(teacher, EnsembleTeacher) and teacher.combine is mean_probability:
        members = [as_module(member) for member in teacher.active]
        networks = [member for member in members if member is not None]
        if len(networks) == len(members):
            asked = teacher.weights > 0
            own = (teacher.weights[asked], teacher.temperatures[asked])
            return MeanProbability(networks, *own).eval()
    return None


@dataclass(frozen=True)
class Timing:
    """Latency of teacher and student, taken in turn in one run.

    Attributes:
        student: Through ONNX Runtime.
        teacher: Through ONNX Runtime where it can be exported, else as it is called.
        teacher_runtime: ``"onnxruntime"``, ``"as called"``, or None where there is none to call.
        members: Of an ensemble of networks, by place: one of each size is timed, and stands for
            the others of its size.
    """

    student: Latency
    teacher: Latency | None
    teacher_runtime: str | None
    members: dict[int, Latency] = field(default_factory=dict)


def time_both(student_onnx: Path, teacher: Any, data: Data, *, seconds: float = 0.5) -> Timing:
    """Time student, teacher and its members at batch 1 and 64, on one thread each, in turn."""
    student = load(student_onnx, threads=1)
    rows = {size: data.batch(torch.arange(size) % len(data)) for size in (1, 64)}
    calls: dict[str, Any] = {"student": lambda batch: student.predict_proba(batch.inputs.numpy())}
    runtime = None
    stands_for = _of_each_size(teacher)
    with tempfile.TemporaryDirectory() as scratch:
        fast = _exported(teacher, data, Path(scratch) / "teacher.onnx")
        if fast is not None:
            calls["teacher"], runtime = fast, "onnxruntime"
        elif callable(teacher) and not hasattr(teacher, "store"):
            calls["teacher"], runtime = teacher, "as called"
        for first in sorted(set(stands_for.values())):
            member = _exported(teacher.active[first], data, Path(scratch) / f"{first}.onnx")
            if member is not None:
                calls[f"member {first}"] = member
        timed = latencies(calls, rows, seconds=seconds)
    members = {
        place: timed[f"member {first}"]
        for place, first in stands_for.items()
        if f"member {first}" in timed
    }
    return Timing(timed["student"], timed.get("teacher"), runtime, members)


def time_values(
    student_onnx: Path, ask: Callable[[Data], Any] | None, data: Data, *, seconds: float = 0.5
) -> dict[str, Latency]:
    """Of a regression or several labels a row: student and teacher at batch 1 and 64, in turn.

    Args:
        student_onnx: The exported student, run on one thread.
        ask: The teacher, as it is called; None where there is none to ask.
        data: Rows to ask about.
        seconds: For about this long at each batch size.
    """
    student = load(student_onnx, threads=1)
    answer = student.values if student.task == "regression" else student.predict_proba
    inputs = {size: data.batch(torch.arange(size) % len(data)).inputs for size in (1, 64)}
    rows = {size: ArrayData(value) for size, value in inputs.items()}
    calls: dict[str, Any] = {"student": lambda part: answer(part.inputs.numpy())}
    if ask is not None:
        calls["teacher"] = ask
    return latencies(calls, rows, seconds=seconds)


def _exported(teacher: Any, data: Data, path: Path) -> Any:
    """The teacher through ONNX Runtime; None where it cannot be exported."""
    module = as_module(teacher)
    if module is None:
        return None
    example = data.batch(torch.arange(min(64, len(data)))).inputs
    with contextlib.suppress(AttarError):
        to_onnx(module, path, example=example, classes=data.classes)
        session = load(path, threads=1)
        return lambda batch: session.predict_proba(batch.inputs.numpy())
    return None


def _of_each_size(teacher: Any) -> dict[int, int]:
    """Place of each member of an ensemble -> place of the first of its name and size."""
    if not isinstance(teacher, EnsembleTeacher) or len(teacher.active) < 2:
        return {}
    first: dict[tuple[str, int | None], int] = {}
    stands_for = {}
    for place, member in enumerate(teacher.active[:MEMBERS]):
        kind = (member.name, member.parameters)
        if kind in first or len(first) < _KINDS:
            stands_for[place] = first.setdefault(kind, place)
    return stands_for
