"""The short measurement at the start of a pass: which setting answers fastest.

Each way of asking is timed at one batch size, in turn with the others; those in front are then
timed with smaller and larger batches, and what is in front then in further rounds.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from attar.store.pace import AS_IT_IS, BATCH_SIZE, NETWORK_BATCH_SIZE, Pace, Way
from attar.types import Batch, Teacher, dense_logits

#: A pass that is shorter is not measured: what could be saved is less than the measuring costs.
SHORT_SECONDS = 20.0
#: The measuring takes this share of the pass at most, and no longer than so many seconds.
SHARE, MOST_SECONDS = 0.02, 30.0
#: What is slow to start (a compiler: half a minute and more) is tried where the pass takes longer
#: than this.
LONG_SECONDS = 1800.0
#: The size that is tried in every way (the smallest where that takes long), and those that are
#: tried in every way where they are cheap. In the best ways it is then halved and doubled.
FIRST_SIZE, LARGER = 64, (256, 1024)
SMALLEST, LARGEST = 16, 4096
#: A setting that is so many times slower than the best is not looked at again.
CLEARLY_SLOWER, SLOWER = 1.5, 1.2
#: Rows on which a way that is not exact is held against the teacher.
KL_ROWS = 256
ROUNDS = 5
#: What a larger batch must gain for one that is larger still: on a plateau it takes memory alone.
HELPS = 1.02
#: The share of the time that is left which one question may take: so much that a network of large
#: matrices, which gains with every doubling, comes to a few hundred rows.
QUESTION = 0.5
#: A question that takes no more than this share of the time that is left is a cheap one.
CHEAP = 0.03
#: The divergence, in nats, up to which two ways count as the same: rounding in float32.
SAME = 1e-6


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
        batch: ``batch(size)`` are so many rows.
        rows: How many rows ``batch`` can give.
        total: How many rows will be asked about.
        max_kl: What a way that is not exact may lose, as a mean divergence in nats; None: only
            exact ones are tried.
        temperatures: At which it is measured.
        clock: Seconds.

    Returns:
        The fastest setting; the usual one, and nothing tried, where the pass is a short one.
    """
    hunt = _Hunt(ways, batch, rows, total, clock)
    usual = hunt.usual()
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
        total: int,
        clock: Callable[[], float],
    ) -> None:
        self.ways, self.batch, self.rows, self.clock = ways, batch, rows, clock
        self.made: dict[str, Teacher] = {AS_IT_IS: ways[AS_IT_IS].make()}
        self.refused: dict[str, str] = {}
        self.kl: dict[str, float] = {AS_IT_IS: 0.0}
        self.said: dict[int, Tensor] = {}
        self.times: dict[tuple[str, int], list[float]] = {}
        self.start = min(SMALLEST, rows)
        self.total = total
        self.began = clock()
        self.making = 0.0

    def usual(self) -> Pace | None:
        """The usual pace where the pass is short; None where it is to be measured."""
        self.time((AS_IT_IS, self.start))  # pays for what is made once
        self.times.clear()
        self.began = self.clock()
        self.time((AS_IT_IS, self.start))
        affordable = self.rows >= FIRST_SIZE and self.cheap(FIRST_SIZE)
        if self.expected >= SHORT_SECONDS and affordable:
            self.start = FIRST_SIZE
            self.time((AS_IT_IS, FIRST_SIZE))
        if self.expected < SHORT_SECONDS:
            return Pace(batch_size=NETWORK_BATCH_SIZE if len(self.ways) > 1 else BATCH_SIZE)
        return None

    @property
    def fastest(self) -> float:
        """Seconds a row of the best setting so far."""
        return min(min(times) for times in self.times.values())

    @property
    def expected(self) -> float:
        """Seconds of the pass at that rate."""
        return self.total * self.fastest

    @property
    def left(self) -> float:
        """Seconds of measuring that are left; what is paid once, for an export, does not count."""
        spent = self.clock() - self.began - self.making
        return min(SHARE * self.expected, MOST_SECONDS) - spent

    def cheap(self, size: int) -> bool:
        """Whether such a question takes next to nothing of what is left."""
        return size * self.fastest <= CHEAP * self.left

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
        """A new setting: where that is cheap, once to warm up; out of memory, it is none."""
        try:
            self.time(setting)
            if self.cheap(setting[1]):
                self.times[setting].clear()
                self.time(setting)
        except Exception as error:
            self.times.pop(setting, None)
            self.refused[f"{setting[0]}, {setting[1]}"] = _short(error)

    def late(self) -> bool:
        """Whether the time for measuring is over."""
        return self.left <= 0

    def compare(self, max_kl: float | None, temperatures: Sequence[float]) -> None:
        """Every way at one size, twice: the first time something else may have come between.

        And at larger ones where that is cheap: what a question costs by itself, whatever its
        size, may hide which way is the fastest.
        """
        for name, way in self.ways.items():
            if not way.exact and max_kl is None:
                continue
            if self.late() or (way.slow_start and self.expected < LONG_SECONDS):
                continue
            if name in self.made or self.make(name, max_kl, temperatures):
                self.attempt((name, self.start))
        for size in (self.start, *LARGER):
            for name in self.made:
                if size == self.start or (size <= self.rows and self.cheap(size)):
                    self.again((name, size))

    def again(self, setting: tuple[str, int]) -> None:
        """One more round of a setting, or the first one, while there is time."""
        if not self.late():
            if setting in self.times:
                self.time(setting)
            elif f"{setting[0]}, {setting[1]}" not in self.refused:
                self.attempt(setting)

    def make(self, name: str, max_kl: float | None, temperatures: Sequence[float]) -> bool:
        """Make a way ready and hold its answers against those of the teacher as it is."""
        size = self.start if self.ways[name].exact else min(KL_ROWS, self.rows)
        began = self.clock()
        try:
            self.made[name] = self.ways[name].make()
            answer = self.answer(name, size)
            if size not in self.said:
                self.said[size] = self.answer(AS_IT_IS, size)
        except Exception as error:
            self.refused[name] = _short(error)
            self.made.pop(name, None)
            return False
        finally:
            self.making += self.clock() - began
        apart = max(_divergence(self.said[size], answer, one) for one in temperatures)
        bound = SAME if self.ways[name].exact else max_kl
        assert bound is not None
        if not apart <= bound:
            self.refused[name] = f"loses {apart:.3g} nats of at most {bound:g}"
            del self.made[name]
            return False
        self.kl[name] = max(apart, 0.0)
        return True

    def answer(self, name: str, size: int) -> Tensor:
        """Logits ``[size, C]`` of so many rows."""
        with torch.no_grad():
            said = self.made[name](self.batch(size))
        return dense_logits("label", said).float().cpu()

    def near(self, factor: float) -> list[tuple[str, int]]:
        """The settings that are at most so many times slower than the best, best first.

        By the fastest of their rounds: a disturbance makes no round faster.
        """
        found = {one: min(times) for one, times in self.times.items()}
        bound = factor * min(found.values())
        return sorted((one for one in found if found[one] <= bound), key=found.__getitem__)

    def widen(self) -> None:
        """Smaller and larger batches, in the ways that are near the best one."""
        best: dict[str, int] = {}
        for name, size in self.near(CLEARLY_SLOWER):
            best.setdefault(name, size)
        for name, size in best.items():
            for factor in (0.5, 2.0):
                self.climb(name, size, factor)

    def climb(self, name: str, size: int, factor: float) -> None:
        """Halve the batch while that costs little; double it for as long as it helps."""
        while True:
            best = min(min(times) for (way, _), times in self.times.items() if way == name)
            size = round(size * factor)
            if not SMALLEST <= size <= min(self.rows, LARGEST):
                return
            if size * best > QUESTION * self.left:
                return  # one question must not use up the time for all of them
            bound = best / HELPS if factor > 1 else best * SLOWER
            for _ in range(2):  # the first time something else may have come between
                self.again((name, size))
                if min(self.times.get((name, size), [math.inf])) <= bound:
                    break
            else:
                return

    def repeat(self) -> None:
        """Those in front, in turn, until one round after the other says the same."""
        for _ in range(ROUNDS - 1):
            front = self.near(SLOWER)
            for setting in front if len(front) > 1 else ():
                self.again(setting)

    def found(self) -> Pace:
        """The fastest: of those in front, the one whose rounds were fastest in the middle."""
        rates = {one: 1 / statistics.median(times) for one, times in self.times.items()}
        name, size = max(self.near(SLOWER), key=rates.__getitem__)
        tried = {f"{way}, {count}": rate for (way, count), rate in rates.items()}
        return Pace(name, size, tried, self.refused, self.kl[name])


def _divergence(teacher: Tensor, other: Tensor, temperature: float) -> float:
    """The mean over the rows of KL(teacher || other), nats."""
    p, q = ((logits.double() / temperature).log_softmax(dim=1) for logits in (teacher, other))
    return float((p.exp() * (p - q)).sum(dim=1).mean())


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:160]
