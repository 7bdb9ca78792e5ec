"""Further losses between logits: what has been proposed in the place of :func:`kl`, or around it.

They keep the conventions of :mod:`attar.losses.logits`: logits ``[N, C]`` in, one number a row
``[N]`` out, in nats times T^2, the softmax in at least float32. None takes sparse targets. A
loss with a parameter ``labels`` is given those of the batch by :func:`~attar.losses.soft`; where a
row has none, the teacher's most likely class stands for it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from attar.checks import AttarError, check_number, check_pair
from attar.losses.logits import kl, log_probabilities
from attar.types import UNLABELLED


def dkd(
    student: Tensor,
    teacher: Tensor,
    *,
    labels: Tensor | None = None,
    temperature: float = 1.0,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    r"""Decoupled distillation: what the teacher says about the target class and about the others.

    .. math:: T^2 \left( \alpha \, KL([p_t, 1 - p_t] \| [q_t, 1 - q_t])
        + \beta \, KL(\hat p \| \hat q) \right)

    with t the target class, and p-hat, q-hat the probabilities of the other classes, made to sum
    to 1. In :func:`kl` the second term has the weight 1 - p_t, so a teacher that is sure of the
    target says next to nothing about the others; here its weight is beta, whatever p_t.

    Args:
        student: ``[N, C]`` logits.
        teacher: ``[N, C]`` logits, or log-probabilities; finite.
        labels: ``[N]`` int64 target classes; where :data:`~attar.UNLABELLED`, or None, the
            teacher's most likely class.
        temperature: T, above 0.
        alpha: Weight of the target's part, 0 or more. (Not the weight beside the hard loss.)
        beta: Weight of the others' part, 0 or more; the paper takes 8 for most pairs of networks
            on CIFAR-100, and lower where the student is far smaller than the teacher.

    Returns:
        ``[N]``, 0 or more but for rounding.

    Raises:
        AttarError: If the shapes, types or devices do not fit, or a number is out of range.

    Example:
        >>> student, teacher = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[3.0, 1.0, 0.0]])
        >>> dkd(student, teacher, labels=torch.tensor([0]))
        tensor([4.6099])
        >>> p = teacher.softmax(dim=1)[0, 0]  # kl is the same with beta = 1 - p
        >>> dkd(student, teacher, beta=1 - float(p)), kl(student, teacher)
        (tensor([0.9852]), tensor([0.9852]))

    References:
        Zhao, Cui, Song, Qiu, Liang 2022, *Decoupled Knowledge Distillation* (CVPR),
        https://arxiv.org/abs/2203.08679
    """
    check_number("dkd", "alpha", alpha, low=0)
    check_number("dkd", "beta", beta, low=0)
    log_q, log_p = log_probabilities("dkd", student, teacher, temperature)
    target = _targets("dkd", labels, log_p)[:, None]
    is_target = torch.zeros_like(log_p, dtype=torch.bool).scatter(1, target, True)
    log_qt, log_pt = log_q.gather(1, target), log_p.gather(1, target)
    others_q, others_p = _others(log_q, is_target), _others(log_p, is_target)
    # log(1 - q_t) as the sum over the others: 1 - q_t itself is 0 where q_t is nearly 1.
    rest_q = log_q.masked_fill(is_target, -torch.inf).logsumexp(dim=1, keepdim=True)
    rest_p = log_p.masked_fill(is_target, -torch.inf).logsumexp(dim=1, keepdim=True)
    of_target = log_pt.exp() * (log_pt - log_qt) + rest_p.exp() * (rest_p - rest_q)
    of_others = others_p.exp().masked_fill(is_target, 0.0) * (others_p - others_q)
    return temperature**2 * (alpha * of_target[:, 0] + beta * of_others.sum(dim=1))


def dist(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    beta: float = 1.0,
    gamma: float = 1.0,
) -> Tensor:
    r"""Match relations instead of values: Pearson correlations within rows and within classes.

    .. math:: T^2 \left( \beta \, (1 - \rho(q_n, p_n))
        + \gamma \, \tfrac{1}{C} \sum_c (1 - \rho(q_{\cdot c}, p_{\cdot c})) \right)

    A student that is far weaker than its teacher need not have its probabilities, only rank the
    classes of a row, and the rows of a class, alike.

    The second part belongs to the batch: all rows get the same, so that the mean over the rows
    is the paper's. It sees the rows of one step in one process, and counts all of them, also
    those that the sample weights leave out; a batch of one row has no such part (0).

    Args:
        student: ``[N, C]`` logits.
        teacher: ``[N, C]`` logits, or log-probabilities; finite.
        temperature: T, above 0.
        beta: Weight of the part within rows, 0 or more.
        gamma: Weight of the part within classes, 0 or more.

    Returns:
        ``[N]``, from 0 to 2 T^2 (beta + gamma).

    Raises:
        AttarError: If the shapes, types or devices do not fit, or a number is out of range.

    Example:
        >>> student = torch.tensor([[0.0, 0.0, 1.0], [2.0, 0.0, 0.0]])
        >>> teacher = torch.tensor([[3.0, 1.0, 0.0], [3.0, 0.0, 1.0]])
        >>> dist(student, teacher, gamma=0.0)
        tensor([1.5688, 0.0033])

    References:
        Huang, You, Wang, Qian, Xu 2022, *Knowledge Distillation from A Stronger Teacher*
        (NeurIPS), https://arxiv.org/abs/2205.10536
    """
    check_number("dist", "beta", beta, low=0)
    check_number("dist", "gamma", gamma, low=0)
    log_q, log_p = log_probabilities("dist", student, teacher, temperature)
    q, p = log_q.exp(), log_p.exp()
    losses = beta * (1 - _correlation(q, p))
    if len(q) > 1:
        losses = losses + gamma * (1 - _correlation(q.T, p.T)).mean()
    return temperature**2 * losses


def skewed_kl(
    student: Tensor, teacher: Tensor, *, temperature: float = 1.0, skew: float = 0.1
) -> Tensor:
    r""":func:`kl` to the student mixed with a little of the teacher.

    .. math:: T^2 \, KL(p \| \lambda p + (1 - \lambda) q)

    A class that the student holds for impossible costs at most p_c log(1 / skew) instead of any
    amount, so that single rows cannot dominate the gradient.

    Args:
        student: ``[N, C]`` logits.
        teacher: ``[N, C]`` logits, or log-probabilities; finite.
        temperature: T, above 0.
        skew: lambda in [0, 1); 0 is :func:`kl`.

    Returns:
        ``[N]``, from 0 to T^2 log(1 / skew).

    Raises:
        AttarError: If the shapes, types or devices do not fit, or a number is out of range.

    Example:
        >>> student, teacher = torch.tensor([[0.0, 50.0]]), torch.tensor([[50.0, 0.0]])
        >>> kl(student, teacher), skewed_kl(student, teacher)  # 50 and log 10
        (tensor([50.]), tensor([2.3026]))

    References:
        Ko, Kim, Chen, Yun 2024, *DistiLLM: Towards Streamlined Distillation for Large Language
        Models* (ICML), https://arxiv.org/abs/2402.03898
    """
    check_number("skewed_kl", "skew", skew, low=0, high=1, high_open=True)
    log_q, log_p = log_probabilities("skewed_kl", student, teacher, temperature)
    mixed = _mixed(log_p, log_q, skew)
    return temperature**2 * (log_p.exp() * (log_p - mixed)).sum(dim=1)


def skewed_reverse_kl(
    student: Tensor, teacher: Tensor, *, temperature: float = 1.0, skew: float = 0.1
) -> Tensor:
    r""":func:`reverse_kl` to the teacher mixed with a little of the student.

    .. math:: T^2 \, KL(q \| \lambda q + (1 - \lambda) p)

    Args:
        student: ``[N, C]`` logits.
        teacher: ``[N, C]`` logits, or log-probabilities; finite.
        temperature: T, above 0.
        skew: lambda in [0, 1); 0 is :func:`reverse_kl`.

    Returns:
        ``[N]``, from 0 to T^2 log(1 / skew).

    Raises:
        AttarError: If the shapes, types or devices do not fit, or a number is out of range.

    Example:
        >>> student, teacher = torch.tensor([[0.0, 50.0]]), torch.tensor([[50.0, 0.0]])
        >>> skewed_reverse_kl(student, teacher)
        tensor([2.3026])

    References:
        Ko, Kim, Chen, Yun 2024, *DistiLLM* (ICML), https://arxiv.org/abs/2402.03898
    """
    check_number("skewed_reverse_kl", "skew", skew, low=0, high=1, high_open=True)
    log_q, log_p = log_probabilities("skewed_reverse_kl", student, teacher, temperature)
    mixed = _mixed(log_q, log_p, skew)
    return temperature**2 * (log_q.exp() * (log_q - mixed)).sum(dim=1)


def weighted_kl(
    student: Tensor, teacher: Tensor, *, labels: Tensor | None = None, temperature: float = 1.0
) -> Tensor:
    r""":func:`kl`, each row weighted by how much the student still has to learn from it.

    .. math:: \left( 1 - \exp(-CE(q, y) / CE(p, y)) \right) \, T^2 \, KL(p_T \| q_T)

    The weight, which passes no gradient and is taken at T = 1, is near 1 where the student is far
    worse than the teacher at the label, and falls towards 0 where it is better: there soft
    targets are held to be a bias rather than a help.

    Args:
        student: ``[N, C]`` logits.
        teacher: ``[N, C]`` logits, or log-probabilities; finite.
        labels: ``[N]`` int64 target classes; where :data:`~attar.UNLABELLED`, or None, the
            teacher's most likely class.
        temperature: T, above 0; the paper takes 2.

    Returns:
        ``[N]``, 0 or more but for rounding.

    Raises:
        AttarError: If the shapes, types or devices do not fit, or a number is out of range.

    Example:
        >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
        >>> weighted_kl(student, teacher, labels=torch.tensor([0])) / kl(student, teacher)
        tensor([0.9958])
        >>> weighted_kl(student, teacher, labels=torch.tensor([1])) / kl(student, teacher)
        tensor([0.2781])

    References:
        Zhou et al. 2021, *Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance
        Tradeoff Perspective* (WSLD, ICLR), https://arxiv.org/abs/2102.00650
    """
    check_pair("weighted_kl", student, teacher)
    with torch.no_grad():
        log_q, log_p = log_probabilities("weighted_kl", student, teacher, 1.0)
        target = _targets("weighted_kl", labels, log_p)
        ours, theirs = (
            F.nll_loss(log_q, target, reduction="none"),
            F.nll_loss(log_p, target, reduction="none"),
        )
        weight = 1 - torch.exp(-ours / (theirs + 1e-7))
    return weight * kl(student, teacher, temperature=temperature)


def standardized(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    r"""Any loss on logits, on logits that are standardised row by row.

    .. math:: loss((z_s - \bar z_s) / \sigma_s, \; (z_t - \bar z_t) / \sigma_t)

    Student and teacher are compared in the shape of their logits alone: the student need not
    reach the size of its teacher's, which a small one cannot. The student's confidence is then
    learned from the labels: keep a hard term beside it.

    Args:
        loss: ``(student, teacher, *, ...) -> [N]``, such as :func:`kl` or :func:`dkd`.

    Returns:
        A function with the same parameters. T is then in units of a row's standard deviation;
        the paper takes 2.

    Example:
        >>> student, teacher = torch.tensor([[0.0, 1.0, 5.0]]), torch.tensor([[0.0, 2.0, 10.0]])
        >>> standardized(kl)(student, teacher, temperature=2.0)  # the same but for the scale
        tensor([0.])

    References:
        Sun, Ren, Li, Wang, Cao 2024, *Logit Standardization in Knowledge Distillation* (CVPR),
        https://arxiv.org/abs/2403.01427
    """

    @functools.wraps(loss)
    def function(student: Tensor, teacher: Tensor, **settings: object) -> Tensor:
        check_pair(function.__name__, student, teacher)
        return loss(_standardized(student), _standardized(teacher), **settings)

    name = getattr(loss, "__name__", type(loss).__name__)
    function.__name__ = function.__qualname__ = f"standardized_{name}"
    return function


def _standardized(logits: Tensor) -> Tensor:
    if logits.itemsize < 4:
        logits = logits.float()
    centred = logits - logits.mean(dim=1, keepdim=True)
    # The sample's deviation (over C - 1) and the small number are the authors'.
    deviation = _length(centred)[:, None] / math.sqrt(centred.shape[1] - 1)
    # A constant row has no shape to learn: divided by the small number, it would get a gradient
    # that drowns all others.
    return centred / torch.where(deviation > 0, deviation + 1e-7, 1.0)


def _targets(owner: str, labels: Tensor | None, log_p: Tensor) -> Tensor:
    """``[N]`` the target class of each row."""
    choice = log_p.argmax(dim=1)
    if labels is None:
        return choice
    if labels.shape != choice.shape or labels.is_floating_point():
        raise AttarError(
            f"{owner}: labels must be whole numbers of shape [{len(choice)}], one a row. Got "
            f"{labels.dtype} of shape {list(labels.shape)}."
        )
    return torch.where(labels == UNLABELLED, choice, labels)


def _others(log_probabilities: Tensor, is_target: Tensor) -> Tensor:
    """Log-probabilities among the classes that are not the target; 0 at the target."""
    without = log_probabilities.masked_fill(is_target, -torch.inf).log_softmax(dim=1)
    return without.masked_fill(is_target, 0.0)


def _mixed(log_first: Tensor, log_second: Tensor, share: float) -> Tensor:
    """``log(share * first + (1 - share) * second)``."""
    if share == 0:
        return log_second
    first = log_first + torch.tensor(share, dtype=log_first.dtype).log()
    second = log_second + torch.tensor(1 - share, dtype=log_second.dtype).log()
    return torch.logaddexp(first, second)


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's, row by row; 0 where one row is constant, 1 where both are."""
    first = first - first.mean(dim=1, keepdim=True)
    second = second - second.mean(dim=1, keepdim=True)
    lengths, others = _length(first), _length(second)
    both_constant = (lengths + others == 0).to(first.dtype)
    scale = lengths * others
    product = (first * second).sum(dim=1)
    return product / torch.where(scale > 0, scale, 1.0) + both_constant


def _length(rows: Tensor) -> Tensor:
    """The norm of each row, with a gradient of 0 instead of NaN where it is 0."""
    squares = rows.square().sum(dim=1)
    return torch.where(squares > 0, squares.clamp_min(1e-30).sqrt(), 0.0)
