"""Losses between logits: pure functions, one number a row, in nats, no mean over the rows.

All of them take the softmax in at least float32 (half types are raised, float64 stays), do not
change when a constant is added to a row of logits, and stay finite, with their gradients, at
logits of 1e4. Logits must be finite: a teacher that gives probabilities floors its zeros first.

Where a loss has a temperature, its factor T^2 is inside. The gradient of a softened loss falls
as 1/T^2 while the targets grow softer; with the factor its size stays of one order over T, so
that the weight beside the hard loss keeps its meaning when T is changed.

No gradient is blocked: one flows to the teacher too if the caller's teacher logits require it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from attar.checks import AttarError, check_logits, check_number, check_pair
from attar.losses import blocks, sparse
from attar.types import UNLABELLED, SparseTargets

#: The float32 numbers of a processor's vector, where short rows are slow; see `_log_softmax`.
_LANES = 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 0


def kl(student: Tensor, teacher: Tensor | SparseTargets, *, temperature: float = 1.0) -> Tensor:
    r"""Divergence of the student from the teacher's soft targets: the loss of distillation.

    .. math:: T^2 \sum_c p_c \, (\log p_c - \log q_c), \quad
        p = softmax(teacher / T), \; q = softmax(student / T)

    For T to infinity its gradient becomes that of :func:`logit_mse`. The factor T^2 keeps the
    size of the gradient of one order over T. The entropy of the teacher is subtracted, so that
    the loss is 0 exactly where the student is the teacher; the gradient is that of the
    cross-entropy against soft targets.

    From :class:`~attar.types.TopKTargets` the kept classes are compared one by one and the rest
    as if it were a single class: with r the teacher's mass on the rest and Q the student's, it
    adds r (log r - log Q). That spreads r over the rest as the student itself does, which
    is the one way that pulls no class anywhere without knowing. Compared with the dense loss:

    - it is never larger (the log-sum inequality), and smaller by T^2 r KL(p' | q'), p' and q'
      being the two distributions within the rest;
    - its gradient is that of the dense loss on the kept classes, and differs on the rest by
      T r (q' - p'): summed over the classes, in absolute value, by at most 2 T r.

    From :class:`~attar.types.SampledTargets` it is the cross-entropy against what was drawn less
    the teacher's entropy: its mean over the draws is the dense loss, its gradient's mean the
    dense gradient. A single row may come out below 0.

    On the CPU, large logits go through it in blocks of rows, and the gradient is made on the way:
    beside it, nothing of the size of the logits is allocated.

    Args:
        student: ``[N, C]`` logits.
        teacher: ``[N, C]`` logits, or log-probabilities; finite. Or sparse targets.
        temperature: T, above 0; for sparse targets one of those that they were made for. At 1
            the student learns the teacher's probabilities as they are; above 1 the small ones
            among them count for more, which a student that is much smaller than its teacher may
            not be able to follow; below 1 it learns little more than the teacher's choice.

    Returns:
        ``[N]``, in nats times T^2, 0 or more but for rounding.

    Raises:
        AttarError: If the shapes, types or devices do not fit, or the temperature is out of
            range, or none of those of the sparse targets.

    Example:
        >>> student = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
        >>> teacher = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
        >>> kl(student, teacher)
        tensor([0.3278, 0.0000])
        >>> kl(student, teacher, temperature=4.0)
        tensor([0.4848, 0.0000])
        >>> from attar.types import TopKTargets
        >>> student, teacher = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[3.0, 1.0, 0.0]])
        >>> kl(student, teacher), kl(student, TopKTargets.of(teacher, 1))
        (tensor([0.9852]), tensor([0.9130]))

    References:
        Hinton, Vinyals, Dean 2015, *Distilling the Knowledge in a Neural Network*,
        https://arxiv.org/abs/1503.02531
    """
    if isinstance(teacher, SparseTargets):
        return sparse.kl(student, teacher, temperature)
    if not blocks.fits(student) or teacher.requires_grad:
        log_q, log_p = log_probabilities("kl", student, teacher, temperature)
        # The factor and the sign go onto the teacher's side, where no gradient has to pass them.
        return (log_p.exp() * -(temperature**2) * (log_q - log_p)).sum(dim=1)
    check_pair("kl", student, teacher)
    check_number("kl", "temperature", temperature, low=0.0, low_open=True)

    def formula(student: Tensor) -> Tensor:
        log_q, log_p = log_probabilities("kl", student, teacher, temperature)
        return (log_p.exp() * -(temperature**2) * (log_q - log_p)).sum(dim=1)

    return blocks.per_row(student, blocks.kl_block(teacher, temperature), formula, scratch=3)


def reverse_kl(
    student: Tensor, teacher: Tensor | SparseTargets, *, temperature: float = 1.0
) -> Tensor:
    r"""Divergence the other way round: of the teacher from the student's probabilities.

    .. math:: T^2 \sum_c q_c \, (\log q_c - \log p_c)

    with p, q as in :func:`kl`. It punishes what the student says and the teacher does not, and
    hardly what the student leaves out: a student that cannot follow every mode of the teacher
    keeps to some of them, where :func:`kl` spreads it over all.

    From :class:`~attar.types.TopKTargets` the rest counts as one class, as in :func:`kl`. The
    result is never larger than the dense one, but smaller by T^2 Q KL(q' | p'), on which nothing
    that was kept sets a bound: the teacher may hold some class of the rest for impossible. Where
    the student puts its mass on kept classes, Q is small and so is that. For
    :class:`~attar.types.SampledTargets` it is not defined.

    Args:
        student: ``[N, C]`` logits.
        teacher: ``[N, C]`` logits, or log-probabilities; finite. Or the k best of them.
        temperature: T, above 0. The factor T^2 keeps the size of the gradient of one order.

    Returns:
        ``[N]``, in nats times T^2, 0 or more but for rounding.

    Raises:
        AttarError: If the shapes, types or devices do not fit, or the temperature is out of
            range.

    Example:
        >>> student = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
        >>> teacher = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
        >>> reverse_kl(student, teacher)
        tensor([0.4338, 0.0000])

    References:
        Gu, Dong, Wei, Huang 2024, *MiniLLM: Knowledge Distillation of Large Language Models*,
        https://arxiv.org/abs/2306.08543
    """
    if isinstance(teacher, SparseTargets):
        return sparse.reverse_kl(student, teacher, temperature)
    log_q, log_p = log_probabilities("reverse_kl", student, teacher, temperature)
    return (log_q.exp() * (log_q - log_p)).sum(dim=1) * temperature**2


def jsd(student: Tensor, teacher: Tensor, *, temperature: float = 1.0, beta: float = 0.5) -> Tensor:
    r"""Generalized Jensen-Shannon divergence: both are compared with a mixture of the two.

    .. math:: T^2 \left[ \beta \, KL(p \| m) + (1 - \beta) \, KL(q \| m) \right], \quad
        m = \beta p + (1 - \beta) q

    with p the teacher's and q the student's probabilities, as in :func:`kl`. It lies between
    :func:`kl` (its gradient divided by beta tends to that of ``kl`` for beta to 0) and
    :func:`reverse_kl` (divided by 1 - beta, for beta to 1), is symmetric at 0.5, and is
    bounded, also where the teacher is all but certain: by T^2 log 2 at 0.5.

    Args:
        student: ``[N, C]`` logits.
        teacher: ``[N, C]`` logits, or log-probabilities; finite.
        temperature: T, above 0. The factor T^2 keeps the size of the gradient of one order.
        beta: The teacher's share of the mixture, between 0 and 1. At the ends the divergence is
            0 for any student; take ``kl`` or ``reverse_kl`` there.

    Returns:
        ``[N]``, in nats times T^2, 0 or more but for rounding.

    Raises:
        AttarError: If the shapes, types or devices do not fit, or the temperature or beta is
            out of range.

    Example:
        >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
        >>> jsd(student, teacher), jsd(teacher, student)
        (tensor([0.0895]), tensor([0.0895]))
        >>> jsd(student, teacher, beta=0.01) / 0.01  # nearly kl, 0.3278
        tensor([0.3249])

    References:
        Agarwal et al. 2024, *On-Policy Distillation of Language Models: Learning from
        Self-Generated Mistakes* (GKD), https://arxiv.org/abs/2306.13649
    """
    sparse.refuse("jsd", teacher, "Use kl or reverse_kl.")
    check_number("jsd", "beta", beta, low=0.0, high=1.0, low_open=True, high_open=True)
    log_q, log_p = log_probabilities("jsd", student, teacher, temperature)
    log_m = torch.logaddexp(log_p + math.log(beta), log_q + math.log1p(-beta))
    from_teacher = (log_p.exp() * (log_p - log_m)).sum(dim=1)
    from_student = (log_q.exp() * (log_q - log_m)).sum(dim=1)
    return (beta * from_teacher + (1.0 - beta) * from_student) * temperature**2


def logit_mse(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Half the mean squared difference of the logits, each row centred on its mean.

    .. math:: \frac{1}{2C} \sum_c (s_c - \bar s - t_c + \bar t)^2

    Its gradient is (student - teacher) / C on the centred logits, the limit of the gradient of
    :func:`kl` for T to infinity: the two have one scale. Centring leaves out the row's
    constant, which no softmax sees and which a student would spend capacity on.

    Args:
        student: ``[N, C]`` logits.
        teacher: ``[N, C]`` logits, or log-probabilities; finite.

    Returns:
        ``[N]``, 0 or more, in squared logits.

    Raises:
        AttarError: If the shapes, types or devices do not fit.

    Example:
        >>> logit_mse(torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]]))
        tensor([0.5000])

    References:
        Ba, Caruana 2014, *Do Deep Nets Really Need to be Deep?*, https://arxiv.org/abs/1312.6184
        (there not centred)
    """
    sparse.refuse("logit_mse", teacher, "Use kl with a high temperature, which tends to it.")
    check_pair("logit_mse", student, teacher)
    gap = _raised(student) - _raised(teacher)
    return (gap - gap.mean(dim=1, keepdim=True)).square().mean(dim=1) * 0.5


