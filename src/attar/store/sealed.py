"""Files of equal records that notice a changed bit: the records, then a checksum a block.

A block is a fixed number of bytes (the last one of a file may be shorter), and its checksum is
the 64-bit XXH3 under a seed that names the file and the block. So a block that stands in a wrong
place is noticed like one that has changed. A block and its checksum vouch for each other: where
they disagree, the block is damaged, whichever of the two it was.

XXH3 finds accidents, not attacks: who can write to a store can write what he likes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

_WORD = 2**64
SUM: np.dtype[Any] = np.dtype("<u8")


def blocks(payload: int, block: int) -> int:
    """How many blocks of ``block`` bytes hold ``payload`` bytes."""
    return -(-payload // block)


def file_size(payload: int, block: int) -> int:
    """The size of the file, in bytes."""
    return payload + SUM.itemsize * blocks(payload, block)


def key(name: str) -> int:
    """The seed of the first block of the file of this name."""
    return xxhash.xxh3_64_intdigest(name.encode())


def checksum(data: Any, seed: int, index: int) -> int:
    """The checksum of one block; ``seed`` is the file's :func:`key`."""
    return xxhash.xxh3_64_intdigest(data, seed=(seed + index) % _WORD)


def checksums(payload: NDArray[np.uint8], block: int, name: str) -> NDArray[Any]:
    """The checksums of all blocks of a payload ``[bytes]``."""
    seed = key(name)
    starts = range(0, len(payload), block)
    sums = (checksum(payload[at : at + block].data, seed, i) for i, at in enumerate(starts))
    return np.fromiter(sums, dtype=SUM, count=len(starts))


def seal(payload: NDArray[np.uint8], block: int, name: str) -> list[memoryview]:
    """What the file holds, in pieces."""
    return [payload.data, checksums(payload, block, name).view(np.uint8).data]


def damaged(
    payload: NDArray[np.uint8],
    sums: NDArray[Any],
    block: int,
    name: str,
    which: Iterable[int] | None = None,
) -> list[int]:
    """The numbers of the blocks that are not what was written.

    Args:
        payload: All records of the file, as bytes.
        sums: The checksums at its end.
        block: Bytes of a block.
        name: What :func:`seal` was given.
        which: The blocks to look at; all if None.
    """
    seed = key(name)
    found = []
    for index in range(len(sums)) if which is None else which:
        data = payload[index * block : (index + 1) * block]
        if checksum(data.data, seed, index) != int(sums[index]):
            found.append(index)
    return found


def split_by_size(data: NDArray[np.uint8], block: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """The same, of a file whose length is all that is known."""
    return split(data, len(data) - SUM.itemsize * blocks(len(data), block + SUM.itemsize))


def split(data: NDArray[np.uint8], payload: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Payload and checksums of the bytes of a whole file."""
    return data[:payload], np.frombuffer(data[payload:].tobytes(), dtype=SUM)
