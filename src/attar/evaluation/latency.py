"""How long one answer takes: medians and tails, the models timed in turn in one run.

Two runs on one machine can differ by more than two models do: the clock changes, a neighbour
wakes up. So what is to be compared is timed in turn, and all of it sees the same minutes.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError, check_number

#: Rows a call: one answer at a time, and a modest batch.
BATCHES = (1, 64)

# Each is timed in this many turns, the others in between: enough to spread a slow minute over
# all, few enough that a model finds its weights in the cache as it does in production.
_TURNS = 10


@dataclass(frozen=True)
class Timing:
    """The spread of the time of one call.

    Attributes:
        p50_ms: Median, in milliseconds.
        p99_ms: 99th percentile, in milliseconds; under 100 repetitions nearly the largest.
        repetitions: Timed calls.
        p90_ms: 90th percentile, in milliseconds.
        mean_ms: Mean, in milliseconds; a single slow call can move it.
    """

    p50_ms: float
    p99_ms: float
    repetitions: int
    p90_ms: float
    mean_ms: float

    @classmethod
    def of(cls, nanoseconds: Any) -> Timing:
        """From the time of each call, in nanoseconds.

        >>> Timing.of([1_000_000, 2_000_000, 3_000_000]).p50_ms
        2.0
        """
        p50, p90, p99 = (np.percentile(nanoseconds, [50, 90, 99]) / 1e6).tolist()
        return cls(p50, p99, len(nanoseconds), p90, float(np.mean(nanoseconds)) / 1e6)

    def to_dict(self) -> dict[str, float | int]:
        """Ready for JSON."""
        return {
            "p50_ms": self.p50_ms,
            "p90_ms": self.p90_ms,
            "p99_ms": self.p99_ms,
            "mean_ms": self.mean_ms,
            "repetitions": self.repetitions,
        }


@dataclass(frozen=True)
class Latency:
    """The time of one call by the number of its rows.

    Attributes:
        batches: Rows a call to :class:`Timing`.
    """

    batches: Mapping[int, Timing]

    def to_dict(self) -> dict[str, dict[str, float | int]]:
        """Ready for JSON; the batch sizes become strings."""
        return {str(rows): timing.to_dict() for rows, timing in self.batches.items()}


def latency(
    predict: Callable[[Any], object],
    inputs_by_batch: Mapping[int, Any],
    *,
    seconds: float = 0.3,
    repetitions: int = 50,
) -> Latency:
    """Time one model on batches of several sizes.

    Args:
        predict: Called with one value of ``inputs_by_batch``; it must return when the answer is
            there (on an accelerator: copy it to the host inside).
        inputs_by_batch: Rows a call to the input of that call; :func:`first_rows` makes it.
        seconds: Timed for about this long a batch size.
        repetitions: Timed calls at least, also where that takes longer.

    Raises:
        AttarError: If ``inputs_by_batch`` is empty or a number is out of range.

    >>> timed = latency(lambda x: x @ x.T, first_rows(np.ones((1, 8))), seconds=0.01)
    >>> sorted(timed.batches), timed.batches[1].repetitions >= 50
    ([1, 64], True)
    """
    alone = latencies({"": predict}, inputs_by_batch, seconds=seconds, repetitions=repetitions)
    return alone[""]


def latencies(
    predictors: Mapping[str, Callable[[Any], object]],
    inputs_by_batch: Mapping[int, Any],
    *,
    seconds: float = 0.3,
    repetitions: int = 50,
) -> dict[str, Latency]:
    """Time several models on the same batches, in turn; see :func:`latency`."""
    if not inputs_by_batch:
        raise AttarError(
            "latency: inputs_by_batch must hold at least one batch size and its inputs. Got none; "
            "first_rows(inputs) makes batches of 1 and 64."
        )
    found: dict[str, dict[int, Timing]] = {name: {} for name in predictors}
    for rows, inputs in inputs_by_batch.items():
        calls = {name: _bind(predict, inputs) for name, predict in predictors.items()}
        timings = interleaved(calls, seconds=seconds, repetitions=repetitions)
        for name, timing in timings.items():
            found[name][rows] = timing
    return {name: Latency(batches) for name, batches in found.items()}


def interleaved(
    calls: Mapping[str, Callable[[], object]], *, seconds: float = 0.3, repetitions: int = 50
) -> dict[str, Timing]:
    """Time calls without arguments in turn: the spread of each, see :func:`call_times`.

    >>> calls = {"student": lambda: sum(range(10)), "teacher": lambda: sum(range(1000))}
    >>> timings = interleaved(calls, seconds=0.0, repetitions=20)
    >>> timings["student"].repetitions, timings["teacher"].repetitions
    (20, 20)
    """
    times = call_times(calls, seconds=seconds, repetitions=repetitions)
    return {name: Timing.of(nanoseconds) for name, nanoseconds in times.items()}


def call_times(
    calls: Mapping[str, Callable[[], object]], *, seconds: float = 0.3, repetitions: int = 50
) -> dict[str, NDArray[np.int64]]:
    """Time calls without arguments in turn: the same minutes for each.

    Each turn starts with one call that is not timed, the first with as many as it takes for a
    fifth of ``seconds`` (compilers and caches want a few). Garbage collection is off while
    timing, so a pause of the collector counts for none of them.

    Args:
        calls: Name to what is timed.
        seconds: Timed for about this long each, over all turns.
        repetitions: Timed calls at least, each.

    Returns:
        Name to the nanoseconds of each call, in their order.

    Raises:
        AttarError: If ``calls`` is empty or a number is out of range.
    """
    check_number("latency", "seconds", seconds, low=0)
    check_number("latency", "repetitions", repetitions, low=1, whole=True)
    if not calls:
        raise AttarError("latency: there must be at least one call to time. Got none.")
    for call in calls.values():
        _repeat(call, seconds=seconds / 5, least=2)
    times: dict[str, list[int]] = {name: [] for name in calls}
    least = -(-repetitions // _TURNS)
    with _no_collection():
        for _ in range(_TURNS):
            for name, call in calls.items():
                call()
                times[name] += _repeat(call, seconds=seconds / _TURNS, least=least)
    return {name: np.array(nanoseconds) for name, nanoseconds in times.items()}


def first_rows(inputs: Any, batches: tuple[int, ...] = BATCHES) -> dict[int, Any]:
    """Rows a call -> the first rows of ``inputs``, from the start again where they run out.

    Args:
        inputs: A tensor or array ``[N, ...]``, N of 1 or more, or a mapping of these (text).
        batches: The batch sizes, each 1 or more.

    >>> first_rows(np.array([[5], [6]]), (1, 3))[3].tolist()
    [[5], [6], [5]]
    """
    for rows in batches:
        check_number("latency", "batches", rows, low=1, whole=True)
    if isinstance(inputs, Mapping):
        cut = {name: first_rows(value, batches) for name, value in inputs.items()}
        return {rows: {name: cut[name][rows] for name in cut} for rows in batches}
    if not len(inputs):
        raise AttarError("latency: inputs must have at least one row. Got none.")
    return {rows: inputs[np.arange(rows) % len(inputs)] for rows in batches}


def _bind(predict: Callable[[Any], object], inputs: Any) -> Callable[[], object]:
    return lambda: predict(inputs)


def _repeat(call: Callable[[], object], *, seconds: float, least: int) -> list[int]:
    """Call for so long and at least so often; nanoseconds of each call."""
    clock = time.perf_counter_ns
    end = clock() + int(seconds * 1e9)
    times: list[int] = []
    while len(times) < least or clock() < end:
        start = clock()
        call()
        times.append(clock() - start)
    return times


@contextmanager
def _no_collection() -> Iterator[None]:
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
