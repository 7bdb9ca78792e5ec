"""The walk through a fitted object: everything counts once, order and padding do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from attar.teachers.fitted import fitted_state


def digest(value: Any) -> str:
    return fitted_state(value)[0]


class Thing:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


def test_values_types_and_places_all_count() -> None:
    values = [
        1, 1.0, "1", b"1", True, None, [1], (1,), {1}, {1: 1}, {"1": 1}, [[1]], [1, 1],
        np.float32(1), np.float64(1), np.array(1), np.array([1]), np.array([[1]]),
        np.array([1.0]), np.array(["1"]), np.array([1], dtype=object), np.dtype("f4"), int, len,
        Thing(), Thing(a=1), Thing(b=1), Thing(a=[1]),
    ]  # fmt: skip
    assert len({digest(value) for value in values}) == len(values)


def test_order_of_keys_and_identity_of_parts_do_not_count() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"x", "y", "z"}) == digest({"z", "y", "x"})
    part = [1, 2]
    assert digest([part, part]) == digest([[1, 2], [1, 2]])
    text = "".join(["wo", "rd"])
    assert digest({"k": text, "l": "word"}) == digest({"k": "word", "l": "word"})


def test_memory_layout_and_padding_do_not_count() -> None:
    array = np.arange(6.0).reshape(2, 3)
    assert digest(array) == digest(np.asfortranarray(array))
    assert digest(array[:, ::2]) == digest(array[:, ::2].copy())
    node = np.dtype([("left", "i1"), ("value", "f8")], align=True)
    raw = [np.frombuffer(bytes([fill]) * 32, np.uint8).copy() for fill in (0, 255)]
    nodes = [memory.view(node) for memory in raw]
    for one in nodes:
        one["left"], one["value"] = [1, 2], [3.0, 4.0]
    assert nodes[0].tobytes() != nodes[1].tobytes()
    assert digest(nodes[0]) == digest(nodes[1])
    nodes[1]["value"][1] = 5.0
    assert digest(nodes[0]) != digest(nodes[1])


def test_cycles_end() -> None:
    def ring(value: int) -> Thing:
        first, second = Thing(value=value), Thing(value=2)
        first.next, second.next = second, first
        return first

    assert digest(ring(1)) == digest(ring(1)) != digest(ring(3))


def test_size_is_that_of_the_arrays_once_each() -> None:
    array = np.zeros(10)
    assert fitted_state(Thing(a=array, b=array, c=b"12345"))[1] == 85


def test_code_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(TypeError, match=r"lambda"):
        digest(Thing(metric=lambda a, b: a))
    with pytest.raises(TypeError):
        digest(Thing(file=(item for item in [])))
