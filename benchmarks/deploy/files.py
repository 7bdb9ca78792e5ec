"""From the trained models to files: ONNX, int8 in four ways; each with its scores on test."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from models import ALPHA, TEMPERATURE, Report, Trained
from numpy.typing import NDArray
from torch import nn

from attar.evaluation import scores_from_logits
from attar.experiment.measure import as_module
from attar.export import Quantized, quantize, quantize_aware, runtime, to_onnx
from attar.files import write_text
from attar.teachers import StoredTeacher

#: The file of each kind: what the tables call it.
KINDS = {
    "fp32": "float32",
    "static": "int8, static",
    "static_first": "int8, static, but for the first layer",
    "dynamic": "int8, dynamic",
    "qat": "int8, trained with rounding",
    "float16": "float16 weights",
}
EXAMPLE = 512

#: The ways to int8, the cheapest for whoever ships first: no training, then a little of it.
INT8 = ("static", "static_first", "dynamic", "qat")

#: The cost is what is asked here, so nothing is refused.
ALL = 100.0

#: Quantization-aware distillation: passes over the rows, and a tenth of the learning rate.
QAT_EPOCHS = {"mnist": 4, "digits": 40, "quick": 1}


@dataclass(frozen=True)
class Files:
    """The ONNX files of one student, by kind, and of its teacher."""

    teacher: Path
    students: dict[str, Path]


def write(trained: Trained, name: str, report: Report) -> Files:
    """Export what is not there yet."""
    folder = trained.folder / "files"
    student = trained.students[name]
    teacher = folder / "teacher.onnx"
    rows, classes = trained.train.inputs[:EXAMPLE], trained.train.classes
    if not teacher.exists():
        module = as_module(trained.teacher)
        assert module is not None  # networks, mixed by their mean probability
        to_onnx(module, teacher, example=rows, classes=classes)
    stem = trained.task.stem(int(name.removesuffix("x")))
    paths = {kind: folder / f"{stem}-{kind}.onnx" for kind in KINDS}
    if not paths["fp32"].exists():
        to_onnx(student, paths["fp32"], example=rows, classes=classes)
    for kind in ("static", "static_first", "dynamic", "float16"):
        _once(paths[kind], report, lambda path, kind=kind: _after(trained, paths, path, kind))
    _once(paths["qat"], report, lambda path: _aware(trained, student, path, report))
    return Files(teacher, paths)


def _after(trained: Trained, paths: dict[str, Path], path: Path, kind: str) -> Quantized:
    return quantize(
        paths["fp32"],
        path,
        method=kind.removesuffix("_first"),
        float_layers="first" if kind == "static_first" else "none",
        train=(trained.train.inputs, None),
        validation=trained.validation,
        max_drop=ALL,
        seconds=0.0,
    )


def _aware(trained: Trained, student: nn.Module, path: Path, report: Report) -> Quantized:
    epochs = QAT_EPOCHS[trained.task.name]
    return quantize_aware(
        student,
        path,
        train=trained.train,
        teacher=StoredTeacher(trained.targets),
        validation=trained.validation,
        epochs=epochs,
        learning_rate=trained.task.rate / 10,
        temperature=TEMPERATURE,
        alpha=ALPHA,
        max_drop=ALL,
        tolerance=1.0,
        seconds=0.0,
        progress=lambda record: report("the student learns to round", record.step, 0),
    )


def _once(path: Path, report: Report, make: Callable[[Path], Quantized]) -> None:
    """Make a file unless it is there; what it cost on validation is kept beside it."""
    if path.exists() and path.with_suffix(".json").exists():
        return
    report(f"{path.name} is made", 0, 0)
    cost = make(path)
    write_text("benchmarks/deploy", path.with_suffix(".json"), json.dumps(cost.to_dict()))


def cost_of(path: Path) -> dict[str, Any] | None:
    """What a smaller file cost on validation; None of a file that is none."""
    beside = path.with_suffix(".json")
    return json.loads(beside.read_text("utf-8"))["validation"] if beside.exists() else None


def choose(files: Files, *, drop: float, agreement: float) -> str | None:
    """The first way to int8 that holds both bounds on validation; None where none does."""
    for kind in INT8:
        cost = cost_of(files.students[kind])
        assert cost is not None
        if cost["drop"] <= drop and cost["agreement"] >= agreement:
            return kind
    return None


def scores(trained: Trained, files: Files, name: str) -> list[dict[str, Any]]:
    """A row a file: accuracy, agreement with the float student and the teacher, ECE, bytes."""
    inputs, labels = trained.test.inputs.numpy(), trained.test.labels
    assert labels is not None
    classes = trained.test.classes
    teacher = torch.from_numpy(logits(files.teacher, inputs))
    student = torch.from_numpy(logits(files.students["fp32"], inputs))
    found = []
    for kind, path in {"teacher": files.teacher, **files.students}.items():
        # Ranges that are found in each call depend on the rows beside: one row a call.
        said = torch.from_numpy(logits(path, inputs, rows=1 if kind == "dynamic" else 256))
        score = scores_from_logits(said, labels, classes, teacher_logits=student)
        cost = cost_of(path) or {}
        found.append(
            {
                "task": trained.task.name,
                "student": name,
                "kind": kind,
                "accuracy": score.accuracy,
                "errors": score.errors,
                "agreement_with_fp32": score.agreement,
                "agreement_with_teacher": float(
                    (said.argmax(dim=1) == teacher.argmax(dim=1)).double().mean()
                ),
                "ece": score.ece,
                "worst_class_accuracy": score.worst_class_accuracy,
                "bytes": path.stat().st_size,
                "validation_drop_points": cost.get("drop"),
                "validation_agreement_with_fp32": cost.get("agreement"),
            }
        )
    return found


def logits(path: Path, inputs: NDArray[Any], *, rows: int = 256) -> NDArray[Any]:
    """Logits ``[N, C]`` through ONNX Runtime."""
    model = runtime.load(path, threads=1)
    return np.concatenate([model.logits(inputs[i : i + rows]) for i in range(0, len(inputs), rows)])
