"""The reader of JSON Schema against the library that production does not have."""

from __future__ import annotations

import copy
import json
import random

import jsonschema
import pytest

from attar.export import schema
from attar.export.bundle import bundle_schema

#: Values of every kind, to be put where they do not belong.
STRANGE = [None, True, False, 0, 1, 1.0, -1, 1.5, "", "x", "a" * 64, "A" * 64, "../x", [], {}, [1],
           ["a", "a"], [None], {"a": 1}, 2**70, 1e300, "BEATS", "float32"]  # fmt: skip


def places(value, at=()):
    """The path of every part of a JSON value."""
    yield at
    if isinstance(value, dict | list):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*at, name))


def changed(value, at, change):
    """A copy in which ``change(container, name)`` was done to the part at a path."""
    root = [copy.deepcopy(value)]
    container, name = root, 0
    for step in at:
        container, name = container[name], step
    change(container, name)
    return root[0]


def put(new):
    return lambda container, name: container.__setitem__(name, new)


def test_it_says_the_same_as_jsonschema_of_hundreds_of_broken_bundles(manifest):
    validator = jsonschema.Draft202012Validator(bundle_schema())
    assert validator.is_valid(manifest)
    assert schema.problem(manifest, bundle_schema()) is None
    broken = 0
    generator = random.Random(0)
    for at in places(manifest):
        tried = [changed(manifest, at, put(new)) for new in generator.sample(STRANGE, 5)]
        if at:
            tried.append(changed(manifest, at, lambda container, name: container.pop(name)))
        for value in tried:
            said = schema.problem(value, bundle_schema())
            assert (said is None) == validator.is_valid(value), (at, said)
            broken += said is not None
    assert broken > 500


@pytest.mark.parametrize(
    ("wanted", "values"),
    [
        ({"type": "integer"}, [1, 1.0, 1.5, True, "1", None, 10**400]),
        ({"type": ["number", "null"], "exclusiveMinimum": 0}, [0, 0.0, 1e-300, -1, None, True]),
        ({"const": 1}, [1, 1.0, True, "1"]),
        ({"enum": ["a", 0]}, ["a", 0, False, 0.0, None]),
        ({"pattern": "^[a-c]+$"}, ["abc", "abcd", "", 3, "\nabc"]),
        ({"minLength": 2, "maxLength": 3}, ["a", "ab", "abcd", 5]),
        ({"minItems": 1, "uniqueItems": True}, [[], ["a"], ["a", "a"], ["a", "b"], "aa"]),
        ({"required": ["a"], "additionalProperties": {"type": "null"}},
         [{}, {"a": None}, {"a": 1}, 3]),
        ({"items": {"minimum": 2}}, [[1], [2, 3], [2, "x"], 1]),
        ({"anyOf": [{"type": "null"}, {"$ref": "#/$defs/x"}], "$defs": {"x": {"minimum": 3}}},
         [None, 2, 3, "x"]),
    ],
)  # fmt: skip
def test_each_keyword(wanted, values):
    validator = jsonschema.Draft202012Validator(wanted)
    said = [schema.problem(value, wanted) is None for value in values]
    assert said == [validator.is_valid(value) for value in values]
    assert len(set(said)) == 2  # some fit, some do not


def test_a_message_names_the_place_what_is_wanted_and_what_came(manifest):
    broken = changed(manifest, ("models", 0, "bytes"), put(-1))
    assert schema.problem(broken, bundle_schema()) == "models[0].bytes must be at least 0. Got -1"
    del broken["models"][0]["sha256"]
    assert schema.problem(broken, bundle_schema()) == "models[0] must have 'sha256'"
    assert schema.problem([], bundle_schema()).startswith("the whole must be of type object. Got")


def test_a_newline_at_the_end_fits_no_pattern():
    # The library takes Python's $, which matches before it; in JSON Schema $ is the end.
    assert schema.problem("abc\n", {"pattern": "^[a-c]+$"}) is not None


def test_a_keyword_that_it_does_not_know_is_never_passed_over():
    with pytest.raises(AssertionError, match="'maximum'"):
        schema.problem(3, {"maximum": 2})


def test_the_schema_is_one_and_all_its_references_lead_somewhere():
    jsonschema.Draft202012Validator.check_schema(bundle_schema())
    text = json.dumps(bundle_schema())
    for name in {part.split('"')[0] for part in text.split("#/$defs/")[1:]}:
        assert name in bundle_schema()["$defs"]
