"""Losses for rows that may have several labels at once: a sigmoid for each, not one softmax.

A student gives logits ``[N, L]``, the log-odds of each label; whether one applies says nothing
about another. Each loss gives one number a row ``[N]``, in nats, the sum over the labels: so it is
the loss between the joint distributions of labels that are independent given the row.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from attar.checks import check_number, check_values


def sigmoid_kl(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    r"""Divergence of the student from the teacher's soft targets, each label its own.

    .. math:: T^2 \sum_l \left[ p_l \log \frac{p_l}{q_l}
        + (1 - p_l) \log \frac{1 - p_l}{1 - q_l} \right], \quad
        p = \sigma(teacher / T), \; q = \sigma(student / T)

    For one label it is :func:`~attar.losses.kl` over the two classes *applies* and *does not*.

    Args:
        student: ``[N, L]`` logits, the log-odds of each label.
        teacher: ``[N, L]`` logits, finite; from probabilities: ``p.logit(eps=1e-6)``.
        temperature: T, above 0. The factor T^2 keeps the size of the gradient of one order.

    Returns:
        ``[N]``, in nats times T^2, 0 or more but for rounding.

    Raises:
        AttarError: If the shapes, types or devices do not fit, or the temperature is out of
            range.

    Example:
        >>> student, teacher = torch.tensor([[0.0, 2.0]]), torch.tensor([[2.0, 2.0]])
        >>> sigmoid_kl(student, teacher)  # kl of [2, 0] and [0, 0]
        tensor([0.3278])

    References:
        Yang, Xie, Zong, Feng, Niu, Huang, Sugiyama 2023, *Multi-Label Knowledge Distillation*
        (ICCV), https://arxiv.org/abs/2308.06453: its multi-label logits distillation, with T
    """
    check_number("sigmoid_kl", "temperature", temperature, low=0.0, low_open=True)
    check_values("sigmoid_kl", "teacher", student, teacher)
    student, teacher = _raised(student) / temperature, _raised(teacher) / temperature
    applies = teacher.sigmoid() * (F.logsigmoid(teacher) - F.logsigmoid(student))
    not_so = (-teacher).sigmoid() * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    return (applies + not_so).sum(dim=1) * temperature**2


def binary_cross_entropy(student: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    r"""Cross-entropy against hard labels, each label its own, over those that are known.

    .. math:: -\sum_l \left[ y_l \log q_l + (1 - y_l) \log (1 - q_l) \right], \quad
        q = \sigma(student)

    Args:
        student: ``[N, L]`` logits.
        labels: ``[N, L]`` float, 1 where the label applies, 0 where it does not, NaN where that
            is not known. Values are not checked here, since reading them waits for the device.
        smoothing: The share of each target that is spread evenly over *applies* and *does not*,
            from 0 to 1.

    Returns:
        ``[N]``, in nats; 0, with zero gradient, for a row of which no label is known.

    Raises:
        AttarError: If the shapes or types do not fit, or the smoothing is out of range.

    Example:
        >>> logits = torch.tensor([[0.0, 2.0], [0.0, 2.0]])
        >>> binary_cross_entropy(logits, torch.tensor([[1.0, 0.0], [1.0, torch.nan]]))
        tensor([2.8201, 0.6931])
    """
    check_number("binary_cross_entropy", "smoothing", smoothing, low=0.0, high=1.0)
    check_values("binary_cross_entropy", "labels", student, labels)
    student, labels = _raised(student), _raised(labels)
    known = ~labels.isnan()
    target = torch.where(known, labels, 0.0).type_as(student)
    if smoothing:
        target = target * (1.0 - smoothing) + 0.5 * smoothing
    losses = F.binary_cross_entropy_with_logits(student, target, reduction="none")
    return torch.where(known, losses, 0.0).sum(dim=1)


def _raised(logits: Tensor) -> Tensor:
    return logits.float() if logits.itemsize < 4 else logits
