"""Loops that ask the teacher at every step: as one writes it, and as two libraries do.

torchdistill's and KD-Lib's are re-made from the lines that a step goes through, so that nothing of
the packages around them is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attar.data import Batches

#: Inputs to logits.
Teacher = Callable[[Tensor], Tensor]


#: A step to its learning rate.
Schedule = Callable[[int], float]


class Optimizer:
    """The same for every loop, and as in Attar's: AdamW with a schedule.

    Args:
        student: What is trained.
        schedule: The learning rate of each step.
    """

    def __init__(self, student: nn.Module, schedule: Schedule) -> None:
        self._inner = torch.optim.AdamW(student.parameters(), fused=True)
        self._schedule, self._step = schedule, 0

    def step(self, loss: Tensor) -> None:
        """One update."""
        for group in self._inner.param_groups:
            group["lr"] = self._schedule(self._step)
        self._inner.zero_grad()
        loss.backward()
        self._inner.step()
        self._step += 1


def plain(
    student: nn.Module,
    teacher: Teacher | None,
    batches: Batches,
    *,
    temperature: float,
    alpha: float,
    schedule: Schedule,
) -> Iterator[None]:
    """Hinton's loss, written by hand; a step at each ``next``. Without a teacher: labels alone."""
    optimizer = Optimizer(student, schedule)
    student.train()
    step = 0
    while True:
        batch = batches.at(step)
        assert batch.labels is not None
        answer = student(batch.inputs)
        loss = (1 - alpha) * F.cross_entropy(answer, batch.labels)
        if teacher is not None:
            with torch.no_grad():
                said = teacher(batch.inputs)
            soft = F.kl_div(
                F.log_softmax(answer / temperature, dim=1),
                F.softmax(said / temperature, dim=1),
                reduction="batchmean",
            )
            loss = loss + alpha * temperature**2 * soft
        optimizer.step(loss)
        step += 1
        yield


def torchdistill(
    student: nn.Module,
    teacher: nn.Module,
    batches: Batches,
    *,
    temperature: float,
    alpha: float,
    schedule: Schedule,
) -> Iterator[None]:
    """The loop of torchdistill 1.1.5: ``DistillationBox`` with its ``KDLoss``, a frozen teacher.

    The logits are taken from what forward hooks of both models keep, the loss is a module, and
    every batch has its loss looked at for the log.
    """
    optimizer = Optimizer(student, schedule)
    heard: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[..., None]:
        def keep(_: nn.Module, __: Any, output: Tensor) -> None:
            heard[name] = output

        return keep

    hooks = [student.register_forward_hook(hook("student"))]
    hooks.append(teacher.register_forward_hook(hook("teacher")))
    divergence = nn.KLDivLoss(reduction="batchmean")
    cross_entropy = nn.CrossEntropyLoss()
    teacher.eval()
    student.train()
    step = 0
    while True:
        batch = batches.at(step)
        with torch.no_grad():
            teacher(batch.inputs)
        student(batch.inputs)
        answer, said = heard["student"], heard["teacher"]
        soft = divergence(
            torch.log_softmax(answer / temperature, dim=1),
            torch.softmax(said / temperature, dim=1),
        )
        hard = cross_entropy(answer, batch.labels)
        loss = (1 - alpha) * hard + alpha * temperature**2 * soft
        optimizer.step(loss)
        loss.item()
        step += 1
        yield


def kd_lib(
    student: nn.Module,
    teacher: nn.Module,
    batches: Batches,
    *,
    temperature: float,
    alpha: float,
    schedule: Schedule,
) -> Iterator[None]:
    """The loop of KD-Lib 0.0.32: ``VanillaKD``.

    The teacher answers with its graph, and the backward pass goes through it too; the loss is the
    squared error of the softmaxes.
    """
    optimizer = Optimizer(student, schedule)
    squared = nn.MSELoss()
    teacher.eval()
    student.train()
    correct, total = 0, 0.0
    step = 0
    while True:
        batch = batches.at(step)
        assert batch.labels is not None
        answer, said = student(batch.inputs), teacher(batch.inputs)
        loss = (1 - alpha) * F.cross_entropy(answer, batch.labels)
        loss += (alpha * temperature * temperature) * squared(
            F.softmax(said / temperature, dim=1), F.softmax(answer / temperature, dim=1)
        )
        predicted = answer.argmax(dim=1, keepdim=True)
        correct += int(predicted.eq(batch.labels.view_as(predicted)).sum().item())
        optimizer.step(loss)
        total += loss.item()
        step += 1
        yield
