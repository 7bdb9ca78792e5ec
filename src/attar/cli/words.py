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
#: Losses by name; :data:`attar.experiment.arms.LOSSES`.
LOSSES = ("kl", "jsd", "dkd", "standardized_kl")
#: How models of timm are named, as in ``timm:resnet10t+resnet18``: from small to large.
TIMM = "timm:"


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
    known = word in (*STUDENTS, *TABLES) or word.startswith(TIMM) or OBJECT.fullmatch(word)
    if not known:
        raise AttarError(
            f"--student must be {', '.join((*STUDENTS, *TABLES))}, timm:NAME+NAME (models of timm, "
            f"from small to large), or module:function (a function that makes a torch module). "
            f"Got {word}."
        )


def is_family(word: str) -> bool:
    """Whether a word names a family, which needs a size."""
    return ":" not in word or word.startswith(TIMM)


def student_named(word: str) -> Any:
    """The family, or the object in a module, that a word names."""
    from attar.students import family_named

    return family_named(word) if is_family(word) else load_object(word, "--student")


def not_both(first: str, one: Any, second: str, other: Any) -> None:
    """Raise where two options that exclude each other were both given."""
    if one is not None and other is not None:
        raise AttarError(f"give --{first} or --{second}, not both.")


def training(
    owner: str,
    *,
    temperature: str,
    alpha: str,
    loss: str | None,
    seeds: str,
    steps: int | None,
    epochs: float | None,
    batch_size: int,
    learning_rate: float,
) -> dict[str, Any]:
    """The arguments of an experiment that say how students are trained, from their words.

    Raises:
        AttarError: If one is out of range, or steps and epochs are both given.
    """
    not_both("steps", steps, "epochs", epochs)
    for name, number in (("learning-rate", learning_rate), ("epochs", epochs)):
        if number is not None:
            check_number(owner, name, number, low=0, low_open=True)
    found: dict[str, Any] = {
        "temperature": choices(owner, "temperature", temperature, high=1e3),
        "alpha": choices(owner, "alpha", alpha, high=1.0),
        "seeds": seeds_of(seeds),
        "steps": steps,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
    }
    if loss is not None:
        found["loss"] = losses(loss)
    return found


def losses(word: str) -> str | list[str]:
    """A loss, a list of losses with commas between, or ``auto``.

    Raises:
        AttarError: If a name is not known.
    """
    names = list(dict.fromkeys(name.strip() for name in word.split(",")))
    if names != ["auto"] and not all(name in LOSSES for name in names):
        raise AttarError(
            f"--loss must be {', '.join(LOSSES)}, a list of these with commas between, or auto. "
            f"Got {_shown(word)}."
        )
    return names if len(names) > 1 else names[0]


def choices(owner: str, name: str, word: str, *, high: float) -> float | list[float] | str:
    """A number, a list of numbers with commas between, or ``auto``.

    Raises:
        AttarError: If it is none of these, or a number is not above 0 and at most ``high``.
    """
    if word.strip() == "auto":
        return "auto"
    numbers = [_number(part) for part in word.split(",")]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        raise AttarError(
            f"--{name} must be a number, a list such as 2,4,8, or auto. Got {_shown(word)}."
        )
    for number in known:
        check_number(owner, name, number, low=0, low_open=True, high=high)
    return known if len(known) > 1 else known[0]


def numbers_in(name: str, word: str) -> list[float]:
    """Numbers with commas between.

    Raises:
        AttarError: If one is none.
    """
    numbers = [_number(part) for part in word.split(",")]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        raise AttarError(f"--{name} must be numbers with commas between. Got {word}.")
    return known


def sizes_in(name: str, word: str) -> list[int]:
    """Whole numbers of 1 or more with commas between; 2e4 is one.

    Raises:
        AttarError: If one is none.
    """
    numbers = [_number(part) for part in word.split(",")]
    known = [int(n) for n in numbers if n is not None and n >= 1 and n.is_integer()]
    if len(known) < len(numbers):
        raise AttarError(
            f"--{name} must be whole numbers of 1 or more with commas between. Got {word}."
        )
    return known


def seeds_of(word: str) -> int | list[int]:
    """A count, or a list of seeds with commas between.

    Raises:
        AttarError: If it is neither.
    """
    parts = [part.strip() for part in word.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise AttarError(f"--seeds must be a count (3) or a list (0,1,5). Got {word}.")
    return [int(part) for part in parts] if "," in word else int(parts[0])


def _shown(word: str) -> str:
    return word if word.strip() else repr(word)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
