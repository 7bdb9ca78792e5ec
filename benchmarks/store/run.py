"""How fast soft targets come back from the disk, and what it takes to open ten million of them.

    python benchmarks/store/run.py

Shuffled reads in batches of 256, on one core, of 500,000 rows: all logits of 100 classes, and
the best 16 of 1,000. Attar's store, as float32 and as float16, once all blocks are checked and in
the first epoch of a newly opened store, where each block is compared with its checksum; one
``torch.save`` file a sample; and records that are found by a seek and a read. All give a batch of
tensors with the same numbers. The ways take turns, in an order that rotates; a ratio is the
median over the rounds, with its 10th and 90th percentile. All files are in the system's memory
for all of them. One file a sample would be 500,000 files: it has a part of the rows, which can
only help it.

Then a store of ten million rows of 100 logits is opened, in a process of its own each time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
import record
from store.opening import NUMBERS
from store.peers import OneFileEach, SeekAndRead

from attar import Batch, Outputs
from attar.data import ArrayData
from attar.store import Store, label

RESULTS = Path(__file__).with_name("results.json")
SEED, BATCH = 0, 256
#: How each store keeps its rows: classes, and what label is told.
KEPT: dict[str, tuple[int, dict[str, Any]]] = {
    "c100_half": (100, {"dtype": "float16"}),
    "c100_single": (100, {"dtype": "float32"}),
    "k16": (1000, {"top_k": 16}),
}

#: Rows a second that a store must reach, as float32 and as float16; times faster than the peers.
GOALS = {"float32": 3e6, "float16": 10e6, "file_each": 200.0, "seek": 20.0}


def answers(classes: int) -> Callable[[Batch], Outputs]:
    """A teacher that looks up one of 4,096 rows: asking it costs next to nothing."""
    generator = torch.Generator().manual_seed(SEED)
    table = 3.0 * torch.randn(4096, classes, generator=generator)

    def teacher(batch: Batch) -> Outputs:
        return Outputs(table[batch.ids * 2_654_435_761 % 4096])

    return teacher


def make(folder: Path, kind: str, rows: Tensor) -> Store:
    """Label these row numbers."""
    classes, how = KEPT[kind]
    data = ArrayData(torch.zeros(len(rows), 1), None, rows=rows)
    return label(answers(classes), data, folder, batch_size=4096, **how)


def records_of(store: Store) -> np.ndarray[Any, Any]:
    """All records of a store of one layer, in order."""
    layer = store.layers[0]
    places, lacking = layer.flat(layer.ids())
    assert lacking is None
    return layer.records(places)


class Way:
    """One way to read, and the batches that it is asked for: shuffled, epoch after epoch.

    Args:
        read: From ids to a batch.
        rows: How many rows it has.
        block: Rows of a turn.
        fresh: Makes ``read`` anew before each turn, which counts.
    """

    def __init__(
        self,
        read: Callable[[Tensor], Any] | None,
        rows: int,
        block: int,
        fresh: Callable[[], Callable[[Tensor], Any]] | None = None,
    ) -> None:
        self.read, self.fresh, self.rows = read, fresh, rows
        self.batches = -(-min(block, rows) // BATCH)
        self._ids = self._epochs()

    def _epochs(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(SEED)
        while True:
            yield from torch.randperm(self.rows, generator=generator).split(BATCH)

    def turn(self) -> float:
        """Rows a second."""
        batches = [next(self._ids) for _ in range(self.batches)]
        began = time.perf_counter()
        read = self.fresh() if self.fresh else self.read
        assert read is not None
        for ids in batches:
            read(ids)
        return sum(map(len, batches)) / (time.perf_counter() - began)


def ways(folder: Path, kind: str, rows: int, files: int) -> tuple[dict[str, Way], int]:
    """By name, and the bytes of a record."""
    path = folder / kind
    store = make(path, kind, torch.arange(rows))
    records = records_of(store)
    float16 = torch.float16
    found = {
        "as_float32": Way(store.targets, rows, rows),
        "first_as_float32": Way(None, rows, rows, lambda: Store.open(path).targets),
    }
    if kind != "c100_single":
        found["as_float16"] = Way(lambda ids: store.targets(ids, dtype=float16), rows, rows)
        each = OneFileEach(folder / f"{kind}_each")
        each.write(records, range(files))
        seek = SeekAndRead(folder / f"{kind}_seek", records.dtype)
        seek.write(records)
        for read in (each, seek):
            check(store, read, files)
        found["file_each"] = Way(each, files, files // 4)
        found["seek"] = Way(seek, rows, rows // 10)
    return found, records.dtype.itemsize


def check(store: Store, read: Callable[[Tensor], dict[str, Tensor]], rows: int) -> None:
    """Raise unless a peer gives what the store gives."""
    ids = torch.randperm(rows, generator=torch.Generator().manual_seed(SEED))[:BATCH]
    theirs, ours = read(ids), store.targets(ids)
    if not isinstance(ours, Tensor):
        assert torch.equal(theirs["low"], ours.indices)
        assert torch.equal(theirs["values"], ours.logits)
    else:
        assert torch.equal(theirs["logits"], ours)


def reads(kind: str, arms: dict[str, Way], rounds: int) -> list[dict[str, Any]]:
    """Rows a second of each way, round by round."""
    for way in arms.values():  # what is only paid once: a first epoch, keys, open files
        way.turn()
    names, table = list(arms), []
    for number in range(rounds):
        turn = number % len(names)
        speeds = {name: arms[name].turn() for name in names[turn:] + names[:turn]}
        table.append({"kind": kind, "round": number, **{name: speeds[name] for name in names}})
    return table


def figures_of(kind: str, table: list[dict[str, Any]], size: int) -> dict[str, float]:
    """Rows and bytes a second, and the store's speed over that of its peers."""
    names = [name for name in table[0] if name not in ("kind", "round")]
    speeds = {name: np.array([row[name] for row in table]) for name in names}
    figures: dict[str, float] = {f"{kind}_bytes_a_row": size}
    for name, speed in speeds.items():
        figures |= record.middle(speed, f"{kind}_{name}_rows_a_second")
        figures[f"{kind}_{name}_megabytes_a_second"] = float(np.median(speed)) * size / 1e6
    for peer in ("file_each", "seek"):
        for ours in ("as_float32", "first_as_float32"):
            if peer in speeds:
                ratio = speeds[ours] / speeds[peer]
                figures |= record.middle(ratio, f"{kind}_{ours}_over_{peer}")
    return figures


