"""Indices come back as they were, in the bytes that were promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.store import packed


@pytest.mark.parametrize(
    ("classes", "bytes_for_16"),
    [(10, 32), (65_536, 32), (65_537, 34), (131_072, 34), (131_073, 36), (151_936, 36),
     (2**20, 40), (2**24, 48), (2**24 + 1, 64), (2**32, 64)],
)  # fmt: skip
def test_bytes_of_sixteen_indices(classes, bytes_for_16):
    assert np.dtype(packed.fields(classes, 16)).itemsize == bytes_for_16


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_is_packed_comes_back(data):
    classes = data.draw(st.one_of(st.integers(2, 2**18), st.integers(2, 2**32)))
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=2)))
    rows = data.draw(st.integers(0, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    indices = rng.integers(classes, size=(rows, *shape))
    if indices.size:
        indices.flat[0], indices.flat[-1] = 0, classes - 1
    records = np.zeros(rows, dtype=packed.fields(classes, *shape))
    packed.pack(indices, records, classes)
    found = packed.unpack(records, classes)
    assert found.dtype == np.int64
    assert np.array_equal(found, indices)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 2**32), st.binary(min_size=640, max_size=640))
def test_any_bytes_give_indices_of_the_right_number_of_bits(classes, raw):
    dtype = np.dtype(packed.fields(classes, 5))
    records = np.frombuffer(raw[: 10 * dtype.itemsize], dtype=dtype)
    found = packed.unpack(records, classes)
    assert found.shape == (10, 5)
    assert found.min() >= 0
    assert found.max() < 2 ** (16 + packed.high_bits(classes))
