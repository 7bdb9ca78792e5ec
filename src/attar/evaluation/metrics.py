"""Metrics as pure functions: logits in, one number out.

All of them count in float64, whatever comes in, and leave out rows labelled
:data:`~attar.types.UNLABELLED`. They read the values, so they wait for the device: for the end
of an epoch, not for a training step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attar.checks import AttarError, check_finite, check_labels, check_logits, check_number
from attar.checks import check_pair as _check_shapes
from attar.types import UNLABELLED


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of the labelled rows whose largest logit is that of the label.

    Args:
        logits: ``[N, C]`` floating, finite.
        labels: ``[N]`` int64 in ``[0, C)``, or ``UNLABELLED``.

    Returns:
        A fraction in [0, 1].

    Raises:
        AttarError: If shapes, types or values are wrong, or no row is labelled.

    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]]), torch.tensor([0, 1, 1]))
    0.6666666666666666
    """
    logits, labels = _labelled("accuracy", logits, labels)
    return float((logits.argmax(dim=1) == labels).double().mean())


def nll(logits: Tensor, labels: Tensor) -> float:
    r"""Negative log-likelihood of the labels, in nats, the mean over the labelled rows.

    .. math:: -\frac{1}{N} \sum_i \log \mathrm{softmax}(z_i)_{y_i}

    One row that is wrong and sure of itself can outweigh thousands that are right: unlike
    accuracy, it punishes false certainty.

    Args:
        logits: ``[N, C]`` floating, finite.
        labels: ``[N]`` int64 in ``[0, C)``, or ``UNLABELLED``.

    Returns:
        Nats, 0 or more; log C for a model that knows nothing.

    Raises:
        AttarError: If shapes, types or values are wrong, or no row is labelled.

    >>> round(nll(torch.zeros(3, 4), torch.tensor([0, 1, -100])), 6)  # log 4
    1.386294
    """
    logits, labels = _labelled("nll", logits, labels)
    log_probabilities = logits.log_softmax(dim=1)
    return float(-log_probabilities.gather(1, labels[:, None]).mean())


def brier(logits: Tensor, labels: Tensor) -> float:
    r"""Brier score: squared error of the probabilities, summed over classes.

    .. math:: \frac{1}{N} \sum_i \sum_c (p_{ic} - [c = y_i])^2

    Like :func:`nll` a proper score, but bounded: no single row decides it.

    Args:
        logits: ``[N, C]`` floating, finite.
        labels: ``[N]`` int64 in ``[0, C)``, or ``UNLABELLED``.

    Returns:
        A number in [0, 2]; ``(C - 1) / C`` for a model that knows nothing. (Brier's own form
        for two classes; some libraries halve it or divide it by C.)

    Raises:
        AttarError: If shapes, types or values are wrong, or no row is labelled.

    Paper: Brier 1950, "Verification of forecasts expressed in terms of probability".

    >>> brier(torch.zeros(2, 4), torch.tensor([0, 3]))
    0.75
    """
    logits, labels = _labelled("brier", logits, labels)
    error = logits.softmax(dim=1)
    error[torch.arange(len(labels), device=labels.device), labels] -= 1.0
    return float(error.square().sum(dim=1).mean())


def ece(logits: Tensor, labels: Tensor, *, bins: int = 15) -> float:
    r"""Expected calibration error of the top label, over bins of equal width.

    .. math:: \sum_b \frac{n_b}{N} |\mathrm{accuracy}_b - \mathrm{confidence}_b|

    Rows fall into ``(0, 1/bins], (1/bins, 2/bins], ...`` by the probability of their largest
    logit. It is no proper score (a model that always predicts the base rates has 0), it is
    biased upwards on few rows, and it depends on ``bins``: compare only equal settings.

    Args:
        logits: ``[N, C]`` floating, finite.
        labels: ``[N]`` int64 in ``[0, C)``, or ``UNLABELLED``.
        bins: Number of bins, 1 or more. With 1 it is ``|accuracy - mean confidence|``.

    Returns:
        A fraction in [0, 1].

    Raises:
        AttarError: If shapes, types or values are wrong, or no row is labelled.

    Paper: Guo et al. 2017, "On Calibration of Modern Neural Networks".

    >>> ece(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1]))  # says 0.5, is right at 0.75
    0.25
    """
    check_number("ece", "bins", bins, low=1, whole=True)
    logits, labels = _labelled("ece", logits, labels)
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=logits.device)[1:-1]
    which = torch.bucketize(confidence, edges)  # right-closed: an edge belongs to the bin below
    gap = (predicted == labels).double() - confidence
    # n_b / N * |mean gap in b| is |sum of gaps in b| / N: an empty bin adds nothing.
    sums = torch.zeros(bins, dtype=torch.float64, device=logits.device).index_add(0, which, gap)
    return float(sums.abs().sum() / len(labels))


def agreement(student: Tensor, teacher: Tensor) -> float:
    """Share of rows on which student and teacher predict the same class (fidelity).

    Args:
        student: ``[N, C]`` logits.
        teacher: ``[N, C]`` logits.

    Returns:
        A fraction in [0, 1].

    Raises:
        AttarError: If shapes differ, values are not finite, or there is no row.

    Paper: Stanton et al. 2021, "Does Knowledge Distillation Really Work?"

    >>> agreement(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([[9.0, 1.0], [4.0, 3.0]]))
    0.5
    """
    _check_pair("agreement", student, teacher)
    return float((student.argmax(dim=1) == teacher.argmax(dim=1)).double().mean())


def kl_to_teacher(student: Tensor, teacher: Tensor) -> float:
    r"""How far the student's probabilities are from the teacher's, at T = 1.

    .. math:: \frac{1}{N} \sum_i \sum_c p^t_{ic} (\log p^t_{ic} - \log p^s_{ic})

    The mean over rows of :func:`attar.losses.kl` at T = 1, in float64.

    Args:
        student: ``[N, C]`` logits.
        teacher: ``[N, C]`` logits.

    Returns:
        Nats, 0 or more; 0 where the probabilities are the same.

    Raises:
        AttarError: If shapes differ, values are not finite, or there is no row.

    >>> teacher = torch.tensor([[0.75, 0.25]]).log()
    >>> round(kl_to_teacher(torch.zeros(1, 2), teacher), 6)  # log 2 - entropy(0.75, 0.25)
    0.130812
    """
    _check_pair("kl_to_teacher", student, teacher)
    target = teacher.double().log_softmax(dim=1)
    rows = (target.exp() * (target - student.double().log_softmax(dim=1))).sum(dim=1)
    return float(rows.clamp(min=0.0).mean())  # rounding alone can put a row below 0


def _labelled(owner: str, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The checked labelled rows, logits in float64."""
    check_logits(owner, "logits", logits)
    check_labels(owner, labels, classes=logits.shape[1])
    if len(labels) != len(logits):
        raise AttarError(
            f"{owner}: labels must have {len(logits)} rows, one a row of logits. Got {len(labels)}."
        )
    check_finite(owner, "logits", logits)
    labels = labels.to(logits.device)
    known = labels != UNLABELLED
    if not bool(known.any()):
        raise AttarError(
            f"{owner}: no row is labelled, so there is nothing to measure. All {len(labels)} "
            f"labels are {UNLABELLED}; use a split with labels."
        )
    return logits[known].double(), labels[known]


def _check_pair(owner: str, student: Tensor, teacher: Tensor) -> None:
    _check_shapes(owner, student, teacher)
    if not len(student):
        raise AttarError(f"{owner}: there must be at least one row. Got none.")
    check_finite(owner, "student logits", student)
    check_finite(owner, "teacher logits", teacher)
