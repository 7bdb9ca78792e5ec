"""The losses against targets that name only some classes; see :mod:`attar.targets`.

The teacher's side stays ``[N, k]``: nothing of the size of the logits is made for it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attar.checks import AttarError, check_logits, check_number
from attar.losses import blocks
from attar.targets import Known, SampledTargets, SparseTargets


def kl(student: Tensor, teacher: SparseTargets, temperature: float) -> Tensor:
    """See :func:`attar.losses.kl`."""
    known = _known("kl", student, teacher, temperature)

    def formula(student: Tensor) -> Tensor:
        logits = student.float() if student.itemsize < 4 else student
        kept, rest, total = _softened(logits, known, temperature)
        losses = known.negative_entropy + (known.probabilities * (total - kept)).sum(dim=1)
        if known.rest is not None and rest is not None:
            losses = losses + known.rest * (total - rest)[:, 0]
        return losses * temperature**2

    if not blocks.fits(student):
        return formula(student)
    block = blocks.sparse_kl_block(known, temperature)
    return blocks.per_row(student, block, formula, scratch=1)


def reverse_kl(student: Tensor, teacher: SparseTargets, temperature: float) -> Tensor:
    """See :func:`attar.losses.reverse_kl`."""
    if isinstance(teacher, SampledTargets):
        raise AttarError(
            "reverse_kl: it needs the teacher's probability of every class that the student "
            "gives any to, and sampled targets do not say it. Use kl, whose gradient they give "
            "without bias, or label with top_k=."
        )
    known = _known("reverse_kl", student, teacher, temperature)
    kept, rest, total = _softened(
        student.float() if student.itemsize < 4 else student, known, temperature
    )
    logs = kept - total
    losses = (logs.exp() * (logs - known.log_probabilities)).sum(dim=1)
    if known.rest is not None and rest is not None:
        logs = (rest - total)[:, 0]
        # Less than this, 1 minus the sum of the kept probabilities cannot tell from nothing.
        least = torch.finfo(known.rest.dtype).eps
        losses = losses + logs.exp() * (logs - known.rest.clamp(min=least).log())
    return losses * temperature**2


def refuse(owner: str, teacher: object, instead: str) -> None:
    """Raise where a loss is given sparse targets and has no meaning for them."""
    if isinstance(teacher, SparseTargets):
        raise AttarError(
            f"{owner}: it compares all classes, and the teacher's answer is "
            f"{type(teacher).__name__}, which names only some of its {teacher.classes}. {instead}"
        )


def _softened(
    logits: Tensor, known: Known, temperature: float
) -> tuple[Tensor, Tensor | None, Tensor]:
    """The student's logits / T ``[N, k]`` of the classes named, and log-sum-exps ``[N, 1]``.

    Of the other classes (None where nothing is said about them) and of all.
    """
    if temperature != 1.0:
        logits = logits / temperature
    kept = logits.gather(1, known.indices)
    if known.rest is None:
        return kept, None, logits.logsumexp(dim=1, keepdim=True)
    rest = logits.scatter(1, known.indices, -math.inf).logsumexp(dim=1, keepdim=True)
    return kept, rest, torch.logaddexp(kept.logsumexp(dim=1, keepdim=True), rest)


def _known(owner: str, student: Tensor, teacher: SparseTargets, temperature: float) -> Known:
    check_logits(owner, "student", student)
    check_number(owner, "temperature", temperature, low=0.0, low_open=True)
    if tuple(student.shape) != teacher.shape:
        raise AttarError(
            f"{owner}: the student's logits must have the shape that the teacher's targets stand "
            f"for, {teacher.shape}. Got {tuple(student.shape)}."
        )
    if student.device != teacher.device:
        raise AttarError(
            f"{owner}: student and teacher must be on one device. Got {student.device} and "
            f"{teacher.device}: teacher.to(...) moves sparse targets."
        )
    return teacher.at(temperature)
