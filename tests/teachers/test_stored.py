"""StoredTeacher: what was said once is said again, by whoever said it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from attar.checks import AttarError
from attar.data import ArrayData
from attar.store import Store, label
from attar.teachers import EnsembleTeacher, ModelTeacher, StoredTeacher, as_teacher, mean_logit


def test_it_says_what_the_teacher_said_and_keeps_its_name(tmp_path: Path) -> None:
    data = ArrayData(torch.rand(6, 3), rows=torch.arange(6) + 4)
    teacher = ModelTeacher(nn.Linear(3, 2), name="big")
    stored = StoredTeacher(label(teacher, data, tmp_path / "s", batch_size=6))
    batch = data.batch(torch.tensor([5, 0, 3]))
    torch.testing.assert_close(stored(batch).logits, teacher(batch).logits)
    assert (stored.name, stored.parameters, stored.bytes) == ("big", 8, 32)
    assert stored.outputs == "logits"
    assert stored.fingerprint() == stored.store.fingerprint


def test_it_knows_nothing_else(tmp_path: Path) -> None:
    data = ArrayData(torch.rand(6, 3))
    stored = StoredTeacher(label(ModelTeacher(nn.Linear(3, 2)), data, tmp_path / "s"))
    other = ArrayData(torch.rand(8, 3))
    with pytest.raises(AttarError, match=r"2 of 8 ids.*row 6 in view 0"):
        stored(other.batch(torch.arange(8)))


def test_a_store_can_be_labelled_from_a_store(tmp_path: Path) -> None:
    data = ArrayData(torch.rand(6, 3))
    first = label(ModelTeacher(nn.Linear(3, 2)), data, tmp_path / "s")
    half = label(StoredTeacher(first), data, tmp_path / "half", dtype="float16")
    assert torch.equal(half.logits(data.rows), first.logits(data.rows).half().float())


def test_a_store_of_several_teachers_is_an_ensemble_with_any_weights(tmp_path: Path) -> None:
    data = ArrayData(torch.rand(6, 3))
    members = [ModelTeacher(nn.Linear(3, 2), name=name) for name in ("a", "b")]
    for member in members:
        label(member, data, tmp_path / "s", batch_size=6)
    batch = data.batch(torch.arange(6))
    both = as_teacher(tmp_path / "s")
    torch.testing.assert_close(both(batch).logits, EnsembleTeacher(members)(batch).logits)
    store = Store.open(tmp_path / "s")
    stored = [store.teacher(name) for name in store.teachers]
    weighed = EnsembleTeacher(stored, weights=[3.0, 1.0], combine=mean_logit)
    asked = EnsembleTeacher(members, weights=[3.0, 1.0], combine=mean_logit)
    torch.testing.assert_close(weighed(batch).logits, asked(batch).logits)
