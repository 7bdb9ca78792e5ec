"""Contrastive distillation: a row's two features are told from those of other rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attar.checks import AttarError, check_number

_EPSILON = 1e-7


class ContrastiveLoss(nn.Module):
    r"""CRD: the student's feature of a row is to be recognised among many by the teacher's.

    .. math:: - \log h(s, t) - \sum_{k} \log (1 - h(s, t_k)), \quad
        h = \frac{e^{s \cdot t / \tau}}{e^{s \cdot t / \tau} + Z K / M}

    and the same with the roles exchanged. Both features go through a linear embedding of length 1
    that is trained with the student (:class:`~attar.losses.WithFeatures`, ``losses=``). Features of
    the other rows come from two memories of all rows, which move along; K of M rows are drawn.

    Args:
        rows: M, how many rows there are: their numbers are 0 to M - 1.
        student_width: Numbers of a student's feature, flattened.
        teacher_width: Of a teacher's.
        width: Of the embedding.
        negatives: K, how many other rows a row is told from; the paper takes 16,384.
        temperature: tau, above 0.
        momentum: What a memory keeps at each visit, from 0 to below 1.

    Raises:
        AttarError: If a number is out of range; when called, if features or row numbers do not
            fit.

    The first batch sets the constants Z. Draws come from torch's global generator, which a run
    seeds and a checkpoint keeps. Memory: two tables of ``rows x width`` numbers.

    Example:
        >>> loss = ContrastiveLoss(100, 8, 16, width=4, negatives=20)
        >>> loss(torch.randn(5, 8), torch.randn(5, 16), rows=torch.arange(5)).shape
        torch.Size([5])

    References:
        Tian, Krishnan, Isola 2020, *Contrastive Representation Distillation* (ICLR),
        https://arxiv.org/abs/1910.10699
    """

    def __init__(
        self,
        rows: int,
        student_width: int,
        teacher_width: int,
        *,
        width: int = 128,
        negatives: int = 16_384,
        temperature: float = 0.07,
        momentum: float = 0.5,
    ) -> None:
        super().__init__()
        counts = {"rows": rows, "student_width": student_width, "teacher_width": teacher_width}
        for name, value in (counts | {"width": width, "negatives": negatives}).items():
            check_number("ContrastiveLoss", name, value, low=1, whole=True)
        check_number("ContrastiveLoss", "temperature", temperature, low=0, low_open=True)
        check_number("ContrastiveLoss", "momentum", momentum, low=0, high=1, high_open=True)
        self.rows, self.negatives = rows, negatives
        self.temperature, self.momentum = temperature, momentum
        self.of_student = nn.Linear(student_width, width)
        self.of_teacher = nn.Linear(teacher_width, width)
        bound = 1 / math.sqrt(width / 3)
        # The memories hold what the student said of each row, and the teacher.
        for name in ("student_memory", "teacher_memory"):
            self.register_buffer(name, torch.empty(rows, width).uniform_(-bound, bound))
        self.register_buffer("constants", torch.full((2,), -1.0))
        self.student_memory: Tensor
        self.teacher_memory: Tensor
        self.constants: Tensor

    def forward(
        self, student: Tensor, teacher: Tensor, rows: Tensor, others: Tensor | None = None
    ) -> Tensor:
        """The loss of each row, ``[N]``.

        Args:
            student: ``[N, ...]`` features.
            teacher: ``[N, ...]`` features.
            rows: ``[N]`` int64 row numbers.
            others: ``[N, K]`` row numbers to tell them from; drawn where nothing is given.
        """
        self._check(student, teacher, rows)
        kind = self.of_student.weight.dtype
        ours = F.normalize(self.of_student(student.flatten(1).to(kind)), dim=1)
        theirs = F.normalize(self.of_teacher(teacher.detach().flatten(1).to(kind)), dim=1)
        if others is None:
            others = torch.randint(self.rows, (len(rows), self.negatives), device=rows.device)
        places = torch.cat([rows[:, None], others], dim=1)
        scores = [
            torch.exp(torch.einsum("nkd,nd->nk", memory[places], feature) / self.temperature)
            for memory, feature in ((self.teacher_memory, ours), (self.student_memory, theirs))
        ]
        if self.constants[0] < 0:
            means = torch.stack([score.detach().mean() for score in scores])
            self.constants.copy_(means * self.rows)
        losses = [self._told_apart(s / z) for s, z in zip(scores, self.constants, strict=True)]
        self._remember(self.student_memory, rows, ours.detach())
        self._remember(self.teacher_memory, rows, theirs.detach())
        return losses[0] + losses[1]

    def _told_apart(self, scores: Tensor) -> Tensor:
        """Of scores ``[N, 1 + K]``, the row's own first."""
        noise = (scores.shape[1] - 1) / self.rows
        right = torch.log(scores[:, 0] / (scores[:, 0] + noise + _EPSILON))
        wrong = torch.log(noise / (scores[:, 1:] + noise + _EPSILON)).sum(dim=1)
        return -(right + wrong)

    @torch.no_grad()
    def _remember(self, memory: Tensor, rows: Tensor, features: Tensor) -> None:
        kept = self.momentum * memory[rows] + (1 - self.momentum) * features
        memory[rows] = F.normalize(kept, dim=1)

    def _check(self, student: Tensor, teacher: Tensor, rows: Tensor) -> None:
        for name, value, layer in (
            ("student", student, self.of_student),
            ("teacher", teacher, self.of_teacher),
        ):
            wide = value[0].numel() if len(value) else layer.in_features
            if value.ndim < 2 or len(value) != len(rows) or wide != layer.in_features:
                raise AttarError(
                    f"ContrastiveLoss: {name} must be features [{len(rows)}, ...] of "
                    f"{layer.in_features} numbers a row. Got shape {tuple(value.shape)}."
                )
        if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= self.rows):
            raise AttarError(
                f"ContrastiveLoss: row numbers must lie from 0 to {self.rows - 1}. Got "
                f"{int(rows.min())} to {int(rows.max())}. rows= counts those of the whole data set."
            )
