"""The default recipe on a task that it was not developed on: all arms, on test, once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bed import Task
from lessons import LESSONS, with_labels

sys.path.insert(0, str(Path(__file__).parents[1]))
import record

import attar
from attar.experiment import Experiment
from attar.students import family_named

SEEDS = 3
#: What every arm may spend on looking for its setting, in whole runs.
COST = 3.0


def run(task: Task, cache: Path) -> Experiment:
    """The experiment of a task, as a user would ask for it; goes on where it was stopped."""
    lesson = LESSONS[task.lesson](cache)
    family = family_named(task.student)
    assert family is not None
    size = task.parameters or round((lesson.parameters or 0) / (task.shrink or 1))
    # As the recipe's "auto" would have it, with answers that were asked for before: views of
    # images where an arm does better with them, of tables rows between the rows.
    given: dict[str, Any] = {}
    if lesson.views:
        given["views"] = [None, lesson.views["shift"]]
    if lesson.synthetic is not None:
        given["transfer"] = [None, lesson.synthetic]
    return attar.distill(
        lesson.teacher,
        family,
        train=with_labels(lesson.train, task.labels, 0),
        validation=lesson.validation,
        test=lesson.test,
        temperature="auto",
        alpha="auto",
        pseudo_labels="auto",
        search_cost=COST,
        seeds=SEEDS,
        steps=task.steps,
        batch_size=task.batch_size,
        learning_rate=task.learning_rate,
        parameters=size,
        latency_seconds=0,
        out=cache / "opened" / task.name,
        targets=cache / task.lesson / "opened-targets",
        resume=True,
        any_threads=True,
        **given,
    )


def open_task(task: Task, cache: Path) -> record.Part:
    """A row for each arm and seed, and what is to be said of all."""
    experiment = run(task, cache)
    rows: list[dict[str, Any]] = []
    found: dict[str, float] = {"teacher_accuracy": experiment.teacher.accuracy}
    for name, arm in experiment.arms.items():
        setting = {"temperature": arm.setting.temperature, "alpha": arm.setting.alpha}
        rows += [
            {"arm": name, "seed": one.seed, "accuracy": score.accuracy, "nll": score.nll} | setting
            for one, score in zip(arm.runs, arm.scores, strict=True)
        ]
        for score in ("accuracy", "nll"):
            found[f"{name}_{score}_mean"] = arm.mean(score)
            found[f"{name}_{score}_sd"] = arm.spread(score) or 0.0
    comparison = experiment.comparison
    for name in ("hard", "smoothed", "pseudo"):
        against = getattr(comparison, f"against_{name}", None)
        if against is not None:
            found[f"against_{name}_points"] = 100 * against.mean
            found[f"against_{name}_low"] = 100 * against.low
            found[f"against_{name}_high"] = 100 * against.high
    chosen = experiment.arms["distilled"].setting
    found |= {"temperature": chosen.temperature or 0.0, "alpha": chosen.alpha or 0.0}
    found["pseudo_labels"] = float(chosen.pseudo_labels)
    found |= record.verdict_figures(experiment.verdict)
    found["retention"] = comparison.retention
    gap = found["teacher_accuracy"] - found["hard_accuracy_mean"]
    if gap > 0:
        gained = found["distilled_accuracy_mean"] - found["hard_accuracy_mean"]
        found["gap_recovered"] = gained / gap
    print(task.name, experiment.verdict, {k: round(v, 4) for k, v in found.items()}, flush=True)
    return rows, found
