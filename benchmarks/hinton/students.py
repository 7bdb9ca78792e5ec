"""One student: trained once, kept with its numbers, read back from then on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lab import Lab, student_views
from torch import Tensor, nn
from turns import share_out, turn

from attar.data import ArrayData, Batches
from attar.engine import Distiller, TrainConfig, train
from attar.evaluation import predict_logits
from attar.export.weights import load_weights, save_weights
from attar.files import write_text
from attar.losses import Objective, hard, kl, pseudo, soft
from attar.store import Store
from attar.students import Family, Standardize, mlp, plain_convnet
from attar.teachers import StoredTeacher
from attar.types import UNLABELLED, Teacher

WEIGHTS, NOTE = "student.safetensors", "run.json"
FAMILIES: dict[str, Family] = {"mlp": mlp, "plain_convnet": plain_convnet}


@dataclass(frozen=True)
class Student:
    """All that decides what a student comes to.

    Attributes:
        arm: ``"hard"``, ``"smoothed"``, ``"pseudo"`` or ``"distilled"``.
        family: ``"mlp"`` or ``"plain_convnet"``.
        width: Its size.
        rows: What it learns from: ``"all"`` 60,000, ``"train"`` (without those kept for
            choices), ``"without 3"`` or ``"only 7 8"`` of these, ``"labels N"``.
        teacher: Whose soft targets; empty where there are none.
        views: How many views of a row, itself included.
        view: What a view is; see :func:`lab.student_views`.
        temperature: T.
        alpha: The weight of the soft loss.
        smoothing: Strength of the label smoothing.
        steps: Of the optimizer.
        batch_size: Rows a step.
        learning_rate: The peak of the schedule.
        weight_decay: AdamW's.
        seed: Of weights and order.
        live: Whether the teacher itself answers at every step, instead of a store.
    """

    arm: str
    width: int
    family: str = "mlp"
    rows: str = "all"
    teacher: str = ""
    views: int = 1
    view: str = "shift"
    temperature: float = 1.0
    alpha: float = 1.0
    smoothing: float = 0.0
    steps: int = 1000
    batch_size: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    seed: int = 0
    live: bool = False

    @property
    def key(self) -> str:
        """A name for a folder: another student lives elsewhere."""
        words = [self.arm, f"{self.family}{self.width}", self.rows.replace(" ", "-")]
        if self.teacher:
            words += [self.teacher, f"T{self.temperature:g}", f"a{self.alpha:g}"]
        if self.smoothing:
            words.append(f"s{self.smoothing:g}")
        if self.views > 1:
            mixed = "" if self.view == "shift" else f"-{self.view.replace(' ', '-')}"
            words.append(f"v{self.views}{mixed}" + ("-live" if self.live else ""))
        words += [f"n{self.steps}", f"b{self.batch_size}", f"lr{self.learning_rate:g}"]
        return "-".join([*words, f"wd{self.weight_decay:g}", f"seed{self.seed}"])

    def changed(self, **changes: Any) -> Student:
        """The same but for this."""
        return replace(self, **changes)

    def objective(self) -> Objective:
        """What it minimises."""
        if self.arm == "pseudo":
            return Objective([pseudo(1.0)])
        if self.arm != "distilled":
            return Objective([hard(1.0, smoothing=self.smoothing)])
        terms = [soft(kl, self.alpha, temperature=self.temperature)]
        return Objective(terms + ([hard(1 - self.alpha)] if self.alpha < 1 else []))

    def data(self, lab: Lab) -> ArrayData:
        """The rows that it learns from, in its views."""
        return chosen_rows(lab, self.rows).with_views(student_views(self.views, self.view))


def chosen_rows(lab: Lab, word: str) -> ArrayData:
    """The rows that a word names."""
    name, *numbers = word.split()
    if name == "all":
        return lab.everything
    if name == "labels":
        return _few_labels(lab.train, int(numbers[0]))
    rows = lab.train
    assert rows.labels is not None
    if not numbers:
        return rows
    named = torch.isin(rows.labels, torch.tensor([int(number) for number in numbers]))
    return rows.take(named if name == "only" else ~named)


def _few_labels(rows: ArrayData, count: int) -> ArrayData:
    """All rows, of which so many keep their label, each class as many as the others."""
    assert rows.labels is not None
    generator = torch.Generator().manual_seed(0)
    labels = torch.full_like(rows.labels, UNLABELLED)
    for one in range(len(rows.classes)):
        places = (rows.labels == one).nonzero()[:, 0]
        kept = places[torch.randperm(len(places), generator=generator)]
        labels[kept[: count // len(rows.classes)]] = one
    return rows.with_labels(labels)


def fresh(lab: Lab, student: Student) -> nn.Module:
    """It before it has learnt anything: the arms of a seed start from the same weights."""
    torch.manual_seed(student.seed)
    model = FAMILIES[student.family].model(
        student.width,
        input_shape=tuple(lab.train.inputs.shape[1:]),
        classes=len(lab.train.classes),
        scaler=Standardize.fit(lab.train.inputs),
    )
    # Processors train convolutions up to twice as fast so.
    return model.to(memory_format=torch.channels_last) if student.family != "mlp" else model


def trained(
    lab: Lab, student: Student, targets: Store | None = None, live: Teacher | None = None
) -> nn.Module:
    """The trained student, in eval mode on the device of the lab; trained once.

    Args:
        lab: Rows and folders.
        student: What it is.
        targets: What its teacher said.
        live: The teacher itself, for a student that hears it live.
    """
    train_one(lab, student, targets, live)
    model = fresh(lab, student)
    load_weights(model, lab.folder / "students" / student.key / WEIGHTS)
    return model.to(lab.device).eval()


def train_all(
    lab: Lab,
    students: Sequence[Student],
    targets: Store | None = None,
    live: Teacher | None = None,
) -> None:
    """Train these students, beside other processes that do the same."""
    share_out(students, lambda one, wait: train_one(lab, one, targets, live, wait=wait))


def train_one(
    lab: Lab,
    student: Student,
    targets: Store | None = None,
    live: Teacher | None = None,
    *,
    wait: bool = True,
) -> None:
    """Train it where that is left to do; what another process is at is waited for, or not."""
    if _done(lab, student):
        return
    with turn(lab.folder / "students" / student.key, wait=wait) as mine:
        if mine and not _done(lab, student):
            _train(lab, student, fresh(lab, student), targets, live)


def _done(lab: Lab, student: Student) -> bool:
    # Written last, so the weights are there and whole.
    return (lab.folder / "students" / student.key / NOTE).exists()


def _train(
    lab: Lab, student: Student, model: nn.Module, targets: Store | None, live: Teacher | None
) -> None:
    folder = lab.folder / "students" / student.key
    rows = student.data(lab)
    if student.arm in ("hard", "smoothed"):
        assert rows.labels is not None
        rows = rows.take(rows.labels != UNLABELLED)
    teacher: Teacher | None = live if student.live else None
    if student.teacher and not student.live:
        assert targets is not None
        teacher = StoredTeacher(targets)
    config = TrainConfig(
        steps=student.steps,
        learning_rate=student.learning_rate,
        weight_decay=student.weight_decay,
        log_every=100,
        seed=student.seed,
    )
    record = None
    batches = Batches(rows, student.batch_size, seed=student.seed)
    distiller = Distiller(model, student.objective(), teacher)
    for record in train(distiller, batches, config, accelerator=lab.accelerator):
        lab.clock(student.key, record.step, student.steps)
    assert record is not None
    save_weights(model, folder / WEIGHTS)
    told = asdict(student) | {"loss": record.loss, "training_seconds": record.seconds}
    told |= {"precision": lab.precision, "threads": torch.get_num_threads()}
    told |= {"device": lab.device.type}
    write_text("benchmarks/hinton", folder / NOTE, json.dumps(told, indent=1))


def told(lab: Lab, student: Student) -> dict[str, Any]:
    """What its run left behind."""
    path: Path = lab.folder / "students" / student.key / NOTE
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def errors(logits: Tensor, rows: ArrayData) -> int:
    """How many rows are answered wrongly."""
    assert rows.labels is not None
    return int((logits.argmax(dim=1) != rows.labels).sum())


def mean_nll(logits: Tensor, rows: ArrayData) -> float:
    """The mean negative log-likelihood, nats."""
    return float(row_nll(logits, rows).mean())


def row_nll(logits: Tensor, rows: ArrayData) -> Tensor:
    """The negative log-likelihood of each row, nats."""
    assert rows.labels is not None
    picked = logits.double().log_softmax(dim=1).gather(1, rows.labels[:, None])
    return -picked[:, 0]


def on_validation(lab: Lab, student: Student, targets: Store | None = None) -> tuple[int, float]:
    """Errors and NLL where choices are made."""
    logits = predict_logits(trained(lab, student, targets), lab.validation)
    return errors(logits, lab.validation), mean_nll(logits, lab.validation)
