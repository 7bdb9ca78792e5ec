"""The numbers of a training run, before (`TrainConfig`) and while it goes on (`Record`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from attar.checks import AttarError, check_number
from attar.engine.processes import Processes


class NonFiniteLossError(AttarError):
    """The loss became NaN or infinite; the last good checkpoint is kept."""


@dataclass(frozen=True)
class TrainConfig:
    """The numbers of one training run.

    Attributes:
        steps: Optimizer steps, 1 or more.
        learning_rate: The highest one, reached after the warm-up, above 0.
        weight_decay: AdamW's, 0 or more; not for biases and normalisation (1-d parameters).
        warmup: The share of the steps in which the learning rate rises, in [0, 1).
        max_gradient_norm: Gradients are scaled down to this norm; None leaves them.
        seed: Seeds torch's global generator at the start (dropout draws from it).
        log_every: Steps a record; the loop waits for the device once a record.
        evaluate_every: Validate at the first record after each so many steps; None validates at
            the end alone.
        patience: Stop after this many validations without a better one; None never stops.
        select: What "better" means: names of validation values, compared in order; one with a
            leading "-" is better when it is lower.
        keep_best: End with the weights of the best validation instead of the last ones.
        checkpoint_every: Write a checkpoint at the first record after each so many steps.
        any_threads: Allow a run to go on with another number of threads or another version of
            torch than it began with; it then ends with other bits.
    """

    steps: int
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    max_gradient_norm: float | None = 1.0
    seed: int = 0
    log_every: int = 50
    evaluate_every: int | None = None
    patience: int | None = None
    select: tuple[str, ...] = ("accuracy", "-nll")
    keep_best: bool = True
    checkpoint_every: int = 1000
    any_threads: bool = False

    def __post_init__(self) -> None:
        check_number("TrainConfig", "steps", self.steps, low=1, whole=True)
        check_number("TrainConfig", "learning_rate", self.learning_rate, low=0, low_open=True)
        check_number("TrainConfig", "weight_decay", self.weight_decay, low=0)
        check_number("TrainConfig", "warmup", self.warmup, low=0, high=1, high_open=True)
        check_number("TrainConfig", "log_every", self.log_every, low=1, whole=True)
        if self.max_gradient_norm is not None:
            norm = self.max_gradient_norm
            check_number("TrainConfig", "max_gradient_norm", norm, low=0, low_open=True)
        if self.patience is not None:
            check_number("TrainConfig", "patience", self.patience, low=1, whole=True)
        for name in ("evaluate_every", "checkpoint_every"):
            if getattr(self, name) is not None:
                check_number("TrainConfig", name, getattr(self, name), low=1, whole=True)

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, then a cosine down to 0; a pure function of the step."""
        warm = int(self.warmup * self.steps)
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        progress = (step - warm) / max(1, self.steps - warm)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Record:
    """What happened since the record before.

    Attributes:
        step: Steps done so far.
        loss: The mean of the objective over these steps.
        parts: The mean of each term over the rows that had it; None where none had.
        learning_rate: Of the last step.
        gradient_norm: Of the last step, before scaling; None where gradients are not scaled.
        seconds: Since the start of the run, time before a resume included.
        validation: The values of the validation, where one took place.
        best: Whether that validation is the best so far.
    """

    step: int
    loss: float
    parts: Mapping[str, float | None]
    learning_rate: float
    gradient_norm: float | None
    seconds: float
    validation: Mapping[str, float] | None = None
    best: bool = False


class Tally:
    """Sums of the objective's parts over some steps, added up without waiting for the device."""

    def __init__(self) -> None:
        self.sums: dict[str, list[Any]] = {}
        self.counts: dict[str, list[Any]] = {}

    def add(self, parts: Mapping[str, Any]) -> None:
        """The parts of one more step, each a sum and a count."""
        for name, (total, count) in parts.items():
            self.sums.setdefault(name, []).append(total)
            self.counts.setdefault(name, []).append(count)

    def means(self, processes: Processes) -> dict[str, float | None]:
        """The mean of each part over its rows in all processes; None where no row had it."""
        means: dict[str, float | None] = {}
        for name, sums in self.sums.items():
            total = torch.stack(sums).sum()
            counts = self.counts[name]
            known = not torch.is_tensor(counts[0])
            count = total.new_tensor(sum(counts)) if known else torch.stack(counts).sum()
            of_all, rows = processes.sum(torch.stack([total, count.type_as(total)])).tolist()
            means[name] = of_all / rows if rows else None
        return means
