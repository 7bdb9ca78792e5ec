"""How a teacher is asked: in which of its ways, how many rows at a time; measured, then kept.

A network answers the same question at very different speeds: on a processor, a convolutional
network asked about 64 rows at a time is often three times as fast as asked about 1,000, whose
activations leave the caches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from attar.types import Teacher

#: The way in which every teacher can be asked.
AS_IT_IS = "eager"
#: Rows of one question where nothing was measured; of a network fewer, whose activations then
#: stay in a processor's caches.
BATCH_SIZE, NETWORK_BATCH_SIZE = 256, 64


@dataclass(frozen=True)
class Way:
    """One way of asking a teacher.

    Attributes:
        make: Makes what is asked then; may take a while, and may raise where it is not to be had.
        exact: Whether the answers are the teacher's but for the rounding of float32.
        slow_start: Whether making it or its first answer takes long (a compiler).
    """

    make: Callable[[], Teacher]
    exact: bool = True
    slow_start: bool = False


@dataclass(frozen=True)
class Pace:
    """A way and a batch size, and how they were found.

    Attributes:
        way: The name of the way.
        batch_size: Rows of one question.
        tried: Rows a second of every setting that was measured, ``{"eager, 64": 4900.0}``.
        refused: Ways that were not to be had, and why.
        kl: What the way loses against the teacher as it is: the mean divergence in nats, the
            largest over the temperatures; 0 for the teacher as it is.
    """

    way: str = AS_IT_IS
    batch_size: int = BATCH_SIZE
    tried: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    kl: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return {
            "way": self.way,
            "batch_size": self.batch_size,
            "rows_per_second": {name: float(f"{rate:.4g}") for name, rate in self.tried.items()},
            "refused": dict(self.refused),
            "kl": self.kl,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Pace | None:
        """What a manifest says; None where it says nothing that can be used."""
        way, size = said.get("way"), said.get("batch_size")
        if not isinstance(way, str) or type(size) is not int or not 1 <= size <= 2**31:
            return None
        return cls(way, size)
