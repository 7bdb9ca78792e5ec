"""The models that are deployed: trained once, kept in the user's cache folder.

A teacher is an ensemble of convolutional networks; its students are about 10 and about 100 times
smaller and learn its soft targets (T = 4, alpha = 0.9). A run that was stopped goes on where it
was.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

BENCHMARKS = Path(__file__).parents[1]
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "mnist")]
from fetch import mnist  # noqa: E402
from teacher import ASK, Recipe, Report, make  # noqa: E402

from attar.data import ArrayData, Batches, Views, shift, split  # noqa: E402
from attar.engine import Distiller, TrainConfig, train  # noqa: E402
from attar.evaluation import accuracy, nll, predict_logits  # noqa: E402
from attar.export.weights import load_weights, save_weights  # noqa: E402
from attar.losses import Objective, hard, kl, soft  # noqa: E402
from attar.store import Store, label  # noqa: E402
from attar.students import Family, Standardize, fit_to  # noqa: E402
from attar.teachers import EnsembleTeacher, StoredTeacher  # noqa: E402

TEMPERATURE, ALPHA, BATCH = 4.0, 0.9, 256


@dataclass(frozen=True)
class Task:
    """One data set: how its teacher and its students are made.

    Attributes:
        name: ``"mnist"`` or ``"digits"``.
        teacher: The ensemble.
        students: How many times fewer parameters -> the family.
        views: Forms of each training row that teacher and students see.
        epochs: Passes of a student over the views' rows.
        rate: The students' learning rate.
    """

    name: str
    teacher: Recipe
    students: Mapping[int, Family]
    views: Views
    epochs: int
    rate: float = 4e-3

    @property
    def key(self) -> str:
        """A name for folders."""
        return f"{self.name}-{self.teacher.key}-v{self.views.count}"

    def stem(self, times: int) -> str:
        """A name for the files of a student."""
        return f"{times}x-{self.students[times].name}-e{self.epochs}"


@dataclass(frozen=True)
class Trained:
    """What is deployed, and the rows that it is measured on."""

    task: Task
    folder: Path
    train: ArrayData
    validation: ArrayData
    test: ArrayData
    teacher: EnsembleTeacher
    targets: Store
    students: dict[str, nn.Module]


def _layer(before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    ]


def _strided(width: int, shape: tuple[int, ...], classes: int) -> nn.Module:
    """Three convolutions that halve the image each, and a linear layer.

    A stride in the first convolution spares three quarters of its work and of all that follows,
    which is what a small student is made for.
    """
    layers: list[nn.Module] = []
    before, height, side = shape
    for stage, kernel in enumerate((5, 3, 3)):
        after = width * 2**stage
        layers += _layer(before, after, kernel, 2)
        before, height, side = after, -(-height // 2), -(-side // 2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * height * side, classes))


def _pooled(width: int, shape: tuple[int, ...], classes: int) -> nn.Module:
    """Four convolutions, two of which halve the image, and the mean of the last map.

    With a few thousand parameters two thirds of them would lie in the linear layer over the last
    map; where it is pooled first they are in the convolutions.
    """
    layers: list[nn.Module] = []
    before, more = shape[0], width * 3 // 2
    for after, kernel, stride in ((width, 5, 2), (width, 3, 1), (more, 3, 2), (more, 3, 1)):
        layers += _layer(before, after, kernel, stride)
        before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


STRIDED, POOLED = Family("strided", _strided), Family("pooled", _pooled)

MNIST = Task(
    "mnist",
    Recipe("whole", 32, 5, 4),
    {10: STRIDED, 100: POOLED},
    Views((shift(2),), 4),
    40,
)
DIGITS = Task(
    "digits",
    Recipe("whole", 96, 5, 60),
    {10: STRIDED, 100: STRIDED},
    Views((shift(1),), 8),
    400,
)
QUICK = Task("quick", Recipe("whole", 8, 2, 2), {5: STRIDED, 20: POOLED}, Views((shift(2),), 2), 4)
TASKS = {task.name: task for task in (MNIST, DIGITS, QUICK)}


def trained(task: Task, cache: Path, report: Report) -> Trained:
    """Train what is not there yet, and read back what is."""
    folder = cache / "benchmarks" / "deploy" / task.key
    rows, validation, test = _rows(task.name, cache)
    teacher = make(task.teacher, rows, folder / "members", report)
    viewed = rows.with_views(task.views)
    targets = label(
        teacher,
        viewed,
        folder / "targets",
        batch_size=ASK,
        progress=lambda done, total: report("the teacher answers", done, total),
    )
    size = sum(member.parameters for member in teacher.members)
    students = {
        f"{times}x": _student(task, times, viewed, validation, targets, size, folder, report)
        for times in task.students
    }
    return Trained(task, folder, viewed, validation, test, teacher, targets, students)


def _rows(name: str, cache: Path) -> tuple[ArrayData, ArrayData, ArrayData]:
    """Train, validation, test. A bound on 0.1 % needs some thousand rows: validation is large."""
    if name == "digits":
        images = torch.from_numpy(load_digits().images.astype(np.float32))[:, None]
        whole = ArrayData(images, torch.from_numpy(load_digits().target))
        parts = split(whole, (0.5, 0.25, 0.25), seed=0)
    else:
        rows, test = mnist(cache)
        if name == "quick":
            rows, test = rows.take(torch.arange(6000)), test.take(torch.arange(1000))
        parts = (*split(rows, (5 / 6, 1 / 6), seed=0), test)
    train_rows, validation, test = parts
    assert isinstance(train_rows, ArrayData)
    assert isinstance(validation, ArrayData)
    assert isinstance(test, ArrayData)
    return train_rows, validation, test


def _student(
    task: Task,
    times: int,
    rows: ArrayData,
    validation: ArrayData,
    targets: Store,
    size: int,
    folder: Path,
    report: Report,
) -> nn.Module:
    """The largest member of the family that is so many times smaller, distilled."""
    shape, classes = tuple(rows.inputs.shape[1:]), len(rows.classes)
    family = task.students[times]
    width = fit_to(family, parameters=size // times, input_shape=shape, classes=classes)
    torch.manual_seed(0)
    scaler = Standardize.fit(rows.inputs)
    student = family.model(width, input_shape=shape, classes=classes, scaler=scaler)
    path = folder / f"{task.stem(times)}.safetensors"
    if path.exists():
        load_weights(student, path)
        return student.eval()
    steps = task.epochs * len(rows) // BATCH
    config = TrainConfig(
        steps=steps, learning_rate=task.rate, evaluate_every=steps // 10, checkpoint_every=500
    )
    terms = [soft(kl, ALPHA, temperature=TEMPERATURE), hard(1 - ALPHA)]
    distiller = Distiller(student, Objective(terms), StoredTeacher(targets))
    checkpoint = path.with_suffix(".checkpoint")
    assert validation.labels is not None

    def judge(model: nn.Module) -> dict[str, float]:
        logits = predict_logits(model, validation)
        labels = validation.labels
        return {"accuracy": accuracy(logits, labels), "nll": nll(logits, labels)}

    batches = Batches(rows, BATCH, seed=0)
    for one in train(distiller, batches, config, validate=judge, checkpoint=checkpoint):
        report(f"the student of width {width} learns", one.step, steps)
    save_weights(student, path)
    checkpoint.unlink(missing_ok=True)
    return student.eval()
