"""Records of some classes instead of all: the k best, or drawn ones. See :mod:`attar.targets`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.checks import AttarError, check_number
from attar.store import packed
from attar.targets import SampledTargets, TopKTargets, best, check_temperatures

#: Numbers that are worked on at once: 16 MiB of float32.
_BLOCK = 2**22

_VALUES: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}


@dataclass(frozen=True)
class TopK:
    """The k best logits with their classes, and for each temperature the log-sum-exp over all.

    The logits are kept as distances from the row's best one, so that the digits of a float16
    stand where the probability is: the error that they make in a kept probability p is at most
    p log(1/p) / 2048, which is below 0.0002. The log-sum-exp is made from the logits as they are
    kept, so that the kept probabilities and the rest's mass always add up to 1.

    A record of k = 16 out of 151,936 classes at one temperature takes 72 bytes.

    Attributes:
        k: How many classes are kept, from 1 to C.
        classes: C.
        temperatures: At which the targets can be used, in rising order.
        values: ``"float16"`` or ``"float32"``, what the kept logits are held in.

    Example:
        >>> encoding = TopK(16, 151_936)
        >>> encoding.record.itemsize
        72
        >>> records = TopK(2, 4).encode(torch.tensor([[0.0, 2.0, 1.0, -1.0]]), torch.tensor([7]))
        >>> TopK(2, 4).decode(records).at(1.0).probabilities
        tensor([[0.6439, 0.2369]])
    """

    k: int
    classes: int
    temperatures: tuple[float, ...] = (1.0,)
    values: str = "float16"

    name: ClassVar[str] = "top_k"
    plain: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_number("label", "top_k", self.k, low=1, high=self.classes, whole=True)
        _check(self, "top_k")
        if self.values not in _VALUES:
            raise AttarError(
                f"label: the logits that top_k keeps are held in {' or '.join(_VALUES)}. Got "
                f"{self.values!r}."
            )

    @property
    def record(self) -> np.dtype[Any]:
        """Indices, logits, log-sum-exps; packed, little-endian."""
        return np.dtype(
            [
                *packed.fields(self.classes, self.k),
                ("values", _VALUES[self.values], (self.k,)),
                ("log_sum_exp", "<f4", (len(self.temperatures),)),
            ]
        )

    def encode(self, logits: Tensor, ids: Tensor) -> NDArray[Any]:
        """Records ``[B]`` from logits ``[B, C]`` float32 and ids ``[B]``.

        Raises:
            AttarError: If a kept logit lies further below the best one than float16 holds.
        """
        records = np.zeros(len(logits), dtype=self.record)
        step = max(1, _BLOCK // self.classes)
        for start in range(0, len(logits), step):
            some = slice(start, start + step)
            self._encode(logits[some], ids[some], records[some])
        return records

    def _encode(self, logits: Tensor, ids: Tensor, records: NDArray[Any]) -> None:
        found, indices = best(logits, self.k)
        top = found[:, :1].double()
        exact = found.double() - top
        with np.errstate(over="ignore"):  # it is refused below, by name
            held = exact.numpy().astype(_VALUES[self.values])
        if not np.isfinite(held).all():
            row = int((~np.isfinite(held)).any(axis=1).argmax())
            limit = float(np.finfo(held.dtype).max)
            raise AttarError(
                f"label: {self.values} holds distances from the best logit up to {limit:.6g}, and "
                f"id {int(ids[row])} has one of {-float(exact[row].min()):.6g}. Use "
                f"dtype='float32', a smaller top_k, or another folder."
            )
        packed.pack(indices.numpy(), records, self.classes)
        records["values"] = held
        kept = torch.from_numpy(held.astype(np.float64))
        shifted = logits - top.float()
        for place, temperature in enumerate(self.temperatures):
            powers = shifted if temperature == 1.0 else shifted / temperature
            total = powers.exp().sum(dim=1, dtype=torch.float64)
            rest = (total - (exact / temperature).exp().sum(dim=1)).clamp(min=0.0)
            sums = (rest + (kept / temperature).exp().sum(dim=1)).log()
            records["log_sum_exp"][:, place] = sums.numpy()

    def decode(self, records: NDArray[Any], dtype: torch.dtype = torch.float32) -> TopKTargets:
        """What was kept, from records ``[B]``; the logits in ``dtype``."""
        return TopKTargets(
            torch.from_numpy(np.ascontiguousarray(records["values"])).to(dtype),
            torch.from_numpy(_unpacked(records, self.classes)),
            torch.from_numpy(records["log_sum_exp"].astype(np.float32)),
            self.temperatures,
            self.classes,
        )

    def dense(self, records: NDArray[Any]) -> Tensor:
        """``[B, C]`` float32 logits, the rest spread evenly.

        Their softmax is the distribution as kept at T = 1, or, where 1 is not among the
        temperatures, at the lowest one.
        """
        temperature = 1.0 if 1.0 in self.temperatures else self.temperatures[0]
        return self.decode(records).dense(temperature)

    def to_json(self) -> dict[str, Any]:
        """``name`` and parameters, without C."""
        return {
            "name": self.name,
            "k": self.k,
            "temperatures": list(self.temperatures),
            "values": self.values,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], classes: int) -> TopK:
        """What :meth:`to_json` gave, or anything; raises :class:`AttarError` if it is not that."""
        k, temperatures, values = _fields(raw, ("k", "temperatures", "values"))
        _check_types(raw, counts=(k,), temperatures=temperatures)
        if not isinstance(values, str):
            raise _bad(raw)
        return cls(k, classes, tuple(temperatures), values)


@dataclass(frozen=True)
class Sampled:
    """For each temperature n classes drawn from the teacher's distribution, and its entropy.

    16 draws out of 151,936 classes take 36 bytes, and the entropy 4, at each temperature.

    Attributes:
        draws: n, 1 or more.
        classes: C.
        temperatures: At which the targets can be used, in rising order.
        seed: What is drawn follows from it, from the id, and from the logits.

    Example:
        >>> Sampled(16, 151_936).record.itemsize
        40

    References:
        Anshumann et al. 2025, *Sparse Logit Sampling: Accelerating Knowledge Distillation in
        LLMs*, https://arxiv.org/abs/2503.16870
    """

    draws: int
    classes: int
    temperatures: tuple[float, ...] = (1.0,)
    seed: int = 0

    name: ClassVar[str] = "sampled"
    plain: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_number("label", "sample", self.draws, low=1, high=2**20, whole=True)
        check_number("label", "seed", self.seed, low=0, high=2**63 - 1, whole=True)
        _check(self, "sample")

    @property
    def record(self) -> np.dtype[Any]:
        """Indices and entropies; packed, little-endian."""
        count = len(self.temperatures)
        indices = packed.fields(self.classes, count, self.draws)
        return np.dtype([*indices, ("entropy", "<f4", (count,))])

    def encode(self, logits: Tensor, ids: Tensor) -> NDArray[Any]:
        """Records ``[B]`` from logits ``[B, C]`` float32 and ids ``[B]``."""
        records = np.zeros(len(logits), dtype=self.record)
        step = max(1, _BLOCK // self.classes)
        for start in range(0, len(logits), step):
            some = slice(start, start + step)
            drawn = SampledTargets.of(
                logits[some], ids[some], self.draws, temperatures=self.temperatures, seed=self.seed
            )
            packed.pack(drawn.indices.numpy(), records[some], self.classes)
            records["entropy"][some] = drawn.entropy.numpy()
        return records

    def decode(self, records: NDArray[Any], dtype: torch.dtype = torch.float32) -> SampledTargets:
        """What was drawn, from records ``[B]``; there is nothing in it that has a ``dtype``."""
        indices = torch.from_numpy(_unpacked(records, self.classes))
        entropy = torch.from_numpy(records["entropy"].astype(np.float32))
        return SampledTargets(indices, entropy, self.temperatures, self.classes)

    def dense(self, records: NDArray[Any]) -> Tensor:
        """Refused: a few draws are right in the mean over rows, and not for any one row.

        Raises:
            AttarError: Always.
        """
        raise AttarError(
            "Store: sampled targets have no dense view: they are right in the mean over many rows, "
            "and say little about a single one. Train from them as they are, with kl, or label "
            "with top_k= or all logits."
        )

    def to_json(self) -> dict[str, Any]:
        """``name`` and parameters, without C."""
        return {
            "name": self.name,
            "draws": self.draws,
            "temperatures": list(self.temperatures),
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], classes: int) -> Sampled:
        """What :meth:`to_json` gave, or anything; raises :class:`AttarError` if it is not that."""
        draws, temperatures, seed = _fields(raw, ("draws", "temperatures", "seed"))
        _check_types(raw, counts=(draws, seed), temperatures=temperatures)
        return cls(draws, classes, tuple(temperatures), seed)


def _check(encoding: TopK | Sampled, name: str) -> None:
    check_number("label", "classes", encoding.classes, low=2, high=packed.MOST_CLASSES, whole=True)
    if check_temperatures("label", encoding.temperatures) != encoding.temperatures:
        raise AttarError(
            f"label: the temperatures of {name}= must be in rising order. Got "
            f"{list(encoding.temperatures)}."
        )


def _unpacked(records: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """The indices, all of them in range: a loss looks up a student's logits with them."""
    indices = packed.unpack(records, classes)
    if indices.size and int(indices.max()) >= classes:
        raise AttarError(
            f"Store: a record names class {int(indices.max())}, and there are {classes}. The store "
            f"was not written by attar, or was changed by hand: delete the folder and label again."
        )
    return indices


def _fields(raw: Mapping[str, Any], names: tuple[str, ...]) -> list[Any]:
    if set(raw) != {"name", *names}:
        raise _bad(raw)
    return [raw[name] for name in names]


def _check_types(raw: Mapping[str, Any], *, counts: tuple[Any, ...], temperatures: Any) -> None:
    good = all(type(count) is int for count in counts) and isinstance(temperatures, list)
    if not good or len(temperatures) > 64 or not all(type(t) in (int, float) for t in temperatures):
        raise _bad(raw)


def _bad(raw: Mapping[str, Any]) -> AttarError:
    return AttarError(f"the encoding is not one that attar writes: {str(dict(raw))[:80]}")
