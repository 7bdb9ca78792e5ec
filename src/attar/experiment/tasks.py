"""The tasks beside classes: what their students minimise, and how these are judged."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attar.checks import AttarError
from attar.evaluation import (
    Comparison,
    LabelScores,
    QuantileScores,
    ValueComparison,
    ValueScores,
    compare,
    compare_values,
    label_scores,
    predict_logits,
    quantile_scores,
    value_scores,
)
from attar.evaluation.quantiles import pinball_rows
from attar.evaluation.values import label_nll, share_right, squared_errors
from attar.experiment.arms import Setting, SoftLoss, Trainer
from attar.experiment.growing import grow_values
from attar.losses import (
    Objective,
    Term,
    binary_cross_entropy,
    pinball,
    sigmoid_kl,
    soft,
    squared_error,
    supervised,
)
from attar.students import TreeEnsemble
from attar.types import Data

#: The soft loss of each task, where none is named.
LOSSES: dict[str, SoftLoss] = {"regression": squared_error, "multilabel": sigmoid_kl}


def levels_of(loss: Any) -> tuple[float, ...] | None:
    """The levels of a quantile loss, ``functools.partial(pinball, levels=...)``; else None.

    >>> levels_of(functools.partial(pinball, levels=[0.1, 0.9])), levels_of(squared_error)
    ((0.1, 0.9), None)
    """
    if isinstance(loss, functools.partial) and loss.func is pinball:
        return tuple(float(level) for level in loss.keywords.get("levels", ()))
    return None


def terms_of(
    task: str,
    loss: SoftLoss,
    *,
    alpha: float | None = None,
    temperature: float | None = None,
    smoothing: float | None = None,
) -> list[Term]:
    """What a student of a task minimises; without ``alpha`` the labels alone.

    Example:
        >>> [(term.name, term.weight) for term in terms_of("regression", squared_error, alpha=0.5)]
        [('squared_error', 0.5), ('squared_error', 0.5)]
    """
    hard: Any = squared_error if levels_of(loss) is None else loss
    if task == "multilabel":
        hard = functools.partial(binary_cross_entropy, smoothing=smoothing or 0.0)
    if alpha is None:
        return [supervised(hard, 1.0)]
    terms = [soft(loss, alpha, temperature=temperature or 1.0)]
    return [*terms, supervised(hard, 1 - alpha)] if alpha < 1 else terms


@dataclass(frozen=True)
class Scale:
    """How labels become numbers of mean 0 and deviation 1, and back.

    A squared error has the unit of its values, squared, and so have its gradients: students
    learn, and are compared, on scaled values.

    Attributes:
        middle: ``[D]``.
        spread: ``[D]``, above 0.
    """

    middle: Tensor
    spread: Tensor

    @classmethod
    def of(cls, labels: Tensor) -> Scale:
        """That of labels ``[N, D]``, over what is known.

        >>> Scale.of(torch.tensor([[1.0], [3.0], [torch.nan]])).middle
        tensor([2.], dtype=torch.float64)
        """
        values = labels.double()
        middle = values.nanmean(dim=0)
        spread = (values - middle).square().nanmean(dim=0).sqrt()
        return cls(middle, torch.where(spread > 0, spread, 1.0))

    def apply(self, values: Tensor) -> Tensor:
        """Scaled, float32."""
        return ((values.double() - self.middle) / self.spread).float()

    def back(self, values: Tensor) -> Tensor:
        """In the unit of the labels, float64."""
        return values.double() * self.spread + self.middle


@dataclass
class TaskTrainer(Trainer):
    """The trainer of students of a regression (on scaled labels), or of several labels a row."""

    task: str = "regression"

    def objective(self, setting: Setting) -> Objective:
        """What a student of this arm minimises."""
        return Objective(
            terms_of(
                self.task,
                self.loss,
                alpha=setting.alpha,
                temperature=setting.temperature,
                smoothing=setting.smoothing,
            )
        )

    def build(self, trees: TreeEnsemble, data: Data, setting: Setting, seed: int) -> None:
        """Build the trees of an arm of a regression."""
        teacher = self.teacher if setting.arm == "distilled" else None
        grow_values(trees, data, teacher, alpha=setting.alpha or 0.0, seed=seed)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """The scaled error, or the accuracy and NLL of the labels, on validation."""
        data = self.splits.validation
        answers = predict_logits(model, data, least=1)
        return judged(self.task, answers, known_labels(data), levels_of(self.loss))


def judged(
    task: str, answers: Tensor, labels: Tensor, levels: tuple[float, ...] | None
) -> dict[str, float]:
    """What choices are made by."""
    if levels is not None:
        return {"pinball": float(pinball_rows(answers, labels, levels).mean())}
    if task == "regression":
        return {"mse": float(squared_errors(answers, labels).mean())}
    return {
        "accuracy": float(share_right(answers, labels).mean()),
        "nll": float(label_nll(answers, labels).mean()),
    }


def scores_of(
    answers: Tensor,
    labels: Tensor,
    scale: Scale | None,
    levels: tuple[float, ...] | None,
    *,
    teacher: Tensor | None,
) -> ValueScores | LabelScores | QuantileScores:
    """What answers ``[N, D]`` are worth, values in the unit of the labels."""
    if scale is None:
        return label_scores(answers, labels, teacher=teacher)
    if levels is not None:
        return quantile_scores(scale.back(answers), scale.back(labels), levels)
    told = None if teacher is None else scale.back(teacher)
    return value_scores(scale.back(answers), scale.back(labels), teacher=told)


def comparison_of(
    task: str,
    arms: dict[str, Tensor],
    teacher: Tensor,
    labels: Tensor,
    levels: tuple[float, ...] | None,
    *,
    validation_gap: float,
    compression: float | None,
) -> Comparison | ValueComparison:
    """The verdict on the answers ``[S, N, D]`` of each arm on test."""
    if levels is not None:
        return compare_values(
            {name: pinball_rows(said, labels, levels).numpy() for name, said in arms.items()},
            teacher=pinball_rows(teacher, labels, levels).numpy(),
            compression=compression,
            validation_gap=validation_gap,
            what="pinball loss",
        )
    if task == "regression":
        return compare_values(
            {name: squared_errors(answers, labels).numpy() for name, answers in arms.items()},
            teacher=squared_errors(teacher, labels).numpy(),
            compression=compression,
            validation_gap=validation_gap,
        )
    return compare(
        {name: share_right(answers, labels).numpy() for name, answers in arms.items()},
        teacher=share_right(teacher, labels).numpy(),
        nll={name: label_nll(answers, labels).numpy() for name, answers in arms.items()},
        compression=compression,
        validation_gap=validation_gap,
        shares=True,
    )


def known_labels(data: Data) -> Tensor:
    """The labels of a split that has them."""
    if data.labels is None:
        raise AttarError("distill: a split that is judged on has no labels.")
    return data.labels
