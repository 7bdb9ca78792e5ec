"""The models that are deployed: trained once, kept in the user's cache folder.

A teacher is an ensemble of three convolutional networks; its students are about 10 and about
100 times smaller and learn its soft targets (T = 4, alpha = 0.9). A run that was stopped goes on
where it was.
"""

from __future__ import annotations

import sys
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
from attar.students import Family, Standardize, fit_to, mlp  # noqa: E402
from attar.teachers import EnsembleTeacher, StoredTeacher  # noqa: E402

TEMPERATURE, ALPHA, BATCH = 4.0, 0.9, 256


@dataclass(frozen=True)
class Task:
    """One data set: how its teacher and its students are made.

    Attributes:
        name: ``"mnist"`` or ``"digits"``.
        teacher: The ensemble.
        family: Of the students.
        views: Forms of each training row that teacher and students see.
        epochs: Passes of a student over the views' rows.
        rate: The students' learning rate.
        smaller: How many times fewer parameters, by the student's name.
    """

    name: str
    teacher: Recipe
    family: Family
    views: Views
    epochs: int
    rate: float
    smaller: tuple[int, ...] = (10, 100)

    @property
    def key(self) -> str:
        """A name for folders."""
        return f"{self.name}-{self.teacher.key}-{self.family.name}-v{self.views.count}"


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


def _build(width: int, shape: tuple[int, ...], classes: int) -> nn.Module:
    """Three convolutions that halve the image each, and a linear layer.

    A stride in the first convolution spares three quarters of its work and of all that follows,
    which is what a small student is made for.
    """
    layers: list[nn.Module] = []
    before, height, side = shape
    for stage, kernel in enumerate((5, 3, 3)):
        after = width * 2**stage
        layers += [
            nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
        before, height, side = after, -(-height // 2), -(-side // 2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * height * side, classes))


STRIDED = Family("strided", _build)

MNIST = Task("mnist", Recipe("whole", 32, 3, 4), STRIDED, Views((shift(2),), 4), 40, 4e-3)
DIGITS = Task("digits", Recipe("whole", 32, 3, 60), mlp, Views((shift(1),), 8), 400, 4e-3)
QUICK = Task("quick", Recipe("whole", 8, 2, 2), STRIDED, Views((shift(2),), 2), 4, 4e-3, (5, 20))
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
        f"{times}x": _student(task, viewed, validation, targets, size // times, folder, report)
        for times in task.smaller
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
    rows: ArrayData,
    validation: ArrayData,
    targets: Store,
    parameters: int,
    folder: Path,
    report: Report,
) -> nn.Module:
    """The largest member of the family with at most so many parameters, distilled."""
    shape, classes = tuple(rows.inputs.shape[1:]), len(rows.classes)
    width = fit_to(task.family, parameters=parameters, input_shape=shape, classes=classes)
    torch.manual_seed(0)
    scaler = Standardize.fit(rows.inputs)
    student = task.family.model(width, input_shape=shape, classes=classes, scaler=scaler)
    path = folder / f"{task.family.name}{width}-e{task.epochs}.safetensors"
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
