"""How a teacher is asked: in which of its ways, how many rows at a time; measured, then kept.

A network answers the same question at very different speeds: on a processor, a convolutional
network asked about 64 rows at a time is often three times as fast as asked about 1,000, whose
activations leave the caches.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from attar.types import Batch, Teacher, dense_logits

#: The way in which every teacher can be asked.
AS_IT_IS = "eager"
#: Rows of one question where nothing was measured; of a network fewer, whose activations then
#: stay in a processor's caches.
BATCH_SIZE, NETWORK_BATCH_SIZE = 256, 64
#: A pass that is shorter is not measured: what could be saved is less than the measuring costs.
SHORT_SECONDS = 20.0
#: The measuring takes this share of the pass at most, and no longer than so many seconds.
SHARE, MOST_SECONDS = 0.03, 30.0
#: What is slow to start (a compiler) is tried where the pass takes longer than this.
LONG_SECONDS = 300.0
#: Sizes that are tried in every way, and those that are tried in the best ways then.
FIRST_SIZES = (64, 256)
SIZES = (16, 32, 64, 128, 256, 512, 1024, 4096)
#: A setting that is so many times slower than the best is not looked at again.
CLEARLY_SLOWER, SLOWER = 1.5, 1.2
ROUNDS = 5
#: The divergence, in nats, up to which two ways count as the same: rounding in float32.
SAME = 1e-6


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


def find_pace(
    ways: Mapping[str, Way],
    batch: Callable[[int], Batch],
    *,
    rows: int,
    total: int,
    max_kl: float | None = None,
    temperatures: Sequence[float] = (1.0,),
    clock: Callable[[], float] = time.perf_counter,
) -> Pace:
    """Measure for a moment how a teacher answers fastest.

    Settings are timed in turn, and the median of their rounds decides, so that a moment in which
    the machine does something else does not. Answers that are given are thrown away, so only a
    teacher whose answers cost nothing but time is to be measured.

    Args:
        ways: By name; :data:`AS_IT_IS` is one of them.
        batch: ``batch(size)`` is the first so many rows.
        rows: How many rows ``batch`` can give.
        total: How many rows will be asked about.
        max_kl: What a way that is not exact may lose, as a mean divergence in nats; None: only
            exact ones are tried.
        temperatures: At which it is measured.
        clock: Seconds.

    Returns:
        The fastest setting; the usual one, and nothing tried, where the pass is a short one.
    """
    hunt = _Hunt(ways, batch, rows, clock)
    usual = hunt.usual(total)
    if usual is not None:
        return usual
    hunt.compare(max_kl, temperatures)
    hunt.widen()
    hunt.repeat()
    return hunt.found()


class _Hunt:
    """The settings that are tried, and the seconds a row of each round of them."""

    def __init__(
        self,
        ways: Mapping[str, Way],
        batch: Callable[[int], Batch],
        rows: int,
        clock: Callable[[], float],
    ) -> None:
        self.ways, self.batch, self.rows, self.clock = ways, batch, rows, clock
        self.made: dict[str, Teacher] = {AS_IT_IS: ways[AS_IT_IS].make()}
        self.refused: dict[str, str] = {}
        self.kl: dict[str, float] = {AS_IT_IS: 0.0}
        self.times: dict[tuple[str, int], list[float]] = {}
        self.expected = 0.0
        self.deadline = float("inf")
        self.largest = rows

    def usual(self, total: int) -> Pace | None:
        """The usual pace where the pass is short; else how much time the measuring may take."""
        small = min(16, self.rows)
        self.time((AS_IT_IS, small))  # pays for what is made once
        rate = 1 / self.time((AS_IT_IS, small))
        if total / rate >= SHORT_SECONDS and self.rows >= FIRST_SIZES[0]:
            rate = 1 / self.time((AS_IT_IS, FIRST_SIZES[0]))
        self.expected = total / rate
        if self.expected < SHORT_SECONDS:
            return Pace(batch_size=NETWORK_BATCH_SIZE if len(self.ways) > 1 else BATCH_SIZE)
        seconds = min(SHARE * self.expected, MOST_SECONDS)
        self.deadline = self.clock() + seconds
        # One question must not use up the time for all of them.
        self.largest = min(self.rows, max(small, int(rate * seconds / 20)))
        return None

    def sizes(self, sizes: Sequence[int]) -> list[int]:
        """Those of the sizes that there are rows and time for."""
        return [size for size in sizes if size <= self.largest] or [min(self.rows, min(sizes))]

    def time(self, setting: tuple[str, int]) -> float:
        """Seconds a row of one more question."""
        name, size = setting
        batch = self.batch(size)
        began = self.clock()
        with torch.no_grad():
            self.made[name](batch)
        seconds = max(self.clock() - began, 1e-9) / size
        self.times.setdefault(setting, []).append(seconds)
        return seconds

    def attempt(self, setting: tuple[str, int]) -> None:
        """A new setting: once to warm up, once for the clock; out of memory, it is none."""
        try:
            self.time(setting)
            self.times[setting].clear()
            self.time(setting)
        except Exception as error:
            self.times.pop(setting, None)
            self.refused[f"{setting[0]}, {setting[1]}"] = _short(error)

    def late(self) -> bool:
        """Whether the time for measuring is over."""
        return self.clock() >= self.deadline

    def compare(self, max_kl: float | None, temperatures: Sequence[float]) -> None:
        """Every way at the usual sizes."""
        self.times.clear()
        for name, way in self.ways.items():
            if not way.exact and max_kl is None:
                continue
            if self.late() or (way.slow_start and self.expected < LONG_SECONDS):
                continue
            if name not in self.made and not self.make(name, max_kl, temperatures):
                continue
            for size in self.sizes(FIRST_SIZES):
                if not self.late() or not self.times:
                    self.attempt((name, size))

    def make(self, name: str, max_kl: float | None, temperatures: Sequence[float]) -> bool:
        """Make a way ready and hold its answers against those of the teacher as it is."""
        batch = self.batch(self.sizes(FIRST_SIZES)[0])
        try:
            self.made[name] = self.ways[name].make()
            with torch.no_grad():
                said = [
                    dense_logits("label", self.made[one](batch)).float().cpu()
                    for one in (AS_IT_IS, name)
                ]
            if self.ways[name].slow_start:
                # The first answer has paid for the start; it is not what the measuring is for.
                self.deadline = max(self.deadline, self.clock() + 2.0)
        except Exception as error:
            self.refused[name] = _short(error)
            self.made.pop(name, None)
            return False
        apart = max(_divergence(said[0], said[1], temperature) for temperature in temperatures)
        bound = SAME if self.ways[name].exact else max_kl
        assert bound is not None
        if not apart <= bound:
            self.refused[name] = f"loses {apart:.3g} nats of at most {bound:g}"
            del self.made[name]
            return False
        self.kl[name] = max(apart, 0.0)
        return True

    def near(self, factor: float) -> list[tuple[str, int]]:
        """The settings that are at most so many times slower than the best, best first."""
        best = min(statistics.median(times) for times in self.times.values())
        found = {one: statistics.median(times) for one, times in self.times.items()}
        return sorted((one for one in found if found[one] <= factor * best), key=found.__getitem__)

    def widen(self) -> None:
        """All sizes, in the ways that are near the best one."""
        for name in dict.fromkeys(name for name, _ in self.near(CLEARLY_SLOWER)):
            for size in self.sizes(SIZES):
                if not self.late() and (name, size) not in self.times:
                    self.attempt((name, size))

    def repeat(self) -> None:
        """Those in front, in turn, until one round after the other says the same."""
        for _ in range(ROUNDS - 1):
            for setting in self.near(SLOWER):
                if self.late():
                    return
                self.time(setting)

    def found(self) -> Pace:
        """The fastest."""
        (name, size), *_ = self.near(1.0)
        tried = {
            f"{way}, {count}": 1 / statistics.median(times)
            for (way, count), times in self.times.items()
        }
        return Pace(name, size, tried, self.refused, self.kl[name])


def _divergence(teacher: Tensor, other: Tensor, temperature: float) -> float:
    """The mean over the rows of KL(teacher || other), nats."""
    p, q = ((logits.double() / temperature).log_softmax(dim=1) for logits in (teacher, other))
    return float((p.exp() * (p - q)).sum(dim=1).mean())


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:160]
