"""The fingerprint of a fitted estimator: its type, its parameters and everything it learned.

The object is walked, never saved: what it would give to be copied (its state) is hashed piece
by piece. A hash of its pickled bytes would not do. Those depend on which of its strings happen
to be one object, and on the unused bytes between the fields of a tree's nodes.
"""

from __future__ import annotations

import hashlib
import re
import types
from typing import Any

import numpy as np

# Changes with the library's version, not with what was learned.
_IGNORED_KEYS = frozenset({"_sklearn_version"})

# A text of so many characters is a model written down (LightGBM's), no name and no setting.
_LONG_TEXT = 2048

# CatBoost writes into each model when it was fitted and a number of its own, drawn by chance.
# Both are texts behind their length, filled up with zeros; the number's length varies too.
_CATBOOST = b"CBM1"
_OF_THE_FIT = re.compile(
    rb".{4}[0-9a-f]+(?:-[0-9a-f]+){3}\0+(?=.{4}model_guid)"
    rb"|.{4}\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\0+(?=.{4}train_finish_time)",
    re.DOTALL,
)

# Trees of neighbours count how often they were asked, in the numbers 7 to 10 of their state.
_COUNTING_TREES = frozenset({"sklearn.neighbors._kd_tree", "sklearn.neighbors._ball_tree"})


def fitted_state(estimator: Any) -> tuple[str, int]:
    """A SHA-256 over the type and the whole state of an estimator, and the bytes it learned.

    Returns:
        The hash in hexadecimal digits, and the size of all arrays, byte strings and models that
        are kept as text.

    Raises:
        TypeError: If a part of it cannot be read (a lock, an open file, a lambda).
    """
    walk = _Walk()
    return walk.digest(estimator).hex(), walk.bytes


class _Walk:
    """One walk through an object; each part is hashed once, and a cycle is closed by a mark."""

    def __init__(self) -> None:
        # The object is kept beside its digest: an id is only unique among living objects.
        self._known: dict[int, tuple[Any, bytes]] = {}
        self._open: list[int] = []
        self.bytes = 0

    def digest(self, value: Any) -> bytes:
        if isinstance(value, (bytes, bytearray)) or (
            isinstance(value, str) and len(value) >= _LONG_TEXT
        ):
            self.bytes += len(value)
        if isinstance(value, bytes) and value.startswith(_CATBOOST):
            value = _OF_THE_FIT.sub(b"", value)
        plain = _plain(value)
        if plain is not None:
            return plain
        key = id(value)
        if key in self._known:
            return self._known[key][1]
        if key in self._open:
            return _hash("cycle", str(len(self._open) - self._open.index(key)).encode())
        self._open.append(key)
        result = self._composite(value)
        self._open.pop()
        self._known[key] = (value, result)
        return result

    def _composite(self, value: Any) -> bytes:
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
            return _hash(type(value).__name__, *map(self.digest, value))
        if type(value) is dict:
            return self._mapping(value)
        if type(value) in (set, frozenset):
            return _hash("set", *sorted(map(self.digest, value)))
        return self._reduced(value)

    def _array(self, array: np.ndarray[Any, Any]) -> bytes:
        head = f"{array.dtype.descr if array.dtype.names else array.dtype.str} {array.shape}"
        if array.dtype.hasobject:
            return _hash("array", head.encode(), *map(self.digest, array.reshape(-1).tolist()))
        if array.dtype.names:  # by field: the padding between them is whatever was in memory
            fields = [np.ascontiguousarray(array[name]) for name in array.dtype.names]
            return _hash("array", head.encode(), *map(self.digest, fields))
        self.bytes += array.nbytes
        return _hash("array", head.encode(), np.ascontiguousarray(array).tobytes())

    def _mapping(self, mapping: dict[Any, Any]) -> bytes:
        pairs = [
            self.digest(key) + self.digest(item)
            for key, item in mapping.items()
            if not (isinstance(key, str) and key in _IGNORED_KEYS)
        ]
        return _hash("dict", *sorted(pairs))

    def _reduced(self, value: Any) -> bytes:
        reduced = value.__reduce_ex__(2)
        if isinstance(reduced, str):
            return _hash("global", reduced.encode())
        maker, arguments, *rest = reduced
        state, items, pairs = (*rest[:3], None, None, None)[:3]
        if type(value).__module__ in _COUNTING_TREES and isinstance(state, tuple):
            state = state[:7] + state[11:]
        return _hash(
            "object",
            _name(type(value)),
            self.digest(maker),
            self.digest(tuple(arguments)),
            self.digest(state),
            self.digest(None if items is None else list(items)),
            self.digest(None if pairs is None else dict(pairs)),
        )


def _plain(value: Any) -> bytes | None:
    """The digest of a value without parts; None for one with parts."""
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        return _hash(type(value).__name__, repr(value).encode("utf-8", "surrogatepass"))
    if isinstance(value, (bytes, bytearray)):
        return _hash("bytes", bytes(value))
    if isinstance(value, np.generic) and not value.dtype.hasobject and not value.dtype.names:
        return _hash("scalar", value.dtype.str.encode(), value.tobytes())
    if isinstance(value, np.dtype):
        return _hash("dtype", str(value.descr if value.names else value.str).encode())
    if isinstance(value, type):
        return _hash("type", _name(value))
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, np.ufunc)):
        name = getattr(value, "__qualname__", value.__name__)
        if "<lambda>" in name or "<locals>" in name:
            raise TypeError(f"the code of {name} cannot be read")
        module = getattr(value, "__module__", None) or "numpy"
        return _hash("function", f"{module}.{name}".encode())
    return None


def _name(kind: type) -> bytes:
    return f"{kind.__module__}.{kind.__qualname__}".encode()


def _hash(kind: str, *pieces: bytes) -> bytes:
    digest = hashlib.sha256(kind.encode())
    for piece in pieces:
        digest.update(len(piece).to_bytes(8, "little"))
        digest.update(piece)
    return digest.digest()
