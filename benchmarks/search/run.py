"""`temperature="auto", alpha="auto", loss="auto"` beside every setting that there is.

    python benchmarks/search/run.py [--quick]

Three tasks, each in two draws. The grid trains a student for every T, alpha and loss that the
search may choose, to its end. The search is then played on the very curves that these students
left on validation, under 20 seeds: it would have trained the same students to the same bits, only
not all of them and not all to their end. What each way chooses on validation is judged on test
rows that no choice has seen. Beside them: as many random settings as the search costs, each
trained to its end, and the setting that nobody has to look for (kl, T = 4, alpha = 0.9).
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import ExtraTreesClassifier

sys.path.insert(0, str(Path(__file__).parents[1]))
import record

from attar.evaluation import accuracy, predict_logits
from attar.experiment.arguments import configured
from attar.experiment.arms import Setting, Trainer, automatic
from attar.experiment.inputs import Splits, make_splits, plan_student, size_of
from attar.experiment.search import GoOn, Point, search
from attar.experiment.searching import ArmSpace, score, spaces
from attar.losses import kl
from attar.store import label
from attar.students import mlp
from attar.teachers import StoredTeacher, cross_fit
from attar.types import UNLABELLED

RESULTS = Path(__file__).with_name("results.json")
STEPS, BATCH, RATE, EVALUATIONS = 300, 64, 5e-3, 10
DRAWS, SEEDS = 2, 20
TASKS = ("digits_few", "digits_all", "table")
#: What a search costs, in whole trainings: the default, and about a tenth of the grid.
COSTS = {"auto": 3.0, "auto_tenth": 21.0}


def splits_of(task: str, draw: int) -> Splits:
    """The rows of a task: to learn from, to choose on, to judge on."""
    shuffled = np.random.default_rng(draw).permutation
    if task == "table":
        X, y = make_classification(
            14_000, 20, n_informative=10, n_classes=5, class_sep=1.0, flip_y=0.05, random_state=draw
        )
        parts = np.split(shuffled(len(y)), [1000, 2000])
    else:
        X, y = load_digits(return_X_y=True)
        parts = np.split(shuffled(len(y)), [900, 1300])
    train, validation, test = parts
    labels = y[train].copy()
    if task == "digits_few":
        labels[150:] = UNLABELLED
    pairs = {"validation": (X[validation], y[validation]), "test": (X[test], y[test])}
    return make_splits((X[train].astype(np.float32), labels), **pairs)


def trainer_of(splits: Splits, folder: Path, steps: int) -> Trainer:
    """Trains the students of one draw; the teacher is asked once, out of fold."""
    teacher = cross_fit(ExtraTreesClassifier(100, random_state=0), splits.train, folds=5)
    store = label(teacher, splits.train, folder / "targets")
    return Trainer(
        splits=splits,
        plan=plan_student(mlp, splits.train, parameters=1500),
        teacher=StoredTeacher(store),
        config=configured(steps, EVALUATIONS, RATE),
        batch_size=BATCH,
        loss=kl,
        folder=folder / "arms",
    )


def space_of(trainer: Trainer) -> ArmSpace:
    """What "auto" looks through for the distilled student, and where it begins."""
    splits = trainer.splits
    unlabelled = splits.unlabelled_rows > 0
    found = spaces(
        "auto",
        "auto",
        "auto",
        likely=automatic(
            len(splits.train.classes), size_of(trainer.plan), few_labels=splits.few_labels
        ),
        learning_rate=RATE,
        smoothing=(0.1,),
        unlabelled=unlabelled,
        few_labels=splits.few_labels,
    )
    assert found is not None
    return found["distilled"]


class Trained:
    """One setting trained to its end."""

    def __init__(self, trainer: Trainer, setting: Setting) -> None:
        run = trainer.run(setting, 0)
        rows, splits = len(trainer.splits.validation), trainer.splits
        told = [one.validation for one in run.records if one.validation is not None]
        self.looks = [score(one, rows) for one in told]
        self.rank = run.rank
        self.validation = run.validation
        assert splits.test.labels is not None
        self.test = accuracy(predict_logits(run.model, splits.test), splits.test.labels)


Grid = dict[tuple[Any, ...], Trained]


def key(point: Point) -> tuple[Any, ...]:
    """A point of the space, as the grid knows it."""
    return point["loss"], point["temperature"], point["alpha"]


def train_grid(trainer: Trainer, space: ArmSpace, every: int) -> Grid:
    """Every setting of the space (with ``every`` > 1 only some), trained to its end."""
    names = list(space.values)
    points = [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*space.values.values())
    ]
    firsts = {key(point) for point in space.first}
    wanted = [one for i, one in enumerate(points) if i % every == 0 or key(one) in firsts]
    return {key(point): Trained(trainer, space.setting(point)) for point in wanted}


def play(
    grid: Grid, trainer: Trainer, space: ArmSpace, cost: float, seed: int
) -> tuple[Any, float]:
    """The search on the curves of the grid: what it chooses, and what it cost in whole runs."""

    def evaluate(point: Point, go_on: GoOn) -> None:
        if key(point) not in grid:  # with --quick alone
            grid[key(point)] = Trained(trainer, space.setting(point))
        for look, value in enumerate(grid[key(point)].looks, start=1):
            if not go_on(look, value):
                return

    looks = len(next(iter(grid.values())).looks)
    tried = search(space.values, space.first, evaluate, looks=looks, cost=cost, seed=seed)
    spent = sum(max(one.scores) for one in tried) / looks
    ended = [key(one.point) for one in tried if one.finished]
    return max(ended, key=lambda one: grid[one].rank), spent


def draw_of(task: str, draw: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """All ways on one draw of one task."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(splits_of(task, draw), Path(folder), args.steps)
        space = space_of(trainer)
        grid = train_grid(trainer, space, args.every)
        whole = list(grid)  # --quick adds to the grid while it searches
        best = max(whole, key=lambda one: grid[one].rank)

        def row(way: str, chosen: Any, cost: float, seed: int | None = None) -> None:
            found = grid[chosen]
            loss, temperature, alpha = chosen
            rows.append(
                {
                    "task": task,
                    "draw": draw,
                    "way": way,
                    "seed": seed,
                    "loss": loss,
                    "temperature": temperature,
                    "alpha": alpha,
                    "validation": found.validation["accuracy"],
                    "nll": found.validation["nll"],
                    "test": found.test,
                    "cost": cost,
                }
            )

        for one in whole:
            row("one", one, 1.0)
        row("grid", best, float(len(whole)))
        usual = ("kl", 4.0, 0.9)
        grid.setdefault(usual, Trained(trainer, space.setting(_point(usual))))
        row("usual", usual, 1.0)
        for seed in range(args.seeds):
            for way, cost in COSTS.items():
                row(way, *play(grid, trainer, space, cost, seed), seed)
            picks = np.random.default_rng(seed).permutation(len(whole))[: int(COSTS["auto"])]
            random = max((whole[i] for i in picks), key=lambda one: grid[one].rank)
            row("random", random, float(len(picks)), seed)
    return rows


