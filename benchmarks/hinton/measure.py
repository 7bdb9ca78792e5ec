"""What the tables have in common: a teacher that answered, choices, seeds, the verdict."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lab import Lab
from students import (
    Student,
    errors,
    fresh,
    mean_nll,
    on_validation,
    row_nll,
    told,
    train_all,
    trained,
)
from teachers import CONVOLUTIONAL, PAPER, Recipe, ensemble
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
import record

from attar.evaluation import (
    compare,
    predict_logits,
)
from attar.store import Store
from attar.students import count_parameters
from attar.teachers import EnsembleTeacher
from attar.types import Teacher

#: ``conv1`` is the first network of the ensemble alone.
RECIPES = {
    "conv": CONVOLUTIONAL,
    "conv1": replace(CONVOLUTIONAL, members=1),
    "paper": PAPER,
}


@dataclass(frozen=True)
class Asked:
    """A teacher and what it said.

    Attributes:
        recipe: How it was made; None where it is made of students.
        teacher: The ensemble.
        train: Its answers to the 60,000 rows, in their views.
        test: Its answers to the test rows.
    """

    recipe: Recipe | None
    teacher: EnsembleTeacher
    train: Store
    test: Tensor


def ask(lab: Lab, name: str, *, views: int = 1) -> Asked:
    """Train a teacher where that is left to do, and let it answer."""
    recipe = RECIPES[name]
    if lab.quick:
        recipe = replace(recipe, width=8, members=min(2, recipe.members), epochs=2)
    teacher = ensemble(recipe, lab.train, lab.folder / "teachers", lab.clock, lab.accelerator)
    key = f"{recipe.key}-m{recipe.members}"
    test = lab.judged(teacher, key).logits(lab.test.rows)
    return Asked(recipe, teacher, lab.targets(teacher, key, views), test)


def choose(
    lab: Lab, trials: Sequence[Student], targets: Store | None
) -> tuple[Student, list[dict[str, Any]]]:
    """The trial with the fewest errors on validation, of equals the one with the lower NLL."""
    train_all(lab, trials, targets)
    return best_of(trials, [on_validation(lab, trial, targets) for trial in trials])


def best_of(
    trials: Sequence[Student], scores: Sequence[tuple[int, float]]
) -> tuple[Student, list[dict[str, Any]]]:
    """The trial with the best score, and a row for each."""
    best = min(range(len(trials)), key=lambda i: scores[i])
    rows = [
        {"trial": trial.arm, **setting_of(trial)}
        | {"validation_errors": score[0], "validation_nll": score[1], "chosen": i == best}
        for i, (trial, score) in enumerate(zip(trials, scores, strict=True))
    ]
    return trials[best], rows


def setting_of(student: Student) -> dict[str, Any]:
    """What differs between students, without what has its usual value."""
    usual = Student("", 0)
    return {k: v for k, v in asdict(student).items() if k != "arm" and v != getattr(usual, k)}


@dataclass(frozen=True)
class Arm:
    """The students of one arm, one a seed, opened on test.

    Attributes:
        setting: What they have in common.
        logits: ``[S, N, C]``.
        rows: A row a seed for results.json.
    """

    setting: Student
    logits: Tensor
    rows: list[dict[str, Any]]

    def figures(self, name: str) -> dict[str, float]:
        """Mean and spread of errors and NLL."""
        found = {}
        for score in ("errors", "nll"):
            found |= spread([row[score] for row in self.rows], f"{name}_{score}")
        return found


def opened(
    lab: Lab, student: Student, targets: Store | None, seeds: int, *, teacher: Teacher | None = None
) -> Arm:
    """Train a student under each seed, then ask all about the test rows.

    Args:
        lab: Rows and folders.
        student: What the seeds have in common.
        targets: What its teacher said.
        seeds: How many.
        teacher: The teacher itself, for a student that hears it live.
    """
    each = [student.changed(seed=seed) for seed in range(lab.seeds(seeds))]
    train_all(lab, each, targets, teacher)
    models = [trained(lab, one, targets, teacher) for one in each]
    logits = torch.stack([predict_logits(model, lab.test) for model in models])
    rows = [
        {"arm": one.arm, **setting_of(one)}
        | {"errors": errors(said, lab.test), "nll": mean_nll(said, lab.test)}
        | {"training_seconds": told(lab, one)["training_seconds"]}
        | {"precision": told(lab, one)["precision"], "device": told(lab, one)["device"]}
        for one, said in zip(each, logits, strict=True)
    ]
    return Arm(student, logits, rows)


def compared(lab: Lab, arms: Mapping[str, Arm], teacher: Tensor, gap: float) -> record.Part:
    """All runs of the arms, their means, and the verdict on them."""
    labels = lab.test.labels
    assert labels is not None
    comparison = compare(
        {name: (arm.logits.argmax(dim=-1) == labels).numpy() for name, arm in arms.items()},
        teacher=(teacher.argmax(dim=1) == labels).numpy(),
        nll={
            name: torch.stack([row_nll(one, lab.test) for one in arm.logits]).numpy()
            for name, arm in arms.items()
        },
        validation_gap=gap,
    )
    figures = {"beats": float(comparison.verdict == "BEATS"), "seeds": float(comparison.seeds)}
    rows: list[dict[str, Any]] = []
    for name, arm in arms.items():
        rows += arm.rows
        figures |= arm.figures(name)
    intervals = {
        "distilled_minus_hard_accuracy": comparison.against_hard,
        "distilled_minus_smoothed_accuracy": comparison.against_smoothed,
        "distilled_minus_hard_nll": comparison.nll_against_hard,
        "gap_recovered": comparison.gap_recovered,
    }
    for name, interval in intervals.items():
        if interval is not None:
            figures |= {
                name: interval.mean,
                f"{name}_low": interval.low,
                f"{name}_high": interval.high,
            }
    rows.append({"verdict": comparison.verdict, "reason": comparison.reason})
    return rows, figures


def validation_gap(lab: Lab, asked: Asked, hard: Student) -> float:
    """Teacher minus hard labels on validation: known before test is opened."""
    of_hard, _ = on_validation(lab, hard.changed(rows=held_out(hard.rows), seed=0))
    of_teacher = errors(asked.train.logits(lab.validation.rows), lab.validation)
    return (of_hard - of_teacher) / len(lab.validation)


def held_out(rows: str) -> str:
    """The rows on which choices are tried: those kept for choices are not among them."""
    return "train" if rows == "all" else rows


def size_of(lab: Lab, student: Student) -> dict[str, float]:
    """Its parameters."""
    return {"parameters": float(count_parameters(fresh(lab, student)))}


def spread(values: Sequence[float], name: str) -> dict[str, float]:
    """Mean and standard deviation over the seeds, as two figures."""
    numbers = np.array(values, dtype=float)
    deviation = float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0
    return {f"{name}_mean": float(numbers.mean()), f"{name}_sd": deviation}
