"""What makes distillation win: levers one by one on some tasks, the recipe on others.

    python benchmarks/recipe/run.py develop   # each lever on the tasks to develop on, on validation
    python benchmarks/recipe/run.py open      # the default recipe on the other tasks, on test

Both go on where they were stopped; `--tasks` names some of the tasks, so that several processes
can share the work, and `--levers` those that are to be pulled, the others staying as they were
found. What is made lies in the cache, results.json is written at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "mnist"))
import record
from bed import ADDED, DEVELOP, OPENED, TASKS, Task
from fetch import cache_folder
from lessons import LESSONS, MEMBERS
from levers import Recipe, learn
from opening import SEEDS as OPENED_SEEDS
from opening import open_task

RESULTS = Path(__file__).with_name("results.json")
SEEDS = 2

BASE = Recipe()
HARD = Recipe("hard")
#: Each is one change; the first of a pair is compared with the second.
LEVERS: dict[str, Recipe] = {
    "hard": HARD,
    "smoothed": Recipe("smoothed"),
    "pseudo": Recipe("pseudo"),
    "base": BASE,
    "T 1": Recipe(temperature=1.0),
    "T 2": Recipe(temperature=2.0),
    "T 8": Recipe(temperature=8.0),
    "alpha 0.5": Recipe(alpha=0.5),
    "alpha 1": Recipe(alpha=1.0),
    "alpha falling": Recipe(falling=True),
    "3 x steps": Recipe(patience=3.0),
    "hard, 3 x steps": Recipe("hard", patience=3.0),
    "views": Recipe(views="shift"),
    "hard, views": Recipe("hard", views="shift"),
    "views, 3 x steps": Recipe(views="shift", patience=3.0),
    "hard, views, 3 x steps": Recipe("hard", views="shift", patience=3.0),
    "views, mixup": Recipe(views="mixup"),
    "hard, views, mixup": Recipe("hard", views="mixup"),
    "mixup": Recipe(views="mixed"),
    "hard, mixup": Recipe("hard", views="mixed"),
    "mixup, 3 x steps": Recipe(views="mixed", patience=3.0),
    "synthetic rows": Recipe(synthetic=True),
    "T 1, alpha 0.5": Recipe(temperature=1.0, alpha=0.5),
    "T 1, synthetic rows": Recipe(synthetic=True, temperature=1.0),
    "T 1, alpha 0.5, synthetic rows": Recipe(synthetic=True, temperature=1.0, alpha=0.5),
    "T 1, alpha falling, synthetic rows": Recipe(synthetic=True, temperature=1.0, falling=True),
    "synthetic rows, 3 x steps": Recipe(synthetic=True, temperature=2.0, patience=3.0),
    "teacher calibrated": Recipe(calibrated=True),
    "teacher corrected": Recipe(loss="corrected"),
    "rows by confidence": Recipe(confident=True),
    "half argmax": Recipe(argmax=0.5),
    "T 2, half argmax": Recipe(temperature=2.0, argmax=0.5),
    "labels smoothed": Recipe(smoothing=0.1),
    "alpha 0.5, labels smoothed": Recipe(alpha=0.5, smoothing=0.1),
    "alpha 0.3": Recipe(alpha=0.3),
    "alpha 0.3, labels smoothed": Recipe(alpha=0.3, smoothing=0.1),
    "dkd": Recipe(loss="dkd", temperature=4.0),
    "standardised logits": Recipe(loss="standardized", temperature=2.0),
    "dist": Recipe(loss="dist", temperature=1.0),
    "skewed kl": Recipe(loss="skewed", temperature=2.0),
    "logit regression": Recipe(loss="logits"),
    "weights averaged": Recipe(average=True),
    "hard, weights averaged": Recipe("hard", average=True),
    "assistant": Recipe(assistant=True),
    "teacher over views": Recipe(averaged=True),
    "teacher's layers": Recipe(picked=True),
    "hard, teacher's layers": Recipe("hard", picked=True),
}


def applies(task: Task, name: str) -> bool:
    """Whether a lever changes anything here."""
    image = task.lesson in MEMBERS
    if not image and ("views" in name or "mixup" in name):
        return False
    if "synthetic" in name:
        return task.lesson not in (*MEMBERS, "news")
    if "layers" in name:
        return MEMBERS.get(task.lesson) == task.student
    return name != "pseudo" or task.labels is not None


def develop(tasks: list[Task], cache: Path, names: Collection[str]) -> dict[str, record.Part]:
    """These levers on every task; the others as they were found before."""
    before = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    parts = {}
    for task in tasks:
        part = f"develop_{task.name}"
        lesson = LESSONS[task.lesson](cache)
        rows: list[dict[str, Any]] = []
        found: dict[str, float] = {}
        for name, recipe in LEVERS.items():
            if not applies(task, name):
                continue
            if name in names:
                done = [
                    learn(lesson, task, recipe, seed, cache / "levers") for seed in range(SEEDS)
                ]
                print(task.name, name, [f"{100 * one['accuracy']:.2f}" for one in done], flush=True)
                rows += [{"lever": name, "seed": seed, **one} for seed, one in enumerate(done)]
            else:
                done = [one for one in before if (one["part"], one.get("lever")) == (part, name)]
                rows += done
            for score in ("accuracy", "nll") if done else ():
                values = [one[score] for one in done]
                found[f"{name}_{score}_mean"] = float(np.mean(values))
                found[f"{name}_{score}_sd"] = float(np.std(values, ddof=1))
        parts[part] = (rows, found)
    return parts


def main() -> None:
    """One of the two halves."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("half", choices=["develop", "open"])
    parser.add_argument("--tasks", help="names, with commas between them; all by default")
    parser.add_argument("--levers", help="names, with semicolons between them; all by default")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cache = cache_folder() / "benchmarks" / "recipe"
    half = DEVELOP if given.half == "develop" else (*OPENED, *ADDED)
    tasks = [TASKS[name] for name in given.tasks.split(",")] if given.tasks else list(half)
    if given.half == "develop":
        parts = develop(tasks, cache, given.levers.split(";") if given.levers else LEVERS)
    else:
        parts = {f"open_{task.name}": open_task(task, cache) for task in tasks}
    record.write(
        parts,
        command=f"python benchmarks/recipe/run.py {given.half}",
        seeds=dict.fromkeys(parts, SEEDS if given.half == "develop" else OPENED_SEEDS),
        path=RESULTS,
        threads=1,
    )


if __name__ == "__main__":
    main()
