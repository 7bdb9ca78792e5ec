"""Words on the command line -> numbers, and objects in modules."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from attar.checks import AttarError, check_number

#: ``module:object``.
OBJECT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")

#: The families of students by name; :data:`attar.students.FAMILIES` without loading torch.
STUDENTS = ("convnet", "mlp", "plain_convnet", "resnet")
#: Those for tables; :data:`attar.students.TABLES`.
TABLES = ("boosted", "table_mlp", "tree")


def load_object(word: str, what: str) -> Any:
    """The object that ``module:name`` names; the current directory is looked in first.

    This runs the module's code: it is only done for a word that the user wrote.

    Raises:
        AttarError: If there is no such module, or nothing of that name in it.
    """
    module, _, name = word.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module + ".").startswith(error.name + "."):
            raise  # the module is there; what it imports is not
        raise AttarError(
            f"{what} {word}: there is no module {module}, neither installed nor in {Path.cwd()}."
        ) from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise AttarError(f"{what} {word}: {module} has no {name}.")
        found = getattr(found, part)
    return found


def check_student(word: str) -> None:
    """Raise unless a word names a family, or an object in a module.

    Raises:
        AttarError: With the families that there are.
    """
    if word not in (*STUDENTS, *TABLES) and not OBJECT.fullmatch(word):
        raise AttarError(
            f"--student must be {', '.join((*STUDENTS, *TABLES))}, or module:function (a function "
            f"that makes a torch module). Got {word}."
        )


def choices(name: str, word: str, *, high: float) -> float | list[float] | str:
    """A number, a list of numbers with commas between, or ``auto``.

    Raises:
        AttarError: If it is none of these, or a number is not above 0 and at most ``high``.
    """
    if word.strip() == "auto":
        return "auto"
    numbers = [_number(part) for part in word.split(",")]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        raise AttarError(f"--{name} must be a number, a list such as 2,4,8, or auto. Got {word}.")
    for number in known:
        check_number("attar distill", name, number, low=0, low_open=True, high=high)
    return known if len(known) > 1 else known[0]


def seeds_of(word: str) -> int | list[int]:
    """A count, or a list of seeds with commas between.

    Raises:
        AttarError: If it is neither.
    """
    parts = [part.strip() for part in word.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise AttarError(f"--seeds must be a count (3) or a list (0,1,5). Got {word}.")
    return [int(part) for part in parts] if "," in word else int(parts[0])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
