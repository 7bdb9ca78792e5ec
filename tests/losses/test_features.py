"""Losses between features: the authors' numbers, invariances, gradients, broken inputs."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attar.checks import AttarError
from attar.losses import (
    Objective,
    attention_transfer,
    hint,
    matched,
    rkd_angle,
    rkd_distance,
    similarity_preserving,
)
from attar.types import VIEW, Batch, Outputs


def wave(*shape: int, by: float) -> Tensor:
    """Numbers that anyone can type again."""
    count = math.prod(shape)
    return torch.sin(by * torch.arange(1, count + 1, dtype=torch.float64)).reshape(shape)


STUDENT = wave(4, 3, 4, 4, by=1.3)
ALIKE = wave(4, 3, 4, 4, by=0.7)
OTHER = wave(4, 5, 2, 2, by=0.7)

#: What the authors' code (RepDistiller's collection) says about these features, in float64.
PUBLISHED = {
    "hint": (hint, ALIKE, 1.002120427490279),
    "attention": (attention_transfer, ALIKE, 0.0030056204781980468),
    "attention, another size": (attention_transfer, OTHER, 0.04833781270809993),
    "attention, p = 4": (partial(attention_transfer, power=4), ALIKE, 0.0076368751334500145),
    "distance": (rkd_distance, OTHER, 0.03400567235921276),
    "angle": (rkd_angle, OTHER, 0.09041433159382181),
    "similarity": (similarity_preserving, OTHER, 0.3902387461862646),
}
LOSSES: dict[str, Any] = {
    "hint": (hint, ALIKE),
    "attention": (attention_transfer, OTHER),
    "distance": (rkd_distance, OTHER),
    "angle": (rkd_angle, OTHER),
    "similarity": (similarity_preserving, OTHER),
}
losses = pytest.mark.parametrize(("loss", "teacher"), LOSSES.values(), ids=LOSSES.keys())


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_says_what_the_authors_code_says(name: str) -> None:
    loss, teacher, expected = PUBLISHED[name]
    said = loss(STUDENT, teacher)
    assert said.shape == (4,)
    assert said.dtype == torch.float64
    assert float(said.mean()) == pytest.approx(expected, rel=1e-9)


@losses
def test_the_gradient_is_that_of_the_values(loss: Any, teacher: Tensor) -> None:
    student = STUDENT.clone().requires_grad_()
    teacher = teacher.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), (student,))
    loss(student, teacher).sum().backward()
    assert teacher.grad is None


@losses
def test_a_perfect_student_has_nothing_to_learn(loss: Any, teacher: Tensor) -> None:
    student = STUDENT.clone().requires_grad_()
    said = loss(student, STUDENT.clone())
    assert said.abs().max() < 1e-12
    said.sum().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert student.grad.abs().max() < 1e-6


@losses
def test_the_order_of_the_rows_does_not_matter(loss: Any, teacher: Tensor) -> None:
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(loss(STUDENT[order], teacher[order]), loss(STUDENT, teacher)[order])


def test_scale_is_free_where_the_papers_say_so() -> None:
    for loss in (attention_transfer, rkd_distance, rkd_angle, similarity_preserving):
        torch.testing.assert_close(loss(3 * STUDENT, OTHER), loss(STUDENT, OTHER))
    turned = torch.linalg.qr(wave(48, 48, by=1.7))[0]
    moved = (STUDENT.flatten(1) @ turned + 5.0).reshape(STUDENT.shape)
    for loss in (rkd_distance, rkd_angle):  # distances and angles know no origin and no axes
        torch.testing.assert_close(loss(moved, OTHER), loss(STUDENT, OTHER), rtol=1e-6, atol=1e-9)


@losses
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32])
def test_half_types_are_raised(loss: Any, teacher: Tensor, kind: torch.dtype) -> None:
    said = loss(STUDENT.to(kind), teacher.to(kind))
    assert said.dtype == torch.float32
    exact = loss(STUDENT.to(kind).double(), teacher.to(kind).double())
    torch.testing.assert_close(said.double(), exact, rtol=2e-3, atol=1e-4)


@losses
def test_equal_rows_and_single_rows_stay_finite(loss: Any, teacher: Tensor) -> None:
    for some in (torch.ones(4, 3, 4, 4), STUDENT[:1].float(), torch.zeros(2, 3, 4, 4)):
        student = some.clone().requires_grad_()
        said = loss(student, teacher[: len(some)].float())
        said.sum().backward()
        assert torch.isfinite(said).all()
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()


@losses
@pytest.mark.parametrize(
    ("student", "teacher_of"),
    [(torch.zeros(3, 3, 4, 4), None), (torch.zeros(4), None), ([[1.0]], None)],
)
def test_what_does_not_fit_is_refused(
    loss: Any, teacher: Tensor, student: Any, teacher_of: Any
) -> None:
    with pytest.raises(AttarError, match="student"):
        loss(student, teacher)


def test_a_hint_of_another_width_names_the_projector() -> None:
    with pytest.raises(AttarError, match="projector"):
        hint(torch.zeros(4, 3), torch.zeros(4, 5))


@pytest.mark.parametrize("power", [0, 1, 3, 2.5])
def test_an_odd_power_is_refused(power: Any) -> None:
    with pytest.raises(AttarError, match="power"):
        attention_transfer(STUDENT, ALIKE, power=power)
    with pytest.raises(AttarError, match=r"\[N, C, H, W\]"):
        attention_transfer(STUDENT.flatten(1), ALIKE)


def outputs(feature: Tensor) -> Outputs:
    return Outputs(torch.zeros(len(feature), 2), {"mid": feature})


def test_a_term_takes_the_features_by_name_and_the_weights_of_the_rows() -> None:
    batch = Batch(torch.zeros(4, 1), torch.arange(4), weights=torch.tensor([1.0, 0.0, 2.0, 0.0]))
    objective = Objective([matched(hint, 0.5, student="mid")])
    loss, parts = objective(outputs(STUDENT.float()), outputs(ALIKE.float()), batch)
    each = hint(STUDENT.float(), ALIKE.float())
    assert float(loss) == pytest.approx(0.5 * float(each[0] + 2 * each[2]) / 3, rel=1e-5)
    assert list(parts) == ["hint"]


def test_a_missing_feature_is_named_with_what_there_is() -> None:
    batch = Batch(torch.zeros(4, 1), torch.arange(4))
    objective = Objective([matched(hint, 1.0, student="mid", teacher="last")])
    with pytest.raises(AttarError, match="the teacher gives no feature 'last'; it gives mid"):
        objective(outputs(STUDENT), outputs(ALIKE), batch)
    with pytest.raises(AttarError, match="store keeps no features"):
        Objective([matched(hint, 1.0, student="mid")])(
            outputs(STUDENT), Outputs(torch.zeros(4, 2)), batch
        )


def test_a_loss_that_asks_for_row_numbers_gets_those_of_every_view() -> None:
    seen = []

    class Rows(nn.Module):
        def forward(self, student: Tensor, teacher: Tensor, rows: Tensor) -> Tensor:
            seen.append(rows)
            return student.flatten(1).sum(dim=1)

    batch = Batch(torch.zeros(4, 1), torch.tensor([5, 2 * VIEW + 5, VIEW, 7]))
    Objective([matched(Rows(), 1.0, student="mid")])(outputs(STUDENT), outputs(ALIKE), batch)
    assert seen[0].tolist() == [5, 5, 0, 7]
