"""One step of distillation: what the student says, what the teacher said, one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from attar.checks import AttarError
from attar.types import Batch, Teacher, ask

if TYPE_CHECKING:
    from attar.losses import Objective, Part


class Distiller:
    """A student, what it is to learn, and the teacher that it learns from.

    It is no ``nn.Module`` on purpose: a teacher must never become a child of something that
    trains, or an optimizer, a checkpoint or ``.train()`` would reach it.

    Args:
        student: A module from inputs to logits ``[N, C]``.
        objective: Weighs and reduces the losses.
        teacher: Anything callable from a :class:`~attar.types.Batch` to
            :class:`~attar.types.Outputs`; usually ``StoredTeacher(store)``. May be None where
            the objective has only hard terms.

    Example:
        >>> import torch
        >>> from attar.losses import Objective, hard
        >>> from attar.types import Batch
        >>> distiller = Distiller(torch.nn.Linear(2, 3), Objective([hard(1.0)]))
        >>> batch = Batch(torch.zeros(4, 2), torch.arange(4), torch.tensor([0, 1, 2, 0]))
        >>> loss, parts = distiller.step(batch)
        >>> list(parts), loss.shape
        (['hard'], torch.Size([]))
    """

    def __init__(
        self, student: nn.Module, objective: Objective, teacher: Teacher | None = None
    ) -> None:
        if objective.needs_teacher and teacher is None:
            raise AttarError(
                "Distiller: the objective has a term that needs a teacher, and none was given. "
                "Pass teacher=StoredTeacher(store) or any callable from Batch to Outputs."
            )
        self.student = student
        self.objective = objective
        self.teacher = teacher

    def step(
        self, batch: Batch, *, share: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, Mapping[str, Part]]:
        """The loss of a batch (a scalar that carries the gradient) and its named parts.

        Args:
            batch: On the student's device.
            share: Where several processes train, the mean of a normaliser over them.
        """
        answer = None
        if self.teacher is not None and self.objective.needs_teacher:
            answer = self.teacher(batch)
        return self.objective(ask(self.student, batch.inputs), answer, batch, share=share)
