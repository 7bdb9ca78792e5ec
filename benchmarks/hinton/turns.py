"""Several processes that make the same tables: what one is at, the others leave to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def turn(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a folder alone; gives False where another process holds it and nobody is to wait.

    The system gives the hold back when a process ends, however it ends. Where it has no such
    holds (Windows), one process is taken to be alone.
    """
    try:
        import fcntl
    except ImportError:
        yield True
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".turn").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def share_out(work: Sequence[T], do: Callable[[T, bool], object]) -> None:
    """Do each piece of work that no other process is at, then wait for those that others are at.

    Args:
        work: Pieces that are independent of each other.
        do: Does one, or finds it done; its second argument says whether to wait for another
            process that is at it.
    """
    for wait in (False, True):
        for piece in work:
            do(piece, wait)
