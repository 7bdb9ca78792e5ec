"""Every arm of an experiment: its setting chosen under the first seed, then the other seeds."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attar.experiment.arms import Run, Setting, Trainer
from attar.experiment.foreseen import Foreseen
from attar.experiment.measure import seconds_per_step
from attar.experiment.progress import OnProgress, Progress, duration
from attar.experiment.result import Trial
from attar.experiment.searching import ArmSpace, search_arm


@dataclass(frozen=True)
class Hunt:
    """A search instead of lists.

    Attributes:
        spaces: What each arm looks through.
        cost: Of each arm's search, in whole runs.
        folder: Where what was tried is kept.
    """

    spaces: dict[str, ArmSpace]
    cost: float
    folder: Path


def runs_of(settings: Mapping[str, Sequence[Any]], seeds: Sequence[int], cost: float | None) -> int:
    """How many runs an experiment takes.

    Args:
        settings: Of each arm, what it chooses from.
        seeds: Of the runs.
        cost: Of each arm's search, in whole runs; None where the arms have lists to choose from.

    Example:
        >>> runs_of({"hard": [1], "distilled": [1]}, [0, 1], None)
        4
        >>> runs_of({"hard": [1], "distilled": [1]}, [0, 1], 3.5)
        9
    """
    if cost is not None:
        return math.ceil(len(settings) * (cost + len(seeds) - 1))
    return sum(len(some) + len(seeds) - 1 for some in settings.values())


def train_all(
    trainer: Trainer,
    settings: dict[str, list[Setting]],
    seeds: list[int],
    tell: OnProgress,
    hunt: Hunt | None = None,
    foreseen: Foreseen | None = None,
) -> tuple[dict[str, list[Run]], list[Trial]]:
    """Choose each arm's setting on validation under the first seed, then train the others.

    Hard labels and pseudo-labels look for a learning rate, the others begin with what was found on
    their own rows: smoothed labels with that of hard labels, soft targets with that of
    pseudo-labels, where there are such. A rate is right for a student and its rows, and an arm that
    has T, alpha or a strength to look for instead would otherwise stand there with one that nobody
    has tuned, or with that of a few labelled rows, which may want another by far.
    """
    runs = runs_of(settings, seeds, None if hunt is None else hunt.cost)
    steps = trainer.config.steps
    if not trainer.plan.grown:
        cost = seconds_per_step(trainer, settings["distilled"][0])
        tell(
            Progress(
                "cost",
                f"{runs} runs of {steps:,} steps, about {duration(cost * steps * runs)} in all",
                seconds=cost * steps * runs,
            )
        )
        if foreseen is not None and trainer.processes.main:
            foreseen.costs(runs, steps, cost * steps * runs)
    done = 0

    def report(setting: Setting, seed: int, step: int) -> None:
        message = f"{setting.arm} student, seed {seed}"
        tell(Progress("train", message, done * steps + step, runs * steps))

    trainer.on_step = report
    chosen: dict[str, list[Run]] = {}
    trials: list[Trial] = []
    factor = 1.0
    for arm, some in settings.items():
        looks = arm in ("hard", "pseudo")
        factor = 1.0 if looks else factor
        if hunt is not None:
            space = hunt.spaces[arm]
            often = -(-steps // (trainer.config.evaluate_every or steps))
            best, found = search_arm(
                trainer,
                replace(space, learning_rate=factor * space.learning_rate),
                seeds[0],
                cost=hunt.cost,
                looks=often,
                folder=hunt.folder,
                trials=hunt.spaces["distilled"].begun(cost=hunt.cost, looks=often),
            )
            trials += found
            done += round(hunt.cost)
        else:
            tried = []
            for setting in some:
                rate = factor * setting.learning_rate
                tried.append(trainer.run(replace(setting, learning_rate=rate), seeds[0]))
                done += 1
            best = max(tried, key=lambda run: run.rank)
            trials += [Trial(r.setting, r.seed, r.validation, r is best) for r in tried]
        chosen[arm] = [best]
        if looks:
            factor = best.setting.learning_rate / some[0].learning_rate
        if arm == "hard" and foreseen is not None:
            trainer.processes.first(functools.partial(foreseen.trained, best))
        for seed in seeds[1:]:
            chosen[arm].append(trainer.run(best.setting, seed))
            done += 1
    return chosen, trials
