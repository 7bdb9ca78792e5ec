"""Up the ladder: which sizes are trained, what they cost then, and which one is the answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from attar.budget import Budget, Costs
from attar.experiment.arms import Run, Setting, Trainer
from attar.experiment.folder import identity
from attar.experiment.inputs import Splits, plan_student
from attar.experiment.ladder_result import Ladder, Rung
from attar.experiment.measure import seconds_per_step
from attar.experiment.progress import OnProgress, Progress, duration
from attar.experiment.result import example_tensor
from attar.experiment.rungs import SLACK, Planned, measured, member, plan_rungs
from attar.experiment.screening import Floor, Screened, screen
from attar.files import write_text
from attar.students import Family
from attar.types import Data


def identity_of(
    trainer: Trainer, setting: Setting, seeds: Sequence[int], stores: Mapping[str, Any]
) -> dict[str, Any]:
    """What all students of a ladder share: what differs between two may be asked anew."""
    whole = identity(trainer, {"distilled": [setting]}, seeds, stores)
    own = ("student", "fresh_student", "settings")
    return {"ladder": 1, **{name: value for name, value in whole.items() if name not in own}}


def plan_kept(
    path: Path, students: Sequence[Any], data: Data, *, tell: OnProgress, **asked: Any
) -> tuple[list[Planned], list[str]]:
    """The rungs, planned once: a time is not the same twice, and a resumed ladder must be.

    Args:
        path: Where the plan is kept; it is made anew where something else is asked.
        students: As for :func:`plan_rungs`, as the rest.
        data: The training rows.
        tell: Called as things happen.
        asked: The sizes, the budget, and how long each is timed.
    """
    budget: Budget = asked["budget"]
    wanted = {**asked, "budget": budget.to_dict(), "students": [_name(one) for one in students]}
    wanted["rows"] = data.fingerprint()
    wanted = json.loads(json.dumps(wanted))
    if path.exists():
        kept = json.loads(path.read_text("utf-8"))
        if kept["asked"] == wanted:
            return [_restored(one, students, data) for one in kept["rungs"]], kept["notes"]
    tell(Progress("plan", "Measuring what each size costs, before any training"))
    planned, notes = plan_rungs(students, data, **asked)
    rungs = [
        {
            "student": next(i for i, s in enumerate(students) if s is one.student),
            "width": one.plan.recipe.get("width"),
            "name": one.plan.name,
            "shrink": one.shrink,
            "costs": one.costs.to_dict(),
        }
        for one in planned
    ]
    text = json.dumps({"asked": wanted, "rungs": rungs, "notes": notes}, indent=1)
    write_text("ladder", path, text)
    return planned, notes


def _name(student: Any) -> str:
    if isinstance(student, Family):
        return student.name
    return str(getattr(student, "__qualname__", type(student).__qualname__))


def _restored(kept: Mapping[str, Any], students: Sequence[Any], data: Data) -> Planned:
    student = students[kept["student"]]
    if isinstance(student, Family):
        plan = member(student, data, kept["width"])
    else:
        plan = replace(plan_student(student, data), name=kept["name"])
    family = student.name if isinstance(student, Family) else plan.name
    return Planned(student, plan, family, kept["shrink"], Costs(**kept["costs"]))


@dataclass
class Climb:
    """The work of one ladder; what it finds goes into ``ladder``.

    ``runs_after`` is about how many runs of a network follow when it is chosen.
    """

    ladder: Ladder
    splits: Splits
    trainer_of: Callable[[Planned], Trainer]
    setting_of: Callable[[Planned], Setting]
    runs_after: int
    seeds: list[int]
    folder: Path
    tell: OnProgress
    planned: dict[str, Planned] = field(default_factory=dict)

    def screen(self, planned: Sequence[Planned], *, early: bool) -> None:
        """Train one student of each size that the budget allows."""
        self.planned = {one.plan.name: one for one in planned}
        budget = self.ladder.budget
        over = [one for one in planned if budget.broken(one.costs, slack=SLACK)]
        within = [one for one in planned if one not in over]
        self._announce(within)
        found = self._screened(within, early=early)
        found += [Screened(one, "over budget") for one in over]
        self.ladder.rungs = sorted(
            (self._rung(one) for one in found), key=lambda r: -(r.foreseen.parameters or 0)
        )

    def _screened(self, some: Sequence[Planned], *, early: bool) -> list[Screened]:
        return screen(
            some,
            self.trainer_of,
            self.setting_of,
            self.seeds[0],
            floor=Floor(self.ladder.goal, self.ladder.rows),
            early=early,
            tell=self.tell,
        )

    def _announce(self, planned: Sequence[Planned]) -> None:
        networks = [one for one in planned if not one.plan.grown]
        if not networks:
            return
        trainers = [self.trainer_of(one) for one in networks]
        costs = [
            seconds_per_step(trainer, self.setting_of(one)) * trainer.config.steps
            for one, trainer in zip(networks, trainers, strict=True)
        ]
        steps = trainers[0].config.steps
        after = self.runs_after * max(costs)
        message = (
            f"{len(planned)} sizes of {steps:,} steps, {duration(sum(costs))} at most; then "
            "further seeds and the experiment with the one that is chosen, "
            f"{self.runs_after} runs, about {duration(after)} if it is the dearest: "
            f"{duration(sum(costs) + after)} in all"
        )
        self.tell(Progress("cost", message, seconds=sum(costs) + after))

    def _rung(self, one: Screened) -> Rung:
        costs = one.planned.costs
        return Rung(
            name=one.planned.plan.name,
            family=one.planned.family,
            folder=one.planned.name,
            state=one.state,
            why=one.why,
            foreseen=costs,
            costs=costs,
            over=self.ladder.budget.broken(costs),
            accuracy=one.accuracy,
            seeds=0 if one.accuracy is None else 1,
            curve=one.curve,
        )

    def _run(self, rung: Rung, seed: int) -> Run:
        one = self.planned[rung.name]
        trainer, steps = self.trainer_of(one), 0

        def report(_: Setting, seed: int, step: int) -> None:
            message = f"{rung.name}, seed {seed}: is it good enough?"
            self.tell(Progress("confirm", message, step, steps))

        steps, trainer.on_step = trainer.config.steps, report
        return trainer.run(self.setting_of(one), seed)

    def measure(self, *, seconds: float) -> None:
        """What the trained ones cost, all in turn; once, as a time is not the same twice."""
        self._measure([rung for rung in self.ladder.rungs if rung.trained], seconds)

    def _measure(self, trained: Sequence[Rung], seconds: float) -> None:
        path = self.folder / "costs.json"
        kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
        if not all(rung.folder in kept for rung in trained):
            self.tell(Progress("measure", f"Measuring {len(trained)} trained students in turn"))
            example = example_tensor(self.splits.train, 64)
            assert example is not None
            models = {rung.folder: self._run(rung, self.seeds[0]).model for rung in trained}
            found = measured(models, example, self.splits.train.classes, seconds=seconds)
            kept |= {name: costs.to_dict() for name, costs in found.items()}
            write_text("ladder", path, json.dumps(kept, indent=1))
        for rung in trained:
            rung.costs = Costs(**kept[rung.folder])
            rung.over = self.ladder.budget.broken(rung.costs)

    def choose(self) -> None:
        """Mark the smallest that reaches the goal in the mean over the seeds; else the best."""
        ladder = self.ladder
        for rung in ladder.rungs:
            rung.chosen = False
        within = [rung for rung in ladder.rungs if rung.trained and not rung.over]
        within.sort(key=lambda rung: (rung.costs.bytes or 0, rung.name))
        for rung in within:
            if not ladder.meets(rung):
                continue
            self._confirm(rung)
            if ladder.meets(rung):
                rung.chosen = ladder.met = True
                return
        if within:
            best = max(within, key=lambda rung: rung.accuracy or 0.0)
            self._confirm(best)
            best.chosen = True
            ladder.met = ladder.meets(best)

    def beyond(self, *, seconds: float) -> Rung | None:
        """Where none within the budget will do: the nearest over it that does, over all seeds.

        What a budget would do is worth knowing only where this one does not.

        Args:
            seconds: How long each one that is trained for this is timed.
        """
        ladder = self.ladder
        if ladder.met:
            return None
        over = [rung for rung in ladder.rungs if rung.over]
        for rung in sorted(over, key=lambda rung: (max(rung.over.values()), rung.name)):
            if rung.state == "over budget":
                one = self._screened([self.planned[rung.name]], early=False)[0]
                rung.state, rung.curve = one.state, one.curve
                rung.accuracy, rung.seeds = one.accuracy, 1
                # It alone: what was chosen rests on the times that the others had.
                self._measure([rung], seconds)
            if not ladder.meets(rung):
                continue
            self._confirm(rung)
            if ladder.meets(rung):
                if rung.over:
                    return rung
                self.choose()  # trained, it is faster than was foreseen
                return None
        if ladder.chosen is None and ladder.best is not None:
            self._confirm(ladder.best)
        return None

    def _confirm(self, rung: Rung) -> None:
        """Its accuracy as the mean over all seeds: under one, some size is always lucky."""
        if rung.seeds < len(self.seeds):
            runs = [self._run(rung, seed) for seed in self.seeds]
            rung.accuracy = sum(run.validation["accuracy"] for run in runs) / len(runs)
            rung.seeds = len(runs)
