"""What is kept of a teacher's answer where its classes are too many to keep them all.

Two kinds, both with the temperatures named at which they were made:

- :class:`TopKTargets`: the k best logits and, for each temperature, the log-sum-exp over *all*
  classes. The kept probabilities and the mass of the rest are then exact at these temperatures.
- :class:`SampledTargets`: for each temperature some classes drawn from the teacher's
  distribution. What a student learns from them is right in expectation, class by class.

Importing this module loads nothing heavy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

from attar.checks import AttarError, check_number

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: What a probability of 0 is written as in a dense view, whose logits must be finite: e^-80.
_LOG_OF_NOTHING = -80.0


class Known(NamedTuple):
    """What sparse targets say about the teacher's distribution at one temperature.

    Attributes:
        indices: ``[B, k]`` int64 classes; a drawn class may stand there more than once.
        probabilities: ``[B, k]`` of these classes; where a class stands twice, they add up.
        log_probabilities: ``[B, k]`` their logarithms, finite also where they are 0 as floats.
        rest: ``[B]`` the probability of all other classes together, 0 or more; None where there
            is nothing besides the classes named.
        negative_entropy: ``[B]`` sum of p log p, in nats. The rest counts as one class.
    """

    indices: Tensor
    probabilities: Tensor
    log_probabilities: Tensor
    rest: Tensor | None
    negative_entropy: Tensor


class SparseTargets:
    """Soft targets that name only some of the classes: what their kinds have in common.

    Attributes:
        classes: C, how many classes the teacher has.
        temperatures: At which they may be used, in rising order.
    """

    classes: int
    temperatures: tuple[float, ...]

    def at(self, temperature: float) -> Known:
        """The teacher's distribution at one of the temperatures.

        Raises:
            AttarError: If it is none of :attr:`temperatures`.
        """
        raise NotImplementedError

    def dense(self, temperature: float) -> Tensor:
        """``[B, C]`` logits whose softmax at this temperature is the distribution as kept.

        The rest's mass is spread evenly over the classes that are not named. Where there is
        none, these classes get e^-80. For few classes: it is as large as what was not kept.

        Raises:
            AttarError: If the temperature is none of :attr:`temperatures`.
        """
        known = self.at(temperature)
        empty = known.probabilities.new_zeros(self.shape)
        if known.rest is None:
            logs = empty.scatter_add_(1, known.indices, known.probabilities).log()
        else:
            others = self.classes - known.indices.shape[1]
            logs = (empty + (known.rest.log() - math.log(others))[:, None]).scatter_(
                1, known.indices, known.log_probabilities
            )
        return logs.clamp(min=_LOG_OF_NOTHING) * temperature

    @property
    def shape(self) -> tuple[int, int]:
        """``(B, C)``: that of the logits that they stand for."""
        return len(self), self.classes

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        raise NotImplementedError

    def to(self, device: torch.device | str) -> Self:
        """The same targets on another device."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def _place(self, temperature: float) -> int:
        """Where a temperature stands among those that were recorded."""
        try:
            return self.temperatures.index(temperature)
        except ValueError:
            recorded = ", ".join(f"{t:g}" for t in self.temperatures)
            raise AttarError(
                f"{type(self).__name__}: what was kept of the teacher says nothing at temperature "
                f"{temperature}: it was made for {recorded}. Use one of these, or label again "
                f"with temperatures=[..., {temperature}]."
            ) from None


