"""How fast a teacher answers in the way that Attar chooses, beside every fixed setting.

    python benchmarks/teacher_pass/run.py

Three convolutional networks, mixed, answer about images of the shape of MNIST's. Weights and
images are random: time does not depend on them. First the measurement with which a pass over
60,000 rows begins is made several times, as ``attar.label`` makes it: exact ways alone, and
then also with bfloat16 allowed, as ``top_k="auto"`` does. Then every fixed setting answers in
turn, in an order that rotates: each way with each batch size. The best fixed setting is the one
with the highest median rate. A ratio is that of two settings in one round: the median, 10th and
90th percentile over the rounds and over what the measurements chose.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import record

from attar.data import ArrayData
from attar.export.backend import BACKENDS
from attar.store.asking import Asker
from attar.store.pace import AS_IT_IS
from attar.students import Standardize, plain_convnet
from attar.teachers import EnsembleTeacher, ModelTeacher

RESULTS = Path(__file__).with_name("results.json")
SEED, MEMBERS, WIDTH, CLASSES = 0, 3, 32, 10
#: Rows of the pass that is about to begin: MNIST's training set.
PASS = 60_000
SIZES = (16, 32, 64, 128, 256, 512, 1000)
#: What is compared with: the network as it is, asked about 1,000 rows at once.
BASE = (AS_IT_IS, 1000)
#: How often the measurement is made, and rounds of all settings.
CHOICES, ROUNDS = 5, 5
#: Rows of one turn of a setting, at least.
ROWS = 512
#: What bfloat16 may lose: a tenth of what ``top_k="auto"`` may where nothing is said, in nats.
MAX_KL = 1e-4

Setting = tuple[str, int]


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a miniature; writes nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    quick = arguments.quick
    teacher, data = make(4 if quick else WIDTH)
    chosen = {
        name: [choose(teacher, data, bound) for _ in range(1 if quick else CHOICES)]
        for name, bound in (("auto", None), ("bounded", MAX_KL))
    }
    for name, some in chosen.items():
        for one in some:
            print(f"{name}: {one['way']}, {one['batch_size']}, {one['seconds']:.1f} s", flush=True)
    fixed = settings(teacher, data, (64, 1000) if quick else SIZES, compiled=not quick)
    chosen_ones = [(one["way"], one["batch_size"]) for some in chosen.values() for one in some]
    fixed = list(dict.fromkeys([*fixed, *chosen_ones]))
    rounds = race(teacher, data, fixed, 2 if quick else ROUNDS, 64 if quick else ROWS)
    rows = [
        *(
            {"step": "choice", "allowed": name, **one}
            for name, some in chosen.items()
            for one in some
        ),
        *rounds,
    ]
    figures = figures_of(rows)
    for key, value in figures.items():
        print(f"pass_{key}: {value:.4g}", flush=True)
    if not quick:
        record.write(
            {"pass": (rows, figures)},
            command="python benchmarks/teacher_pass/run.py",
            seeds={"pass": SEED},
            path=RESULTS,
            threads=arguments.threads,
        )


def make(width: int) -> tuple[EnsembleTeacher, ArrayData]:
    """The teacher, and the rows of a pass."""
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randint(0, 256, (PASS, 1, 28, 28), dtype=torch.uint8, generator=generator)
    scaler = Standardize.fit(images[:1000])
    members = []
    for member in range(MEMBERS):
        torch.manual_seed(member)
        network = plain_convnet.model(
            width, input_shape=(1, 28, 28), classes=CLASSES, scaler=scaler
        )
        members.append(ModelTeacher(network.eval(), outputs="logits", name=f"convnet {member}"))
    return EnsembleTeacher(members), ArrayData(images, classes=[str(n) for n in range(CLASSES)])


def choose(teacher: EnsembleTeacher, data: ArrayData, max_kl: float | None) -> dict[str, Any]:
    """What the measurement at the start of a pass finds, and how long it takes."""
    asker = Asker(teacher, data, batch_size="auto", backends=BACKENDS)
    began = time.perf_counter()
    found = asker.find_pace(max_kl, (1.0,))
    seconds = time.perf_counter() - began
    return {
        "way": found.way,
        "batch_size": found.batch_size,
        "seconds": seconds,
        "settings": len(found.tried),
        "kl": found.kl,
    }


def settings(
    teacher: EnsembleTeacher, data: ArrayData, sizes: Sequence[int], *, compiled: bool
) -> list[Setting]:
    """Every way with every batch size, the base among them."""
    ways = teacher.ways(data.batch(torch.arange(64)), BACKENDS)
    found = [
        (name, size)
        for name, way in ways.items()
        for size in sizes
        if compiled or not way.slow_start
    ]
    assert BASE in found
    return found


def race(
    teacher: EnsembleTeacher, data: ArrayData, fixed: Sequence[Setting], rounds: int, rows: int
) -> list[dict[str, Any]]:
    """Each setting in turn, as a pass asks; the first turn of each is not counted."""
    askers: dict[Setting, Asker] = {}
    ways = teacher.ways(data.batch(torch.arange(64)), BACKENDS)
    voices: dict[str, Any] = {}  # one for all batch sizes: an export or a compilation takes long
    for name, size in fixed:
        if name not in voices:
            voices[name] = ways[name].make()
        askers[name, size] = Asker(voices[name], data, batch_size=size)
        turn(askers[name, size], size)
        print(f"{name}, {size}: ready", flush=True)
    found = []
    for number in range(rounds):
        order = number % len(fixed)
        for name, size in [*fixed[order:], *fixed[:order]]:
            rate = turn(askers[name, size], rows)
            found.append(
                {
                    "step": "fixed",
                    "round": number,
                    "way": name,
                    "batch_size": size,
                    "exact": "bfloat16" not in name,
                    "rows_a_second": rate,
                }
            )
        print(f"round {number + 1} of {rounds}", flush=True)
    return found


def turn(asker: Asker, rows: int) -> float:
    """Rows a second over at least so many rows."""
    size, done = asker.batch_size, 0
    began = time.perf_counter()
    while done < rows:
        asker(0, done, done + size)
        done += size
    return done / (time.perf_counter() - began)


def figures_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The medians, and the ratios with their spread."""
    rates: dict[Setting, list[float]] = {}
    exact: dict[Setting, bool] = {}
    for row in rows:
        if row["step"] == "fixed":
            setting = (row["way"], row["batch_size"])
            rates.setdefault(setting, []).append(row["rows_a_second"])
            exact[setting] = row["exact"]
    medians = {setting: float(np.median(some)) for setting, some in rates.items()}
    figures = {
        f"rate_{name.replace(', ', '_')}_{size}_rows_a_second": value
        for (name, size), value in medians.items()
    }
    for allowed in ("auto", "bounded"):
        choices = [row for row in rows if row["step"] == "choice" and row["allowed"] == allowed]
        known = [one for one in medians if exact[one] or allowed == "bounded"]
        best = max(known, key=medians.__getitem__)
        chosen = [np.array(rates[row["way"], row["batch_size"]]) for row in choices]
        figures |= record.middle(
            np.concatenate([some / np.array(rates[best]) for some in chosen]),
            f"{allowed}_over_best",
        )
        figures |= record.middle(
            np.concatenate([some / np.array(rates[BASE]) for some in chosen]),
            f"{allowed}_over_base",
        )
        figures[f"{allowed}_seconds"] = float(np.median([row["seconds"] for row in choices]))
        lasts = [PASS / medians[row["way"], row["batch_size"]] for row in choices]
        shares = [row["seconds"] / last for row, last in zip(choices, lasts, strict=True)]
        figures[f"{allowed}_seconds_over_pass_seconds"] = float(np.median(shares))
        figures[f"{allowed}_kl"] = max(row["kl"] for row in choices)
    # The first measurement of a process loads the exporter, as that of a pass does.
    figures["first_seconds"] = next(row["seconds"] for row in rows if row["step"] == "choice")
    return figures | {"goal_auto_over_best": 0.9, "goal_auto_over_base": 3.0}


if __name__ == "__main__":
    main()
