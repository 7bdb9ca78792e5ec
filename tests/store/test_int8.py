"""One byte a logit: within half a step, whatever the row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.checks import AttarError
from attar.store.int8 import Int8


@settings(max_examples=100, deadline=None)
@given(
    st.integers(2, 30),
    st.integers(0, 5),
    st.integers(0, 999),
    st.sampled_from([0.0, 1e-30, 1.0, 1e4, 1e38]),
    st.sampled_from([0.0, -50.0, 1e6]),
)
def test_every_logit_comes_back_within_half_a_step(classes, rows, seed, scale, offset):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.rand(rows, classes, generator=generator) + offset
    encoding = Int8(classes)
    records = encoding.encode(logits, torch.arange(rows))
    assert records.dtype.itemsize == classes + 8
    found = encoding.decode(records)
    assert found.dtype == torch.float32
    step = (logits.amax(1, keepdim=True) - logits.amin(1, keepdim=True)) / 255 if rows else logits
    rounding = 4 * np.finfo(np.float32).eps * logits.abs()
    assert ((found - logits).abs() <= 0.5001 * step + rounding).all()
    assert torch.equal(encoding.dense(records), found)


def test_the_whole_range_of_float32():
    logits = torch.tensor([[-3e38, 0.0, 3e38]])
    found = Int8(3).decode(Int8(3).encode(logits, torch.arange(1)))
    assert found.isfinite().all()
    assert (found - logits).abs().max() <= 6e38 / 255


def test_a_description_comes_back():
    assert Int8.from_json(Int8(7).to_json(), 7) == Int8(7)
    with pytest.raises(AttarError, match="int8 has no parameters"):
        Int8.from_json({"name": "int8", "k": 3}, 7)
