"""What a ladder leaves: every size with what it keeps and costs, the front, the answer in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from attar.budget import COSTS, Budget, Costs, say
from attar.experiment.result import Experiment
from attar.experiment.summary import markdown
from attar.files import write_text

#: Two times of an answer that are so near count as one: timings differ.
_ALIKE = {"latency_ms": 1.05}


@dataclass
class Rung:
    """One student of a ladder.

    Attributes:
        name: Its family and width: ``mlp(30)``.
        family: What it is of.
        folder: Where its runs are, in ``rungs/`` of the ladder's folder.
        state: ``"trained"``; ``"hopeless"`` where it was stopped early, or not begun since a
            larger one had fallen short; ``"over budget"`` where its costs alone ruled it out.
        why: In words, where it was not trained to the end.
        foreseen: What it costs, measured on an untrained copy before any training.
        costs: What the trained one costs; what was foreseen where it was not trained.
        over: How many times over its limit each cost of the budget is that breaks it.
        accuracy: On validation: the mean over the seeds it was trained with, or the best before it
            was stopped; None where it was not begun.
        seeds: How many seeds it was trained with, for the ladder.
        curve: Accuracy on validation by step, under the first seed.
        front: Whether no other trained one is as accurate and costs less.
        chosen: Whether it is the ladder's answer.
    """

    name: str
    family: str
    folder: str
    state: str
    why: str
    foreseen: Costs
    costs: Costs
    over: dict[str, float] = field(default_factory=dict)
    accuracy: float | None = None
    seeds: int = 0
    curve: dict[int, float] = field(default_factory=dict)
    front: bool = False
    chosen: bool = False

    @property
    def trained(self) -> bool:
        """Whether it was trained to the end."""
        return self.state == "trained"


@dataclass
class Ladder:
    """The result of :func:`attar.ladder`.

    Attributes:
        rungs: Every student, from large to small.
        keep: The fraction of the teacher's accuracy that was to be kept.
        budget: What a student was allowed to cost.
        by: The costs that the front is about.
        teacher_name: What the teacher is.
        teacher_accuracy: On validation.
        teacher: What the teacher costs, as far as it is known.
        rows: Of validation.
        met: Whether the chosen student reaches the goal within the budget, on validation.
        experiment: The controlled experiment with the chosen student, on test; None where not one
            is within the budget.
        advice: What would help, where the goal is not met; what to know, where it is.
        notes: What could not be had, and how far to trust the rest.
    """

    rungs: list[Rung]
    keep: float
    budget: Budget
    by: tuple[str, ...]
    teacher_name: str
    teacher_accuracy: float
    teacher: Costs
    rows: int
    met: bool = False
    experiment: Experiment | None = None
    advice: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def goal(self) -> float:
        """The accuracy on validation to reach."""
        return self.keep * self.teacher_accuracy

    @property
    def chosen(self) -> Rung | None:
        """The one of the smallest file that meets the goal; else the best within the budget."""
        return next((rung for rung in self.rungs if rung.chosen), None)

    @property
    def best(self) -> Rung | None:
        """The chosen one; where none is within the budget, of the others the best found.

        That is the nearest that meets the goal, of those that were trained under most seeds;
        where none does, the most accurate.
        """
        trained = [rung for rung in self.rungs if rung.trained]
        able = [rung for rung in trained if self.meets(rung)]
        if self.chosen is not None or not trained:
            return self.chosen
        if able:
            return min(able, key=lambda r: (-r.seeds, max(r.over.values(), default=1.0)))
        return max(trained, key=lambda rung: rung.accuracy or 0.0)

    @property
    def front(self) -> list[Rung]:
        """The Pareto front: for more accuracy than one of these has, you must pay more."""
        return [rung for rung in self.rungs if rung.front]

    def kept(self, rung: Rung) -> float | None:
        """The share of the teacher's accuracy that a rung keeps, on validation."""
        known = rung.accuracy is not None and self.teacher_accuracy > 0
        return rung.accuracy / self.teacher_accuracy if known and rung.accuracy else None

    def meets(self, rung: Rung) -> bool:
        """Whether a rung was trained and reaches the accuracy of the goal."""
        return rung.trained and rung.accuracy is not None and rung.accuracy >= self.goal

    @property
    def sentence(self) -> str:
        """The answer, in a sentence or two."""
        rung = self.best
        within = " within the budget" if self.budget.limits else ""
        none = f"No student is within the budget ({self.budget})."
        if rung is None:
            return none
        kept = f"{100 * (self.kept(rung) or 0):.1f} %"
        what = f"{rung.name} ({_said(rung.costs, self.by)})"
        if self.met:
            return (
                f"{what} is the smallest{within} that keeps {100 * self.keep:g} % of the "
                f"teacher's accuracy: it keeps {kept} on validation{self._on_test()}."
            )
        if self.chosen is None:
            times = " and ".join(
                f"{say_times(n)} times the {COSTS[name]}" for name, n in rung.over.items()
            )
            return (
                f"{none} The best found is {what}, with {times} that is allowed: it keeps "
                f"{kept} of the teacher's accuracy on validation."
            )
        return (
            f"No student{within} keeps {100 * self.keep:g} % of the teacher's accuracy. The best "
            f"found is {what}: it keeps {kept} on validation{self._on_test()}."
        )

    def _on_test(self) -> str:
        if self.experiment is None:
            return ""
        kept = self.experiment.retention
        lucky = self.met and kept < self.keep
        return f", {100 * kept:.1f} % on test" + (", which is below the goal" if lucky else "")

    @property
    def told(self) -> list[str]:
        """Of each student that was not trained to the end, why."""
        return [f"{rung.name}: {rung.why}." for rung in self.rungs if rung.why]

    def table(self) -> str:
        """The teacher and every student, as Markdown."""
        return markdown(*self.cells())

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """The head and the cells of :meth:`table`."""
        head = ["", "accuracy %", "kept %", *_HEAD.values(), "times smaller", "what came of it"]
        timed = None if self.experiment is None else self.experiment.latency.get("teacher")
        teacher = self.teacher
        if timed is not None:
            teacher = replace(teacher, latency_ms=timed.batches[1].p50_ms)
        lines = [
            [
                f"teacher: {self.teacher_name}",
                f"{100 * self.teacher_accuracy:.2f}",
                "",
                *_costs(teacher),
                "",
                "",
            ]
        ]
        for rung in self.rungs:
            kept = self.kept(rung)
            lines.append(
                [
                    rung.name,
                    "" if rung.accuracy is None else f"{100 * rung.accuracy:.2f}",
                    "" if kept is None else f"{100 * kept:.1f}",
                    *_costs(rung.costs),
                    _smaller(teacher, rung.costs),
                    self._came(rung),
                ]
            )
        return head, lines

    def _came(self, rung: Rung) -> str:
        words = []
        if rung is self.best:
            words.append("chosen" if self.met else "best found")
        if not rung.trained:
            words.append(rung.state if rung.curve or rung.over else "not begun")
        elif rung.over:
            words.append("over budget")
        if rung.front:
            words.append("front")
        return ", ".join(words)

    def summary(self) -> str:
        """The whole result as Markdown, answer first."""
        front = " → ".join(rung.name for rung in self.front)
        parts = ["# Ladder", self.sentence, self.table()]
        parts.append(
            f"Accuracy on {self.rows:,} validation rows, on which the student was chosen; times "
            "are medians of one row on one thread through ONNX Runtime, here. "
            + (f"Pareto front by {_words(self.by)}: {front}." if front else "")
        )
        told = [*self.told, *self.notes]
        for title, lines in (("What would help", self.advice), ("Notes", told)):
            if lines:
                title = "Besides" if self.met and title == "What would help" else title
                parts += [f"## {title}", "\n".join(f"- {line}" for line in lines)]
        if self.experiment is not None:
            parts.append(self.experiment.summary().replace("# ", "## ", 1))
        return "\n\n".join(part.strip() for part in parts) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-ready; the experiment by its verdict, since it has a folder."""
        return {
            "format": 1,
            "sentence": self.sentence,
            "met": self.met,
            "chosen": None if self.chosen is None else self.chosen.name,
            "goal": {"keep": self.keep, "accuracy": self.goal, "budget": self.budget.to_dict()},
            "by": list(self.by),
            "teacher": {
                "name": self.teacher_name,
                "accuracy": self.teacher_accuracy,
                "costs": self.teacher.to_dict(),
            },
            "validation_rows": self.rows,
            "front": [rung.name for rung in self.front],
            "rungs": [{**asdict(rung), "kept": self.kept(rung)} for rung in self.rungs],
            "verdict": None if self.experiment is None else self.experiment.verdict,
            "retention": None if self.experiment is None else self.experiment.retention,
            "advice": self.advice,
            "notes": self.notes,
        }

    def save(self, folder: str | Path) -> Path:
        """Write ``ladder.json`` and ``summary.md``; the chosen student is in its rung's folder."""
        folder = Path(folder)
        write_text("Ladder.save", folder / "summary.md", self.summary())
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        write_text("Ladder.save", folder / "ladder.json", text)
        return folder


