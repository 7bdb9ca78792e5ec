"""Checks of what comes from outside, with all their messages.

What comes in is checked once, at the door; the code behind the door trusts it. Each message
says whose value it is, what was expected, what came, and what to do.
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

#: The label of a row whose class is not known. It has no hard loss.
UNLABELLED = -100


class AttarError(ValueError):
    """An input that Attar cannot work with; the message says what to do about it."""


class MissingExtraError(AttarError, ImportError):
    """A part of Attar was used whose libraries are not installed."""


def need(module: str, *, extra: str, purpose: str) -> Any:
    """Import a library that only an extra brings, or say in one line how to get it.

    Args:
        module: The module to import, ``"torch"``.
        extra: The extra that brings it, ``"train"``.
        purpose: What it is needed for, ``"training"``.

    Raises:
        MissingExtraError: If the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # the library is there and is itself broken: its own message is the better one
        raise MissingExtraError(
            f"{purpose} needs {module.partition('.')[0]}, which is not installed: "
            f"pip install 'attar[{extra}]'"
        ) from None


def check_number(
    owner: str,
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
    whole: bool = False,
) -> None:
    """Raise unless ``value`` is a finite number (``whole``: an integer) in the interval.

    >>> check_number("kl", "temperature", 0.0, low=0.0, low_open=True)
    Traceback (most recent call last):
    attar.checks.AttarError: The 'temperature' parameter of kl must be a number in the
    range (0.0, inf). Got 0.0 instead.
    """
    import numbers

    kind = "an integer" if whole else "a number"
    expected_type = numbers.Integral if whole else numbers.Real
    good = isinstance(value, expected_type) and not isinstance(value, bool)
    if good:
        number = float(value)
        good = (
            math.isfinite(number)
            and (number > low if low_open else number >= low)
            and (number < high if high_open else number <= high)
        )
    if not good:
        left = "(" if low_open or math.isinf(low) else "["
        right = ")" if high_open or math.isinf(high) else "]"
        raise AttarError(
            f"The '{name}' parameter of {owner} must be {kind} in the range "
            f"{left}{low}, {high}{right}. Got {value!r} instead."
        )


def check_logits(
    owner: str, name: str, value: Any, *, rows: int | None = None, least: int = 2
) -> None:
    """Raise unless ``value`` is a floating tensor ``[N, C]`` with C of 2 or more."""
    if not hasattr(value, "is_floating_point"):
        raise AttarError(
            f"{owner}: {name} must be a tensor of logits [N, C], attar.Outputs, or an object "
            f"with `.logits`. Got {type(value).__name__}; wrap the model in one that returns them."
        )
    shape = tuple(value.shape)
    if value.ndim != 2 or shape[1] < least or not value.is_floating_point():
        what = "two classes" if least == 2 else f"{least} column{'s' if least > 1 else ''}"
        raise AttarError(
            f"{owner}: {name} must be floating-point logits of shape [N, C] with at least "
            f"{what}. Got shape {shape}, dtype {value.dtype}."
        )
    if rows is not None and shape[0] != rows:
        raise AttarError(f"{owner}: {name} must have {rows} rows, one a sample. Got {shape[0]}.")


def check_pair(owner: str, student: Tensor, teacher: Tensor) -> None:
    """Raise unless both are logits ``[N, C]`` of one shape, on one device."""
    check_logits(owner, "student", student)
    check_logits(owner, "teacher", teacher)
    if student.shape != teacher.shape:
        raise AttarError(
            f"{owner}: student and teacher logits must have the same shape [N, C]. Got "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}. If the class counts differ, map "
            f"the teacher's classes to the student's before the loss."
        )
    if student.device != teacher.device:
        raise AttarError(
            f"{owner}: student and teacher logits must be on one device. Got {student.device} "
            f"and {teacher.device}."
        )


def check_values(
    owner: str, name: str, student: Any, other: Any, *, same_width: bool = True
) -> None:
    """Raise unless both are floating ``[N, D]`` of one shape (or one N), on one device."""
    for whose, value in (("student", student), (name, other)):
        if not hasattr(value, "is_floating_point"):
            raise AttarError(
                f"{owner}: {whose} must be a tensor [N, D]. Got {type(value).__name__}."
            )
        if value.ndim != 2 or value.shape[1] < 1 or not value.is_floating_point():
            raise AttarError(
                f"{owner}: {whose} must be floating-point of shape [N, D], one column a target "
                f"(for a single one, y[:, None]). Got shape {tuple(value.shape)}, dtype "
                f"{value.dtype}."
            )
    if len(student) != len(other) or (same_width and student.shape != other.shape):
        raise AttarError(
            f"{owner}: student and {name} must have the same {'shape' if same_width else 'rows'}. "
            f"Got {tuple(student.shape)} and {tuple(other.shape)}."
        )
    if student.device != other.device:
        raise AttarError(
            f"{owner}: student and {name} must be on one device. Got {student.device} and "
            f"{other.device}."
        )


def check_labels(owner: str, labels: Tensor, *, classes: int) -> None:
    """Raise unless ``labels`` is ``[N]`` int64 in ``[0, classes)`` or :data:`UNLABELLED`.

    Reads the values, so it waits for the device: for the door, not for a training step.
    """
    import torch

    if labels.ndim != 1 or labels.dtype != torch.int64:
        raise AttarError(
            f"{owner}: labels must be int64 of shape [N]. Got shape {tuple(labels.shape)}, "
            f"dtype {labels.dtype}."
        )
    known = labels[labels != UNLABELLED]
    if len(known) and (int(known.min()) < 0 or int(known.max()) >= classes):
        bad = known[(known < 0) | (known >= classes)]
        raise AttarError(
            f"{owner}: labels must lie in [0, {classes - 1}], or be {UNLABELLED} where the class "
            f"is not known. Got {int(bad[0])} ({len(bad)} of {len(labels)} rows)."
        )


def check_finite(owner: str, name: str, value: Tensor, *, ids: Tensor | None = None) -> None:
    """Raise where a value is NaN or infinite, naming the first bad row.

    Reads the values, so it waits for the device: for the door, not for a training step.
    """
    import torch

    if not value.is_floating_point() or value.numel() == 0:
        return
    good = torch.isfinite(value).reshape(len(value), -1).all(dim=1)
    if bool(good.all()):
        return
    first = int((~good).nonzero()[0, 0])
    row = first if ids is None else int(ids[first])
    raise AttarError(
        f"{owner}: {name} must be finite. {int((~good).sum())} of {len(value)} rows hold NaN or "
        f"infinity, the first is {'row' if ids is None else 'id'} {row}."
    )
