"""Screening: students of falling size learn from one store, and the hopeless stop early."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from attar.engine import Record
from attar.experiment.arms import Run, Setting, Trainer
from attar.experiment.progress import OnProgress, Progress
from attar.experiment.rungs import Planned

#: Before this share of its steps no student is stopped: the warm-up tells nothing.
EARLIEST = 0.25

#: A student may yet gain so many times what the larger one gained from the same step on.
HOPE = 2.0


@dataclass
class Screened:
    """What became of one student.

    Attributes:
        planned: Which one.
        state: ``"trained"``, ``"hopeless"``, or ``"over budget"``.
        why: In a sentence, where it was not trained to the end.
        accuracy: On validation: of the whole run, else the last before it was stopped; None where
            it was not begun.
        steps: How many it took.
        curve: Accuracy on validation by step.
    """

    planned: Planned
    state: str = "trained"
    why: str = ""
    accuracy: float | None = None
    steps: int = 0
    curve: dict[int, float] = field(default_factory=dict)


class _HopelessError(Exception):
    """Ends a run from within; its checkpoint stays, should it be gone on with."""


@dataclass(frozen=True)
class Floor:
    """The accuracy on validation below which nobody is of use.

    Attributes:
        goal: The accuracy to reach.
        rows: Of validation: their number says how far chance may move an accuracy.
    """

    goal: float
    rows: int

    @property
    def value(self) -> float:
        """The goal less two standard errors.

        >>> round(Floor(0.9, 400).value, 3)
        0.87
        """
        spread = math.sqrt(max(0.0, self.goal * (1 - self.goal)) / max(1, self.rows))
        return self.goal - 2 * spread


def is_hopeless(
    curve: Mapping[int, float], larger: Screened | None, *, floor: float, steps: int
) -> str | None:
    """Why a student that is this far will not reach the floor; None while it may.

    It may gain twice what the larger student of its family, which has finished, gained from the
    same step on; and it may go on at its own pace: curves of learning rise less with every
    doubling of the steps, and a small student is often only later.

    Args:
        curve: Its accuracy on validation by step, so far.
        larger: What became of the larger one; None: nothing is known.
        floor: What must be within reach.
        steps: Of the whole run.

    Example:
        >>> from types import SimpleNamespace
        >>> larger = SimpleNamespace(curve={50: 0.90, 100: 0.95}, accuracy=0.95)
        >>> is_hopeless({25: 0.80, 50: 0.85}, larger, floor=0.94, steps=100)  # may reach 0.95
        >>> is_hopeless({25: 0.50, 50: 0.80}, larger, floor=0.94, steps=100)  # its pace is 0.3
        >>> is_hopeless({25: 0.79, 50: 0.80}, larger, floor=0.94, steps=100)
        'at step 50 it had 80.0 % on validation; the larger one gained 5.0 points from there on, \
and at its own pace it would gain 1.0'
    """
    step = max(curve)
    if larger is None or larger.accuracy is None or step < EARLIEST * steps:
        return None
    before = [value for earlier, value in curve.items() if 2 * earlier <= step]
    if not before or step not in larger.curve or step >= steps:
        return None
    now = max(curve.values())
    gained = max(0.0, larger.accuracy - larger.curve[step])
    pace = (now - max(before)) * math.log2(steps / step)
    if now + max(HOPE * gained, pace) >= floor:
        return None
    return (
        f"at step {step:,} it had {100 * now:.1f} % on validation; the larger one gained "
        f"{100 * gained:.1f} points from there on, and at its own pace it would gain "
        f"{100 * pace:.1f}"
    )


def screen(
    planned: Sequence[Planned],
    trainer_of: Callable[[Planned], Trainer],
    setting_of: Callable[[Planned], Setting],
    seed: int,
    *,
    floor: Floor,
    early: bool,
    tell: OnProgress,
) -> list[Screened]:
    """Train one distilled student of each size, large ones first, on validation alone.

    What is trained here lies where :func:`attar.distill` looks for it: nothing is done twice.

    Args:
        planned: From large to small.
        trainer_of: What trains one.
        setting_of: How one learns, in the distilled arm.
        seed: Of weights and order.
        floor: What must be within reach.
        early: Whether the hopeless stop; else all train to the end.
        tell: Called as things happen.
    """
    done: list[Screened] = []
    for place, one in enumerate(planned):
        family = [other for other in done if other.planned.family == one.family]
        larger = family[-1] if family else None
        if early and larger is not None and _below(larger, floor):
            why = f"the larger {larger.planned.plan.name} already falls short of the goal"
            done.append(Screened(one, "hopeless", why))
            continue
        trainer = trainer_of(one)
        trainer.on_step = _reporter(one, trainer.config.steps, place, len(planned), tell)
        # One that was trained before, for another goal, is not given up in hindsight.
        ready = (trainer.folder / setting_of(one).key / f"seed-{seed}" / "run.json").exists()
        rival = larger if early and not ready else None
        done.append(_screen_one(one, trainer, setting_of(one), seed, rival, floor))
    return done


def _reporter(
    planned: Planned, steps: int, place: int, count: int, tell: OnProgress
) -> Callable[[Setting, int, int], None]:
    def report(_: Setting, __: int, step: int) -> None:
        message = f"Trying {planned.plan.name}"
        tell(Progress("screen", message, place * steps + step, count * steps))

    return report


def _below(larger: Screened, floor: Floor) -> bool:
    return larger.state == "hopeless" or (larger.accuracy or 0.0) < floor.value


def _screen_one(
    planned: Planned,
    trainer: Trainer,
    setting: Setting,
    seed: int,
    larger: Screened | None,
    floor: Floor,
) -> Screened:
    found = Screened(planned)
    steps = trainer.config.steps

    def look(_: Setting, __: int, record: Record) -> None:
        found.steps = record.step
        if record.validation is None:
            return
        accuracy = record.validation["accuracy"]
        found.curve[record.step] = accuracy
        # The best weights are what a run ends with.
        found.accuracy = max(accuracy, found.accuracy or 0.0)
        why = is_hopeless(found.curve, larger, floor=floor.value, steps=steps)
        if why is not None:
            found.state, found.why = "hopeless", why
            raise _HopelessError

    trainer.on_record = look
    try:
        run: Run = trainer.run(setting, seed)
    except _HopelessError:
        return found
    found.accuracy = run.validation["accuracy"]
    return found
