"""Several processes of one run (`torchrun`, `accelerate launch`), and what they tell each other."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from attar.checks import AttarError, need

T = TypeVar("T")

#: Where the common launchers say how many processes there are.
_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")

#: How long one process may do alone what the others wait for: a teacher may take its time. Where
#: a process dies, its launcher ends the others.
_PATIENCE = timedelta(days=30)


class Processes:
    """The processes of this run. Where there is one, nothing here does or costs anything.

    Every method but :meth:`first` must be called by all processes, in the same order: they meet
    in it.

    Args:
        accelerator: An ``accelerate.Accelerator`` that knows them; where a launcher has started
            several processes, one is made without it.

    Example:
        >>> alone = Processes()
        >>> alone.count, alone.main, alone.from_main("a word")
        (1, True, 'a word')
    """

    def __init__(self, accelerator: Any = None) -> None:
        if accelerator is None and _launched():
            accelerator = make_accelerator()
        self.count: int = 1 if accelerator is None else accelerator.num_processes
        self.index: int = 0 if accelerator is None else accelerator.process_index
        self._waiting: Any = None

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files."""
        return self.index == 0

    def sum(self, value: Tensor) -> Tensor:
        """The sum over the processes; on the device of ``value``, without waiting for it."""
        if self.count == 1:
            return value
        total = value.detach().clone()
        distributed.all_reduce(total)
        return total

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the processes, as :meth:`sum`."""
        return value if self.count == 1 else self.sum(value) / self.count

    def same_everywhere(self, values: list[Tensor]) -> None:
        """Overwrite these tensors with those of the main process."""
        if self.count > 1:
            for value in values:
                distributed.broadcast(value, src=0)

    def from_main(self, value: T) -> T:
        """What the main process gave, however long it takes to come here."""
        if self.count == 1:
            return value
        held = [value if self.main else None]
        distributed.broadcast_object_list(held, src=0, group=self._patient())
        return held[0]  # type: ignore[return-value]  # the main process's, which is a T

    def gather(self, value: T) -> list[T]:
        """What each process gave, in their order."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        distributed.all_gather_object(found, value, group=self._patient())
        return found

    def first(self, make: Callable[[], T]) -> T | None:
        """Let the main process do something that the others wait for.

        Returns:
            What it made; None in the other processes (:meth:`from_main` sends it to them).

        Raises:
            AttarError: In every process if it failed in the main one.
        """
        if self.count == 1:
            return make()
        made, failure = None, None
        if self.main:
            try:
                made = make()
            except Exception as error:
                failure = error
        reason = self.from_main(None if failure is None else f"{type(failure).__name__}: {failure}")
        if failure is not None:
            raise failure
        if reason is not None:
            raise AttarError(f"The main process stopped ({reason}).")
        return made

    def _patient(self) -> Any:
        """A group of all processes in which waiting for the others is no error."""
        if self._waiting is None:
            self._waiting = distributed.new_group(backend="gloo", timeout=_PATIENCE)
        return self._waiting


def make_accelerator() -> Any:
    """A plain ``accelerate.Accelerator`` that knows of all processes, also without a GPU."""
    accelerate = need("accelerate", extra="train", purpose="Training")
    # Left to itself on a machine without GPUs, it takes each process of torchrun for the only
    # one: all would train the whole, and write to the same files.
    on_cpu = _launched() and not torch.accelerator.is_available()
    return accelerate.Accelerator(cpu=True) if on_cpu else accelerate.Accelerator()


def _launched() -> bool:
    """Whether a launcher says that there are several processes."""
    return any(int(os.environ.get(name) or 1) > 1 for name in _SIZES)


def seed_of(seed: int, process: int) -> int:
    """The seed of a process: the run's own in the first, others in the others.

    The rows of a batch that two processes share must not be dropped out alike.
    """
    if process == 0:
        return seed
    generator = torch.Generator().manual_seed(seed)
    return int(torch.randint(2**31, (process,), generator=generator)[-1])
