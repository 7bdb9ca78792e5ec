"""From a model and data to its scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from attar.checks import AttarError, check_finite, check_logits, check_number
from attar.data import as_data
from attar.evaluation.latency import first_rows
from attar.evaluation.latency import latency as measure
from attar.evaluation.scores import Scores, scores_from_logits
from attar.types import Batch, Data, Teacher, ask, dense_logits


def evaluate(
    model: nn.Module | Teacher,
    data: Any,
    *,
    classes: Sequence[str] | None = None,
    teacher_logits: Tensor | None = None,
    batch_size: int = 1024,
    device: torch.device | str | None = None,
    time_it: bool = False,
) -> Scores:
    """Ask a model for every row of ``data`` and score its answers.

    Args:
        model: As in :func:`predict_logits`.
        data: ``(X, y)`` or an object of ``attar.data``, with a label on at least one row; view 0
            of each row is asked for.
        classes: The names of the model's classes in its order, for a pair ``(X, y)`` in which
            one of them may be missing.
        teacher_logits: ``[N, C]``, the teacher's answer for the same rows, for the figures of
            fidelity.
        batch_size: Rows a call.
        device: Where to ask, as in :func:`predict_logits`.
        time_it: Whether to time the model too, at batch 1 and 64 (a second or so). Eager
            PyTorch with its copies, not the exported student.

    Returns:
        The scores, with parameters, MACs and bytes of an ``nn.Module``, or what a teacher says
        of its ``parameters`` and ``bytes``.

    Raises:
        AttarError: As :func:`predict_logits` and :func:`scores_from_logits`.

    Example:
        >>> evaluate(nn.Identity(), ([[1.0, 0.0], [1.0, 0.0]], [0, 1])).accuracy
        0.5
    """
    if isinstance(data, tuple | list):
        data = as_data(data, classes=classes)
    labels = data.labels
    if labels is None:
        raise AttarError(
            f"evaluate: data must have labels. Got {len(data)} rows without; pass a labelled "
            f"split, or use predict_logits for the answers alone."
        )
    logits = predict_logits(model, data, batch_size=batch_size, device=device)
    scores = scores_from_logits(logits, labels, data.classes, teacher_logits=teacher_logits)
    return _with_costs(scores, model, data, device=device, time_it=time_it)


def predict_logits(
    model: nn.Module | Teacher,
    data: Any,
    *,
    batch_size: int = 1024,
    device: torch.device | str | None = None,
    least: int = 2,
) -> Tensor:
    """The model's logits for view 0 of every row, in the order of ``data``.

    Args:
        model: An ``nn.Module``, called with ``batch.inputs`` (a mapping as keywords) in eval
            mode without gradients, every submodule's mode as it was afterwards; it returns a
            tensor, or something with ``.logits``. Or any :class:`~attar.types.Teacher`: what is
            no ``nn.Module`` is called with the batch.
        data: ``(X, y)``, ``(X, None)`` or an object of ``attar.data``; one row or more.
        batch_size: Rows a call, 1 or more.
        device: Where the batches go; None: to the module's own device, a teacher's stay where
            they are. The model itself is not moved.
        least: The fewest columns of an answer: 2 classes; 1 for values, or for a single label.

    Returns:
        ``[N, C]`` float32 on the CPU.

    Raises:
        AttarError: If the answer is no finite ``[B, C]``, or ``data`` is empty.

    >>> class Two:  # two rows in memory, as attar.data makes them
    ...     rows, labels, classes, view_count = torch.arange(2), torch.tensor([0, 0]), ("a", "b"), 1
    ...     def __len__(self): return 2
    ...     def batch(self, indices, views=0): return Batch(torch.eye(2)[indices], indices)
    >>> predict_logits(nn.Identity(), Two())
    tensor([[1., 0.],
            [0., 1.]])
    >>> evaluate(nn.Identity(), Two()).accuracy
    0.5
    """
    check_number("predict_logits", "batch_size", batch_size, low=1, whole=True)
    if isinstance(data, tuple | list):
        data = as_data(data)
    if not len(data):
        raise AttarError("predict_logits: data must have at least one row. Got none.")
    answers: list[Tensor] = []
    with _asking(model, device) as said:
        for start in range(0, len(data), batch_size):
            indices = torch.arange(start, min(start + batch_size, len(data)))
            logits = said(data.batch(indices))
            check_logits(
                "predict_logits", "the model's answer", logits, rows=len(indices), least=least
            )
            answers.append(logits.to("cpu", torch.float32))
    widths = {answer.shape[1] for answer in answers}
    if len(widths) > 1:
        raise AttarError(
            f"predict_logits: the model must give one number of classes for all rows. Got "
            f"{sorted(widths)}."
        )
    logits = torch.cat(answers)
    check_finite("predict_logits", "the model's answer", logits, ids=data.rows)
    return logits


def count_macs(model: nn.Module, example: Any) -> int:
    """Multiply-adds of one forward pass for one row.

    Counts what PyTorch's flop counter knows: matrix products, convolutions and attention.
    Biases, activations, normalisation, pooling and element-wise work are not in it; in small
    models they can take a good part of the time, so latency is the figure to trust.

    Args:
        model: Called as in :func:`predict_logits`.
        example: Inputs ``[N, ...]`` or a mapping of these; the first row is used.

    >>> count_macs(nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10)),
    ...            torch.zeros(1, 64))  # 64 * 16 + 16 * 10
    1184
    """
    from torch.utils.flop_counter import FlopCounterMode

    inputs = first_rows(example, (1,))[1]
    with _evaluating(model), FlopCounterMode(display=False) as counter:
        ask(model, inputs)
    return int(counter.get_total_flops()) // 2


@contextmanager
def _asking(
    model: nn.Module | Teacher, device: torch.device | str | None
) -> Iterator[Callable[[Batch], Tensor]]:
    """How to get logits for a batch out of a module or a teacher."""
    if not isinstance(model, nn.Module):
        teacher = model
        with torch.no_grad():
            yield lambda batch: dense_logits(
                "evaluate", teacher(batch if device is None else batch.to(device))
            )
        return
    module, place = model, device
    if place is None:
        first = next(iter([*module.parameters(), *module.buffers()]), None)
        place = torch.device("cpu") if first is None else first.device
    with _evaluating(module):
        yield lambda batch: dense_logits("evaluate", ask(module, batch.to(place).inputs))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards each submodule is in the mode that it was in."""
    # One by one: model.train(True) would also wake a batch norm that was frozen on purpose.
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def _with_costs(
    scores: Scores,
    model: nn.Module | Teacher,
    data: Data,
    *,
    device: torch.device | str | None,
    time_it: bool,
) -> Scores:
    """The same scores with parameters, MACs, bytes and, if asked for, latency."""
    first = torch.zeros(1, dtype=torch.int64)
    if isinstance(model, nn.Module):
        tensors = [*model.parameters(), *model.buffers()]
        place = device or (tensors[0].device if tensors else "cpu")
        scores = replace(
            scores,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            macs=count_macs(model, data.batch(first).to(place).inputs),
            bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        )
    else:
        scores = replace(
            scores,
            parameters=getattr(model, "parameters", None),
            bytes=getattr(model, "bytes", None),
        )
    if not time_it:
        return scores
    rows = torch.arange(64) % len(data)
    batches = {count: data.batch(rows[:count]) for count in (1, 64)}
    with _asking(model, device) as said:
        # To the host: on an accelerator the answer is only there when it has been copied.
        return replace(scores, latency=measure(lambda batch: said(batch).cpu(), batches))
