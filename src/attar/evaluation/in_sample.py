"""Are soft targets those of a teacher that knows the rows by heart?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attar.types import UNLABELLED

#: From how large a difference on it matters: 5 points of accuracy, or a third of the doubt.
ACCURACY_GAP = 0.05
DOUBT_RATIO = 2 / 3
#: From how many standard errors on a difference is no accident.
CERTAIN = 4.0
#: Without rows that the teacher has not seen: right on all but one in a thousand, and sure.
PERFECT = 0.999
SURE = 0.01  # of log C, the entropy of not knowing
#: Fewer rows tell nothing.
FEWEST = 30

_ADVICE = (
    "soft targets of such rows say little more than their labels. Label them out of fold: folds=5 "
    "for an estimator, folds=5 with fit= or train_ensemble for networks."
)


def in_sample(
    logits: Tensor,
    labels: Tensor,
    held_out: Tensor | None = None,
    held_out_labels: Tensor | None = None,
) -> str | None:
    """Say so where soft targets look as if the teacher had been fitted on the rows it labels.

    Rows that a teacher has learnt and rows that it has not are drawn alike, so it should be as
    often right, and as unsure, about either. Two signs are looked at: it is right on at least
    5 points more of the rows it labels than of others; or its doubt about them, the mean
    probability that it gives to all classes but the right one, is less than two thirds of that
    about others. (Where the labels of the others are not known, the mean entropy stands for
    the doubt.) Each counts only where it is at least 4 standard errors wide. Without rows that
    the teacher has not seen, the one sign is that it is right on more than 99.9 % of its own,
    with a mean entropy below 1 % of log C.

    Where teacher and rows are as they should be, it speaks in less than one of 1,000 cases (see
    ``benchmarks/in_sample``). Rows of another kind (a later month, another camera) can make it
    speak as well: then it is the rows that differ.

    Args:
        logits: ``[N, C]`` of the rows that are to be learnt from.
        labels: ``[N]`` int64; :data:`attar.UNLABELLED` where not known.
        held_out: ``[M, C]`` logits of rows that the teacher has not been fitted on; None if there
            are none.
        held_out_labels: ``[M]``; None where they are not known: then the entropies alone speak.

    Returns:
        What was seen and what to do, for a person; None where nothing looks wrong, or fewer than
        30 rows would have to tell.

    Example:
        >>> labels = torch.arange(100) % 2
        >>> sure = torch.nn.functional.one_hot(labels, 2) * 20.0
        >>> torn = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> in_sample(sure, labels, torn, labels)[:71]
        'the teacher is right on 100.0 % of the rows that it labels and on 53.0 '
        >>> in_sample(torn, labels, torn, labels) is None
        True
    """
    known = labels != UNLABELLED
    logits, labels = logits[known].double(), labels[known]
    if len(labels) < FEWEST:
        return None
    if held_out is None or len(held_out) < FEWEST:
        return _alone(logits, labels)
    if held_out_labels is None:
        unsure, unsure_there = _entropy(logits), _entropy(held_out.double())
        if not apart(DOUBT_RATIO * unsure_there, unsure):
            return None
        seen = (
            f"mean entropy is {float(unsure.mean()):.4f} nats on the rows that it labels and "
            f"{float(unsure_there.mean()):.4f} on others"
        )
        return f"the teacher's {seen}: it has fitted the rows that it labels, and {_ADVICE}"
    there = held_out_labels != UNLABELLED
    right, doubt = _against(logits, labels)
    right_there, doubt_there = _against(held_out[there].double(), held_out_labels[there])
    differ = apart(right, right_there, by=ACCURACY_GAP) or apart(DOUBT_RATIO * doubt_there, doubt)
    if len(right_there) < FEWEST or not differ:
        return None
    return (
        f"the teacher is right on {percent(right)} of the rows that it labels and on "
        f"{percent(right_there)} of others, and gives {percent(doubt)} and "
        f"{percent(doubt_there)} to the wrong classes: it has fitted the rows that it labels, "
        f"and {_ADVICE}"
    )


def _alone(logits: Tensor, labels: Tensor) -> str | None:
    """What can be said without a row that the teacher has not seen."""
    right, unsure = _against(logits, labels)[0], float(_entropy(logits).mean())
    if float(right.mean()) <= PERFECT or unsure >= SURE * math.log(logits.shape[1]):
        return None
    return (
        f"the teacher is right on {percent(right)} of the rows that it labels, with a mean "
        f"entropy of {unsure:.4f} nats. If it was fitted on them, {_ADVICE}"
    )


def _against(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """``[N]`` whether it is right, and the probability that it gives to the wrong classes."""
    right = (logits.argmax(dim=1) == labels).double()
    own = logits.softmax(dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
    return right, 1 - own


def _entropy(logits: Tensor) -> Tensor:
    """``[N]``, in nats."""
    logs = logits.log_softmax(dim=1)
    return -torch.where(logs.isinf(), 0.0, logs.exp() * logs).sum(dim=1)


def apart(high: Tensor, low: Tensor, *, by: float = 0.0) -> bool:
    """Whether the mean of ``high`` is above that of ``low`` by more than ``by`` and by chance."""
    difference = float(high.mean() - low.mean())
    # Laplace's rule: a sample of equal values (all right) is not without variance.
    error = sum(
        (float(values.var(correction=0)) + 1 / len(values) * float(values.mean()) ** 2)
        / len(values)
        for values in (high, low)
    )
    return difference > by and difference > CERTAIN * math.sqrt(error)


def percent(right: Tensor) -> str:
    """The mean of values from 0 to 1, as a person reads it."""
    return f"{100 * float(right.mean()):.1f} %"