def opening(folder: Path, rows: int, rounds: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """A row for each opening, and figures."""
    script = str(Path(__file__).with_name("opening.py"))
    table: list[dict[str, Any]] = []
    figures: dict[str, float] = {"rows": rows}
    for kind, numbers in NUMBERS.items():
        path = folder / f"large_{kind}"
        make(path, "c100_half", numbers(torch.arange(rows)))
        for number in range(rounds):
            command = [sys.executable, script, str(path), kind]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            table.append({"rows_are": kind, "round": number, **json.loads(done.stdout)})
        mine = [row for row in table if row["rows_are"] == kind]
        for name in mine[0]:
            if name.endswith(("_ms", "_mb")):
                figures[f"{kind}_{name}"] = float(np.median([row[name] for row in mine]))
                figures[f"{kind}_{name}_max"] = max(row[name] for row in mine)
    return table, figures


def show(figures: dict[str, float]) -> None:
    """Lines of text."""
    for name, value in figures.items():
        if not name.endswith(("_p10", "_p90", "_max")):
            print(f"  {name:48} {value:,.4g}" if value < 1e5 else f"  {name:48} {value:,.0f}")


def main() -> None:
    """Measure, print, write results.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--files", type=int, default=20_000, help="of one file a sample")
    parser.add_argument("--large", type=int, default=10_000_000, help="rows of the large store")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="for the stores: 6 GB; else a temporary one")
    parser.add_argument("--quick", action="store_true", help="small, two rounds, nothing written")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.quick:
        arguments.rows, arguments.files, arguments.large = 20_000, 512, 100_000
        arguments.rounds = 2
    table: list[dict[str, Any]] = []
    figures: dict[str, float] = {f"goal_{name}": value for name, value in GOALS.items()}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as base:
        for kind in KEPT:
            arms, size = ways(Path(base), kind, arguments.rows, arguments.files)
            measured = reads(kind, arms, arguments.rounds)
            found = figures_of(kind, measured, size)
            show(found)
            table, figures = table + measured, figures | found
        opened = opening(Path(base), arguments.large, min(arguments.rounds, 7))
        show(opened[1])
    if not arguments.quick:
        RESULTS.unlink(missing_ok=True)  # one run, whole: ratios of two runs do not compare
        record.write(
            {"reads": (table, figures), "opening": opened},
            command=" ".join(["python benchmarks/store/run.py", *sys.argv[1:]]),
            seeds={"rows": SEED},
            path=RESULTS,
            threads=1,
        )


if __name__ == "__main__":
    main()