def cross_entropy(student: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    r"""Cross-entropy against hard labels, 0 (with zero gradient) where there is none.

    .. math:: -\sum_c \left[ (1 - \epsilon) \, 1_{c = label} + \epsilon / C \right] \log q_c,
        \quad q = softmax(student)

    Args:
        student: ``[N, C]`` logits.
        labels: ``[N]`` int64 in [0, C), or :data:`~attar.types.UNLABELLED`. Their values are
            not checked here, since reading them would wait for the device.
        smoothing: The share epsilon of the target that is spread evenly over all classes, from
            0 to 1. Above 0, a certain and right student is not at a loss of 0.

    Returns:
        ``[N]``, in nats. Zero for unlabelled rows: divide by the number of labelled ones, as
        :class:`~attar.losses.Objective` does, not by N.

    Raises:
        AttarError: If the shapes or types do not fit, or the smoothing is out of range.

    Example:
        >>> logits = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
        >>> labels = torch.tensor([0, 1, UNLABELLED])
        >>> cross_entropy(logits, labels)
        tensor([0.6931, 2.1269, 0.0000])
        >>> cross_entropy(logits, labels, smoothing=0.1)
        tensor([0.6931, 2.0269, 0.0000])

    References:
        Szegedy et al. 2016, *Rethinking the Inception Architecture for Computer Vision*
        (smoothing), https://arxiv.org/abs/1512.00567
    """
    check_logits("cross_entropy", "student", student)
    check_number("cross_entropy", "smoothing", smoothing, low=0.0, high=1.0)
    if labels.shape != student.shape[:1] or labels.dtype != torch.int64:
        raise AttarError(
            f"cross_entropy: labels must be int64 of shape [{len(student)}], one class a row of "
            f"the student's logits. Got shape {tuple(labels.shape)}, dtype {labels.dtype}."
        )
    log_q = _log_softmax(_raised(student))
    losses = F.nll_loss(log_q, labels, reduction="none", ignore_index=UNLABELLED)
    if smoothing == 0.0:
        return losses
    spread = torch.where(labels == UNLABELLED, 0.0, -log_q.mean(dim=1))
    return (1.0 - smoothing) * losses + smoothing * spread


def log_probabilities(
    owner: str, student: Tensor, teacher: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Student's and teacher's log-probabilities ``[N, C]`` at a temperature, checked."""
    check_pair(owner, student, teacher)
    check_number(owner, "temperature", temperature, low=0.0, low_open=True)
    student, teacher = _raised(student), _raised(teacher)
    if temperature != 1.0:
        student, teacher = student / temperature, teacher / temperature
    return _log_softmax(student), _log_softmax(teacher)


def _raised(logits: Tensor) -> Tensor:
    """In at least float32: a half type keeps too few digits of a small probability."""
    return logits.float() if logits.itemsize < 4 else logits


def _log_softmax(logits: Tensor) -> Tensor:
    """``log_softmax`` over the classes.

    PyTorch's goes through rows shorter than the processor's vector number by number. With the
    rows side by side it need not: 9 instead of 38 microseconds for 256 x 10 on one AVX-512 core,
    which are a tenth of a small student's whole training step. What comes back is a transposed
    view, and what is computed from it keeps that layout.
    """
    if logits.shape[1] < _LANES and logits.is_cpu and logits.dtype == torch.float32:
        return logits.t().log_softmax(dim=0).t()
    return logits.log_softmax(dim=1)
