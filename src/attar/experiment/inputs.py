"""The door of the experiment: whatever the user gave becomes three splits and a student factory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from attar.checks import AttarError, check_labels, check_number
from attar.data import ArrayData, MappedData, as_data, split
from attar.data.split import among_themselves
from attar.experiment.together import Groups
from attar.experiment.transfer import add_rows, read_transfer, still_there
from attar.students import FAMILIES, TABLES, Family, TreeEnsemble, count_parameters, fit_to
from attar.types import Data, is_known

#: What makes a fresh student; called under a seed, so that arms of a seed start alike.
Factory = Callable[[], nn.Module]


@dataclass(frozen=True)
class Splits:
    """The three parts of an experiment; no row is in two of them.

    Attributes:
        train: Labelled and unlabelled rows to learn from, further rows for the soft loss included.
        validation: Labelled rows on which every choice is made.
        test: Labelled rows, opened once, at the end.
        transfer: The part of ``train`` that the student is distilled on; None: all of it.
        groups: Which rows belong together; None where that was not said.
        added: The row numbers of further rows in ``train``, which teach by the soft loss alone;
            None where there are none.
        drawn: Whether these were drawn here, between the rows that were given.
    """

    train: Data
    validation: Data
    test: Data
    transfer: Data | None = None
    groups: Groups | None = None
    added: Tensor | None = None
    drawn: bool = False

    @property
    def taught(self) -> Data:
        """The training rows about which the student hears the teacher."""
        return self.train if self.transfer is None else self.transfer

    @property
    def own(self) -> Data:
        """The rows that teach, without the further ones; in mixed views their partners stay."""
        if self.added is None:
            return self.taught
        return self.train.take((~torch.isin(self.train.rows, self.added)).nonzero()[:, 0])

    @property
    def labelled(self) -> Data:
        """The training rows whose label is known."""
        labels = self.train.labels
        assert labels is not None
        known = is_known(labels)
        if bool(known.all()):
            return self.train
        # Where views mix rows, the labelled ones alone: a partner without a label would take
        # the label away from a row that has one.
        return among_themselves(self.train.take(known.nonzero()[:, 0]))

    def without(self, rows: Tensor) -> Splits:
        """The same where these row numbers are not learnt from."""
        if not len(rows):
            return self
        train = self.train.take((~torch.isin(self.train.rows, rows)).nonzero()[:, 0])
        taught = None if self.transfer is None else still_there(self.transfer, train)
        return replace(self, train=among_themselves(train), transfer=taught)

    @property
    def unlabelled_rows(self) -> int:
        """How many rows teach by their soft target alone, for want of a label."""
        labels = self.taught.labels
        assert labels is not None
        return int((~is_known(labels)).sum())

    @property
    def few_labels(self) -> bool:
        """Whether less than a fifth of the rows that teach, of those given, have a label."""
        drawn = len(self.added) if self.drawn and self.added is not None else 0
        return self.unlabelled_rows - drawn > 4 * (len(self.taught) - self.unlabelled_rows)


def make_splits(
    train: Any,
    validation: Any = None,
    test: Any = None,
    transfer: Any = None,
    *,
    groups: Any = None,
    classes: tuple[str, ...] | None = None,
    seed: int = 0,
    task: str = "multiclass",
) -> Splits:
    """Read what the user gave; hold out what he did not give, stratified and seeded.

    Without ``test``, a fifth of the labelled rows is held out for it; without ``validation``, a
    fifth of what is then left. Unlabelled rows all stay in ``train``. Plain ``(X, y)`` pairs get
    row numbers one after the other: train, transfer, validation, test. A transfer set of
    training rows (see :func:`~attar.experiment.transfer.read_transfer`) takes what is left of
    them; one of other rows is added to train without its labels. With ``groups``, the group of
    each row of ``train``, what is held out are whole groups.

    Raises:
        AttarError: If no training row is labelled, a split has no labels, two splits share row
            numbers, or the class names of the splits differ.
    """
    data = as_data(train, classes=classes, task=task)
    if data.labels is None or not bool(is_known(data.labels).any()):
        raise AttarError(
            "distill: train has no labelled row. The hard-label baseline and the verdict need "
            "some labels: give train=(X, y), with -100 where the class is not known."
        )
    whose = None if groups is None else Groups(data, groups)
    taken = int(data.rows.max()) + 1
    part = False
    parts: dict[str, Data] = {}
    if transfer is not None:
        parts["transfer"], part = read_transfer(data, transfer, first_row=taken, task=task)
        taken = max(taken, int(parts["transfer"].rows.max()) + 1)
    for name, value in (("validation", validation), ("test", test)):
        if value is not None:
            first = taken if isinstance(value, tuple | list) else 0
            columns = getattr(data, "columns", None) if first else None
            names = data.classes
            parts[name] = as_data(value, classes=names, first_row=first, columns=columns, task=task)
            taken = max(taken, int(parts[name].rows.max()) + 1)
    for number, name in enumerate(("test", "validation")):
        if name not in parts and whose is None:
            data, parts[name] = split(data, (0.8, 0.2), seed=seed + number)
        elif name not in parts and whose is not None:
            data, parts[name] = whose.split(data, seed=seed + number)
    taught = added = None
    if part:
        taught = still_there(parts["transfer"], data)
    elif "transfer" in parts:
        added = parts["transfer"].rows
        data = add_rows(cast(ArrayData, data), cast(ArrayData, parts["transfer"]))
    splits = Splits(
        data,
        as_they_are(parts["validation"]),
        as_they_are(parts["test"]),
        transfer=taught,
        groups=whose,
        added=added,
    )
    _check(splits)
    return splits


def as_they_are(data: Data) -> Data:
    """The rows in view 0 alone; what is judged on is always judged so."""
    return data.with_views(None) if isinstance(data, ArrayData | MappedData) else data


def _check(splits: Splits) -> None:
    names, labels = splits.train.classes, splits.train.labels
    if len(names) < 2 and labels is not None and not labels.is_floating_point():
        raise AttarError(
            f"distill: there must be two classes or more. All labels are of one: {names}."
        )
    seen: Tensor = torch.empty(0, dtype=torch.int64)
    for name in ("train", "validation", "test"):
        part: Data = getattr(splits, name)
        if part.labels is None or (name != "train" and not bool(is_known(part.labels).all())):
            raise AttarError(f"distill: every row of {name} needs a label; some have none.")
        if part.classes != splits.train.classes:
            raise AttarError(
                f"distill: {name} has the classes {part.classes}, train has "
                f"{splits.train.classes}. Give classes=[...] with all names in one order."
            )
        if not part.labels.is_floating_point():
            check_labels(f"distill ({name})", part.labels, classes=len(part.classes))
        shared = torch.isin(part.rows, seen)
        if bool(shared.any()):
            raise AttarError(
                f"distill: {int(shared.sum())} row numbers of {name} are in another split too, "
                f"the first is {int(part.rows[shared][0])}. A row may be in one split only; where "
                "the numbers clash by accident, give each split its own: ArrayData(..., rows=...)."
            )
        seen = torch.cat([seen, part.rows])


def example_inputs(data: Data, count: int = 64) -> Any:
    """The inputs of the first rows, as the models will see them."""
    return data.batch(torch.arange(min(count, len(data)))).inputs


@dataclass(frozen=True)
class StudentPlan:
    """How a student is made.

    Attributes:
        make: Gives a fresh (or, from an instance, a copied) student.
        name: What to call it.
        recipe: Of a family's member, what it takes to build it again: ``family``, ``width``,
            ``input_shape``; empty for others.
        shared_start: True where an ``nn.Module`` instance was given, so all seeds start from it.
        grown: True for trees: they are built in one go, not step by step.
    """

    make: Factory
    name: str
    recipe: dict[str, Any] = field(default_factory=dict)
    shared_start: bool = False
    grown: bool = False


def check_student(student: Any, parameters: int | None, shrink: float | None) -> None:
    """Raise unless this is a student, with a size where it needs one and none where it has one.

    Raises:
        AttarError: With the families that there are.
    """
    if isinstance(student, Family):
        if (parameters is None) == (shrink is None):
            raise AttarError(
                "distill: a student family needs its size: either parameters=20_000 or shrink=10 "
                "(times smaller than the teacher's smallest member)."
            )
        if shrink is None:
            check_number("distill", "parameters", parameters, low=1, whole=True)
        else:
            check_number("distill", "shrink", shrink, low=1)
        return
    if isinstance(student, StudentPlan):
        return
    if not callable(student):  # a module is
        families = ", ".join(sorted({**FAMILIES, **TABLES}))
        raise AttarError(
            f"distill: student must be a family of attar.students ({families}: attar.students.mlp, "
            "say), a callable without arguments that makes a torch.nn.Module, or a "
            f"torch.nn.Module. Got {student!r}."
        )
    if parameters is not None or shrink is not None:
        raise AttarError(
            "distill: parameters= and shrink= size a family (attar.students.mlp, say). Got the "
            f"student {type(student).__name__}, which has its size already."
        )


def plan_student(
    student: Any,
    data: Data,
    *,
    parameters: int | None = None,
    shrink: float | None = None,
    teacher_parameters: int | None = None,
) -> StudentPlan:
    """From a family and a size, a factory, or an instance to the way a student is made.

    Args:
        student: A :class:`~attar.students.Family`, a callable without arguments, a module, or
            a plan that was made before.
        data: The training rows; a family reads its input shape, classes and scale from them.
        parameters: The budget of a family's member.
        shrink: The budget as a fraction of the teacher's smallest member: 10 means a tenth.
        teacher_parameters: Of that smallest member.
    """
    check_student(student, parameters, shrink)
    if isinstance(student, Family):
        budget = _budget(parameters, shrink, teacher_parameters)
        return _plan_family(student, data, budget)
    if isinstance(student, StudentPlan):
        return student
    if isinstance(student, nn.Module):
        return StudentPlan(
            lambda: copy.deepcopy(student), type(student).__name__, shared_start=True
        )
    made = student()
    if not isinstance(made, nn.Module):
        raise AttarError(
            f"distill: student() must return a torch.nn.Module. Got {type(made).__name__}."
        )
    return StudentPlan(student, type(made).__name__, grown=isinstance(made, TreeEnsemble))


def _budget(parameters: int | None, shrink: float | None, teacher: int | None) -> int:
    if parameters is not None:
        return parameters
    if teacher is None:
        raise AttarError(
            "distill: shrink= needs a teacher whose parameters can be counted, and this one "
            "has none. Give the student's size with parameters= instead."
        )
    return int(teacher / cast(float, shrink))


def _plan_family(family: Family, data: Data, budget: int) -> StudentPlan:
    return plan_member(
        family,
        data,
        lambda fitted, shape: fit_to(
            fitted, parameters=budget, input_shape=shape, classes=len(data.classes)
        ),
    )


def plan_member(
    family: Family, data: Data, width_of: Callable[[Family, tuple[int, ...]], int]
) -> StudentPlan:
    """How a member of a family is made.

    Args:
        family: Which one.
        data: The training rows.
        width_of: Gives its width, from the family as it suits these rows and the shape of one.

    Raises:
        AttarError: If the inputs are no single tensor, or ``width_of`` finds none.
    """
    fitted, shape, plan_of = members_of(family, data)
    return plan_of(width_of(fitted, shape))


def members_of(
    family: Family, data: Data
) -> tuple[Family, tuple[int, ...], Callable[[int], StudentPlan]]:
    """A family as it suits these rows, the shape of one, and how its member of a width is made.

    Raises:
        AttarError: If the inputs are no single tensor.
    """
    inputs = example_inputs(data)
    if not isinstance(inputs, Tensor):
        raise AttarError(
            f"distill: the family {family.name} takes one tensor. These inputs are a mapping; "
            "give a student factory that takes them by name."
        )
    shape, classes = tuple(inputs.shape[1:]), len(data.classes)
    fitted, scaler = family.fit(example_inputs(data, len(data)), getattr(data, "columns", None))

    def plan_of(width: int) -> StudentPlan:
        def make() -> nn.Module:
            own = copy.deepcopy(scaler)
            return fitted.model(width, input_shape=shape, classes=classes, scaler=own)

        recipe = {"family": family.name, "width": width, "input_shape": list(shape)}
        with torch.device("meta"):
            bare = fitted.model(width, input_shape=shape, classes=classes)
        grown = isinstance(bare, TreeEnsemble)
        return StudentPlan(make, f"{family.name}({width})", recipe, grown=grown)

    return fitted, shape, plan_of


def size_of(plan: StudentPlan) -> int:
    """The number of parameters of the student; leaves the random state as it was."""
    state = torch.get_rng_state()
    try:
        return count_parameters(plan.make())
    finally:
        torch.set_rng_state(state)
