"""Class indices in as few bits as are read at no cost: 16, and the higher ones beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: No more classes than this: what an index of 32 bits holds.
MOST_CLASSES = 2**32

Fields = list[tuple[str, str, tuple[int, ...]]]


def high_bits(classes: int) -> int:
    """How many bits an index needs beside its lower 16: 0, 1, 2, 4, 8 or 16.

    >>> [high_bits(classes) for classes in (1000, 65_536, 65_537, 151_936, 10**6, 10**7, 10**9)]
    [0, 0, 1, 2, 4, 8, 16]
    """
    needed = max(0, (classes - 1).bit_length() - 16)
    return next(bits for bits in (0, 1, 2, 4, 8, 16) if bits >= needed)


def fields(classes: int, *shape: int) -> Fields:
    """The fields of a record that hold indices of this shape: ``low``, and ``high`` if needed.

    16 indices of 151,936 classes take 36 bytes: 16 times 16 bits, and 16 times 2.
    """
    bits = high_bits(classes)
    low = [("low", "<u2", shape)]
    return low if bits == 0 else [*low, ("high", "u1", (*shape[:-1], -(-shape[-1] * bits // 8)))]


def pack(indices: NDArray[np.int64], records: NDArray[Any], classes: int) -> None:
    """Write indices ``[B, ..., k]`` into the fields of the records."""
    records["low"] = indices & 0xFFFF
    bits = high_bits(classes)
    if bits == 0:
        return
    high = (indices >> 16).astype(np.uint32)
    if bits == 16:
        split = np.stack([high & 0xFF, high >> 8], axis=-1)
        records["high"] = split.reshape(records["high"].shape)
        return
    each = 8 // bits
    padded = np.zeros((*high.shape[:-1], records["high"].shape[-1] * each), dtype=np.uint32)
    padded[..., : high.shape[-1]] = high
    grouped = padded.reshape(*records["high"].shape, each)
    records["high"] = (grouped << (np.arange(each, dtype=np.uint32) * bits)).sum(axis=-1)


def unpack(records: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Indices ``[B, ..., k]`` out of the fields of the records."""
    low: NDArray[np.int64] = records["low"].astype(np.int64)
    bits = high_bits(classes)
    if bits == 0:
        return low
    stored = records["high"]
    if bits == 16:
        pairs = stored.reshape(*low.shape, 2).astype(np.int64)
        high = pairs[..., 0] | pairs[..., 1] << 8
    else:
        each = 8 // bits
        shifts = np.arange(each, dtype=np.uint8) * np.uint8(bits)
        spread = stored[..., None] >> shifts & np.uint8((1 << bits) - 1)
        whole = spread.reshape(*stored.shape[:-1], stored.shape[-1] * each)
        high = whole[..., : low.shape[-1]].astype(np.int64)
    low |= high << 16
    return low
