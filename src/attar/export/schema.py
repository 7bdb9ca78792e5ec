"""Does a JSON value fit a JSON Schema? As much of draft 2020-12 as ``bundle.schema.json`` uses.

Production has no library for this, and checks written by hand beside a published schema drift
apart from it. So the loader reads the schema that is published; a test holds this reader against
the library ``jsonschema``. A keyword that it does not know is an error, never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from attar.checks import AttarError

#: Keywords that say nothing about a value.
_WORDS = {"$schema", "$id", "$defs", "title", "description", "properties", "required"}


def problem(value: Any, schema: Mapping[str, Any]) -> str | None:
    """What is wrong with ``value``, as ``"models[0].path must ..."``; None where it fits.

    >>> schema = {"type": "object", "properties": {"bytes": {"type": "integer", "minimum": 0}}}
    >>> problem({"bytes": 3}, schema)
    >>> problem({"bytes": -3}, schema)
    'bytes must be at least 0. Got -3'
    """
    return _problem(value, schema, schema, "")


def _problem(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> str | None:
    for word, wanted in schema.items():
        if word == "$ref":
            found = _problem(value, _resolve(root, wanted), root, at)
        elif word == "anyOf":
            tried = [_problem(value, one, root, at) for one in wanted]
            found = None if None in tried else tried[0]
        elif word in _CHECKS:
            fits, said = _CHECKS[word](value, wanted)
            found = None if fits else f"{at or 'the whole'} must {said}. Got {_shown(value)}"
        elif word in ("items", "additionalProperties") or word in _WORDS:
            continue
        else:
            raise AssertionError(f"the schema uses '{word}', which is not read here")
        if found is not None:
            return found
    return _problem_inside(value, schema, root, at)


def _problem_inside(
    value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str
) -> str | None:
    """What is wrong with the members of an object or the items of an array."""
    inside: list[tuple[Any, Any, str]] = []
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            if name not in value:
                return f"{at or 'the whole'} must have '{name}'"
        known = schema.get("properties", {})
        for name, member in value.items():
            wanted = known.get(name, schema.get("additionalProperties"))
            inside.append((member, wanted, f"{at}.{name}" if at else name))
    elif isinstance(value, list):
        inside = [(item, schema.get("items"), f"{at}[{i}]") for i, item in enumerate(value)]
    for part, wanted, place in inside:
        found = None if wanted is None else _problem(part, wanted, root, place)
        if found is not None:
            return found
    return None


def _resolve(root: Mapping[str, Any], reference: str) -> Any:
    found: Any = root
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "null": lambda value: value is None,
    "number": lambda value: _is_number(value),
    # 3.0 is an integer to JSON Schema.
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _type(value: Any, wanted: Any) -> tuple[bool, str]:
    names = [wanted] if isinstance(wanted, str) else wanted
    return any(_TYPES[name](value) for name in names), f"be of type {' or '.join(names)}"


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 is 1.0, but not true."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


#: Keyword -> (value, what the schema wants) -> (whether it fits, how to say it).
_CHECKS: dict[str, Callable[[Any, Any], tuple[bool, str]]] = {
    "type": _type,
    "const": lambda v, w: (_same(v, w), f"be {w}"),
    "enum": lambda v, w: (any(_same(v, one) for one in w), f"be one of {', '.join(map(str, w))}"),
    "minimum": lambda v, w: (not _is_number(v) or v >= w, f"be at least {w}"),
    "exclusiveMinimum": lambda v, w: (not _is_number(v) or v > w, f"be above {w}"),
    "minLength": lambda v, w: (not isinstance(v, str) or len(v) >= w, f"be of length >= {w}"),
    "maxLength": lambda v, w: (not isinstance(v, str) or len(v) <= w, f"be of length <= {w}"),
    # fullmatch: the $ of Python also matches before a last newline, that of JSON Schema does not.
    "pattern": lambda v, w: (
        not isinstance(v, str) or re.fullmatch(w.strip("^$"), v) is not None,
        f"match {w}",
    ),
    "minItems": lambda v, w: (not isinstance(v, list) or len(v) >= w, f"have {w} items or more"),
    # Of texts alone, which is what the schema uses it for.
    "uniqueItems": lambda v, w: (
        not w or not isinstance(v, list) or len(set(map(repr, v))) == len(v),
        "have no item twice",
    ),
}


def _shown(value: Any) -> str:
    return repr(value)[:80]


def check(owner: str, value: Any, schema: Mapping[str, Any]) -> None:
    """Raise unless ``value`` fits ``schema``; the message begins with ``owner``."""
    found = problem(value, schema)
    if found is not None:
        raise AttarError(f"{owner}: {found}.")
