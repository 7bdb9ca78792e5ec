"""How far what is stored lies from what the teacher said, and the smallest record that is near."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.targets import SampledTargets, SparseTargets

#: Numbers that are worked on at once.
_BLOCK = 2**22


class _Encoding(Protocol):
    @property
    def record(self) -> np.dtype[Any]: ...
    def encode(self, logits: Tensor, ids: Tensor) -> NDArray[Any]: ...
    def decode(self, records: NDArray[Any]) -> Any: ...


def fidelity(
    encoding: _Encoding, logits: Tensor, ids: Tensor, temperatures: Sequence[float]
) -> dict[str, Any]:
    r"""The divergence between the teacher's distribution and the stored one, over a sample.

    .. math:: KL(p \| \hat p), \quad p = softmax(logits / T)

    in nats, without a factor T^2. With top-k, the rest's mass counts as spread evenly over the
    classes that were not kept.

    Args:
        encoding: What would be stored.
        logits: ``[B, C]`` float32.
        ids: ``[B]`` int64.
        temperatures: T, one or more.

    Returns:
        ``{"rows": B, "kl": [{"temperature", "mean", "p99", "max"}, ...]}``; without ``"kl"`` for
        sampled targets, which are right in the mean over rows and far off in each.

    Example:
        >>> from attar.store.sparse import TopK
        >>> logits = torch.tensor([[3.0, 1.0, 0.0, 2.0]])
        >>> measured = fidelity(TopK(2, 4), logits, torch.tensor([0]), [1.0])
        >>> {name: round(value, 4) for name, value in measured["kl"][0].items()}
        {'temperature': 1.0, 'mean': 0.0132, 'p99': 0.0132, 'max': 0.0132}
    """
    apart: list[list[Tensor]] = [[] for _ in temperatures]
    step = max(1, _BLOCK // logits.shape[1])
    for start in range(0, len(logits), step):
        some = slice(start, start + step)
        stored = encoding.decode(encoding.encode(logits[some], ids[some]))
        if isinstance(stored, SampledTargets):
            return {"rows": len(logits)}
        for place, temperature in enumerate(temperatures):
            apart[place].append(_divergence(logits[some], stored, temperature))
    measured = []
    for temperature, parts in zip(temperatures, apart, strict=True):
        rows = torch.cat(parts)
        values = (rows.mean(), rows.quantile(0.99), rows.max())
        mean, p99, largest = (float(value) for value in values)
        measured.append({"temperature": temperature, "mean": mean, "p99": p99, "max": largest})
    return {"rows": len(logits), "kl": measured}


def _divergence(logits: Tensor, stored: Tensor | SparseTargets, temperature: float) -> Tensor:
    """``[B]`` KL between the two at a temperature, float64: it may be as small as 1e-8."""
    dense = stored.dense(temperature) if isinstance(stored, SparseTargets) else stored
    log_p = (logits.double() / temperature).log_softmax(dim=1)
    log_q = (dense.double() / temperature).log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1).clamp(min=0.0)


def smallest_k(logits: Tensor, temperatures: Sequence[float], max_kl: float) -> int:
    """The smallest k at which the mean divergence of the k best stays within a bound.

    At every temperature; before the rounding of what is kept.

    Args:
        logits: ``[B, C]``.
        temperatures: T, one or more.
        max_kl: The bound, in nats.

    Example:
        >>> logits = torch.log(torch.tensor([[0.5, 0.3, 0.1, 0.06, 0.04]]))
        >>> [smallest_k(logits, [1.0], bound) for bound in (1.0, 0.1, 0.03, 0.003, 0.0)]
        [1, 2, 2, 3, 4]
    """
    classes = logits.shape[1]
    smallest = 1
    others = classes - torch.arange(1, classes + 1, dtype=torch.float64)
    log_others = others.clamp(min=1.0).log()
    step = max(1, _BLOCK // classes)
    for temperature in temperatures:
        total = torch.zeros(classes, dtype=torch.float64)
        for start in range(0, len(logits), step):
            some = logits[start : start + step]
            log_p = (some.double() / temperature).log_softmax(dim=1)
            log_p = log_p.sort(dim=1, descending=True).values.flip(1)
            p = log_p.exp()
            # Summed from the small end, so that what is left out keeps its digits.
            rest, entropy = p.cumsum(dim=1), (p * log_p).cumsum(dim=1)
            rest, entropy = rest.flip(1)[:, 1:], entropy.flip(1)[:, 1:]
            apart = entropy - torch.special.xlogy(rest, rest) + rest * log_others[:-1]
            total[:-1] += apart.sum(dim=0)
        within = total / len(logits) <= max_kl
        within[-1] = True
        # The mean falls with k; the last that is too large decides.
        beyond = (~within).nonzero()
        smallest = max(smallest, int(beyond[-1]) + 2 if len(beyond) else 1)
    return smallest


def nearest(
    candidates: Sequence[Any],
    logits: Tensor,
    ids: Tensor,
    temperatures: Sequence[float],
    max_kl: float,
) -> tuple[Any, dict[str, Any]] | None:
    """The encoding of the smallest record whose mean divergence stays within the bound.

    Returns:
        It and its :func:`fidelity`; None where none does.
    """
    for encoding in sorted(candidates, key=lambda one: int(one.record.itemsize)):
        measured = fidelity(encoding, logits, ids, temperatures)
        worst = max((one["mean"] for one in measured.get("kl", [])), default=math.inf)
        if worst <= max_kl:
            return encoding, measured
    return None
