"""CRD: the authors' numbers, the memories, gradients, broken inputs."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from attar.checks import AttarError
from attar.losses import ContrastiveLoss

ROWS = torch.tensor([3, 1, 7, 9])
OTHERS = torch.tensor([[0, 2, 4, 5, 6], [0, 2, 3, 5, 8], [1, 2, 3, 4, 5], [0, 1, 2, 3, 4]])


def wave(*shape: int, by: float) -> Tensor:
    count = math.prod(shape)
    return torch.sin(by * torch.arange(1, count + 1, dtype=torch.float64)).reshape(shape).float()


STUDENT, TEACHER = wave(4, 3, 4, 4, by=1.3), wave(4, 5, 2, 2, by=0.7)


def made() -> ContrastiveLoss:
    loss = ContrastiveLoss(10, 48, 20, width=6, negatives=5)
    with torch.no_grad():
        loss.of_student.weight.copy_(wave(6, 48, by=0.3) / 7)
        loss.of_student.bias.copy_(wave(6, by=0.9) / 3)
        loss.of_teacher.weight.copy_(wave(6, 20, by=0.5) / 5)
        loss.of_teacher.bias.copy_(wave(6, by=0.4) / 3)
        loss.student_memory.copy_(F.normalize(wave(10, 6, by=0.11), dim=1))
        loss.teacher_memory.copy_(F.normalize(wave(10, 6, by=0.17), dim=1))
    return loss


def test_it_says_what_the_authors_code_says() -> None:
    loss = made()
    first = loss(STUDENT, TEACHER, ROWS, OTHERS)
    assert first.shape == (4,)
    assert first.mean().item() == pytest.approx(11.985892821329944, rel=1e-4)
    # The memories have moved on, and the constants have not.
    again = loss(STUDENT, TEACHER, ROWS, OTHERS)
    assert again.mean().item() == pytest.approx(12.447125485601932, rel=1e-4)
    assert sorted(loss.constants.tolist()) == pytest.approx([1224.7, 4156.0], rel=1e-3)
    moved = torch.tensor([0.3601, 0.7838, 0.3601, -0.2834, -0.2098, -0.0446])
    torch.testing.assert_close(loss.student_memory[3], moved, atol=1e-3, rtol=0)


def test_embeddings_learn_and_memories_are_kept_but_do_not() -> None:
    loss = made()
    student = STUDENT.clone().requires_grad_()
    teacher = TEACHER.clone().requires_grad_()
    loss(student, teacher, ROWS).sum().backward()
    assert student.grad is not None
    assert teacher.grad is None
    names = {name for name, value in loss.named_parameters() if value.grad is not None}
    linear = {f"of_{who}.{what}" for who in ("student", "teacher") for what in ("weight", "bias")}
    assert names == linear
    assert {"student_memory", "teacher_memory", "constants"} <= set(loss.state_dict())
    assert not loss.student_memory.requires_grad


def test_gradcheck() -> None:
    loss = made().double()
    loss(STUDENT, TEACHER, ROWS, OTHERS)  # sets the constants, which pass no gradient
    learnt = {name: value.detach() for name, value in loss.named_parameters()}
    names = list(learnt)

    def of(student: Tensor, *values: Tensor) -> Tensor:
        own = copy.deepcopy(loss)  # a visit moves the memories on
        given = (student, TEACHER.double(), ROWS, OTHERS)
        said: Tensor = functional_call(own, dict(zip(names, values, strict=True)), given)
        return said

    inputs = [STUDENT.double(), *learnt.values()]
    assert of(*inputs).dtype is torch.float64
    assert torch.autograd.gradcheck(of, [one.clone().requires_grad_() for one in inputs])


def test_draws_follow_the_global_seed() -> None:
    said = []
    for _ in range(2):
        torch.manual_seed(3)
        said.append(made()(STUDENT, TEACHER, ROWS))
    assert torch.equal(said[0], said[1])


def test_a_student_that_agrees_is_told_apart_more_easily() -> None:
    torch.manual_seed(0)
    features = torch.randn(64, 16)
    loss = ContrastiveLoss(64, 16, 16, width=16, negatives=40, momentum=0.0)
    loss.of_student.load_state_dict(loss.of_teacher.state_dict())
    rows = torch.arange(64)
    loss(features, features, rows)  # fills the memories
    good = loss(features, features, rows).mean()
    wrong = loss(features.roll(1, dims=0), features, rows).mean()
    assert good < wrong


@pytest.mark.parametrize(
    ("arguments", "settings", "match"),
    [
        ((0, 4, 4), {}, "rows"),
        ((5, 4, 4), {"temperature": 0.0}, "temperature"),
        ((5, 4, 4), {"momentum": 1.0}, "momentum"),
        ((5, 4, 4), {"negatives": 0}, "negatives"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments: Any, settings: Any, match: str) -> None:
    with pytest.raises(AttarError, match=match):
        ContrastiveLoss(*arguments, **settings)


def test_what_does_not_fit_is_refused() -> None:
    loss = made()
    with pytest.raises(AttarError, match="48 numbers a row"):
        loss(TEACHER, TEACHER, ROWS)
    with pytest.raises(AttarError, match="from 0 to 9"):
        loss(STUDENT, TEACHER, ROWS + 3)