@dataclass(frozen=True)
class TopKTargets(SparseTargets):
    """The k best logits of each row, and the log-sum-exp over all classes.

    With it the kept probabilities, exp(logit / T - log_sum_exp), are those of the full softmax,
    and 1 minus their sum is the mass of the rest. Nothing is renormalised. What is not known is
    how the rest is spread over the other classes; see :func:`~attar.losses.kl`.

    Attributes:
        logits: ``[B, k]`` float, best first; a constant may have been added to a row (and to
            its log-sum-exp, divided by T).
        indices: ``[B, k]`` int64 in [0, C), their classes, all different.
        log_sum_exp: ``[B, len(temperatures)]`` float32; log sum over all classes of
            exp(logit / T). For log-probabilities (a language model's server gives them), 0 at
            T = 1.
        temperatures: All different, in rising order. With k = C any temperature can be used.
        classes: C.

    Example:
        >>> import torch
        >>> targets = TopKTargets.of(torch.tensor([[0.0, 2.0, 1.0, -1.0]]), 2)
        >>> targets.indices, targets.at(1.0).probabilities, targets.at(1.0).rest
        (tensor([[1, 2]]), tensor([[0.6439, 0.2369]]), tensor([0.1192]))
        >>> targets.dense(1.0).softmax(dim=1)  # the rest is spread evenly
        tensor([[0.0596, 0.6439, 0.2369, 0.0596]])
    """

    logits: Tensor
    indices: Tensor
    log_sum_exp: Tensor
    temperatures: tuple[float, ...]
    classes: int

    def __post_init__(self) -> None:
        shape, rows = tuple(self.logits.shape), self.logits.shape[:1]
        good = len(shape) == 2 and self.indices.shape == self.logits.shape
        if not good or not 1 <= shape[1] <= self.classes or self.classes < 2:
            raise AttarError(
                "TopKTargets: logits and indices must have the same shape [B, k] with k from 1 to "
                f"the {self.classes} classes. Got {shape} and {tuple(self.indices.shape)}."
            )
        if tuple(self.log_sum_exp.shape) != (*rows, len(self.temperatures)):
            raise AttarError(
                f"TopKTargets: log_sum_exp must have shape [{rows[0]}, {len(self.temperatures)}], "
                f"one a row and temperature. Got {tuple(self.log_sum_exp.shape)}."
            )

    @classmethod
    def of(cls, logits: Tensor, k: int, *, temperatures: Sequence[float] = (1.0,)) -> TopKTargets:
        """The k best of logits ``[B, C]``; among equal ones those with the lower index.

        The row's largest logit is taken off, so that the best is 0: the digits of a float16, if
        the rest is kept in one, then stand where the probability is.

        Raises:
            AttarError: If k or a temperature is out of range.
        """
        check_number("TopKTargets.of", "k", k, low=1, high=logits.shape[1], whole=True)
        kept = check_temperatures("TopKTargets.of", temperatures)
        raised = logits.float() if logits.itemsize < 4 else logits
        values, indices = best(raised, k)
        top = values[:, :1]
        sums = [((raised - top) / t).logsumexp(dim=1) for t in kept]
        import torch

        return cls(values - top, indices, torch.stack(sums, dim=1), kept, logits.shape[1])

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.logits.device

    def to(self, device: torch.device | str) -> TopKTargets:
        """The same targets on another device."""
        return replace(
            self,
            logits=self.logits.to(device),
            indices=self.indices.to(device),
            log_sum_exp=self.log_sum_exp.to(device),
        )

    def argmax(self) -> Tensor:
        """``[B]`` int64, the teacher's most likely class: the first that is kept."""
        return self.indices[:, 0]

    def at(self, temperature: float) -> Known:
        """The teacher's distribution at one of the temperatures.

        Raises:
            AttarError: If it is none of :attr:`temperatures` and classes were left out.
        """
        import torch

        logits = self.logits.float() if self.logits.itemsize < 4 else self.logits
        if logits.shape[1] == self.classes:
            logs = (logits / temperature).log_softmax(dim=1)
            kept = logs.exp()
            return Known(self.indices, kept, logs, None, (kept * logs).sum(dim=1))
        place = self._place(temperature)
        logs = logits / temperature - self.log_sum_exp[:, place, None]
        kept = logs.exp()
        rest = (1.0 - kept.sum(dim=1)).clamp(min=0.0)
        negative_entropy = (kept * logs).sum(dim=1) + torch.special.xlogy(rest, rest)
        return Known(self.indices, kept, logs, rest, negative_entropy)


