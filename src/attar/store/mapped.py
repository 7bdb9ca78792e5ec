"""Many files side by side in one stretch of memory, read from the disk as they are touched.

A store lies in many files, and its rows must come out of one gather. Mapping each file on its
own would mean a gather a file. So a stretch of addresses is reserved, and each file is mapped
into its place in it when it is first needed. The system does the rest: nothing is read before
it is touched, and what was read can be dropped from memory again.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: POSIX systems map a file at an address of one's choice; elsewhere files are read instead.
SIDE_BY_SIDE = sys.platform in ("linux", "darwin") and sys.maxsize > 2**32

#: Where a file may begin: a multiple of this many bytes.
GRAIN = mmap.ALLOCATIONGRANULARITY if SIDE_BY_SIDE else 1

_FIXED = 0x10  # MAP_FIXED, on both systems; Python's mmap has no such thing
_FAILED = ctypes.c_void_p(-1).value


class Stretch:
    """Reserved memory in which files appear.

    Args:
        size: Bytes. What no file covers reads as zeros and takes no memory.
    """

    def __init__(self, size: int) -> None:
        self._size = max(size, 1)
        if not SIDE_BY_SIDE:
            self.bytes: NDArray[np.uint8] = np.zeros(self._size, dtype=np.uint8)
            return
        self._libc = _libc()
        address = self._map(None, self._size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)
        self._address = address
        weakref.finalize(self, self._libc.munmap, address, self._size).atexit = False
        memory: Any = (ctypes.c_ubyte * self._size).from_address(address)
        self.bytes = np.frombuffer(memory, dtype=np.uint8)

    def show(self, path: Path, offset: int, length: int) -> None:
        """Let the first ``length`` bytes of a file appear at ``offset``, a multiple of GRAIN."""
        if not SIDE_BY_SIDE:
            with path.open("rb") as file:
                file.readinto(self.bytes[offset : offset + length].data)
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            self._map(self._address + offset, length, mmap.MAP_SHARED | _FIXED, descriptor)
        finally:
            os.close(descriptor)

    def _map(self, address: int | None, length: int, flags: int, descriptor: int) -> int:
        found = self._libc.mmap(address, length, mmap.PROT_READ, flags, descriptor, 0)
        if found == _FAILED or found is None:
            error = ctypes.get_errno()
            raise OSError(error, f"mmap of {length} bytes: {os.strerror(error)}")
        return int(found)


def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    ]
    libc.munmap.restype = ctypes.c_int
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc
