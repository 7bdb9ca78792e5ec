"""Answers that were computed elsewhere, found by row number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import attar
from attar import AttarError, Batch
from attar.teachers import GivenTeacher, as_teacher
from attar.types import VIEW


def batch(*ids: int) -> Batch:
    return Batch(torch.zeros(len(ids), 1), torch.tensor(ids))


def test_each_row_gets_its_answer_in_any_order_and_repeated():
    logits = np.array([[0.0, 5.0], [1.0, -1.0], [9.0, 2.0]])
    teacher = GivenTeacher(logits, rows=[10, 3, 7])
    said = teacher(batch(7, 10, 7, 3)).logits
    assert said.tolist() == [[9.0, 2.0], [0.0, 5.0], [9.0, 2.0], [1.0, -1.0]]
    assert teacher.outputs == "logits"


def test_probabilities_become_logits_with_a_floor():
    said = GivenTeacher([[1.0, 0.0], [0.3, 0.7]], floor=1e-4)(batch(0, 1)).logits
    assert said.exp()[1].tolist() == pytest.approx([0.3, 0.7])
    assert said.exp()[0].tolist() == pytest.approx([1 / 1.0001, 1e-4 / 1.0001], rel=1e-4)


def test_the_fingerprint_is_that_of_the_answers_whatever_their_order():
    first = GivenTeacher([[0.0, 5.0], [1.0, -1.0]], rows=[0, 1])
    turned = GivenTeacher([[1.0, -1.0], [0.0, 5.0]], rows=[1, 0])
    other = GivenTeacher([[1.0, -1.0], [0.0, 5.0]], rows=[0, 1])
    assert first.fingerprint() == turned.fingerprint() != other.fingerprint()


@pytest.mark.parametrize("asked", [[4], [0, 4], [VIEW]])
def test_a_row_without_an_answer_is_named(asked):
    with pytest.raises(AttarError, match=f"no answer for row {asked[-1] % VIEW} in view"):
        GivenTeacher([[0.0, 5.0], [1.0, -1.0]])(batch(*asked))


@pytest.mark.parametrize(
    ("answers", "rows", "message"),
    [
        ([[0.0, 1.0], [1.0, 0.0]], [0], "one whole number for each of the 2"),
        ([[0.0, 1.0], [1.0, 0.0]], [0.5, 1.0], "whole number"),
        ([[0.0, 1.0], [1.0, 0.0]], [3, 3], "stand there again"),
        ([0.0, 1.0], None, r"\[N, C\]"),
        ([[0.0, float("nan")]], None, "finite"),
    ],
)
def test_broken_answers_are_refused(answers, rows, message):
    with pytest.raises(AttarError, match=message):
        GivenTeacher(answers, rows=rows)


def test_it_is_a_teacher_and_can_be_stored(tmp_path):
    teacher = GivenTeacher([[0.0, 5.0], [1.0, -1.0]], name="a stack", parameters=7)
    assert as_teacher(teacher) is teacher
    store = attar.label(teacher, (np.zeros((2, 3)), [0, 1]), tmp_path / "store")
    assert store.logits(torch.tensor([1, 0])).tolist() == [[1.0, -1.0], [0.0, 5.0]]