@dataclass(frozen=True)
class SampledTargets(SparseTargets):
    """For each temperature n classes drawn from the teacher's distribution, each of weight 1/n.

    A class of probability p is drawn n p times in the mean. A loss that is linear in the targets,
    as the gradient of :func:`~attar.losses.kl` is, is therefore right in expectation: over many
    rows a student learns the whole distribution, also classes that no top-k would ever keep.
    The draws of a row are systematic (one random number shifts n evenly spaced points of the
    cumulative distribution): a class is drawn n p times rounded up or down, never further off,
    so that the likely classes carry next to no noise.

    Attributes:
        indices: ``[B, len(temperatures), n]`` int64 in [0, C).
        entropy: ``[B, len(temperatures)]`` float32; of the teacher's whole distribution, in
            nats. With it a loss has the value, in the mean, that it has with dense targets.
        temperatures: All different, in rising order.
        classes: C.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.0, 2.0, 1.0, -1.0]])
        >>> targets = SampledTargets.of(logits, torch.tensor([7]), 8, seed=0)
        >>> targets.indices  # the probabilities are 0.09, 0.64, 0.24 and 0.03
        tensor([[[1, 1, 1, 1, 1, 1, 2, 3]]])

    References:
        Anshumann et al. 2025, *Sparse Logit Sampling: Accelerating Knowledge Distillation in
        LLMs*, https://arxiv.org/abs/2503.16870 (independent draws; here systematic ones)
    """

    indices: Tensor
    entropy: Tensor
    temperatures: tuple[float, ...]
    classes: int

    def __post_init__(self) -> None:
        shape, count = tuple(self.indices.shape), len(self.temperatures)
        good = len(shape) == 3 and shape[1] == count and shape[2] >= 1
        if not good or tuple(self.entropy.shape) != shape[:2] or self.classes < 2:
            raise AttarError(
                f"SampledTargets: indices must have shape [B, {count}, n] and entropy "
                f"[B, {count}], one a row and temperature. Got {shape} and "
                f"{tuple(self.entropy.shape)}."
            )

    @classmethod
    def of(
        cls,
        logits: Tensor,
        ids: Tensor,
        draws: int,
        *,
        temperatures: Sequence[float] = (1.0,),
        seed: int = 0,
    ) -> SampledTargets:
        """Draw from the softmax of logits ``[B, C]``.

        What is drawn for a row depends on its logits, its id ``[B]`` (int64) and the seed alone:
        not on the other rows of the batch, nor on what was drawn before.

        Raises:
            AttarError: If the number of draws or a temperature is out of range.
        """
        import torch

        check_number("SampledTargets.of", "draws", draws, low=1, whole=True)
        kept = check_temperatures("SampledTargets.of", temperatures)
        indices, entropies = [], []
        for place, temperature in enumerate(kept):
            logs = (logits.double() / temperature).log_softmax(dim=1)
            probabilities = logs.exp()
            ends = probabilities.cumsum(dim=1)
            points = torch.arange(draws, dtype=torch.float64, device=logits.device)
            points = (points + _uniform(ids.to(logits.device), seed, place)[:, None]) / draws
            found = torch.searchsorted(ends, points * ends[:, -1:], right=True)
            indices.append(found.clamp(max=logits.shape[1] - 1))
            entropies.append(-(probabilities * logs).sum(dim=1))
        entropy = torch.stack(entropies, dim=1).float()
        return cls(torch.stack(indices, dim=1), entropy, kept, logits.shape[1])

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.indices.device

    def to(self, device: torch.device | str) -> SampledTargets:
        """The same targets on another device."""
        return replace(self, indices=self.indices.to(device), entropy=self.entropy.to(device))

    def at(self, temperature: float) -> Known:
        """What was drawn at one of the temperatures.

        Raises:
            AttarError: If it is none of :attr:`temperatures`.
        """
        place = self._place(temperature)
        indices = self.indices[:, place]
        weights = self.entropy.new_full(indices.shape, 1.0 / indices.shape[1])
        return Known(indices, weights, weights.log(), None, -self.entropy[:, place])


def check_temperatures(owner: str, temperatures: Sequence[float]) -> tuple[float, ...]:
    """The temperatures as sparse targets name them: different, in rising order.

    Raises:
        AttarError: If there is none, one is out of range, or one stands twice.
    """
    given = tuple(temperatures)
    for temperature in given:
        check_number(owner, "temperatures", temperature, low=0.0, low_open=True)
    if not given or len(set(given)) != len(given):
        raise AttarError(
            f"The 'temperatures' parameter of {owner} must name one or more temperatures, each "
            f"once. Got {list(given)} instead."
        )
    return tuple(sorted(float(temperature) for temperature in given))


def best(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row of ``[B, C]`` and where they stand, largest first.

    Among equal ones those with the lower index come first, and stay where not all fit, so that
    the choice does not hang on how a library happens to sort.
    """
    import torch

    values, indices = logits.topk(k, dim=1)
    crowded = (logits >= values[:, -1:]).sum(dim=1) > k
    if bool(crowded.any()):
        rows = logits[crowded]
        ordered = rows.argsort(dim=1, descending=True, stable=True)[:, :k]
        indices[crowded] = ordered
        values[crowded] = rows.gather(1, ordered)
    order = indices.argsort(dim=1)
    order = order.gather(1, values.gather(1, order).argsort(dim=1, descending=True, stable=True))
    return values.gather(1, order), torch.gather(indices, 1, order)


def _uniform(ids: Tensor, seed: int, stream: int) -> Tensor:
    """``[B]`` float64 in [0, 1), a pure function of (seed, id, stream).

    The output function of SplitMix64 (Steele, Lea, Flood 2014) on a counter made of the three.
    int64 wraps around, which is what it wants; right shifts are made logical by a mask.
    """

    def mix(x: Tensor) -> Tensor:
        x = (x ^ (x >> 30 & (1 << 34) - 1)) * -0x40A7B892E31B1A47
        x = (x ^ (x >> 27 & (1 << 37) - 1)) * -0x6B2FB644ECCEEE15
        return x ^ (x >> 31 & (1 << 33) - 1)

    golden = -0x61C8864680B583EB
    start = ids * 0 + (seed * 0x632BE5AB + stream + 1 & (1 << 63) - 1)
    mixed = mix(mix(start * golden) + mix(ids * golden + 1))
    return (mixed >> 11 & (1 << 53) - 1).double() * 2.0**-53
