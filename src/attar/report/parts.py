"""Reading what a stranger may have written: bounded files, and JSON that is checked as it is used.

A run folder may come from anywhere. Files are read by fixed names alone, none through a link that
leaves the folder, none beyond a size; numbers must be finite and in their range; texts are cut.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError

#: The largest JSON file and the largest array that are read, in bytes.
LARGEST_JSON, LARGEST_ARRAY = 64 * 2**20, 4 * 2**30
#: A text longer than this is cut, and a list or an object longer than this is refused.
LONGEST_TEXT, LONGEST_LIST = 10_000, 200_000


class FolderParts(Mapping[str, Any]):
    """The files of a run folder as JSON values and arrays; arrays stay on disk until they are used.

    Args:
        folder: It must exist. A name that is not there is a KeyError, as in any mapping.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def __getitem__(self, name: str) -> Any:
        path = self.folder / name
        if not path.is_file():
            raise KeyError(name)
        if not path.resolve().is_relative_to(self.folder):
            raise AttarError(f"report: {name} leads out of the run folder. Copy the file into it.")
        return _array(path, name) if name.endswith(".npy") else _json(path, name)

    def __iter__(self) -> Any:
        return (p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*.*"))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _json(path: Path, name: str) -> Any:
    _check_size(path, name, LARGEST_JSON)
    try:
        return json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise AttarError(f"report: {name} is no JSON file in UTF-8: {error}.") from None


def _array(path: Path, name: str) -> NDArray[Any]:
    _check_size(path, name, LARGEST_ARRAY)
    try:
        found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise AttarError(f"report: {name} is no .npy file of numbers: {error}.") from None
    return found


def _check_size(path: Path, name: str, limit: int) -> None:
    size = path.stat().st_size
    if size > limit:
        raise AttarError(
            f"report: {name} must be at most {limit // 2**20:,} MiB. Got {size // 2**20:,} MiB."
        )


def check_array(
    value: Any, name: str, *, kinds: str, shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """An array of these dtype kinds and this shape (None: any length of 1 or more).

    Raises:
        AttarError: If it is another one.
    """
    good = isinstance(value, np.ndarray) and value.dtype.kind in kinds and len(shape) == value.ndim
    if good:
        pairs = zip(value.shape, shape, strict=True)
        good = all(found >= 1 if wanted is None else found == wanted for found, wanted in pairs)
    if not good:
        came = getattr(value, "shape", type(value).__name__)
        expected = tuple("any" if length is None else length for length in shape)
        raise AttarError(
            f"report: {name} must be an array of shape {expected}, dtype of kind {kinds!r}. Got "
            f"{came}, {getattr(value, 'dtype', 'no array')}. The folder was changed; save it again."
        )
    array: NDArray[Any] = value
    return array


class Node:
    """A JSON value and where it stands, read with checks.

    A missing key gives a node without a value, whose readers give None.

    >>> node = Node({"a": {"b": 2.5}}, "result.json")
    >>> node["a"]["b"].number(), node["x"]["y"].text()
    (2.5, None)
    >>> node["a"]["b"].text()
    Traceback (most recent call last):
    attar.checks.AttarError: report: result.json: a.b must be a text. Got 2.5.
    """

    def __init__(self, value: Any, file: str, where: str = "") -> None:
        self.value, self.file, self.where = value, file, where

    def __getitem__(self, key: str) -> Node:
        inner = self._of(dict, "an object").get(key) if self.value is not None else None
        return Node(inner, self.file, f"{self.where}.{key}" if self.where else key)

    def __bool__(self) -> bool:
        return self.value is not None

    def number(
        self, low: float = -math.inf, high: float = math.inf, *, whole: bool = False
    ) -> float | None:
        """A finite number in ``[low, high]``, or None."""
        value = self.value
        if value is None:
            return None
        kinds = int if whole else int | float
        good = isinstance(value, kinds) and not isinstance(value, bool)
        if not (good and abs(value) < 1e300 and low <= value <= high):
            raise self._wrong(f"{'an integer' if whole else 'a number'} from {low:g} to {high:g}")
        return float(value)

    def count(self) -> int | None:
        """A whole number of 0 or more, or None."""
        value = self.number(0, 2**53, whole=True)
        return None if value is None else int(value)

    def flag(self) -> bool | None:
        """True, False or None."""
        return None if self.value is None else bool(self._of(bool, "true or false"))

    def text(self) -> str | None:
        """A text, cut where it is very long, or None."""
        if self.value is None:
            return None
        told: str = self._of(str, "a text")
        # JSON may spell half a surrogate pair, which no file can hold.
        told = told.encode("utf-8", "replace").decode("utf-8")
        return told if len(told) <= LONGEST_TEXT else told[: LONGEST_TEXT - 1] + "…"

    def items(self) -> list[tuple[str, Node]]:
        """The entries of an object; none where it is missing."""
        if self.value is None:
            return []
        names = list(self._bounded(self._of(dict, "an object")))
        return [(str(Node(name, self.file, "a name").text()), self[name]) for name in names]

    def list(self) -> list[Node]:
        """The items of a list; none where it is missing."""
        if self.value is None:
            return []
        found = self._bounded(self._of(list, "a list"))
        return [Node(one, self.file, f"{self.where}[{i}]") for i, one in enumerate(found)]

    def needed(self, value: Any) -> Any:
        """The value read from this node, which must be there."""
        if value is None:
            raise self._wrong("there")
        return value

    def _of(self, kind: type, called: str) -> Any:
        if not isinstance(self.value, kind):
            raise self._wrong(called)
        return self.value

    def _bounded(self, value: Any) -> Any:
        if len(value) > LONGEST_LIST:
            raise self._wrong(f"of at most {LONGEST_LIST:,} entries")
        return value

    def _wrong(self, expected: str) -> AttarError:
        came = repr(self.value)
        came = came if len(came) < 80 else came[:77] + "..."
        return AttarError(f"report: {self.file}: {self.where} must be {expected}. Got {came}.")
