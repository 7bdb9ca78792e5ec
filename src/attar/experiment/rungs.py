"""The rungs of a ladder: which sizes there are, and what each costs, known before any training."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attar.budget import Budget, Costs
from attar.checks import AttarError
from attar.evaluation import count_macs
from attar.experiment.inputs import StudentPlan, members_of, plan_member, plan_student
from attar.experiment.result import example_tensor
from attar.export import bench, to_onnx
from attar.students import Family, TreeEnsemble, count_parameters, fit_to
from attar.types import Data

#: How many times smaller than the teacher the students are.
SHRINKS = (3.0, 10.0, 30.0, 100.0)

#: Their parameters where those of the teacher cannot be counted.
SIZES = (30_000, 10_000, 3_000, 1_000)

#: How far over its limit a predicted time may be before a student is left out: two timings of one
#: model differ, and what is measured at the end decides.
SLACK = {"latency_ms": 1.25}

#: By its time a width is looked for until the next one that was tried is no more than this factor
#: away: each try is timed.
_CLOSE = 1.15


@dataclass(frozen=True)
class Planned:
    """One student of the ladder before it is trained.

    Attributes:
        student: What :func:`attar.distill` takes: a family, or a student as it is.
        plan: How it is made.
        family: What it is of, and what it is compared with when it learns; a family's name, or
            the student's own.
        shrink: How many times smaller than the teacher it was to be; None where the budget or
            the student itself decides.
        costs: What it costs, from an untrained copy: training does not change it.
    """

    student: Any
    plan: StudentPlan
    family: str
    shrink: float | None
    costs: Costs

    @property
    def name(self) -> str:
        """A name for folders and tables: ``mlp-30``."""
        if not self.plan.recipe:
            return "".join(c if c.isalnum() or c in "-_" else "-" for c in self.plan.name)
        family = str(self.plan.recipe["family"]).removeprefix("timm:").replace("+", "-")
        return f"{family[:60]}-{self.plan.recipe['width']}"


def foresee(
    students: Mapping[str, Callable[[], nn.Module]],
    example: Tensor,
    classes: Sequence[str],
    *,
    seconds: float = 0.2,
) -> dict[str, Costs]:
    """What students cost, from untrained copies of them: training changes neither size nor time.

    All are exported and timed in turn through ONNX Runtime, one row on one thread. The random
    state stays as it was.

    Args:
        students: By name, what makes a fresh one.
        example: ``[N, ...]`` real rows.
        classes: The names of the classes.
        seconds: How long each is timed; 0 does not.

    Example:
        >>> from attar.students import mlp
        >>> def make():
        ...     return mlp.model(8, input_shape=(4,), classes=3)
        >>> costs = foresee({"small": make}, torch.rand(4, 4), ["a", "b", "c"], seconds=0)["small"]
        >>> costs.parameters, costs.macs  # 4 * 8 + 8 * 8 + 8 * 3 weights, and 19 biases
        (139, 120)
    """
    with _same_random_state():
        models = {name: make().cpu().eval() for name, make in students.items()}
        for model in models.values():
            if isinstance(model, TreeEnsemble):
                _full_grown(model, example)
        return measured(models, example, classes, seconds=seconds)


def measured(
    models: Mapping[str, nn.Module], example: Tensor, classes: Sequence[str], *, seconds: float
) -> dict[str, Costs]:
    """What networks cost: each is exported, and all are timed in turn through ONNX Runtime.

    Args:
        models: By name, in eval mode, on the CPU.
        example: ``[N, ...]`` real rows.
        classes: The names of the classes.
        seconds: How long each is timed, one row on one thread; 0 does not.
    """
    costs: dict[str, Costs] = {}
    with tempfile.TemporaryDirectory() as scratch, _same_random_state():
        files = {}
        for place, (name, model) in enumerate(models.items()):
            files[name] = Path(scratch) / f"{place}.onnx"
            written = to_onnx(model, files[name], example=example[:8], classes=classes)
            costs[name] = Costs(
                parameters=count_parameters(model),
                bytes=written.bytes,
                macs=count_macs(model, example[:1]),
            )
        if seconds > 0 and files:
            rows = example.numpy()
            timed = bench(files, inputs=rows, batches=(1,), seconds=seconds, alone=False)
            for name, model_ in timed.models.items():
                costs[name] = replace(costs[name], latency_ms=model_.latency.batches[1].p50_ms)
    return costs


def _full_grown(trees: TreeEnsemble, example: Tensor) -> None:
    """Build trees of noise, with all the leaves that they may have: so large they are at most."""
    rows = 8 * trees.values.shape[1] + 64
    noise = torch.Generator().manual_seed(0)
    inputs = torch.randn((rows, *example.shape[1:]), generator=noise)
    said = torch.rand((rows, trees.classes), generator=noise).softmax(dim=1)
    trees.fit(inputs, said)


def plan_rungs(
    students: Sequence[Any],
    data: Data,
    *,
    largest: int | None,
    shrinks: Sequence[float] = SHRINKS,
    parameters: Sequence[int] | None = None,
    budget: Budget,
    seconds: float,
) -> tuple[list[Planned], list[str]]:
    """The students of a ladder, from large to small, and what could not be had.

    Of a family: a member of each size, and where a limit lies below the largest of them, the
    largest member within all limits too. Any other student is one rung as it is.

    Args:
        students: Families, and whatever else :func:`attar.distill` takes as a student.
        data: The training rows.
        largest: Parameters of the teacher that the sizes are taken from; None where unknown:
            then they are :data:`SIZES`.
        shrinks: How many times smaller each member is.
        parameters: Instead, the sizes themselves.
        budget: The limits.
        seconds: How long each student is timed.

    Raises:
        AttarError: If the inputs are no single tensor, or no student can be had.
    """
    example = example_tensor(data, 64)
    if example is None:
        raise AttarError(
            "ladder: students are measured through ONNX, as graphs of one input; these rows are "
            "a mapping of several. Use distill for each size by itself."
        )
    sizes, notes = _sizes(largest, shrinks, parameters), []
    wanted: dict[str, Planned] = {}
    for student in students:
        if not isinstance(student, Family):
            plan = _unlike(plan_student(student, data), wanted)
            wanted[plan.name] = Planned(student, plan, plan.name, None, Costs())
            continue
        for shrink, size in sizes:
            try:
                plan = plan_student(student, data, parameters=max(1, size))
            except AttarError as error:
                notes.append(f"no {student.name} of {size:,} parameters: {error}")
            else:  # of one width, that of the largest size
                wanted.setdefault(plan.name, Planned(student, plan, student.name, shrink, Costs()))
    if not wanted:
        raise AttarError(f"ladder: there is no student to train. {' '.join(notes)}")
    makers = {name: one.plan.make for name, one in wanted.items()}
    found = foresee(makers, example, data.classes, seconds=seconds)
    rungs = [replace(one, costs=found[name]) for name, one in wanted.items()]
    rungs += _within(students, data, example, rungs, budget, seconds)
    return sorted(rungs, key=lambda r: (-(r.costs.parameters or 0), r.name)), notes


def _within(
    students: Sequence[Any],
    data: Data,
    example: Tensor,
    rungs: Sequence[Planned],
    budget: Budget,
    seconds: float,
) -> Iterator[Planned]:
    """The largest member within all limits, of each family that has one over them."""
    for family in students:
        own = [r for r in rungs if isinstance(family, Family) and r.family == family.name]
        over = [r.plan.recipe["width"] for r in own if budget.broken(r.costs)]
        if not over:
            continue
        fitted, shape, plan_of = members_of(family, data)

        def costs_of(
            width: int, timed: float, plan_of: Callable[[int], StudentPlan] = plan_of
        ) -> Costs:
            # As it will be trained: the standardisation in front costs, too.
            make = plan_of(width).make
            return foresee({"": make}, example, data.classes, seconds=timed)[""]

        # Two timings differ: a rung that keeps the limits may be larger than one that does not.
        beyond = min(over)
        within = [r.plan.recipe["width"] for r in own if not budget.broken(r.costs)]
        fits = max((width for width in within if width < beyond), default=0)
        if set(budget.limits) == {"parameters"}:  # which are known without a try
            width = _by_parameters(fitted, shape, len(data.classes), budget)
        else:
            width = _widest(costs_of, fits, beyond, budget, seconds)
        if width == 0 or any(r.plan.recipe["width"] == width for r in own):
            continue
        yield Planned(family, plan_of(width), family.name, None, costs_of(width, seconds))


def _by_parameters(family: Family, shape: tuple[int, ...], classes: int, budget: Budget) -> int:
    """The largest width of so many parameters; 0 where even the narrowest has more."""
    limit = int(budget.limits["parameters"])
    with contextlib.suppress(AttarError):
        return fit_to(family, parameters=limit, input_shape=shape, classes=classes)
    return 0


def _widest(
    costs_of: Callable[[int, float], Costs], fits: int, beyond: int, budget: Budget, seconds: float
) -> int:
    """The largest width whose costs keep all limits, found by trying; 0 where none does.

    Args:
        costs_of: What the member of a width costs, timed for so many seconds.
        fits: A width that keeps the limits; 0 where none is known.
        beyond: A larger one that does not.
        budget: The limits.
        seconds: How long each is timed.
    """
    exact = replace(budget, latency_ms=None)

    def small(width: int) -> bool:
        return not exact.broken(costs_of(width, 0.0))

    def quick(width: int) -> bool:
        return not budget.broken(costs_of(width, seconds), slack={"latency_ms": 0.97})

    if exact.limits:
        widest = _between(small, fits, beyond)
        if widest == 0 or budget.latency_ms is None:
            return widest
        if widest == fits or quick(widest):
            return widest
        beyond = widest
    return _between(quick, fits, beyond, close=_CLOSE)


def _between(keeps: Callable[[int], bool], fits: int, beyond: int, *, close: float = 1.0) -> int:
    """The largest width that keeps, below one that does not; 0 where not even 1 does.

    >>> _between(lambda width: width <= 15, 11, 28), _between(lambda width: False, 0, 28)
    (15, 0)
    """
    if fits == 0:
        if beyond == 1 or not keeps(1):
            return 0
        fits = 1
    while beyond - fits > 1 and beyond / fits > close:
        middle = max(fits + 1, min(beyond - 1, round(math.sqrt(fits * beyond))))
        fits, beyond = (middle, beyond) if keeps(middle) else (fits, middle)
    return fits


def _sizes(
    largest: int | None, shrinks: Sequence[float], parameters: Sequence[int] | None
) -> list[tuple[float | None, int]]:
    """Shrink and parameters of each size, large ones first."""
    if parameters is not None or largest is None:
        return [(None, int(size)) for size in sorted(set(parameters or SIZES), reverse=True)]
    return [(float(shrink), int(largest / shrink)) for shrink in sorted(set(shrinks))]


def member(family: Family, data: Data, width: int) -> StudentPlan:
    """How the member of this width is made."""
    return plan_member(family, data, lambda _, __: width)


def _unlike(plan: StudentPlan, others: Mapping[str, Any]) -> StudentPlan:
    """The same plan, numbered where another student is called alike."""
    name, number = plan.name, 2
    while name in others:
        name, number = f"{plan.name} {number}", number + 1
    return replace(plan, name=name)


@contextlib.contextmanager
def _same_random_state() -> Iterator[None]:
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)
