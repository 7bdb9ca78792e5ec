"""FunctionTeacher: numpy in, an array [N, C] out, and nothing else believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attar.checks import AttarError
from attar.data import ArrayData
from attar.store import label
from attar.teachers import FunctionTeacher
from attar.types import Batch


def batch(inputs: Any = None) -> Batch:
    inputs = torch.tensor([[1.0, 2.0], [3.0, 5.0]]) if inputs is None else inputs
    return Batch(inputs, torch.tensor([7, 8]))


def test_it_gets_numpy_and_gives_float32_logits() -> None:
    seen: list[Any] = []

    def double(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        return x.astype(np.float64) * 2

    logits = FunctionTeacher(double)(batch()).logits
    assert isinstance(seen[0], np.ndarray)
    assert torch.equal(logits, torch.tensor([[2.0, 4.0], [6.0, 10.0]]))
    named = FunctionTeacher(lambda x: x["a"] * 3)
    assert torch.equal(named(batch({"a": torch.ones(2, 2)})).logits, torch.full((2, 2), 3.0))


def test_lists_and_tensors_are_taken_too() -> None:
    assert FunctionTeacher(lambda x: [[1, 2], [3, 4]])(batch()).logits.tolist() == [[1, 2], [3, 4]]
    weight = torch.eye(2, requires_grad=True)
    assert FunctionTeacher(lambda x: torch.from_numpy(x) @ weight)(batch()).logits[0, 1] == 2.0


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.ones((3, 2)), r"2 rows.*Got \(3, 2\)"),
        (np.ones(2), r"Got \(2,\).*give both columns"),
        (np.ones((2, 1)), r"Got \(2, 1\).*both columns"),
        (np.ones((2, 2, 1)), r"Got \(2, 2, 1\)"),
        (None, "numbers. Got NoneType"),
        ([["a", "b"], ["c", "d"]], "numbers. Got list"),
        ([[1, 2], [3]], "numbers. Got list"),
        ([[1.0, 2.0], [np.nan, 4.0]], "finite.*id 8"),
        ([[1.0, np.inf], [3.0, 4.0]], "finite.*id 7"),
    ],
)
def test_broken_answers_are_refused(answer: Any, message: str) -> None:
    with pytest.raises(AttarError, match=message) as error:
        FunctionTeacher(lambda x: answer, name="service")(batch())
    assert "'service'" in str(error.value)


def test_it_is_recognised_by_its_name() -> None:
    one = FunctionTeacher(lambda x: x, name="v1")
    assert one.fingerprint() == FunctionTeacher(lambda x: x + 1, name="v1").fingerprint()
    assert one.fingerprint() != FunctionTeacher(lambda x: x, name="v2").fingerprint()
    assert one.verified is False
    assert one.parameters is None
    assert one.bytes is None


def test_without_a_name_it_is_recognised_by_its_answers() -> None:
    def fingerprint(function: Any) -> str:
        teacher = FunctionTeacher(function)
        teacher.probe(batch())
        return teacher.fingerprint()

    assert fingerprint(lambda x: x) == fingerprint(lambda x: x * 1.0)
    assert fingerprint(lambda x: x) != fingerprint(lambda x: x + 0.01)
    with pytest.raises(AttarError, match=r"Give name=.*probe"):
        FunctionTeacher(lambda x: x).fingerprint()


def test_label_probes_eight_rows_and_says_unverified(tmp_path: Path) -> None:
    data = ArrayData(torch.rand(20, 3))
    sizes: list[int] = []

    def api(x: np.ndarray) -> np.ndarray:
        sizes.append(len(x))
        return x * 2 - 1

    store = label(FunctionTeacher(api), data, tmp_path / "s")
    assert sizes == [8, 20]
    assert store.manifest["teacher"]["verified"] is False
    assert store.manifest["teacher"]["name"] == "api"
    assert store.manifest["teacher"]["outputs"] == "logits"
    label(FunctionTeacher(api), data, tmp_path / "s")
    assert sizes == [8, 20, 8]
    named = label(FunctionTeacher(api, name="api 1"), data, tmp_path / "named")
    assert sizes == [8, 20, 8, 20]
    assert named.manifest["teacher"]["verified"] is False

    def other(x: np.ndarray) -> np.ndarray:
        return x - 1

    other.__name__ = "api"
    with pytest.raises(AttarError, match=r"the teacher"):
        label(FunctionTeacher(other), data, tmp_path / "s")
