"""What may make distillation win, each a change of one recipe, and one student trained by it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from bed import Task
from lessons import Lesson, answers, with_labels, with_synthetic
from torch import Tensor, nn

from attar.data import ArrayData, Batches
from attar.engine import Distiller, TrainConfig, train
from attar.evaluation import accuracy, fit_temperature, nll, predict_logits
from attar.experiment.arms import entropy_smoothing
from attar.experiment.inputs import plan_student
from attar.losses import (
    Objective,
    corrected,
    dist,
    dkd,
    hard,
    jsd,
    kl,
    logit_mse,
    pseudo,
    skewed_kl,
    soft,
    standardized,
)
from attar.students import family_named, pick_weights
from attar.teachers import EnsembleTeacher, GivenTeacher, ModelTeacher
from attar.types import UNLABELLED, Batch, Outputs, Teacher

LOSSES: dict[str, Callable[..., Tensor]] = {
    "kl": kl,
    "jsd": jsd,
    "dkd": dkd,
    "standardized": standardized(kl),
    "skewed": skewed_kl,
    "dist": dist,
    "logits": logit_mse,
    "corrected": corrected(kl),
}


@dataclass(frozen=True)
class Recipe:
    """One way of training a student.

    Attributes:
        arm: ``"hard"``, ``"smoothed"``, ``"pseudo"`` or ``"distilled"``.
        temperature: T.
        alpha: The weight of the soft loss.
        loss: A name of :data:`LOSSES`.
        views: ``"none"``, ``"shift"``, ``"mixed"`` or (both) ``"mixup"``, of images.
        synthetic: Whether rows between the training rows are learnt from, of tables.
        patience: How many times the usual steps.
        falling: alpha falls over the run, from its value to 0, linearly.
        average: Whether the student is the moving average of its weights.
        calibrated: Whether the teacher's temperature is fitted on its answers first.
        argmax: The share of the soft loss that is given to the teacher's argmax.
        smoothing: Of the labels in the hard term beside the soft loss.
        confident: Each row's soft loss weighted by the probability of its label to the teacher.
        assistant: Whether a student four times as large learns first, and then teaches.
        averaged: Whether the teacher's answer about an image is the mean over all its views.
        picked: Whether the student's first weights are picked from a member of the teacher.
    """

    arm: str = "distilled"
    temperature: float = 4.0
    alpha: float = 0.9
    loss: str = "kl"
    views: str = "none"
    synthetic: bool = False
    patience: float = 1.0
    falling: bool = False
    average: bool = False
    calibrated: bool = False
    argmax: float = 0.0
    smoothing: float = 0.0
    confident: bool = False
    assistant: bool = False
    averaged: bool = False
    picked: bool = False

    @property
    def key(self) -> str:
        """What differs from the usual recipe."""
        usual = Recipe()
        words = [self.arm]
        for name, value in vars(self).items():
            if name != "arm" and value != getattr(usual, name):
                words.append(f"{name}-{value}")
        return "_".join(words)


class Scaled:
    """A teacher whose logits are divided by a temperature."""

    def __init__(self, teacher: Teacher, temperature: float) -> None:
        self.teacher, self.temperature = teacher, temperature

    def __call__(self, batch: Batch) -> Outputs:
        """What the teacher says, softer or sharper."""
        return Outputs(self.teacher(batch).logits / self.temperature)


class Falling(Objective):
    """The soft terms' weights fall to 0 over the run, the hard term's rises to 1."""

    def __init__(self, terms: Any, steps: int) -> None:
        super().__init__(terms)
        self.steps, self.done = steps, 0

    def __call__(self, student: Outputs, teacher: Any, batch: Batch, **given: Any) -> Any:
        """As :class:`Objective`, with the weights of this step."""
        left = 1 - self.done / self.steps
        self.done += 1
        soft_weight = sum(term.weight for term in self.terms if term.needs_teacher)
        terms = [
            replace(term, weight=term.weight * left)
            if term.needs_teacher
            else replace(term, weight=1 - soft_weight * left)
            for term in self.terms
        ]
        return Objective(terms)(student, teacher, batch, **given)


def confident(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loss whose rows count as much as the teacher believes in their label."""

    def weighted(
        student: Tensor, teacher: Tensor, *, labels: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor:
        losses = loss(student, teacher, temperature=temperature)
        if labels is None:
            return losses
        known = labels != UNLABELLED
        said = teacher.softmax(dim=1).gather(1, labels.clamp(min=0)[:, None])[:, 0]
        return losses * torch.where(known, said, 1.0)

    weighted.__name__ = f"confident_{getattr(loss, '__name__', 'loss')}"
    return weighted


def objective_of(recipe: Recipe, smoothing: float, steps: int) -> Objective:
    """What a student of this recipe minimises."""
    if recipe.arm == "pseudo":
        return Objective([pseudo(1.0)])
    if recipe.arm != "distilled":
        return Objective([hard(1.0, smoothing=smoothing if recipe.arm == "smoothed" else 0.0)])
    loss = LOSSES[recipe.loss]
    if recipe.confident:
        loss = confident(loss)
    settings = {} if recipe.loss in ("logits",) else {"temperature": recipe.temperature}
    terms = [soft(loss, recipe.alpha * (1 - recipe.argmax), **settings)]
    if recipe.argmax:
        terms.append(pseudo(recipe.alpha * recipe.argmax))
    if recipe.alpha < 1 or recipe.falling:
        terms.append(hard(1 - recipe.alpha, smoothing=recipe.smoothing))
    return Falling(terms, steps) if recipe.falling else Objective(terms)


def learn(lesson: Lesson, task: Task, recipe: Recipe, seed: int, folder: Path) -> dict[str, Any]:
    """Train one student, judge it on validation; what was done before is read."""
    path = folder / task.name / recipe.key / f"{seed}.json"
    if path.exists():
        return dict(json.loads(path.read_text("utf-8")))
    found, _ = _trained(lesson, task, recipe, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found), "utf-8")
    return found


