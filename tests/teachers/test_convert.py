"""as_teacher: everything that is accepted, and a message that lists it for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from torch import nn

from attar.checks import AttarError
from attar.data import ArrayData
from attar.store import label
from attar.teachers import (
    EnsembleTeacher,
    EstimatorTeacher,
    FunctionTeacher,
    ModelTeacher,
    StoredTeacher,
    as_teacher,
)
from attar.types import Batch, Outputs


def fitted() -> LogisticRegression:
    return LogisticRegression().fit([[0.0], [1.0]], ["b", "a"])


def test_each_kind_becomes_its_teacher(tmp_path: Path) -> None:
    data = ArrayData(torch.rand(4, 3))
    store = label(ModelTeacher(nn.Linear(3, 2)), data, tmp_path / "s")
    cases: list[tuple[Any, type]] = [
        (nn.Linear(3, 2), ModelTeacher),
        (store, StoredTeacher),
        (tmp_path / "s", StoredTeacher),
        (str(tmp_path / "s"), StoredTeacher),
        (lambda x: x, FunctionTeacher),
        ([nn.Linear(3, 2), store], EnsembleTeacher),
        ((nn.Linear(3, 2),), EnsembleTeacher),
    ]
    for source, kind in cases:
        assert type(as_teacher(source)) is kind
    estimator = as_teacher(fitted(), classes=("a", "b"))
    assert isinstance(estimator, EstimatorTeacher)
    assert estimator(Batch(torch.tensor([[0.0]]), torch.arange(1))).logits.argmax() == 1


def test_name_and_outputs_are_passed_on() -> None:
    batch = Batch(torch.full((1, 2), 0.5), torch.arange(1))
    forced = as_teacher(lambda x: x, outputs="logits", name="mine")
    assert forced.name == "mine"
    assert torch.equal(forced(batch).logits, torch.full((1, 2), 0.5))
    assert as_teacher(nn.Linear(2, 2), name="net").name == "net"
    many = as_teacher([nn.Identity(), nn.Identity()], outputs="logits", name="two")
    assert isinstance(many, EnsembleTeacher)
    assert many.name == "two"
    assert many.outputs == "logits"


def test_a_teacher_of_your_own_passes_through() -> None:
    class Mine(nn.Module):  # even one that is a module
        name = "mine"

        def __call__(self, batch: Batch) -> Outputs:
            return Outputs(batch.inputs)

        def fingerprint(self) -> str:
            return "mine 1"

    mine = Mine()
    assert as_teacher(mine) is mine
    ready = ModelTeacher(nn.Linear(2, 2))
    assert as_teacher(ready) is ready


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "int 3. Give a torch.nn.Module, a fitted estimator.*function from numpy"),
        (None, "NoneType None"),
        ({"a": 1}, "dict"),
        (nn.Linear, "instance, not the class Linear"),
        (LogisticRegression(), "not fitted"),
        (RidgeClassifier(), "no predict_proba.*CalibratedClassifierCV"),
        ([], "at least one teacher"),
        ([nn.Identity(), 3], "int 3"),
        ("teacher.pkl", "pickled model.*can run any code"),
        ("missing.onnx", "no file missing.onnx"),
    ],
)
def test_anything_else_is_refused_with_a_list_of_what_is_taken(source: Any, message: str) -> None:
    with pytest.raises(AttarError, match=message):
        as_teacher(source)


def test_data_is_no_teacher() -> None:
    with pytest.raises(AttarError, match=r"cannot make a teacher of ArrayData"):
        as_teacher(ArrayData(torch.rand(2, 2)))
