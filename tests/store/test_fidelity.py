"""The divergence that a store costs is what a loop says, and the smallest k is the smallest."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from attar.store.fidelity import fidelity, nearest, smallest_k
from attar.store.int8 import Int8
from attar.store.sparse import Sampled, TopK


def draw(rows: int, classes: int, *, seed: int = 0, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


def softmax(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp((value - max(row)) / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def apart(row: list[float], k: int, temperature: float) -> float:
    """KL of the softmax to itself with all but the k best spread evenly."""
    p = sorted(softmax(row, temperature), reverse=True)
    even = sum(p[k:]) / max(1, len(p) - k)
    return sum(a * math.log(a / b) for a, b in zip(p, p[:k] + [even] * (len(p) - k), strict=True))


def test_the_measured_divergence_is_that_of_a_loop(monkeypatch):
    monkeypatch.setattr("attar.store.fidelity._BLOCK", 500)  # in several blocks
    logits = draw(60, 30)
    measured = fidelity(TopK(4, 30, (1.0, 3.0), "float32"), logits, torch.arange(60), [1.0, 3.0])
    assert measured["rows"] == 60
    for one in measured["kl"]:
        rows = sorted(apart(row, 4, one["temperature"]) for row in logits.double().tolist())
        assert one["mean"] == pytest.approx(sum(rows) / 60, rel=1e-4)
        assert one["max"] == pytest.approx(rows[-1], rel=1e-4)
        assert rows[-2] <= one["p99"] <= rows[-1]
    assert [one["temperature"] for one in measured["kl"]] == [1.0, 3.0]


def test_dense_records_are_measured_too_and_draws_have_no_divergence():
    logits, ids = draw(40, 30), torch.arange(40)
    coarse = fidelity(Int8(30), logits, ids, [1.0])["kl"][0]
    fine = fidelity(TopK(30, 30, (1.0,), "float32"), logits, ids, [1.0])["kl"][0]
    assert 1e-6 < coarse["mean"] < 1e-3
    assert fine["max"] < 1e-10
    assert fidelity(Sampled(4, 30), logits, ids, [1.0]) == {"rows": 40}


@pytest.mark.parametrize("bound", [0.3, 0.01, 1e-4])
@pytest.mark.parametrize("temperatures", [[1.0], [1.0, 4.0]])
def test_the_smallest_k_that_holds_the_bound(monkeypatch, bound, temperatures):
    monkeypatch.setattr("attar.store.fidelity._BLOCK", 500)
    logits = draw(20, 40)
    k = smallest_k(logits, temperatures, bound)

    def worst(k: int) -> float:
        rows = logits.double().tolist()
        return max(sum(apart(row, k, t) for row in rows) / 20 for t in temperatures)

    assert worst(k) <= bound
    assert k == 1 or worst(k - 1) > bound


def test_a_teacher_without_any_order_needs_one_class_and_one_without_end_all_but_one():
    assert smallest_k(torch.zeros(5, 30), [1.0], 1e-6) == 1
    assert smallest_k(draw(5, 30), [1.0], 0.0) >= 29


def test_the_smallest_record_within_the_bound_is_taken():
    logits, ids = draw(40, 1000, scale=2.0), torch.arange(40)
    candidates = [Int8(1000), TopK(16, 1000), TopK(400, 1000), TopK(1000, 1000, (1.0,), "float32")]
    encoding, measured = nearest(candidates, logits, ids, [1.0], max_kl=1.0)
    assert encoding == TopK(16, 1000)
    assert measured["kl"][0]["mean"] <= 1.0
    assert nearest(candidates, logits, ids, [1.0], max_kl=1e-3)[0] == Int8(1000)
    assert nearest(candidates, logits, ids, [1.0], max_kl=0.0) is None
