"""Losses of several labels a row: against two-class softmax, torch, limits, gaps."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from attar.checks import AttarError
from attar.losses import Objective, binary_cross_entropy, kl, sigmoid_kl, soft, supervised
from attar.types import Batch, Outputs

NAN = float("nan")


def draw(rows: int, labels: int, *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(rows, labels, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_each_label_is_a_softmax_over_applies_and_does_not(temperature):
    student, teacher = draw(6, 3), draw(6, 3, seed=1)
    expected = torch.zeros(6, dtype=torch.float64)
    for label in range(3):
        pair = [
            torch.stack([x[:, label], torch.zeros(6, dtype=torch.float64)], dim=1)
            for x in (student, teacher)
        ]
        expected += kl(*pair, temperature=temperature)
    torch.testing.assert_close(sigmoid_kl(student, teacher, temperature=temperature), expected)


def test_a_value_by_hand():
    # p = 0.8, q = 0.5: 0.8 log 1.6 + 0.2 log 0.4
    teacher = torch.tensor([[0.8]], dtype=torch.float64).logit()
    found = sigmoid_kl(torch.zeros(1, 1, dtype=torch.float64), teacher)
    assert float(found) == pytest.approx(0.19274475702175754)


def test_it_is_0_for_the_teacher_alone_and_its_gradient_is_that_of_the_cross_entropy():
    teacher = draw(5, 4)
    assert float(sigmoid_kl(teacher, teacher, temperature=2.0).abs().max()) < 1e-12
    student = draw(5, 4, seed=2).requires_grad_()
    sigmoid_kl(student, teacher).sum().backward()
    expected = student.detach().sigmoid() - teacher.sigmoid()
    torch.testing.assert_close(student.grad, expected)


def test_for_a_high_temperature_the_gradient_is_that_of_a_squared_error():
    student, teacher = draw(5, 4, seed=2).requires_grad_(), draw(5, 4)
    sigmoid_kl(student, teacher, temperature=1e4).sum().backward()
    torch.testing.assert_close(student.grad, (student.detach() - teacher) / 4, rtol=1e-4, atol=1e-6)


def test_other_labels_do_not_matter_to_a_label():
    student, teacher = draw(5, 2).requires_grad_(), draw(5, 2, seed=1)
    sigmoid_kl(student, teacher).sum().backward()
    first = student.grad[:, 0].clone()
    student.grad = None
    moved = teacher.clone()
    moved[:, 1] += 5
    sigmoid_kl(student, moved).sum().backward()
    torch.testing.assert_close(student.grad[:, 0], first)


def test_extreme_logits_stay_finite_with_their_gradients():
    student = torch.tensor([[1e4, -1e4, 1e4]], requires_grad=True)
    losses = sigmoid_kl(student, torch.tensor([[-1e4, -1e4, 1e4]]))
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert torch.isfinite(student.grad).all()
    assert float(losses.detach()) == pytest.approx(1e4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_hard_loss_is_torchs(smoothing):
    student, labels = draw(6, 3), (draw(6, 3, seed=4) > 0).double()
    target = labels * (1 - smoothing) + smoothing / 2
    expected = F.binary_cross_entropy_with_logits(student, target, reduction="none").sum(dim=1)
    found = binary_cross_entropy(student, labels, smoothing=smoothing)
    torch.testing.assert_close(found, expected)


def test_a_label_that_is_not_known_neither_counts_nor_pulls():
    student = torch.zeros(2, 2, requires_grad=True)
    losses = binary_cross_entropy(student, torch.tensor([[1.0, NAN], [NAN, NAN]]), smoothing=0.1)
    losses.sum().backward()
    assert float(losses[1].detach()) == 0
    assert student.grad[0, 1] == student.grad[1, 0] == student.grad[1, 1] == 0
    assert float(student.grad[0, 0]) == pytest.approx(0.5 - 0.95)


@pytest.mark.parametrize("loss", [sigmoid_kl, binary_cross_entropy])
def test_gradients_are_those_of_finite_differences(loss):
    student, target = draw(4, 3).requires_grad_(), (draw(4, 3, seed=1) > 0).double()
    assert torch.autograd.gradcheck(lambda s: loss(s, target), (student,))


def test_in_an_objective_unlabelled_rows_count_for_the_soft_term_alone():
    labels = torch.tensor([[1.0, 0.0], [NAN, NAN]])
    batch = Batch(torch.zeros(2, 1), torch.arange(2), labels)
    objective = Objective(
        [supervised(binary_cross_entropy, 0.5), soft(sigmoid_kl, 0.5, temperature=2.0)]
    )
    student, teacher = Outputs(torch.zeros(2, 2)), Outputs(torch.ones(2, 2))
    _, parts = objective(student, teacher, batch)
    assert float(parts["binary_cross_entropy"].count) == 1
    assert float(parts["sigmoid_kl"].count) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: sigmoid_kl(s, s, temperature=0.0), "temperature"),
        (lambda s: sigmoid_kl(s, s[:, :1]), "same shape"),
        (lambda s: binary_cross_entropy(s, s.long()), "floating-point"),
        (lambda s: binary_cross_entropy(s, s, smoothing=2.0), "smoothing"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(AttarError, match=message):
        call(torch.zeros(4, 3))
