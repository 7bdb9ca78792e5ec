from __future__ import annotations

import pytest

from attar.budget import Budget, Costs, say
from attar.checks import AttarError


@pytest.mark.parametrize(
    ("words", "limits"),
    [
        ("latency=200us", {"latency_ms": 0.2}),
        ("latency = 1.5ms", {"latency_ms": 1.5}),
        ("latency=2s", {"latency_ms": 2000.0}),
        ("latency=200µs", {"latency_ms": 0.2}),
        ("size=100kB", {"bytes": 100_000}),
        ("size=1MiB", {"bytes": 2**20}),
        ("size=512", {"bytes": 512}),
        ("params=20000", {"parameters": 20_000}),
        ("parameters=2e4", {"parameters": 20_000}),
        ("macs=1.25M", {"macs": 1_250_000}),
        (["macs=1M", "size=2kB, latency=1ms"], {"bytes": 2000, "macs": 10**6, "latency_ms": 1.0}),
        (None, {}),
    ],
)
def test_words_become_limits(words, limits):
    assert Budget.of(words).limits == pytest.approx(limits)
    assert Budget.of(Budget.of(words)) == Budget.of(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("latency=200", "unit of latency must be one of us, µs, ms, s. Got none"),
        ("size=10us", "unit of size must be one of B, kB"),
        ("speed=3", "words such as latency=200us, .* Got 'speed=3'"),
        ("latency", "Got 'latency'"),
        ("latency=-2ms", "Got 'latency=-2ms'"),
        ("size=0kB", "above 0 and finite"),
        ("params=0.5", "budget of params must be at least 1. Got 'params=0.5'"),
        ("size=1kB, macs=0.001", "budget of macs must be at least 1. Got 'macs=0.001'"),
        ("", "words such as"),
        ("params=1,params=2", "each cost once"),
        (20_000, "words such as"),
        ({"latency": 3}, "words such as"),
    ],
)
def test_other_words_are_refused_with_the_forms_there_are(words, message):
    with pytest.raises(AttarError, match=message):
        Budget.of(words)


def test_a_limit_is_met_up_to_itself_and_what_is_not_known_breaks_none():
    budget = Budget.of("params=100,latency=1ms")
    assert budget.broken(Costs(parameters=100, latency_ms=1.0)) == {}
    assert budget.broken(Costs(parameters=101)) == {"parameters": 1.01}
    assert budget.broken(Costs(latency_ms=1.2), slack={"latency_ms": 1.25}) == {}
    assert set(
        budget.broken(Costs(parameters=200, latency_ms=1.3), slack={"latency_ms": 1.25})
    ) == {
        "parameters",
        "latency_ms",
    }


def test_costs_are_said_with_three_digits():
    assert [say("bytes", n) for n in (999, 999_600, 10**9)] == ["999 B", "1 MB", "1 GB"]
    assert [say("latency_ms", ms) for ms in (0.9996, 1, 1234.5)] == ["1 ms", "1 ms", "1,234 ms"]
