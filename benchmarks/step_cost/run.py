"""What a training step of Attar costs, against the same step written by hand.

    python benchmarks/step_cost/run.py

Attar's side is all of its loop: the order of the rows, the batch, the soft targets from a store
on the disk, the objective, the update, clipping, schedule, the record every 50 steps. The other
side is a plain PyTorch loop on tensors in memory (``plain.py``), in three forms: AdamW as one
writes it, AdamW with ``fused=True``, and the latter with the same clipping and schedule as ours.

All four take turns in one process, a block of steps each, in an order that rotates; a ratio is
the median over the rounds of (our block / their block), with its 10th and 90th percentile.
Goals: at most 1.05 times at 800 and 230 hidden units, 1.10 at 30.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain import Rows, Settings, make_student, plain

sys.path.insert(0, str(Path(__file__).parents[1]))
import record

from attar import Batch, Outputs
from attar.data import ArrayData, Batches
from attar.engine import Distiller, TrainConfig, train
from attar.losses import Objective, hard, kl, soft
from attar.store import Store, label
from attar.teachers import StoredTeacher

RESULTS = Path(__file__).with_name("results.json")
ROWS, SEED, LOG_EVERY = 10_000, 0, 50
GOALS = {800: 1.05, 230: 1.05, 30: 1.10}
#: Rounds, each with a block of every loop; small students are quick, and their ratios scatter.
ROUNDS = {800: 24, 230: 60, 30: 120}
#: Records in a block, so that a block of a small student is not over in a moment.
RECORDS = {800: 1, 230: 2, 30: 5}


def make_rows() -> Rows:
    """Ten blurred prototypes with noise, four fifths of the pixels dark, as in MNIST."""
    generator = torch.Generator().manual_seed(SEED)
    prototypes = torch.rand(10, 784, generator=generator)
    labels = torch.randint(10, (ROWS,), generator=generator)
    inputs = prototypes[labels] + 0.5 * torch.randn(ROWS, 784, generator=generator)
    inputs *= torch.rand(10, 784, generator=generator)[labels] < 0.2
    logits = 2 * torch.randn(ROWS, 10, generator=generator)
    logits[torch.arange(ROWS), labels] += 6
    return Rows(inputs, labels, logits)


def attar_loop(hidden: int, rows: Rows, store: Store, settings: Settings) -> Iterator[float]:
    """The loop that is measured."""
    distiller = Distiller(
        make_student(hidden),
        Objective([soft(kl, settings.alpha, temperature=4.0), hard(1 - settings.alpha)]),
        StoredTeacher(store),
    )
    config = TrainConfig(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        log_every=settings.log_every,
        max_gradient_norm=settings.max_gradient_norm,
    )
    batches = Batches(ArrayData(rows.inputs, rows.labels), settings.batch_size, seed=SEED)
    for one in train(distiller, batches, config):
        yield one.loss


def measure(hidden: int, rows: Rows, store: Store, rounds: int) -> list[dict[str, Any]]:
    """Microseconds a step of each loop, round by round."""
    records = RECORDS[hidden]
    settings = Settings(steps=(rounds + 1) * records * LOG_EVERY, log_every=LOG_EVERY)
    loops: dict[str, Iterator[float]] = {
        "attar": attar_loop(hidden, rows, store, settings),
        "plain": plain(make_student(hidden), rows, settings),
        "plain_fused": plain(make_student(hidden), rows, settings, fused=True),
        "plain_same_work": plain(make_student(hidden), rows, settings, fused=True, same_work=True),
    }
    for loop in loops.values():  # what is only paid once: memory, the optimizer's state, ...
        for _ in range(records):
            next(loop)
    names = list(loops)
    table = []
    for number in range(rounds):
        turn = number % len(names)
        times = {}
        for name in names[turn:] + names[:turn]:
            began = time.perf_counter()
            for _ in range(records):
                loss = next(loops[name])
            times[name] = 1e6 * (time.perf_counter() - began) / (records * LOG_EVERY)
            assert np.isfinite(loss)
        table.append({"hidden": hidden, "round": number, **{n: times[n] for n in names}})
    return table


def figures_of(hidden: int, table: list[dict[str, Any]]) -> dict[str, float]:
    """Ratios with their spread, and microseconds a step."""
    figures: dict[str, float] = {}
    ours = np.array([row["attar"] for row in table])
    for name in ("plain", "plain_fused", "plain_same_work"):
        ratio = ours / np.array([row[name] for row in table])
        figures |= record.middle(ratio, f"h{hidden}_attar_over_{name}")
    for name in ("attar", "plain", "plain_fused", "plain_same_work"):
        figures[f"h{hidden}_{name}_microseconds"] = float(np.median([row[name] for row in table]))
    figures[f"h{hidden}_goal_attar_over_plain"] = GOALS[hidden]
    return figures


def show(hidden: int, figures: dict[str, float]) -> None:
    """One size as lines of text."""
    print(f"h = {hidden}: attar {figures[f'h{hidden}_attar_microseconds']:.0f} us a step")
    for name in ("plain", "plain_fused", "plain_same_work"):
        key = f"h{hidden}_attar_over_{name}"
        print(
            f"  over {name:16} {figures[key]:.3f} ({figures[f'{key}_p10']:.3f} to "
            f"{figures[f'{key}_p90']:.3f}); {figures[f'h{hidden}_{name}_microseconds']:.0f} us",
            flush=True,
        )


def main() -> None:
    """Measure every size and write results.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, nargs="+", choices=GOALS, default=list(GOALS))
    parser.add_argument("--rounds", type=int, help="of each size; by default 24, 60 and 120")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-write", action="store_true", help="print only")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = make_rows()
    table: list[dict[str, Any]] = []
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        answers: Callable[[Batch], Outputs] = lambda batch: Outputs(rows.teacher[batch.ids])  # noqa: E731
        store = label(answers, ArrayData(rows.inputs, rows.labels), Path(folder) / "targets")
        for hidden in arguments.hidden:
            measured = measure(hidden, rows, store, arguments.rounds or ROUNDS[hidden])
            found = figures_of(hidden, measured)
            show(hidden, found)
            table += measured
            figures |= found
    if not arguments.no_write:
        RESULTS.unlink(missing_ok=True)  # one run, whole: ratios of two runs do not compare
        record.write(
            {"step": (table, figures)},
            command=" ".join(["python benchmarks/step_cost/run.py", *sys.argv[1:]]),
            seeds={"rows": SEED},
            path=RESULTS,
            threads=arguments.threads,
        )


if __name__ == "__main__":
    main()
