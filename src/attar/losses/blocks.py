"""Losses of many classes, a block of rows at a time, their gradient made on the way forward.

Where the logits are large, a loss written as a formula spends its time on memory: each of its
five to seven tensors ``[N, C]`` is fresh pages from the operating system, written once and read
once from far away. Here a block of rows goes through the whole computation while it is in the
processor's cache, and the one tensor of that size that is made is the gradient itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from attar.targets import Known

#: Numbers in a block, for each thread: three blocks of float32 then fit a core's own cache.
_BLOCK = 2**16

#: Logits below which the formula is faster: a block's fixed cost is some 30 microseconds.
_WORTH_IT = 2**15

#: Where the blocks are used: types that lose nothing when their gradient is made before it is
#: known what it will be multiplied by (a float16 would underflow).
_TYPES = (torch.float32, torch.float64, torch.bfloat16)


def fits(student: Tensor) -> bool:
    """Whether the blocks can be used for these logits ``[N, C]``, and are worth it.

    Not where somebody else will transform the code (``torch.compile`` fuses the formula itself;
    ``torch.func`` needs one that it can look into).
    """
    return (
        student.numel() >= _WORTH_IT
        and student.is_cpu
        and student.dtype in _TYPES
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )


def per_row(
    student: Tensor,
    block: Callable[[Tensor, Tensor | None, slice, list[Tensor]], Tensor],
    formula: Callable[[Tensor], Tensor],
    *,
    scratch: int,
) -> Tensor:
    """A loss ``[N]`` of logits ``[N, C]``, computed block by block.

    Args:
        student: The logits; a gradient is made only if they want one.
        block: Called with the logits of some rows ``[R, C]``, where to put their gradient (None
            if nobody asks for it), which rows they are, and room: ``scratch`` tensors
            ``[R, C]``. Returns the losses ``[R]``.
        formula: The same loss ``[N]`` as a differentiable formula: for a second derivative, and
            for a second backward pass through the same graph.
        scratch: How many tensors of a block's size the computation needs beside the gradient.
    """
    if student.requires_grad and torch.is_grad_enabled():
        losses: Tensor = _PerRow.apply(student, block, formula, scratch)  # type: ignore[no-untyped-call]
        return losses
    return _run(student, None, block, scratch)


def _run(student: Tensor, gradient: Tensor | None, block: Any, scratch: int) -> Tensor:
    rows, classes = student.shape
    dtype = torch.promote_types(student.dtype, torch.float32)
    step = max(1, min(rows, _BLOCK * torch.get_num_threads() // classes))
    room = [student.new_empty((step, classes), dtype=dtype) for _ in range(scratch)]
    losses = student.new_empty(rows, dtype=dtype)
    for start in range(0, rows, step):
        some = slice(start, min(start + step, rows))
        count = some.stop - start
        here = [tensor[:count] for tensor in room]
        losses[some] = block(
            student[some], None if gradient is None else gradient[some], some, here
        )
    return losses


class _PerRow(torch.autograd.Function):
    """See :func:`per_row`."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, block: Any, formula: Any, scratch: int) -> Tensor:
        gradient = torch.empty(student.shape, dtype=student.dtype, device=student.device)
        losses = _run(student.detach(), gradient, block, scratch)
        ctx.save_for_backward(student)
        ctx.gradient, ctx.formula = gradient, formula
        return losses

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, None, None, None]:
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is not None and not torch.is_grad_enabled():
            return gradient.mul_(slope[:, None]), None, None, None
        # A second time, or with a graph of its own (create_graph=True): by the formula.
        (student,) = ctx.saved_tensors
        graph = torch.is_grad_enabled()
        with torch.enable_grad():
            student = student if graph else student.detach().requires_grad_()
            losses = ctx.formula(student)
            (gradient,) = torch.autograd.grad(losses, student, slope, create_graph=graph)
        return gradient, None, None, None


def _shifted(logits: Tensor, temperature: float, out: Tensor) -> Tensor:
    """``logits / T`` less the row's largest, written to ``out``; the exponentials are next."""
    if logits.dtype == out.dtype:
        torch.sub(logits, logits.amax(dim=1, keepdim=True), out=out)
    else:
        out.copy_(logits).sub_(logits.amax(dim=1, keepdim=True))
    return out if temperature == 1.0 else out.mul_(1.0 / temperature)


def kl_block(
    teacher: Tensor, temperature: float
) -> Callable[[Tensor, Tensor | None, slice, list[Tensor]], Tensor]:
    """The block of :func:`~attar.losses.kl` between dense logits. Needs a scratch of 3."""

    def block(student: Tensor, gradient: Tensor | None, rows: slice, room: list[Tensor]) -> Tensor:
        q, p, gap = room
        if gradient is not None and gradient.dtype == q.dtype:
            q = gradient  # made where it is to be
        _shifted(student, temperature, q)
        _shifted(teacher[rows], temperature, p)
        torch.sub(p, q, out=gap)
        p_sum = p.exp_().sum(dim=1)
        q_sum = q.exp_().sum(dim=1)
        losses = gap.mul_(p).sum(dim=1).div_(p_sum).sub_(p_sum.log()).add_(q_sum.log())
        if gradient is not None:
            q.mul_((temperature / q_sum)[:, None])
            q.addcmul_(p, (-temperature / p_sum)[:, None])
            if q is not gradient:
                gradient.copy_(q)
        return losses.mul_(temperature**2)

    return block


def sparse_kl_block(
    known: Known, temperature: float
) -> Callable[[Tensor, Tensor | None, slice, list[Tensor]], Tensor]:
    """The block of :func:`~attar.losses.kl` from sparse targets. Needs a scratch of 1.

    The classes without a target go through one exponential; the others are put aside before it
    and put back after it, so that the probability of the rest is a sum of its own terms. (1 less
    the rest would have lost its digits where a student is nearly certain.)
    """

    def block(student: Tensor, gradient: Tensor | None, rows: slice, room: list[Tensor]) -> Tensor:
        (q,) = room
        if gradient is not None and gradient.dtype == q.dtype:
            q = gradient
        indices, p = known.indices[rows], known.probabilities[rows].type_as(q)
        q.copy_(student)
        if temperature != 1.0:
            q.mul_(1.0 / temperature)
        kept = q.gather(1, indices)
        losses = known.negative_entropy[rows].type_as(q)
        if known.rest is None:
            top = q.amax(dim=1, keepdim=True)
            total = q.sub_(top).exp_().sum(dim=1, keepdim=True)
            logs = top + total.log()
            losses = losses + (p * (logs - kept)).sum(dim=1)
            if gradient is not None:
                q.mul_(temperature / total).scatter_add_(1, indices, p * -temperature)
        else:
            rest = known.rest[rows, None].type_as(q)
            q.scatter_(1, indices, -math.inf)
            top = q.amax(dim=1, keepdim=True)
            total = q.sub_(top).exp_().sum(dim=1, keepdim=True)
            rest_logs = top + total.log()
            logs = torch.logaddexp(kept.logsumexp(dim=1, keepdim=True), rest_logs)
            losses = losses + (p * (logs - kept)).sum(dim=1) + (rest * (logs - rest_logs))[:, 0]
            if gradient is not None:
                q.mul_(((rest_logs - logs).exp() - rest) * temperature / total)
                q.scatter_(1, indices, ((kept - logs).exp() - p) * temperature)
        if gradient is not None and q is not gradient:
            gradient.copy_(q)
        return losses * temperature**2

    return block
