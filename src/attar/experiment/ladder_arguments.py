"""The students and sizes of a ladder, looked at before anything is asked or trained."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from attar.checks import AttarError, check_number
from attar.experiment.inputs import plan_student
from attar.students import Family, boosted, convnet, mlp
from attar.types import Data

#: No student has more: such a one is trained nowhere, and its size alone would fail in torch.
_MOST = 10**10


def students_of(students: Any, data: Any) -> list[Any]:
    """The students as a list; of ``"auto"`` those that suit the rows.

    Raises:
        AttarError: If they are none, or one stands there twice.
    """
    if isinstance(students, str):
        if students != "auto":
            raise AttarError(
                "ladder: students must be families of attar.students, other students, a list of "
                f"these, or 'auto'. Got {students!r}."
            )
        shape = getattr(getattr(data, "inputs", None), "shape", ())
        if len(shape) == 4:
            return [convnet, mlp]
        return [mlp, boosted] if getattr(data, "columns", None) else [mlp]
    several = list(students) if isinstance(students, list | tuple) else [students]
    if not several:
        raise AttarError("ladder: students is an empty list; name a family, or leave 'auto'.")
    for place, one in enumerate(several):
        if any(_alike(one, other) for other in several[:place]):
            name = one.name if isinstance(one, Family) else repr(one)
            raise AttarError(
                f"ladder: {name} stands in students twice. Name each once: its sizes are all tried."
            )
    return several


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Family) and isinstance(other, Family):
        return one.name == other.name
    return one is other


def check_sizes(shrinks: Any, parameters: Any) -> tuple[list[float], list[int] | None]:
    """The sizes as numbers, looked at before anything is asked or trained.

    Raises:
        AttarError: If there are none, or one is no number of 1 or more.
    """
    found: dict[str, list[Any]] = {"shrinks": [], "parameters": []}
    for name, values in (("shrinks", shrinks), ("parameters", parameters)):
        if values is None and name == "parameters":
            continue
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise AttarError(f"ladder: {name} must be a list of numbers. Got {values!r}.")
        found[name] = list(values)
        if not found[name]:
            raise AttarError(f"ladder: {name} is an empty list; name a size, or leave it out.")
        most = _MOST if name == "parameters" else math.inf
        for value in found[name]:
            check_number("ladder", name, value, low=1, high=most, whole=name == "parameters")
    whole = None if parameters is None else [int(value) for value in found["parameters"]]
    return [float(value) for value in found["shrinks"]], whole


def check_room(students: Sequence[Any], data: Data, largest: int) -> None:
    """Raise where no student is so small, before a teacher has been trained in vain.

    Args:
        students: As for :func:`plan_rungs`.
        data: The training rows.
        largest: Parameters of the largest size.

    Raises:
        AttarError: With the smallest that each family has.
    """
    reasons = []
    for student in students:
        if not isinstance(student, Family):
            return
        try:
            plan_student(student, data, parameters=max(1, largest))
        except AttarError as error:
            reasons.append(f"no {student.name} of {largest:,} parameters: {error}")
        else:
            return
    raise AttarError(f"ladder: there is no student to train. {' '.join(reasons)}")
