"""Losses of regression: values by hand, other libraries' numbers, gradients, gaps in the labels."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_pinball_loss

from attar.checks import AttarError
from attar.losses import (
    Objective,
    bounded_squared_error,
    pinball,
    soft,
    squared_error,
    supervised,
)
from attar.types import Batch, Outputs

NAN = float("nan")
LEVELS = (0.1, 0.5, 0.9)


def draw(rows: int, columns: int, *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


def test_squared_error_is_torchs_mean_over_rows_and_columns():
    student, target = draw(7, 3), draw(7, 3, seed=1)
    expected = torch.nn.functional.mse_loss(student, target)
    assert float(squared_error(student, target).mean()) == pytest.approx(float(expected))


def test_a_column_without_a_label_neither_counts_nor_pulls():
    student = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    target = torch.tensor([[0.0, NAN], [NAN, NAN]])
    losses = squared_error(student, target)
    assert losses.tolist() == [1.0, 0.0]
    losses.sum().backward()
    assert student.grad.tolist() == [[2.0, 0.0], [0.0, 0.0]]


def test_the_bound_is_the_equation_of_the_paper_row_by_row():
    student, teacher, labels = draw(50, 2), draw(50, 2, seed=1), draw(50, 2, seed=2)
    margin = 0.3
    got = bounded_squared_error(student, teacher, labels=labels, margin=margin)
    for s, t, y, loss in zip(student, teacher, labels, got, strict=True):
        ours, theirs = float((s - y).square().mean()), float((t - y).square().mean())
        assert float(loss) == pytest.approx(ours if ours + margin > theirs else 0.0)
    assert 0 < int((got == 0).sum()) < 50


def test_a_student_that_beats_the_teacher_is_left_in_peace_and_a_worse_one_goes_to_the_label():
    student = torch.tensor([[0.5], [2.0]], requires_grad=True)
    teacher, labels = torch.tensor([[1.0], [1.0]]), torch.zeros(2, 1)
    bounded_squared_error(student, teacher, labels=labels).sum().backward()
    assert student.grad[:, 0].tolist() == [0.0, 4.0]  # towards 0, not towards the teacher's 1


def test_without_labels_the_bound_is_plain_distillation():
    student, teacher = draw(6, 2), draw(6, 2, seed=1)
    plain = squared_error(student, teacher)
    assert torch.equal(bounded_squared_error(student, teacher), plain)
    nothing = torch.full((6, 2), NAN, dtype=torch.float64)
    assert torch.equal(bounded_squared_error(student, teacher, labels=nothing), plain)


@pytest.mark.parametrize("level", LEVELS)
def test_against_labels_pinball_is_scikit_learns(level):
    student, labels = draw(40, 1), draw(40, 1, seed=3)
    expected = mean_pinball_loss(labels[:, 0], student[:, 0], alpha=level)
    assert float(pinball(student, labels, levels=(level,)).mean()) == pytest.approx(expected)


def test_pinball_compares_each_quantile_with_each_draw():
    student, teacher = draw(5, 3), draw(5, 4, seed=1)
    expected = np.zeros(5)
    for row in range(5):
        for i, level in enumerate(LEVELS):
            for j in range(4):
                apart = float(teacher[row, j] - student[row, i])
                expected[row] += (level * apart if apart > 0 else (level - 1) * apart) / 12
    np.testing.assert_allclose(pinball(student, teacher, levels=LEVELS), expected)


def test_the_least_pinball_loss_is_at_the_teachers_own_quantiles():
    levels = tuple((j + 0.5) / 4 for j in range(4))
    teacher = draw(20, 4).sort(dim=1).values
    least = pinball(teacher, teacher, levels=levels)
    for seed in range(5):
        other = teacher + 0.3 * draw(20, 4, seed=seed)
        assert bool((pinball(other, teacher, levels=levels) > least).all())


def test_rows_that_the_student_cannot_tell_apart_get_the_quantiles_of_the_mixture():
    # Two kinds of rows, one answer: the draws of both together are -10 .. -8 and 8 .. 10.
    teacher = torch.tensor([[-10.0, -9.0, -8.0], [8.0, 9.0, 10.0]], dtype=torch.float64)
    answer = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([answer], lr=0.05)
    for _ in range(600):
        loss = pinball(answer.expand(2, 2), teacher, levels=(0.1, 0.9)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(answer.detach()[0], [-10, 10], atol=0.3)


@pytest.mark.parametrize(
    "loss",
    [
        squared_error,
        bounded_squared_error,
        partial(bounded_squared_error, labels=draw(4, 3, seed=9)),
        partial(pinball, levels=LEVELS),
    ],
)
def test_gradients_are_those_of_finite_differences(loss):
    student, teacher = draw(4, 3).requires_grad_(), draw(4, 3, seed=1)
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), (student,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_raised(dtype):
    student, teacher = draw(4, 3).to(dtype), draw(4, 3, seed=1).to(dtype)
    for loss in (squared_error, bounded_squared_error, partial(pinball, levels=LEVELS)):
        assert loss(student, teacher).dtype == torch.float32


def test_in_an_objective_each_term_has_its_own_rows():
    labels = torch.tensor([[1.0], [NAN], [NAN]])
    batch = Batch(torch.zeros(3, 1), torch.arange(3), labels)
    student, teacher = Outputs(torch.zeros(3, 1)), Outputs(torch.tensor([[2.0], [2.0], [4.0]]))
    objective = Objective([supervised(squared_error, 0.25), soft(bounded_squared_error, 0.75)])
    loss, parts = objective(student, teacher, batch)
    assert float(parts["squared_error"].mean) == 1.0
    # Row 0: the student's 1 is no better than the teacher's 1, so it goes (only if beyond it).
    assert float(parts["bounded_squared_error"].mean) == pytest.approx((0 + 4 + 16) / 3)
    assert float(loss) == pytest.approx(0.25 * 1 + 0.75 * 20 / 3)


def test_no_labels_in_a_batch_say_so():
    batch = Batch(torch.zeros(2, 1), torch.arange(2), torch.tensor([0, 1]))
    with pytest.raises(AttarError, match=r"floating-point labels.*int64.*hard\(\)"):
        Objective([supervised(squared_error, 1.0)])(Outputs(torch.zeros(2, 1)), None, batch)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: squared_error(s, s[:, :1]), "same shape"),
        (lambda s: squared_error(s[:, 0], s), r"y\[:, None\]"),
        (lambda s: squared_error(s, s.long()), "floating-point"),
        (lambda s: bounded_squared_error(s, s, margin=-1.0), "margin"),
        (lambda s: bounded_squared_error(s, s, labels=s[:, :1]), "same shape"),
        (lambda s: pinball(s, s, levels=(0.5,)), "one level for each.*3 columns. Got 1"),
        (lambda s: pinball(s, s, levels=(0.0, 0.5, 0.9)), "levels"),
        (lambda s: pinball(s, s[:1], levels=LEVELS), "same rows"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(AttarError, match=message):
        call(torch.zeros(4, 3))
