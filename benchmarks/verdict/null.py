"""Is the verdict honest on real training runs in which the teacher cannot help?

Two nulls, 200 trials each, on the digits with 150 labels that are drawn anew for every trial:

- ``alpha0``: the "distilled" arm has alpha = 0, which is the hard arm, under other seeds.
- ``shuffled``: alpha = 0.9, but each row is given the soft target of another, random row.

BEATS may come out in at most 10 of 200; under ``alpha0`` WORSE likewise.

    python benchmarks/verdict/null.py [--trials 200]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import record

from attar import Batch, Outputs, demo
from attar.data import ArrayData
from attar.engine import TrainConfig
from attar.evaluation import compare, predict_logits
from attar.experiment.arms import Setting, Trainer
from attar.experiment.inputs import plan_student
from attar.losses import kl
from attar.students import mlp

SEEDS, STEPS, RATE, PARAMETERS = 3, 150, 1e-2, 1500


@dataclass
class Shuffled:
    """A teacher that answers each row with the true soft target of another one."""

    logits: torch.Tensor  # (row numbers, classes)

    def __call__(self, batch: Batch) -> Outputs:
        """The other row's soft target."""
        return Outputs(self.logits[batch.ids])


def soft_targets(seed: int) -> torch.Tensor:
    """Of a good teacher: the truth, softened and with some noise; rows then shuffled."""
    whole = demo.digits(all_labels=True)
    logits = torch.zeros(1797, 10)
    generator = torch.Generator().manual_seed(seed)
    train = whole.train
    assert train.labels is not None
    truth = torch.nn.functional.one_hot(train.labels, 10).float()
    noisy = 6 * truth + torch.randn(len(train), 10, generator=generator)
    logits[train.rows] = noisy[torch.randperm(len(train), generator=generator)]
    return logits


def trial(task: tuple[str, int]) -> dict[str, Any]:
    """One experiment under a null."""
    null, number = task
    torch.set_num_threads(1)
    splits = demo.digits(labels_seed=number)
    assert isinstance(splits.train, ArrayData)
    plan = plan_student(mlp, splits.train, parameters=PARAMETERS)
    config = TrainConfig(steps=STEPS, log_every=STEPS)
    arms = {"hard": Setting("hard", RATE), "smoothed": Setting("smoothed", RATE, smoothing=0.1)}
    arms["distilled"] = arms["hard"]
    if null == "shuffled":
        arms["distilled"] = Setting("distilled", RATE, temperature=4.0, alpha=0.9)
    correct = {}
    for position, (name, setting) in enumerate(arms.items()):
        with tempfile.TemporaryDirectory() as folder:
            teacher = Shuffled(soft_targets(number)) if null == "shuffled" else None
            trainer = Trainer(splits, plan, teacher, config, 128, kl, Path(folder))
            # Seeds that no other arm or trial has: nothing is shared between the arms.
            first = SEEDS * (len(arms) * number + position)
            runs = [trainer.run(setting, first + i) for i in range(SEEDS)]
        logits = torch.stack([predict_logits(run.model, splits.test) for run in runs])
        correct[name] = (logits.argmax(dim=-1) == splits.test.labels).numpy()
    # The teacher's accuracy plays no part in the verdict; some value is needed.
    everywhere = torch.ones(len(splits.test), dtype=torch.bool).numpy()
    comparison = compare(correct, teacher=everywhere)
    accuracy = {f"{name}_accuracy": float(table.mean()) for name, table in correct.items()}
    return {"null": null, "trial": number, "verdict": comparison.verdict, **accuracy}


def main() -> None:
    """Run both nulls and write their parts of results.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    parts: dict[str, record.Part] = {}
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        for null in ("alpha0", "shuffled"):
            tasks = [(null, number) for number in range(arguments.trials)]
            rows = list(pool.map(trial, tasks, chunksize=5))
            figures = {"trials": float(len(rows))}
            for verdict in ("BEATS", "NO GAIN", "WORSE", "INCONCLUSIVE"):
                name = verdict.lower().replace(" ", "_")
                figures[name] = float(sum(row["verdict"] == verdict for row in rows))
            print(null, figures, flush=True)
            parts[null] = (rows, figures)
    record.write(
        parts,
        command="python benchmarks/verdict/null.py",
        seeds=dict.fromkeys(parts, arguments.trials),
        path=Path(__file__).with_name("results.json"),
    )


if __name__ == "__main__":
    main()
