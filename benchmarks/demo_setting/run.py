"""The demo's setting: how it was chosen, and how often it does what the demo shows.

``choose``: the rows that are not the demo's test set are split again five times into 150
labelled, 100 for choices, 300 to judge on and the rest unlabelled; the teacher and every
setting of a grid are trained on each. The demo's test rows are not touched. ``draws``: the
demo as it is, over 20 draws of the 150 labels, on its test rows: how often the distilled
student beats hard labels, smoothed labels and pseudo-labels.

    python benchmarks/demo_setting/run.py [--parts choose,draws] [--draws 20]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import record

from attar import demo
from attar.data import ArrayData, Views, join, shift, split
from attar.engine import TrainConfig
from attar.evaluation import accuracy, nll, predict_logits
from attar.experiment import train_ensemble
from attar.experiment.arms import Setting, Trainer
from attar.experiment.inputs import Splits, plan_student
from attar.losses import kl
from attar.store import label
from attar.students import mlp, plain_convnet
from attar.teachers import StoredTeacher
from attar.types import UNLABELLED

RESULTS = Path(__file__).with_name("results.json")
SPLITS, JUDGED = 5, 300
RATE, STEPS = 3e-3, 2500

GRID = [
    Setting("hard", RATE),
    Setting("smoothed", RATE, smoothing=0.1),
    Setting("pseudo", RATE),
    *(
        Setting("distilled", RATE, temperature=t, alpha=a)
        for t in (1.0, 2.0, 4.0, 8.0)
        for a in (0.7, 0.9)
    ),
    # With the teacher's guesses for labels where there are none, the hard loss has more to say.
    *(
        Setting("distilled", RATE, temperature=t, alpha=a, pseudo_labels=True)
        for t in (1.0, 2.0, 4.0, 8.0)
        for a in (0.3, 0.5, 0.7)
    ),
]


def resplit(number: int) -> Splits:
    """Splits as the demo's, made of the rows that are not in its test set."""
    whole = demo.digits(all_labels=True)
    assert isinstance(whole.train, ArrayData)
    assert isinstance(whole.validation, ArrayData)
    pool = join(whole.train, whole.validation)
    rest, judged = split(pool, (1 - JUDGED / len(pool), JUDGED / len(pool)), seed=100 + number)
    share = demo.CHOOSING / len(rest)
    train, validation = split(rest, (1 - share, share), seed=number)
    share = demo.LABELS / len(train)
    kept, _ = split(train, (share, 1 - share), seed=number)
    assert isinstance(train, ArrayData)
    known = torch.isin(train.rows, kept.rows)
    labels = torch.where(known, train.labels, UNLABELLED)
    return Splits(train.with_labels(labels), validation, judged)


def choose(number: int) -> list[dict[str, Any]]:
    """Every setting of the grid on one split."""
    torch.set_num_threads(1)
    splits = resplit(number)
    train = splits.train
    assert isinstance(train, ArrayData)
    views = train.with_views(Views((shift(1),), 64))
    teacher = train_ensemble(views, plain_convnet, seed=10 * number, **demo.TEACHER)
    rows = [{"split": number, "setting": "teacher", **judge(teacher, splits)}]
    with tempfile.TemporaryDirectory() as folder:
        store = label(teacher, train, Path(folder) / "targets")
        smallest = teacher.smallest
        plan = plan_student(
            mlp, train, shrink=demo.STUDENT["shrink"], teacher_parameters=smallest.parameters
        )
        config = TrainConfig(steps=STEPS, log_every=STEPS // 40, evaluate_every=STEPS // 10)
        trainer = Trainer(
            splits, plan, StoredTeacher(store), config, 128, kl, Path(folder) / "arms"
        )
        for setting in GRID:
            student = trainer.run(setting, number).model
            rows.append({"split": number, "setting": setting.key, **judge(student, splits)})
    return rows


def judge(model: Any, splits: Splits) -> dict[str, float]:
    """Accuracy and NLL on the rows that are judged on."""
    logits = predict_logits(model, splits.test)
    labels = splits.test.labels
    assert labels is not None
    return {"accuracy": accuracy(logits, labels), "nll": nll(logits, labels)}


def draw(number: int) -> list[dict[str, Any]]:
    """The demo on one draw of the labels."""
    torch.set_num_threads(1)
    experiment = demo.run(None, labels_seed=number, seeds=5, latency_seconds=0)
    comparison = experiment.comparison
    row: dict[str, Any] = {"draw": number, "verdict": comparison.verdict}
    row["teacher_accuracy"], row["teacher_nll"] = (
        experiment.teacher.accuracy,
        experiment.teacher.nll,
    )
    for name, arm in experiment.arms.items():
        row[f"{name}_accuracy"], row[f"{name}_nll"] = arm.mean("accuracy"), arm.mean("nll")
    for name in ("hard", "smoothed", "pseudo"):
        interval = getattr(comparison, f"against_{name}")
        row[f"beats_{name}"], row[f"below_{name}"] = interval.above, interval.below
    row["beats_pseudo_nll"] = bool(comparison.soft_targets_beat_argmax_in_nll)
    gap = comparison.gap_recovered
    row["gap_recovered"] = None if gap is None else gap.mean
    row["retention"], row["goal_met"] = comparison.retention, bool(comparison.goal_met)
    return [row]


def figures_of_choice(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean and spread over the splits of every setting."""
    figures = {}
    for setting in dict.fromkeys(row["setting"] for row in rows):
        some = [row for row in rows if row["setting"] == setting]
        for name in ("accuracy", "nll"):
            values = [row[name] for row in some]
            figures[f"{setting}_{name}_mean"] = float(np.mean(values))
            figures[f"{setting}_{name}_sd"] = float(np.std(values, ddof=1))
    return figures


def figures_of_draws(rows: list[dict[str, Any]]) -> dict[str, float]:
    """How often each thing happened, and means over the draws."""
    figures: dict[str, float] = {"count": float(len(rows))}
    for verdict in ("BEATS", "NO GAIN", "WORSE", "INCONCLUSIVE"):
        name = verdict.lower().replace(" ", "_")
        figures[f"verdict_{name}"] = float(sum(row["verdict"] == verdict for row in rows))
    for name in [name for name, value in rows[0].items() if isinstance(value, bool)]:
        figures[name] = float(sum(row[name] for row in rows))
    for name in [name for name in rows[0] if name.endswith(("accuracy", "nll", "retention"))]:
        if name == "beats_pseudo_nll":
            continue
        values = [row[name] for row in rows]
        figures[f"{name}_mean"] = float(np.mean(values))
        figures[f"{name}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    gaps = [row["gap_recovered"] for row in rows if row["gap_recovered"] is not None]
    if gaps:
        figures["gap_recovered_mean"] = float(np.mean(gaps))
    return figures


PARTS = {"choose": (choose, figures_of_choice), "draws": (draw, figures_of_draws)}


def main() -> None:
    """Run the parts asked for, two at a time, and write results.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default="choose,draws")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    counts = {"choose": SPLITS, "draws": arguments.draws}
    for part in arguments.parts.split(","):
        work, summarise = PARTS[part]
        rows = []
        with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
            for some in pool.map(work, range(counts[part])):
                rows += some
                print(some[-1], flush=True)
        figures = summarise(rows)
        for name, value in figures.items():
            print(f"{part}_{name} {value:.4f}")
        record.write(
            {part: (rows, figures)},
            command="python benchmarks/demo_setting/run.py",
            seeds={part: counts[part]},
            path=RESULTS,
        )


if __name__ == "__main__":
    main()