def _point(one: tuple[Any, ...]) -> Point:
    return dict(zip(("loss", "temperature", "alpha"), one, strict=True))


def figures_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Differences from the grid's choice in points, and costs over the grid's."""
    found: dict[str, float] = {}
    draws = sorted({(row["task"], row["draw"]) for row in rows})

    def of(way: str, task: str, draw: int) -> list[dict[str, Any]]:
        return [r for r in rows if (r["way"], r["task"], r["draw"]) == (way, task, draw)]

    def below(way: str, name: str, tasks: set[str]) -> list[float]:
        """For each draw, the mean over the seeds of what a way is below the grid."""
        return [
            100 * float(np.mean([of("grid", t, d)[0][name] - r[name] for r in of(way, t, d)]))
            for t, d in draws
            if t in tasks
        ]

    for task in [*dict.fromkeys(t for t, _ in draws), "all"]:
        tasks = {t for t, _ in draws} if task == "all" else {task}
        for way in (*COSTS, "random", "usual"):
            for name in ("test", "validation"):
                values = below(way, name, tasks)
                found[f"{task}_{way}_{name}_points_below_grid"] = float(np.mean(values))
                found[f"{task}_{way}_{name}_points_below_grid_worst"] = max(values)
        grids = [of("grid", t, d)[0] for t, d in draws if t in tasks]
        found[f"{task}_grid_test"] = float(np.mean([one["test"] for one in grids]))
        found[f"{task}_grid_settings"] = grids[0]["cost"]
        spread = [np.std([r["test"] for r in of("one", t, d)]) for t, d in draws if t in tasks]
        found[f"{task}_settings_test_points_sd"] = 100 * float(np.mean(spread))
        for way in COSTS:
            ratios = [
                of("grid", t, d)[0]["cost"] / r["cost"]
                for t, d in draws
                if t in tasks
                for r in of(way, t, d)
            ]
            found[f"{task}_grid_cost_over_{way}_least"] = min(ratios)
    return found


def main() -> None:
    """Train, search, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a look at it; writes nothing")
    quick = parser.parse_args().quick
    args = argparse.Namespace(
        steps=40 if quick else STEPS, every=40 if quick else 1, seeds=2 if quick else SEEDS
    )
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for task, draw in itertools.product(TASKS, range(1 if quick else DRAWS)):
        rows += draw_of(task, draw, args)
        grid = next(r for r in reversed(rows) if r["way"] == "grid")
        print(
            task,
            draw,
            {name: grid[name] for name in ("loss", "temperature", "alpha", "test")},
            flush=True,
        )
    figures = figures_of(rows)
    for name, value in figures.items():
        print(f"{name:60} {value:.4f}")
    if not quick:
        record.write(
            {"search": (rows, figures)},
            command="python benchmarks/search/run.py",
            seeds={"draws": DRAWS, "searches": SEEDS, "students": 1},
            path=RESULTS,
            threads=1,
        )


if __name__ == "__main__":
    main()
