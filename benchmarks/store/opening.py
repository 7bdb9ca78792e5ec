"""What it takes to open a large store: time and memory, in a process of its own.

    python benchmarks/store/opening.py FOLDER range|split

prints one line of JSON: milliseconds, and the MB (10^6 bytes) that the process has beyond what it
had before. ``own`` is memory that the system cannot take back; ``resident`` counts the pages of
mapped files too, which it can.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from attar.store import Store

BATCH, BATCHES = 256, 400

#: From the place of a row to its number: all numbers, or four of five as in a training split.
NUMBERS: dict[str, Callable[[Tensor], Tensor]] = {
    "range": lambda places: places,
    "split": lambda places: places + places // 4 + 1,
}


def memory() -> dict[str, float]:
    """Of this process, as Linux counts it; nothing on other systems."""
    fields, status = {"VmRSS": "resident", "RssAnon": "own"}, Path("/proc/self/status")
    found: dict[str, float] = {}
    for line in status.read_text().splitlines() if status.exists() else []:
        name, _, value = line.partition(":")
        if name in fields:
            found[fields[name]] = int(value.split()[0]) * 1024 / 1e6
    return found


def measure(folder: str, numbers: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """Open it, read a batch, read many; after each, time and memory since the beginning."""
    before, row, generator = memory(), {}, torch.Generator().manual_seed(0)

    def note(step: str, began: float) -> None:
        row[f"{step}_ms"] = 1e3 * (time.perf_counter() - began)
        row.update({f"{step}_{name}_mb": value - before[name] for name, value in memory().items()})

    began = time.perf_counter()
    store = Store.open(folder)
    note("open", began)
    ids = numbers(torch.randint(len(store), (BATCHES * BATCH,), generator=generator))
    for step, some in (("batch", ids[:BATCH]), ("batches", ids)):
        began = time.perf_counter()
        for part in some.split(BATCH):
            store.logits(part)
        note(step, began)
    return row


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(measure(sys.argv[1], NUMBERS[sys.argv[2]])))