#: Heads of the costs in a table.
_HEAD = {
    "parameters": "parameters",
    "bytes": "file",
    "macs": "multiply-adds",
    "latency_ms": "time",
}


def _costs(costs: Costs) -> list[str]:
    return [say(name, getattr(costs, name)) for name in _HEAD]


def _smaller(teacher: Costs, costs: Costs) -> str:
    for name in ("parameters", "bytes"):
        whole, own = getattr(teacher, name), getattr(costs, name)
        if whole and own:
            ratio = whole / own
            return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"
    return ""


def say_times(times: float) -> str:
    """How many times over a limit something is, as a person reads it.

    >>> say_times(1.234), say_times(69.5), say_times(9600.4)
    ('1.23', '70', '9,600')
    """
    return f"{times:,.0f}" if times >= 10 else f"{times:.3g}"


def _words(by: Sequence[str]) -> str:
    return " and ".join(COSTS[name] for name in by)


def _said(costs: Costs, by: Sequence[str]) -> str:
    """The costs that matter, and the parameters."""
    found = {name: say(name, getattr(costs, name)) for name in dict.fromkeys(["parameters", *by])}
    return ", ".join(
        f"{value} {COSTS[name]}" if name in ("parameters", "macs") else value
        for name, value in found.items()
    )


def mark_front(rungs: Sequence[Rung], by: Sequence[str]) -> None:
    """Mark the trained rungs that none beats: as accurate, no cost higher, and one thing better.

    >>> def rung(name, accuracy, size):
    ...     costs = Costs(bytes=size)
    ...     return Rung(name, "mlp", name, "trained", "", costs, costs, accuracy=accuracy)
    >>> rungs = [rung("a", 0.9, 400), rung("b", 0.8, 300), rung("c", 0.85, 100)]
    >>> mark_front(rungs, ["bytes"])
    >>> [r.name for r in rungs if r.front]
    ['a', 'c']
    """
    trained = [rung for rung in rungs if rung.trained and rung.accuracy is not None]
    for rung in trained:
        rung.front = not any(_beats(other, rung, by) for other in trained if other is not rung)


def _beats(one: Rung, other: Rung, by: Sequence[str]) -> bool:
    better = [(one.accuracy or 0.0) - (other.accuracy or 0.0)]
    for name in by:
        a, b = getattr(one.costs, name), getattr(other.costs, name)
        if a is None or b is None:
            continue
        alike = max(a, b) <= min(a, b) * _ALIKE.get(name, 1.0)
        better.append(0.0 if alike else b - a)
    return min(better) >= 0 and max(better) > 0
