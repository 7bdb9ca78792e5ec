"""Records of the k best and of draws: exact where they claim it, small, and safe to read."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attar.checks import AttarError
from attar.losses import kl
from attar.store import packed
from attar.store.sparse import Sampled, TopK
from attar.types import SampledTargets, TopKTargets


def draw(rows: int, classes: int, *, seed: int = 0, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("encoding", "size"),
    [
        (TopK(16, 151_936), 72),
        (TopK(16, 151_936, (1.0, 2.0, 4.0)), 80),
        (TopK(16, 1000), 68),
        (TopK(16, 1000, (1.0,), "float32"), 100),
        (Sampled(16, 151_936), 40),
        (Sampled(12, 1000, (1.0, 2.0)), 56),
    ],
)
def test_bytes_a_row(encoding, size):
    assert encoding.record.itemsize == size
    assert len(encoding.encode(draw(3, encoding.classes), torch.arange(3)).tobytes()) == 3 * size
    for name in encoding.record.names:
        assert encoding.record[name].base.byteorder in "<|="


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_k_best_come_back(data):
    classes = data.draw(st.one_of(st.integers(2, 40), st.sampled_from([1000, 70_000, 140_000])))
    k = data.draw(st.integers(1, min(classes, 20)))
    temperatures = tuple(
        sorted(data.draw(st.sets(st.sampled_from([0.5, 1.0, 2.0, 8.0]), min_size=1)))
    )
    values = data.draw(st.sampled_from(["float16", "float32"]))
    scale = data.draw(st.sampled_from([0.0, 0.1, 3.0, 30.0]))
    logits = draw(3, classes, seed=data.draw(st.integers(0, 999)), scale=scale) + 100.0
    encoding = TopK(k, classes, temperatures, values)
    targets = encoding.decode(encoding.encode(logits, torch.arange(3)))
    exact = TopKTargets.of(logits.double(), k, temperatures=temperatures)
    assert torch.equal(targets.indices, exact.indices)
    for temperature in temperatures:
        kept, truth = targets.at(temperature), exact.at(temperature)
        # p log(1/p) T / 2048 / T, at most 1 / (2048 e), for float16; and float32 sums.
        limit = 2.0e-4 if values == "float16" else 3e-6
        assert (kept.probabilities - truth.probabilities).abs().max() <= limit
        total = kept.probabilities.sum(dim=1)
        if kept.rest is not None:
            assert (kept.rest - truth.rest).abs().max() <= k * limit
            total = total + kept.rest
        torch.testing.assert_close(total, torch.ones(3), rtol=0, atol=2e-6)


def test_float32_records_give_the_loss_of_the_targets_themselves():
    student, teacher = draw(20, 3000), draw(20, 3000, seed=1)
    encoding = TopK(8, 3000, (1.0, 4.0), "float32")
    stored = encoding.decode(encoding.encode(teacher, torch.arange(20)))
    kept = TopKTargets.of(teacher, 8, temperatures=[1.0, 4.0])
    for temperature in (1.0, 4.0):
        torch.testing.assert_close(
            kl(student, stored, temperature=temperature),
            kl(student, kept, temperature=temperature),
            rtol=1e-4,
            atol=1e-5,
        )


def test_records_do_not_hang_on_the_batch_that_they_were_made_in(monkeypatch):
    logits, ids = draw(30, 500), torch.arange(30)
    for encoding in (TopK(5, 500, (1.0, 2.0)), Sampled(7, 500, (1.0, 2.0), seed=3)):
        monkeypatch.setattr("attar.store.sparse._BLOCK", 2**22)
        whole = encoding.encode(logits, ids).tobytes()
        rows = [encoding.encode(logits[i : i + 1], ids[i : i + 1]).tobytes() for i in range(30)]
        monkeypatch.setattr("attar.store.sparse._BLOCK", 1500)
        assert b"".join(rows) == whole == encoding.encode(logits, ids).tobytes()


def test_draws_come_back():
    logits, ids = draw(9, 70_000), torch.arange(9) + 2**40
    encoding = Sampled(6, 70_000, (1.0, 3.0), seed=8)
    targets = encoding.decode(encoding.encode(logits, ids))
    expected = SampledTargets.of(logits, ids, 6, temperatures=[1.0, 3.0], seed=8)
    assert torch.equal(targets.indices, expected.indices)
    assert torch.equal(targets.entropy, expected.entropy)


def test_what_float16_cannot_hold_is_named():
    logits = torch.tensor([[0.0, -1.0, -2.0], [0.0, -1.0, -7e4]])
    with pytest.raises(
        AttarError, match=r"up to 65504, and id 41 has one of 70000.*dtype='float32'"
    ):
        TopK(3, 3).encode(logits, torch.tensor([40, 41]))
    TopK(2, 3).encode(logits, torch.tensor([40, 41]))  # it is not among the two best
    TopK(3, 3, (1.0,), "float32").encode(logits, torch.tensor([40, 41]))
    # Far from 0 is no matter: the distances are kept.
    assert TopK(2, 3).encode(logits + 1e6, torch.arange(2))["values"].tolist() == [[0.0, -1.0]] * 2


def test_the_dense_view():
    logits = draw(4, 30)
    view = TopK(30, 30, (1.0,), "float32")
    dense = view.dense(view.encode(logits, torch.arange(4)))
    torch.testing.assert_close(dense.softmax(dim=1), logits.softmax(dim=1))
    for temperatures, first in (((0.5, 1.0, 4.0), 1.0), ((2.0, 4.0), 2.0)):
        encoding = TopK(4, 30, temperatures)
        records = encoding.encode(logits, torch.arange(4))
        torch.testing.assert_close(
            encoding.dense(records), encoding.decode(records).dense(first), rtol=0, atol=0
        )
    sampled = Sampled(4, 30)
    with pytest.raises(AttarError, match=r"sampled targets have no dense view.*with kl"):
        sampled.dense(sampled.encode(logits, torch.arange(4)))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 200_000), st.binary(min_size=4000, max_size=4000))
def test_hostile_records_name_no_class_that_is_not_there(classes, raw):
    for encoding in (TopK(min(classes, 7), classes, (1.0, 2.0)), Sampled(7, classes, (1.0, 2.0))):
        records = np.frombuffer(raw[: 20 * encoding.record.itemsize], dtype=encoding.record)
        named = packed.unpack(records, classes)
        if int(named.max()) < classes:
            assert torch.equal(encoding.decode(records).indices, torch.from_numpy(named))
        else:
            with pytest.raises(AttarError, match=rf"names class \d+, and there are {classes}\."):
                encoding.decode(records)


@pytest.mark.parametrize(
    "encoding", [TopK(3, 50, (1.0, 4.0), "float32"), Sampled(3, 50, (2.0,), 9)]
)
def test_a_description_comes_back(encoding):
    raw = encoding.to_json()
    assert type(encoding).from_json(raw, 50) == encoding
    assert "classes" not in raw
    hostile = [0, -1, 2**70, 1.5, True, None, "3", [], [1.0, 1.0], [4.0, 1.0], [0.0], [math.nan],
               [math.inf], ["1"], [True], [1.0] * 100, {}]  # fmt: skip
    for field in raw.keys() - {"name"}:
        for value in hostile:
            if field == "seed" and value == 0:
                continue
            with pytest.raises(AttarError):
                type(encoding).from_json({**raw, field: value}, 50)
        with pytest.raises(AttarError, match="not one that attar writes"):
            type(encoding).from_json({k: v for k, v in raw.items() if k != field}, 50)
    with pytest.raises(AttarError, match="not one that attar writes"):
        type(encoding).from_json({**raw, "more": 1}, 50)


def test_wrong_numbers_are_named():
    with pytest.raises(AttarError, match=r"'top_k' parameter of label .*\[1, 10\].*Got 11"):
        TopK(11, 10)
    with pytest.raises(AttarError, match=r"'sample' parameter of label .*Got 0"):
        Sampled(0, 10)
    with pytest.raises(AttarError, match=r"in rising order. Got \[2.0, 1.0\]"):
        TopK(1, 10, (2.0, 1.0))
    with pytest.raises(AttarError, match=r"float16 or float32. Got 'int4'"):
        TopK(1, 10, (1.0,), "int4")
