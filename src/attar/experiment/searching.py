"""The search in an experiment: every arm looks for its own setting, at the same cost."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from attar.checks import AttarError
from attar.engine import Record
from attar.experiment.arms import LOSSES, Run, Setting, Trainer
from attar.experiment.result import Trial
from attar.experiment.search import GoOn, Point, Tried, counts, search, size
from attar.files import write_text

#: What "auto" looks through.
TEMPERATURES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0)
ALPHAS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
#: Where few rows have a label, the soft targets alone teach about the others.
ALPHAS_FEW_LABELS = (0.5, 0.7, 0.9, 0.97, 1.0)
STRENGTHS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45)
#: Learning rates of the arms that have nothing else to choose, as multiples.
RATES = (0.125, 0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)


@dataclass(frozen=True)
class ArmSpace:
    """What one arm may look through, and where it begins.

    Attributes:
        arm: Its name.
        learning_rate: Of the experiment.
        values: By the name of a number of :class:`Setting`, in order.
        first: Points to begin with.
    """

    arm: str
    learning_rate: float
    values: dict[str, tuple[Any, ...]]
    first: tuple[Point, ...] = field(default=())

    def setting(self, point: Point) -> Setting:
        """A point as a setting."""
        numbers = dict(point)
        rate = self.learning_rate * numbers.pop("learning_rate", 1.0)
        return Setting(self.arm, rate, **numbers)

    def begun(self, *, cost: float, looks: int) -> int:
        """How many trials a search at this cost begins."""
        return counts(cost, looks, size(self.values, same))[0]

    def further(self, trials: int) -> tuple[Point, ...]:
        """Points between these, where there are fewer than so many trials.

        A learning rate or a strength can be looked for as finely as one likes: an arm that has
        nothing else to choose is so tuned as often as one with T, alpha and more.
        """
        name = next((one for one in ("learning_rate", "smoothing") if one in self.values), None)
        if name is None:
            return ()
        rest = [values for other, values in self.values.items() if other != name]
        each = math.prod(len(values) for values in rest)
        missing = max(0, trials - each * len(self.values[name]))
        wider = {**self.values, name: between(self.values[name], -(-missing // each))}
        return tuple(
            dict(zip(wider, one, strict=True)) for one in itertools.product(*wider.values())
        )


def spaces(
    temperature: Any,
    alpha: Any,
    loss: Any,
    *,
    likely: tuple[Sequence[float], Sequence[float]],
    learning_rate: float,
    smoothing: Sequence[float],
    unlabelled: bool,
    few_labels: bool,
    views: Sequence[bool] = (True,),
    further: Sequence[bool] = (True,),
    pseudo_labels: Sequence[bool] = (False,),
) -> dict[str, ArmSpace] | None:
    """The space of every arm, where anything is ``"auto"``; None where nothing is.

    Args:
        temperature: A number, a list or ``"auto"``; so is ``alpha``.
        alpha: See ``temperature``.
        loss: ``"auto"``, several names of :data:`~attar.experiment.arms.LOSSES`, or None.
        likely: Values of T and alpha that are likely good, the likeliest first.
        learning_rate: Of the experiment.
        smoothing: Strengths to begin with.
        unlabelled: Whether rows have no label: there is an arm of pseudo-labels then.
        few_labels: Whether most have none.
        views: True, False, or both where that is to be chosen: every arm looks through them.
        further: The same of further rows, for the arms that hear the teacher.
        pseudo_labels: The same of the teacher's argmax as the label of rows without one, for the
            distilled arm; where alpha is 1 nobody asks for a label, and there is nothing to choose.
    """
    auto = any(isinstance(one, str) and one == "auto" for one in (temperature, alpha))
    if not auto and loss is None:
        return None
    values: dict[str, tuple[Any, ...]] = {
        "temperature": _values(temperature, TEMPERATURES),
        "alpha": _values(alpha, ALPHAS_FEW_LABELS if few_labels else ALPHAS),
    }
    first = [
        {"temperature": t, "alpha": a}
        for a in _begin(alpha, values["alpha"], likely[1])
        for t in _begin(temperature, values["temperature"], likely[0])
    ]
    if loss == "auto":
        values["loss"] = tuple(LOSSES)
        first = [{**point, "loss": "kl"} for point in first]
    elif isinstance(loss, list | tuple):
        values["loss"] = tuple(loss)
        first = [{**point, "loss": loss[0]} for point in first]
    if tuple(pseudo_labels) != (False,) and min(values["alpha"]) < 1:
        # What the hard loss says of every row can be worth as much as the soft one, that of a few
        # labels cannot.
        values["pseudo_labels"] = tuple(pseudo_labels)
        half = min(values["alpha"], key=lambda value: abs(value - 0.5))
        both = [({**point, "pseudo_labels": False}, {**point, "alpha": half}) for point in first]
        first = [{"pseudo_labels": True, **one} for pair in both for one in pair]
        first = [point for point in first if point["pseudo_labels"] in pseudo_labels]
    rates = {"learning_rate": RATES}
    found = {
        "hard": ArmSpace("hard", learning_rate, dict(rates), ({"learning_rate": 1.0},)),
        "smoothed": ArmSpace(
            "smoothed",
            learning_rate,
            {"smoothing": tuple(sorted({*STRENGTHS, *smoothing}))},
            tuple({"smoothing": one} for one in smoothing),
        ),
    }
    if unlabelled:
        found["pseudo"] = ArmSpace("pseudo", learning_rate, dict(rates), ({"learning_rate": 1.0},))
    found["distilled"] = ArmSpace("distilled", learning_rate, values, tuple(first[:4]))
    for arm, space in found.items():
        if arm in ("distilled", "pseudo"):
            space = _with_choice(space, "further", further)
        found[arm] = _with_choice(space, "views", views)
    return found


def _with_choice(space: ArmSpace, name: str, values: Sequence[bool]) -> ArmSpace:
    """The same with one more choice; the likeliest points are begun with each of its values."""
    if tuple(values) == (True,):
        return space
    first = [{**point, name: value} for point in space.first for value in values]
    return replace(space, values={**space.values, name: tuple(values)}, first=tuple(first[:4]))


def same(point: Point) -> Point:
    """Of points whose runs are one and the same, the one that is tried.

    >>> same({"alpha": 1.0, "pseudo_labels": True})
    {'alpha': 1.0, 'pseudo_labels': False}
    """
    guesses = point.get("pseudo_labels") and point.get("alpha") == 1
    return {**point, "pseudo_labels": False} if guesses else point


def between(values: Sequence[float], count: int) -> tuple[float, ...]:
    """So many further values, each in the middle of the widest gap that is left, by ratio.

    >>> between((0.5, 1.0, 4.0), 3)
    (2.0, 0.7071, 1.4142)
    """
    there, found = sorted(value for value in values if value > 0), []
    for _ in range(count):
        gaps = [round(high / low, 6) for low, high in itertools.pairwise(there)]
        place = max(range(len(gaps)), key=gaps.__getitem__)
        found.append(round(math.sqrt(there[place] * there[place + 1]), 4))
        there.insert(place + 1, found[-1])
    return tuple(found)


def _values(given: Any, auto: tuple[float, ...]) -> tuple[Any, ...]:
    if isinstance(given, str):
        return auto
    return tuple(sorted(given)) if isinstance(given, list | tuple) else (float(given),)


def _begin(given: Any, values: Sequence[Any], likely: Sequence[float]) -> list[Any]:
    """Where to begin: at what is likely good, or at the value that was given."""
    if isinstance(given, str):
        return [one for one in likely if one in values] or [values[len(values) // 2]]
    return list(values)


def search_arm(
    trainer: Trainer,
    space: ArmSpace,
    seed: int,
    *,
    cost: float,
    looks: int,
    folder: Path,
    trials: int = 0,
) -> tuple[Run, list[Trial]]:
    """Find the setting of an arm on validation.

    What was tried is written down after every step; a search that was stopped goes on.

    Args:
        trainer: Trains a run, in pieces.
        space: What to look through.
        seed: Of all trials.
        cost: In whole runs.
        looks: How often a run is validated.
        folder: Where the list of trials is kept.
        trials: How many are begun at least, where that can be: as many as by the arm with most.

    Returns:
        The best run that went to its end, and all trials.
    """
    path = folder / f"{space.arm}.json"
    processes = trainer.processes
    before: list[Tried] = []
    if processes.from_main(path.exists()):
        before = [Tried.from_json(one) for one in json.loads(path.read_text("utf-8"))]

    def keep(tried: list[Tried]) -> None:
        if processes.main:
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps([one.to_json() for one in tried], indent=1)
            write_text("distill", path, text)

    found = search(
        space.values,
        space.first,
        _evaluate(trainer, space, seed),
        looks=looks,
        cost=cost,
        seed=seed,
        last=space.further(trials),
        same=same,
        before=before,
        keep=keep,
    )
    ended = [trainer.run(space.setting(one.point), seed) for one in found if one.finished]
    best = max(ended, key=lambda run: run.rank)
    told = [Trial(run.setting, seed, run.validation, run is best) for run in ended]
    for one in found:
        if not one.finished:
            setting = space.setting(one.point)
            share = max(one.scores) / looks
            told.append(Trial(setting, seed, {"accuracy": one.score}, False, stopped_at=share))
            if processes.main:
                shutil.rmtree(trainer.folder / setting.key, ignore_errors=True)
    return best, told


class _PauseError(Exception):
    """Ends a run from within, for now: its checkpoint is where it goes on."""


def _evaluate(trainer: Trainer, space: ArmSpace, seed: int) -> Any:
    rows = len(trainer.splits.validation)

    def evaluate(point: Point, go_on: GoOn) -> None:
        setting, before = space.setting(point), trainer.on_record
        look = 0

        def heard(one: Setting, number: int, record: Record) -> None:
            nonlocal look
            before(one, number, record)
            if record.validation is not None:
                look += 1
                if not go_on(look, score(record.validation, rows)):
                    raise _PauseError

        trainer.on_record = heard
        try:
            trainer.run(setting, seed)
        except _PauseError:
            pass
        finally:
            trainer.on_record = before

    return evaluate


def score(validation: Any, rows: int) -> float:
    """Accuracy first; of equals the one with the lower NLL, by less than half a row.

    >>> round(score({"accuracy": 0.9, "nll": 1.0}, 100), 6)
    0.8975
    """
    nll = float(validation["nll"])
    if not nll >= 0:
        raise AttarError(f"distill: the NLL on validation is {nll}; the run has gone astray.")
    return float(validation["accuracy"]) - 0.5 / rows * nll / (1 + nll)
