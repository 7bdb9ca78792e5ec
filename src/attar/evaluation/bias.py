"""The bias of classes that a student saw too seldom, set right without training it again.

A student learns how likely a class is from the rows that it is distilled on. Where the transfer
set holds no threes, or few, it learns from the soft targets of the other rows what a three looks
like, and from their number that there are hardly any: the logit of that class is too low on
every row, by about the same amount. A constant that is added to the logit undoes that.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attar.checks import AttarError
from attar.evaluation.bias_shift import bias_shift
from attar.evaluation.evaluate import predict_logits
from attar.types import Data


@dataclass(frozen=True)
class BiasCorrection:
    """What :func:`correct_bias` gives.

    Attributes:
        student: A copy of the student whose logits are higher by ``shift``, in eval mode. It is
            exported, saved and evaluated like any other.
        shift: ``[C]`` float64, what was added to each class's logit.
        shares_before: ``[C]``, the mean probability of each class on the rows, before.
        shares_after: The same with the shift.
    """

    student: nn.Module
    shift: Tensor
    shares_before: Tensor
    shares_after: Tensor


def correct_bias(
    student: nn.Module,
    data: Data,
    *,
    classes: Sequence[int | str] | None = None,
    priors: Mapping[int | str, float] | Sequence[float] | None = None,
    by: str = "nll",
    batch_size: int = 1024,
) -> BiasCorrection:
    """Correct a student's output bias for classes that its transfer set lacked or hardly held.

    Use it where the student was distilled on rows whose classes are not as frequent as where it
    will work: whole classes were missing, or the rows came from elsewhere. It changes no other
    weight, so it cannot help where the student does not tell a class from the others; and where
    the transfer set was like the rows to come, there is nothing to correct.

    Args:
        student: A module from inputs to logits; it is not changed.
        data: Rows like those that the student will meet and was not trained on. A few hundred
            will do.
        classes: Whose bias is corrected, by number or by name; all by default, those of
            ``priors`` where it is a mapping. Naming those that were missing or rare leaves the
            others alone.
        priors: How frequent each of these classes is where the student will work, as a mapping
            from class to share or as ``[C]`` shares of all classes: then no label is needed.
            Without it the labels of ``data`` are counted.
        by: ``"nll"``: the shift with the lowest negative log-likelihood. ``"errors"``: from
            there, the shift with the fewest errors; needs labels.
        batch_size: Rows a call.

    Returns:
        The corrected copy, the shift, and the mean probabilities before and after. The shift is
        part of the bias of the last layer where there is one, else a layer of its own.

    Raises:
        AttarError: If there are neither labels nor priors, one of the classes is on none of the
            labelled rows or has no share between 0 and 1, or a name is none of the classes.

    Example:
        >>> from attar.data import ArrayData
        >>> data = ArrayData(torch.tensor([[2.0, 1.0], [1.0, 0.0], [0.0, 1.0], [4.0, 0.0]]))
        >>> corrected = correct_bias(torch.nn.Identity(), data, priors={1: 0.5})
        >>> corrected.shift
        tensor([0.0000, 1.1108], dtype=torch.float64)
        >>> corrected.shares_after  # on average half of the probability is now class 1's
        tensor([0.5000, 0.5000], dtype=torch.float64)
        >>> corrected.student(torch.zeros(1, 2))
        tensor([[0.0000, 1.1108]])

    References:
        Hinton, Vinyals, Dean 2015, Distilling the Knowledge in a Neural Network, section 3 (the
        bias of the omitted class is raised). Saerens, Latinne, Decaestecker 2002, Adjusting the
        outputs of a classifier to new a priori probabilities.
    """
    logits = predict_logits(student, data, batch_size=batch_size)
    labels = data.labels
    names = data.classes or tuple(str(i) for i in range(logits.shape[1]))
    numbers = None if classes is None else [_number(one, names) for one in classes]
    shares: Mapping[int, float] | Sequence[float] | None
    if isinstance(priors, Mapping):
        shares = {_number(one, names): share for one, share in priors.items()}
    else:
        shares = priors
    shift = bias_shift(logits, labels, classes=numbers, priors=shares, by=by)
    before, after = (
        (logits.double() + b).softmax(dim=1).mean(dim=0) for b in (torch.zeros_like(shift), shift)
    )
    corrected = _shifted(student, shift, data, min(batch_size, len(data)))
    return BiasCorrection(corrected, shift, before, after)


class Shifted(nn.Module):
    """A student and what is added to its logits, for students whose last layer has no bias."""

    shift: Tensor

    def __init__(self, student: nn.Module, shift: Tensor) -> None:
        super().__init__()
        self.student = student
        self.register_buffer("shift", shift)

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """Logits ``[N, C]``."""
        answer = self.student(*inputs, **named)
        logits: Tensor = answer if isinstance(answer, Tensor) else answer.logits
        return logits + self.shift


def _number(one: int | str, names: Sequence[str]) -> int:
    """A class by its number or its name."""
    if isinstance(one, str):
        if one not in names:
            raise AttarError(
                f"correct_bias: {one!r} is none of the classes, which are {', '.join(names)}."
            )
        return names.index(one)
    return int(one)


def _shifted(student: nn.Module, shift: Tensor, data: Data, rows: int) -> nn.Module:
    """A copy with the shift in its last bias where that does what it should, else around it."""
    model = copy.deepcopy(student).eval()
    some = data.take(torch.arange(rows))
    place = next(iter([*model.parameters(), *model.buffers()]), torch.empty(0))
    added = shift.to(place.device, place.dtype if place.is_floating_point() else torch.float32)
    last = _last_bias(model, len(shift))
    if last is not None:
        with torch.no_grad():
            before, old = predict_logits(model, some), last.clone()
            last.add_(added)
            # Looked at, since the layer that comes last by name need not be the last to act.
            after = before + shift.to(before)
            if torch.allclose(predict_logits(model, some), after, rtol=1e-4, atol=1e-4):
                return model
            last.copy_(old)
    return Shifted(model, added).eval()


def _last_bias(model: nn.Module, classes: int) -> nn.Parameter | None:
    found = None
    for module in model.modules():
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter) and tuple(bias.shape) == (classes,):
            found = bias
    return found
