"""Losses between values: what a student of a regression is trained with.

A student and a teacher of a regression give values ``[N, D]``, one column a target or a quantile,
where those of a classification give logits. Each loss gives one number a row ``[N]``, the mean
over the columns; the mean over the rows is taken by :class:`~attar.losses.Objective`. Values are
raised to at least float32. Scale the targets to a standard deviation of about 1 beforehand: a
squared error has their unit, squared, and so has the size of its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attar.checks import AttarError, check_number, check_values


def squared_error(student: Tensor, target: Tensor) -> Tensor:
    r"""Mean squared difference of the values, over the columns that are known.

    .. math:: \frac{1}{D} \sum_d (s_d - t_d)^2

    Against labels it is the hard loss of regression, against a teacher's values the plain way of
    compressing a regressor: the teacher has already averaged out the noise of the labels.

    Args:
        student: ``[N, D]`` values.
        target: ``[N, D]`` labels, NaN where not known; or the teacher's values.

    Returns:
        ``[N]``, 0 or more, in squared units of the values; 0, with zero gradient, for a row of
        which no column is known.

    Raises:
        AttarError: If the shapes, types or devices do not fit.

    Example:
        >>> student = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
        >>> squared_error(student, torch.tensor([[2.0, 4.0], [2.0, torch.nan]]))
        tensor([2.5000, 1.0000])

    References:
        Bucila, Caruana, Niculescu-Mizil 2006, *Model Compression* (KDD); Ba, Caruana 2014, *Do
        Deep Nets Really Need to be Deep?*, https://arxiv.org/abs/1312.6184
    """
    check_values("squared_error", "target", student, target)
    student, target, known = _with_known(student, target)
    squares = (student - target).square()  # 0 where not known
    return squares.sum(dim=1) / known.sum(dim=1).clamp(min=1)


def bounded_squared_error(
    student: Tensor, teacher: Tensor, *, labels: Tensor | None = None, margin: float = 0.0
) -> Tensor:
    r"""Squared error against the label, where the student is no better than the teacher yet.

    .. math:: L = \begin{cases} \frac{1}{D} \|s - y\|^2 & \text{if }
        \frac{1}{D} \|s - y\|^2 + m > \frac{1}{D} \|t - y\|^2 \\ 0 & \text{otherwise}
        \end{cases}

    A teacher's value is unbounded and may point away from the truth, so it is no target here but
    a bound: a row that the student already answers better than the teacher (by m) is left in
    peace, and the student spends itself on the others. Beside it goes the plain hard loss, so
    that together such rows count for less. Where a value has no label, the teacher's stands for
    it, and the bound is 0: plain :func:`squared_error` against the teacher.

    Args:
        student: ``[N, D]`` values.
        teacher: ``[N, D]`` values of the teacher, finite. They should not come from a teacher
            that was fitted on these very rows: its errors there are too small for a bound.
        labels: ``[N, D]``, NaN where not known; None: nothing is known.
            :func:`~attar.losses.soft` gives those of the batch.
        margin: m, 0 or more, in squared units of the values.

    Returns:
        ``[N]``, 0 or more, in squared units of the values.

    Raises:
        AttarError: If the shapes, types or devices do not fit, or the margin is out of range.

    Example:
        >>> student, teacher = torch.tensor([[1.0], [1.0]]), torch.tensor([[3.0], [0.5]])
        >>> bounded_squared_error(student, teacher, labels=torch.zeros(2, 1))
        tensor([0., 1.])
        >>> bounded_squared_error(student, teacher)  # against the teacher
        tensor([4.0000, 0.2500])

    References:
        Chen, Choi, Yu, Han, Chandraker 2017, *Learning Efficient Object Detection Models with
        Knowledge Distillation* (NeurIPS), equation 4
    """
    check_number("bounded_squared_error", "margin", margin, low=0.0)
    check_values("bounded_squared_error", "teacher", student, teacher)
    student, teacher = _raised(student), _raised(teacher)
    truth = teacher
    if labels is not None:
        check_values("bounded_squared_error", "labels", student, labels)
        truth = torch.where(labels.isnan(), teacher, labels.type_as(teacher))
    error = (student - truth).square().mean(dim=1)
    bound = (teacher - truth).square().mean(dim=1)
    return torch.where(error.detach() + margin > bound, error, 0.0)


def pinball(student: Tensor, target: Tensor, *, levels: Sequence[float]) -> Tensor:
    r"""Quantile loss: of the student's quantiles against draws from what they are quantiles of.

    .. math:: \frac{1}{QM} \sum_{i,j} \rho_{\tau_i}(t_j - s_i), \quad
        \rho_\tau(u) = u \, (\tau - 1_{u < 0})

    Against a single column of labels it is the quantile regression of Koenker and Bassett. Against
    a teacher's M quantiles these count as equally likely draws from what the teacher expects, each
    compared with each of the student's: a student that cannot tell two rows apart then learns the
    quantiles of the mixture of what the teacher says of the two, where matching quantile by
    quantile would give it the mean (or median) of the teacher's quantiles, which lie too close
    together. Where student and teacher have the same evenly spread levels the least loss is at
    the teacher's own quantiles.

    Args:
        student: ``[N, Q]`` the quantiles of the student, one a level.
        target: ``[N, M]`` labels (M = 1), NaN where not known; or a teacher's quantiles, at
            evenly spread levels: at ``(j - 1/2) / M``, say.
        levels: Q numbers between 0 and 1; 0.5 is the median.

    Returns:
        ``[N]``, 0 or more, in the unit of the values; 0 without a known target. Unlike the other
        losses it is not 0 where student and teacher agree, since the draws lie apart.

    Raises:
        AttarError: If the shapes, types or devices do not fit, or a level is out of range.

    Example:
        >>> student = torch.tensor([[0.0, 2.0]])  # the 10 % and the 90 % quantile
        >>> pinball(student, torch.tensor([[3.0]]), levels=(0.1, 0.9))  # (0.1 * 3 + 0.9 * 1) / 2
        tensor([0.6000])

    References:
        Koenker, Bassett 1978, *Regression Quantiles* (Econometrica); between two sets of
        quantiles: Dabney, Rowland, Bellemare, Munos 2018, *Distributional Reinforcement Learning
        with Quantile Regression*, https://arxiv.org/abs/1710.10044
    """
    check_values("pinball", "target", student, target, same_width=False)
    for level in levels:
        check_number("pinball", "levels", level, low=0.0, high=1.0, low_open=True, high_open=True)
    if len(levels) != student.shape[1]:
        raise AttarError(
            f"pinball: levels must name one level for each of the student's {student.shape[1]} "
            f"columns. Got {len(levels)}."
        )
    student, target = _raised(student), _raised(target)
    known = ~target.isnan()
    share = known.type_as(student) / known.sum(dim=1, keepdim=True).clamp(min=1)  # (N, M)
    above = target.nan_to_num(0.0)[:, None, :] - student[:, :, None]  # (N, Q, M)
    tau = student.new_tensor(list(levels))[None, :, None]
    losses = torch.maximum(tau * above, (tau - 1.0) * above)
    return (losses * share[:, None, :]).sum(dim=2).mean(dim=1)


def _raised(values: Tensor) -> Tensor:
    """In at least float32: half types keep three digits of a value."""
    return values.float() if values.itemsize < 4 else values


def _with_known(student: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both raised; where the target is NaN it is the student's own value, cut off the graph."""
    student, target = _raised(student), _raised(target)
    known = ~target.isnan()
    # Both sides: a NaN that is only multiplied by 0 later still makes the gradient NaN.
    student = torch.where(known, student, 0.0)
    return student, torch.where(known, target, 0.0), known