def _trained(
    lesson: Lesson, task: Task, recipe: Recipe, seed: int, larger: int = 1
) -> tuple[dict[str, Any], nn.Module]:
    """A student, so many times larger than the task's, and what is to be said of it."""
    rows = with_labels(lesson.train, task.labels, seed)
    size = task.parameters or round((lesson.parameters or 0) / (task.shrink or 1))
    family = family_named(task.student)
    assert family is not None
    plan = plan_student(family, rows, parameters=larger * size)
    views = recipe.views if lesson.views and recipe.views != "none" else None
    teacher = lesson.told(views)
    if recipe.assistant:
        first = replace(recipe, assistant=False)
        teacher = ModelTeacher(_trained(lesson, task, first, seed, larger=4 * larger)[1])
    if recipe.averaged:
        teacher = _over_views(lesson)
    if recipe.calibrated:
        teacher = Scaled(teacher, _sharpness(lesson))
    taught: ArrayData = rows
    if recipe.synthetic and recipe.arm in ("distilled", "pseudo"):
        taught = with_synthetic(rows, lesson)
    if recipe.arm in ("hard", "smoothed") and task.labels is not None:
        assert rows.labels is not None
        taught = rows.take((rows.labels != UNLABELLED).nonzero()[:, 0])
    if views is not None:
        taught = taught.with_views(lesson.views[views])
    steps = round(task.steps * recipe.patience)
    torch.manual_seed(seed)
    model = plan.make()
    if recipe.picked:
        assert isinstance(lesson.teacher, EnsembleTeacher)
        pick_weights(model, lesson.teacher.members[0].module)
    config = TrainConfig(
        steps=steps,
        learning_rate=task.learning_rate,
        seed=seed,
        log_every=10 if recipe.average else 50,
        evaluate_every=max(1, steps // 10),
        keep_best=not recipe.average,
    )
    objective = objective_of(recipe, _strength(lesson, recipe), steps)
    averaged = copy.deepcopy(model) if recipe.average else None
    curve = []
    batches = Batches(taught, min(task.batch_size, len(taught)), seed=seed)
    for record in train(
        Distiller(model, objective, teacher),
        batches,
        config,
        validate=lambda student: _judge(student, lesson.validation),
    ):
        if averaged is not None:
            _move(averaged, model, keep=min(0.98, record.step / (record.step + 100)))
        if record.validation is not None:
            curve.append([record.step, record.validation["accuracy"]])
    final = model if averaged is None else averaged
    return {**_judge(final.eval(), lesson.validation), "curve": curve}, final


def _over_views(lesson: Lesson) -> Teacher:
    """The mean of the teacher's probabilities over the views of each row."""
    told, rows = lesson.told("shift"), lesson.train.with_views(lesson.views["shift"])
    views = [answers(told, rows, view).softmax(dim=1) for view in range(rows.view_count)]
    said = torch.stack(views).mean(dim=0)
    return GivenTeacher(said.numpy(), rows=rows.rows, outputs="probabilities")


def _judge(student: nn.Module, rows: ArrayData) -> dict[str, float]:
    logits = predict_logits(student, rows)
    assert rows.labels is not None
    return {"accuracy": accuracy(logits, rows.labels), "nll": nll(logits, rows.labels)}


def _move(average: nn.Module, model: nn.Module, keep: float) -> None:
    """One step of an exponential moving average; counts and statistics are taken as they are."""
    with torch.no_grad():
        there = model.state_dict()
        for name, value in average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(there[name], 1 - keep)
            else:
                value.copy_(there[name])


def _sharpness(lesson: Lesson) -> float:
    """The temperature that makes the teacher's answers on validation as sure as they are right."""
    assert lesson.validation.labels is not None
    return fit_temperature(answers(lesson.teacher, lesson.validation), lesson.validation.labels)


def _strength(lesson: Lesson, recipe: Recipe) -> float:
    """Smoothing of the entropy of the soft targets at T = 1, within what is usual."""
    if recipe.arm != "smoothed":
        return 0.0
    return min(0.3, max(0.05, entropy_smoothing(answers(lesson.teacher, lesson.validation))))
