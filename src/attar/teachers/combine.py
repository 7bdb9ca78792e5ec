"""Ways to make one answer out of several, and weights fitted for them.

Each way takes logits ``[M, N, C]`` of M members and weights, ``[M]`` for all rows or ``[N, M]``
for each, with sum 1 over the members. Members are mixed at temperature 1. A member of weight 0
changes nothing, whatever it says.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from attar.checks import AttarError, check_finite, check_labels
from attar.types import UNLABELLED


def mean_probability(logits: Tensor, weights: Tensor) -> Tensor:
    """The log of the weighted mean of the members' probabilities.

    ``log sum_m w_m softmax(z_m)``: where members differ, the mean is as unsure as they are
    together. The ensemble of Hinton, Vinyals and Dean, `Distilling the Knowledge in a Neural
    Network <https://arxiv.org/abs/1503.02531>`_ (2015), and of deep ensembles.

    Args:
        logits: ``[M, N, C]``.
        weights: ``[M]``, or ``[N, M]`` for each row its own; 0 or more, sum 1.

    Returns:
        ``[N, C]`` log-probabilities.

    Example:
        >>> two = torch.tensor([[[0.8, 0.2]], [[0.2, 0.8]]]).log()
        >>> mean_probability(two, torch.tensor([0.75, 0.25])).exp()
        tensor([[0.6500, 0.3500]])
    """
    return torch.logsumexp(F.log_softmax(logits, dim=-1) + _by_member(weights).log(), dim=0)


def mean_log_probability(logits: Tensor, weights: Tensor) -> Tensor:
    """The weighted geometric mean of the members' probabilities, normalised.

    ``log_softmax(sum_m w_m log softmax(z_m))``: one member that excludes a class nearly
    excludes it for all. The same probabilities as :func:`mean_logit` gives, since the two
    differ by a constant a row only; but the result here is log-probabilities, which matters to
    losses that compare the logits themselves.

    Args:
        logits: ``[M, N, C]``.
        weights: ``[M]``, or ``[N, M]`` for each row its own; 0 or more, sum 1.

    Returns:
        ``[N, C]`` log-probabilities.

    Example:
        >>> two = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]]).log()
        >>> mean_log_probability(two, torch.tensor([0.5, 0.5])).exp()
        tensor([[0.7500, 0.2500]])
    """
    mixed = (F.log_softmax(logits, dim=-1) * _by_member(weights)).sum(dim=0)
    return F.log_softmax(mixed, dim=-1)


def mean_logit(logits: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of the members' logits, ``sum_m w_m z_m``.

    A member with larger logits has the larger say. It keeps the size of the logits, for losses
    that compare them; a member that gives probabilities enters with its log-probabilities.

    Args:
        logits: ``[M, N, C]``.
        weights: ``[M]``, or ``[N, M]`` for each row its own; 0 or more, sum 1.

    Returns:
        ``[N, C]`` logits.

    Example:
        >>> mean_logit(torch.tensor([[[4.0, 0.0]], [[0.0, 2.0]]]), torch.tensor([0.5, 0.5]))
        tensor([[2., 1.]])
    """
    return (logits * _by_member(weights)).sum(dim=0)


def _by_member(weights: Tensor) -> Tensor:
    """``[M]`` as ``[M, 1, 1]``, ``[N, M]`` as ``[M, N, 1]``."""
    return weights[:, None, None] if weights.ndim == 1 else weights.T[:, :, None]


def fit_weights(
    logits: Tensor,
    labels: Tensor,
    *,
    combine: Callable[[Tensor, Tensor], Tensor] = mean_probability,
) -> Tensor:
    """The weights of an ensemble that minimise its NLL on validation rows.

    Deterministic: L-BFGS on the logits of the weights, from equal weights. Never worse than
    equal weights on these rows. Fit it on rows that no member was trained on; otherwise the
    member that knows its rows by heart gets all the weight.

    Args:
        logits: ``[M, N, C]``, each member's answers about the validation rows.
        labels: ``[N]`` int64; unlabelled rows are left out.
        combine: The way of combining that the weights are for.

    Returns:
        ``[M]`` float32, 0 or more, sum 1.

    Raises:
        AttarError: If shapes do not fit, a value is not finite, or no row is labelled.

    Example:
        >>> right = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
        >>> labels = torch.tensor([0, 1, 1])
        >>> fit_weights(torch.stack([right, -right]), labels)
        tensor([0.7188, 0.2812])
    """
    if logits.ndim != 3 or logits.shape[2] < 2 or not logits.is_floating_point():
        raise AttarError(
            f"fit_weights: logits must be floating-point of shape [M, N, C], members first. Got "
            f"shape {tuple(logits.shape)}, dtype {logits.dtype}."
        )
    if len(labels) != logits.shape[1]:
        raise AttarError(
            f"fit_weights: one label a row is needed, {logits.shape[1]} in all. Got {len(labels)}."
        )
    check_labels("fit_weights", labels, classes=logits.shape[2])
    check_finite("fit_weights", "logits", logits)
    known = labels != UNLABELLED
    if not bool(known.any()):
        raise AttarError("fit_weights: no row is labelled, so there is nothing to fit to.")
    said, truth = logits.detach()[:, known].double(), labels[known]

    def loss(shares: Tensor) -> Tensor:
        return F.cross_entropy(combine(said, F.softmax(shares, dim=0)), truth)

    with torch.enable_grad():
        shares = torch.zeros(len(said), dtype=torch.float64, device=said.device).requires_grad_()
        equal = float(loss(shares).detach())
        optimizer = torch.optim.LBFGS(
            [shares],
            max_iter=200,
            tolerance_grad=1e-9,
            tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            value = loss(shares)
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.step(closure)  # type: ignore[no-untyped-call]
    fitted = shares.detach()
    worse = not bool(torch.isfinite(fitted).all()) or float(loss(fitted)) > equal
    return F.softmax(torch.zeros_like(fitted) if worse else fitted, dim=0).float()
