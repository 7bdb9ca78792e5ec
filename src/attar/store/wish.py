"""From what a caller of ``label`` asks for to the encoding that is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from attar.checks import AttarError, check_number
from attar.store.encodings import DTYPES, Dense, Encoding
from attar.store.fidelity import fidelity, nearest, smallest_k
from attar.store.int8 import Int8
from attar.store.sparse import Sampled, TopK
from attar.targets import check_temperatures

#: The divergence that ``top_k="auto"`` allows where nothing is said, in nats.
MAX_KL = 1e-3
#: The share of it that the teacher's own rounding may take.
PASS_SHARE = 0.1


@dataclass(frozen=True)
class Wish:
    """What was asked for, before the teacher said anything; see :func:`attar.store.label`.

    Attributes:
        dtype: One of :data:`DTYPES`; None for float32, or float16 for what ``top_k`` keeps.
        top_k: How many of the best logits to keep, or ``"auto"``; None for all.
        sample: How many classes to draw; None for none.
        temperatures: At which sparse targets are to be used, and fidelity is measured.
        max_kl: The bound of ``"auto"``; None for :data:`MAX_KL`.
        seed: Of the draws.
    """

    dtype: str | None = None
    top_k: int | Literal["auto"] | None = None
    sample: int | None = None
    temperatures: Sequence[float] = (1.0,)
    max_kl: float | None = None
    seed: int = 0

    def check(self) -> None:
        """Raise where it cannot be granted for any teacher."""
        if self.dtype is not None and self.dtype not in DTYPES:
            raise AttarError(
                f"The 'dtype' parameter of label must be one of {list(DTYPES)}. Got "
                f"{self.dtype!r} instead."
            )
        check_temperatures("label", self.temperatures)
        check_number("label", "seed", self.seed, low=0, high=2**63 - 1, whole=True)
        if self.top_k is not None and self.sample is not None:
            raise AttarError(
                "label: top_k= keeps the best logits and sample= draws classes; give one of them."
            )
        if self.max_kl is not None:
            check_number("label", "max_kl", self.max_kl, low=0.0, low_open=True)
            if self.top_k != "auto":
                raise AttarError(
                    "label: max_kl= is the bound that top_k='auto' keeps, and without it would be "
                    "ignored. Give top_k='auto', or leave it out."
                )
        if self.top_k is not None and self.top_k != "auto":
            if isinstance(self.top_k, str):
                raise AttarError(
                    f"The 'top_k' parameter of label must be a number of classes, or 'auto'. Got "
                    f"{self.top_k!r} instead."
                )
            check_number("label", "top_k", self.top_k, low=1, whole=True)
            if self.dtype == "int8":
                raise AttarError(
                    "label: the logits that top_k= keeps are float16 or float32. Got dtype='int8'."
                )
        if self.sample is not None:
            check_number("label", "sample", self.sample, low=1, whole=True)
            if self.dtype is not None:
                raise AttarError("label: sample= keeps no logits, so dtype= would be ignored.")

    def pass_kl(self) -> float | None:
        """What may be lost by how the teacher is asked, of what may be lost in all, nats."""
        if self.top_k != "auto":
            return None
        return PASS_SHARE * (MAX_KL if self.max_kl is None else self.max_kl)

    def choose(
        self, classes: int, sample: Callable[[], tuple[Tensor, Tensor]]
    ) -> tuple[Encoding, dict[str, Any]]:
        """The encoding, and what it loses, as measured.

        Args:
            classes: C.
            sample: Asks the teacher about a sample of the rows when called:
                logits ``[B, C]`` float32 and ids ``[B]``.

        Raises:
            AttarError: If it cannot be granted for so many classes.
        """
        temperatures = check_temperatures("label", self.temperatures)
        if self.top_k == "auto":
            return self._smallest(classes, *sample(), temperatures)
        encoding = self._asked_for(classes, temperatures)
        if isinstance(encoding, Sampled) or encoding.name == "float32":
            return encoding, {}
        return encoding, fidelity(encoding, *sample(), temperatures)

    def _asked_for(self, classes: int, temperatures: tuple[float, ...]) -> Encoding:
        if self.sample is not None:
            return Sampled(self.sample, classes, temperatures, self.seed)
        if self.top_k is not None:
            assert self.top_k != "auto"
            return TopK(self.top_k, classes, temperatures, self.dtype or "float16")
        return Int8(classes) if self.dtype == "int8" else Dense(self.dtype or "float32", classes)

    def _smallest(
        self, classes: int, logits: Tensor, ids: Tensor, temperatures: tuple[float, ...]
    ) -> tuple[Encoding, dict[str, Any]]:
        """The smallest record that holds the bound: of few classes, all logits are."""
        bound = MAX_KL if self.max_kl is None else self.max_kl
        k = smallest_k(logits, temperatures, bound)
        # The rounding of what is kept may push the smallest k just over the bound.
        counts = {k, k + 1, k + k // 16 + 2} if k < classes else set()
        values = "float16" if self.dtype in (None, "int8") else str(self.dtype)
        candidates = [TopK(n, classes, temperatures, values) for n in counts if n < classes]
        dense = [Dense("float16", classes), Int8(classes), Dense("float32", classes)]
        found = nearest([*candidates, *dense], logits, ids, temperatures, bound)
        assert found is not None  # float32 keeps everything
        return found

    def refuses(self, there: Encoding) -> bool:
        """Whether a store in this encoding is another one than was asked for."""
        temperatures = check_temperatures("label", self.temperatures)
        if self.top_k == "auto":
            return isinstance(there, Sampled) or (
                isinstance(there, TopK) and there.temperatures != temperatures
            )
        return there != self._asked_for(there.classes, temperatures)

    def __str__(self) -> str:
        if self.sample is not None:
            return f"sample={self.sample}, seed={self.seed}{self._at()}"
        if self.top_k is not None:
            return f"top_k={self.top_k!r}, {self.dtype or 'float16'}{self._at()}"
        return self.dtype or "float32"

    def _at(self) -> str:
        return f", temperatures={[float(t) for t in self.temperatures]}"
