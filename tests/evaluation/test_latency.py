"""Latency: what is called, how often and in which order; no test asserts a time."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from attar import AttarError
from attar.evaluation import first_rows, interleaved, latencies, latency


def test_percentiles_are_those_of_the_calls(monkeypatch):
    # A clock by hand: call i of a hundred takes i microseconds.
    clock = {"now": 0, "call": 0}
    monkeypatch.setattr("time.perf_counter_ns", lambda: clock["now"])

    def call():
        clock["call"] += 1
        clock["now"] += 1000 * clock["call"]

    timing = interleaved({"one": call}, seconds=0.0, repetitions=100)["one"]
    calls = clock["call"]
    assert timing.repetitions == 100
    # Two calls first, and one before each of the ten turns, are not timed.
    assert calls == 100 + 2 + 10
    timed = [1 + 2 + 11 * turn + k for turn in range(10) for k in range(1, 11)]
    assert timing.p50_ms == pytest.approx(np.percentile(timed, 50) / 1000)
    assert timing.p99_ms == pytest.approx(np.percentile(timed, 99) / 1000)


def test_the_models_take_turns():
    order = []
    calls = {name: (lambda name=name: order.append(name)) for name in "ab"}
    interleaved(calls, seconds=0.0, repetitions=20)
    turns = [name for name, before in zip(order, [None, *order], strict=False) if name != before]
    assert "".join(turns) == "ab" * 11  # the warm-up and ten turns
    assert order.count("a") == order.count("b")


def test_repetitions_are_a_least_and_seconds_ask_for_more():
    assert interleaved({"x": lambda: None}, seconds=0.0, repetitions=7)["x"].repetitions == 10
    assert interleaved({"x": lambda: None}, seconds=0.05, repetitions=1)["x"].repetitions > 10


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_afterwards_as_before(enabled):
    seen = set()
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        interleaved({"x": lambda: seen.add(gc.isenabled())}, seconds=0.0, repetitions=10)
        assert gc.isenabled() is enabled
        assert False in seen
        with pytest.raises(ZeroDivisionError):
            interleaved({"x": fails_in_its_third_call()}, seconds=0.0)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()


def fails_in_its_third_call():
    left = iter([1, 1])
    return lambda: 1 / next(left, 0)


def test_each_batch_size_gets_its_own_inputs():
    seen = set()
    timed = latency(lambda x: seen.add(len(x)), first_rows(np.zeros((10, 3))), seconds=0.0)
    assert seen == {1, 64}
    assert sorted(timed.batches) == [1, 64]
    assert sorted(timed.to_dict()) == ["1", "64"]


def test_several_models_are_timed_on_the_same_batches():
    seen = []
    predictors = {"student": lambda x: seen.append(("student", x)), "teacher": lambda x: None}
    timed = latencies(predictors, {3: "abc"}, seconds=0.0, repetitions=10)
    assert sorted(timed) == ["student", "teacher"]
    assert timed["student"].batches[3].repetitions == 10
    assert set(seen) == {("student", "abc")}


def test_rows_start_again_where_they_run_out():
    rows = first_rows({"x": torch.arange(3), "y": np.arange(3)}, (1, 5))
    assert rows[1]["x"].tolist() == [0]
    assert rows[5]["x"].tolist() == [0, 1, 2, 0, 1]
    assert rows[5]["y"].tolist() == [0, 1, 2, 0, 1]


def test_broken_inputs_are_refused():
    with pytest.raises(AttarError, match="at least one call"):
        interleaved({})
    with pytest.raises(AttarError, match="'repetitions' parameter of latency"):
        interleaved({"x": int}, repetitions=0)
    with pytest.raises(AttarError, match="'seconds' parameter of latency"):
        interleaved({"x": int}, seconds=-1.0)
    with pytest.raises(AttarError, match="at least one batch size"):
        latency(len, {})
    with pytest.raises(AttarError, match="at least one row"):
        first_rows(np.zeros((0, 3)))
    with pytest.raises(AttarError, match="'batches' parameter of latency"):
        first_rows(np.zeros((3, 3)), (0,))
