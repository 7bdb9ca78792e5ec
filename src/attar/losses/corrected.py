"""Any loss, with the teacher's wrong answers put right first."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from attar.checks import AttarError, check_pair
from attar.types import UNLABELLED


def corrected(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Any loss on logits, with a teacher who names the label first where it knows it.

    Where the teacher's most likely class is not the label, its logits of the two classes change
    places: the label is then the most likely class, the teacher's choice has what the label had,
    and all others stay. A soft target that was given out of fold is wrong where the teacher, asked
    about a row that it did not learn, is; with ``alpha`` near 1 the student would learn these
    errors too.

    Where labels are noisy, an answer that differs from the label is often the better one: there it
    does harm. Whether it helps is for the experiment to say, against the loss as it is.

    Args:
        loss: ``(student, teacher, *, ...) -> [N]``, such as :func:`~attar.losses.kl`; not one
            with labels of its own.

    Returns:
        A function with the same parameters, and ``labels=``: ``[N]`` int64 classes, which
        :func:`~attar.losses.soft` hands over. Where one is :data:`~attar.UNLABELLED`, or None, the
        teacher's answer stays as it is.

    Raises:
        AttarError: When used, if the shapes, types or devices do not fit.

    Example:
        >>> from attar.losses import kl
        >>> student, teacher = torch.tensor([[1.0, 3.0, 0.0]]), torch.tensor([[3.0, 1.0, 0.0]])
        >>> corrected(kl)(student, teacher, labels=torch.tensor([1]))
        tensor([0.])
        >>> corrected(kl)(student, teacher, labels=torch.tensor([0])) == kl(student, teacher)
        tensor([True])

    References:
        Wen, Lai, Qian 2019, *Preparing Lessons: Improve Knowledge Distillation with Better
        Supervision*, https://arxiv.org/abs/1911.07471 (probability shift)
    """

    @functools.wraps(loss)
    def function(
        student: Tensor, teacher: Tensor, *, labels: Tensor | None = None, **settings: object
    ) -> Tensor:
        check_pair(function.__name__, student, teacher)
        return loss(student, shifted(teacher, labels), **settings)

    name = getattr(loss, "__name__", type(loss).__name__)
    function.__name__ = function.__qualname__ = f"corrected_{name}"
    # What the wrapped one takes decides what `soft` hands over; its parameters, and the labels.
    function.__signature__ = _with_labels(loss)  # type: ignore[attr-defined]
    return function


def shifted(teacher: Tensor, labels: Tensor | None) -> Tensor:
    """Logits ``[N, C]`` whose most likely class is the label, where there is one.

    Raises:
        AttarError: If there is not one label a row, or one is no class.

    Example:
        >>> shifted(torch.tensor([[3.0, 1.0, 0.0], [3.0, 1.0, 0.0]]), torch.tensor([2, -100]))
        tensor([[0., 1., 3.],
                [3., 1., 0.]])
    """
    if labels is None:
        return teacher
    if labels.shape != teacher.shape[:1]:
        raise AttarError(
            f"corrected: labels must have one class a row, shape [{len(teacher)}]. Got "
            f"{list(labels.shape)}."
        )
    chosen = teacher.argmax(dim=1)
    label = torch.where(labels == UNLABELLED, chosen, labels)
    places = torch.stack([chosen, label], dim=1)  # (N, 2)
    values = teacher.gather(1, places.flip(1))
    return teacher.scatter(1, places, values)


def _with_labels(loss: Callable[..., Tensor]) -> object:
    try:
        there = inspect.signature(loss)
    except ValueError:  # a built-in function without a signature
        there = inspect.signature(lambda student, teacher: None)
    if "labels" in there.parameters:
        raise AttarError(
            f"corrected: {getattr(loss, '__name__', loss)} looks at the labels itself, and would "
            "not be given them. Use it as it is."
        )
    labels = inspect.Parameter("labels", inspect.Parameter.KEYWORD_ONLY, default=None)
    rest = [p for p in there.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    return there.replace(parameters=[*rest, labels])
