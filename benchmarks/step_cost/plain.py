"""A step of distillation as one writes it by hand, on tensors that lie in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Rows:
    """What both loops learn from."""

    inputs: Tensor  # (N, 784) float32
    labels: Tensor  # (N,) int64
    teacher: Tensor  # (N, 10) logits


@dataclass(frozen=True)
class Settings:
    """The numbers that both loops share."""

    steps: int
    log_every: int
    batch_size: int = 256
    temperature: float = 4.0
    alpha: float = 0.9
    learning_rate: float = 1e-3
    warmup: float = 0.05
    max_gradient_norm: float = 1.0


def make_student(hidden: int) -> nn.Module:
    """784 - hidden - hidden - 10, from the same weights each time."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(784, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 10),
    )


def plain(
    student: nn.Module,
    rows: Rows,
    settings: Settings,
    *,
    fused: bool | None = None,
    same_work: bool = False,
) -> Iterator[float]:
    """Train; give the mean loss of each ``log_every`` steps.

    Args:
        student: Changes in place.
        rows: In memory.
        settings: The numbers.
        fused: ``AdamW``'s switch; None is what one gets who does not ask for it.
        same_work: Also clip the gradient, warm up and anneal the learning rate, and spare biases
            the weight decay, as Attar's loop does.
    """
    alpha, temperature = settings.alpha, settings.temperature
    if same_work:
        matrices = [p for p in student.parameters() if p.ndim > 1]
        vectors = [p for p in student.parameters() if p.ndim == 1]
        groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=fused)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warmup_then_cosine(settings))
    else:
        optimizer = torch.optim.AdamW(student.parameters(), lr=settings.learning_rate, fused=fused)
    student.train()
    step, running = 0, torch.zeros(())
    while True:
        order = torch.randperm(len(rows.inputs))
        for start in range(0, len(order) - settings.batch_size + 1, settings.batch_size):
            index = order[start : start + settings.batch_size]
            inputs, labels, teacher = rows.inputs[index], rows.labels[index], rows.teacher[index]
            logits = student(inputs)
            soft = F.kl_div(
                F.log_softmax(logits / temperature, dim=1),
                F.softmax(teacher / temperature, dim=1),
                reduction="batchmean",
            )
            hard = F.cross_entropy(logits, labels)
            loss = alpha * temperature**2 * soft + (1 - alpha) * hard
            optimizer.zero_grad()
            loss.backward()
            if same_work:
                nn.utils.clip_grad_norm_(student.parameters(), settings.max_gradient_norm)
            optimizer.step()
            if same_work:
                schedule.step()
            running += loss.detach()
            step += 1
            if step % settings.log_every == 0:
                yield running.item() / settings.log_every
                running.zero_()
            if step == settings.steps:
                return


def _warmup_then_cosine(settings: Settings) -> Callable[[int], float]:
    warm = int(settings.warmup * settings.steps)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, settings.steps - warm)))

    return factor
