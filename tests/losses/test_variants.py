"""The further losses: their authors' numbers, slow references, limits, what all share."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from attar.checks import AttarError
from attar.losses import (
    Objective,
    dist,
    dkd,
    kl,
    reverse_kl,
    skewed_kl,
    skewed_reverse_kl,
    soft,
    standardized,
    weighted_kl,
)
from attar.types import UNLABELLED, Batch, Outputs, TopKTargets

STUDENT = [[2.0, -1.0, 0.5, 0.25], [0.0, 3.0, -2.0, 1.0], [-1.5, 0.5, 0.75, 4.0]]
TEACHER = [[3.0, 0.5, -1.0, -2.0], [-1.0, 1.5, 2.0, 0.0], [0.25, -0.5, 1.0, 2.5]]
LABELS = [0, 1, 3]

#: What the code that the authors published says about the batch above, in float64.
PUBLISHED = {
    "dkd T=1": (partial(dkd, labels=torch.tensor(LABELS)), 1.0, 10.815603598754258),
    "dkd T=4": (partial(dkd, labels=torch.tensor(LABELS)), 4.0, 13.240036987946935),
    "dkd, target alone": (
        partial(dkd, labels=torch.tensor(LABELS), beta=0.0),
        4.0,
        0.41363379098075176,
    ),
    "dkd, others alone": (
        partial(dkd, labels=torch.tensor(LABELS), alpha=0.0, beta=1.0),
        4.0,
        1.6033003996207729,
    ),
    "dist": (dist, 1.0, 0.7544681090754567),
    "dist, within rows": (partial(dist, beta=2.0, gamma=0.0), 1.0, 0.5857015225442275),
    "dist, within classes": (partial(dist, beta=0.0), 1.0, 0.46161734780334296),
    "standardized kl, T=1": (standardized(kl), 1.0, 0.3329861460705943),
    "standardized kl, T=4": (standardized(kl), 4.0, 0.41919782652644805),
    # Less the teacher's entropy, which the published code does not subtract.
    "skewed kl": (skewed_kl, 1.0, 0.4354847498510843),
    "skewed kl, 0.3": (partial(skewed_kl, skew=0.3), 1.0, 0.2071186524802675),
    "skewed reverse kl": (skewed_reverse_kl, 1.0, 0.36799284355481493),
    "skewed reverse kl, 0.3": (partial(skewed_reverse_kl, skew=0.3), 1.0, 0.2319302018604861),
    "weighted kl": (partial(weighted_kl, labels=torch.tensor(LABELS)), 2.0, 0.4059741242881181),
}

LOSSES = {
    "dkd": dkd,
    "dist": dist,
    "dist within rows": partial(dist, gamma=0.0),
    "skewed_kl": skewed_kl,
    "skewed_reverse_kl": skewed_reverse_kl,
    "weighted_kl": weighted_kl,
    "standardized kl": standardized(kl),
    "standardized dkd": standardized(dkd),
}
losses = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def draw(rows: int, classes: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(rows, classes, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_says_what_the_authors_code_says(name):
    loss, temperature, expected = PUBLISHED[name]
    student = torch.tensor(STUDENT, dtype=torch.float64)
    teacher = torch.tensor(TEACHER, dtype=torch.float64)
    values = loss(student, teacher, temperature=temperature)
    assert values.shape == (3,)
    assert float(values.mean()) == pytest.approx(expected, rel=1e-6)


def slow_dkd(student, teacher, labels, temperature, alpha, beta):
    """The formula of the docstring, row by row with the probabilities themselves."""
    values = []
    for s, t, label in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        q, p = (
            [math.exp(x / temperature) / sum(math.exp(y / temperature) for y in row) for x in row]
            for row in (s, t)
        )
        # Not 1 - p: where p is nearly 1 that has lost its digits.
        rest_p, rest_q = (sum(x for c, x in enumerate(row) if c != label) for row in (p, q))
        both = zip((p[label], rest_p), (q[label], rest_q), strict=True)
        target = sum(a * math.log(a / b) for a, b in both)
        others = sum(
            p[c] / rest_p * math.log(p[c] / rest_p * rest_q / q[c])
            for c in range(len(p))
            if c != label
        )
        values.append(temperature**2 * (alpha * target + beta * others))
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("classes", [2, 3, 20])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_dkd_is_its_formula(classes, temperature):
    student, teacher = draw(30, classes), draw(30, classes, seed=1)
    labels = torch.randint(0, classes, (30,), generator=torch.Generator().manual_seed(2))
    settings = {"temperature": temperature, "alpha": 0.7, "beta": 3.0}
    torch.testing.assert_close(
        dkd(student, teacher, labels=labels, **settings),
        slow_dkd(student, teacher, labels, **settings),
    )


def test_dkd_with_the_weight_1_minus_p_is_kl():
    student, teacher = draw(10, 5), draw(10, 5, seed=1)
    labels = torch.arange(10) % 5
    for row in range(10):
        one = slice(row, row + 1)
        p = float((teacher[one] / 2).softmax(dim=1)[0, labels[row]])
        ours = dkd(student[one], teacher[one], labels=labels[one], temperature=2.0, beta=1 - p)
        torch.testing.assert_close(ours, kl(student[one], teacher[one], temperature=2.0))


def test_without_a_label_the_teachers_choice_is_the_target():
    student, teacher = draw(6, 4), draw(6, 4, seed=1)
    choice = teacher.argmax(dim=1)
    labels = torch.tensor([0, UNLABELLED, 1, UNLABELLED, 2, 3])
    filled = torch.where(labels == UNLABELLED, choice, labels)
    for loss in (dkd, weighted_kl):
        torch.testing.assert_close(loss(student, teacher), loss(student, teacher, labels=choice))
        torch.testing.assert_close(
            loss(student, teacher, labels=labels), loss(student, teacher, labels=filled)
        )


def test_skewed_losses_without_skew_are_those_without_it():
    student, teacher = draw(10, 5), draw(10, 5, seed=1)
    for skewed, plain in ((skewed_kl, kl), (skewed_reverse_kl, reverse_kl)):
        torch.testing.assert_close(
            skewed(student, teacher, temperature=3.0, skew=0.0),
            plain(student, teacher, temperature=3.0),
        )


@pytest.mark.parametrize("skew", [0.01, 0.1, 0.5])
def test_skewed_losses_are_bounded(skew):
    student = torch.tensor([[0.0, 1000.0]])
    for loss in (skewed_kl, skewed_reverse_kl):
        value = loss(student, -student, temperature=2.0, skew=skew)
        assert float(value) == pytest.approx(4 * math.log(1 / skew), rel=1e-5)


def test_the_weight_of_weighted_kl_passes_no_gradient():
    student = draw(5, 4).requires_grad_()
    teacher, labels = draw(5, 4, seed=1), torch.tensor([0, 1, 2, 3, 0])
    weighted = weighted_kl(student, teacher, labels=labels, temperature=2.0)
    (ours,) = torch.autograd.grad(weighted.sum(), student)
    weight = (weighted / kl(student, teacher, temperature=2.0)).detach()
    plain = (weight * kl(student, teacher, temperature=2.0)).sum()
    torch.testing.assert_close(ours, torch.autograd.grad(plain, student)[0])


def test_a_student_that_is_better_than_its_teacher_at_the_label_is_left_alone():
    label = torch.tensor([0])
    teacher = torch.tensor([[0.0, 3.0]])
    good, bad = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 9.0]])
    for student, share in ((good, 1 - math.exp(-1.2339e-4 / 3.0486)), (bad, 0.948)):
        weight = weighted_kl(student, teacher, labels=label) / kl(student, teacher)
        assert float(weight) == pytest.approx(share, rel=1e-2)


def test_standardized_losses_do_not_see_the_scale():
    student, teacher = draw(10, 5), draw(10, 5, seed=1)
    scaled = standardized(kl)(7 * student + 3, 0.1 * teacher - 2, temperature=2.0)
    expected = standardized(kl)(student, teacher, temperature=2.0)
    torch.testing.assert_close(scaled, expected, rtol=1e-5, atol=1e-8)
    assert standardized(dkd).__name__ == "standardized_dkd"


def test_relations_within_classes_belong_to_the_batch():
    student, teacher = draw(8, 3), draw(8, 3, seed=1)
    within = dist(student, teacher, beta=0.0)
    assert bool((within == within[0]).all())
    assert float(dist(student[:1], teacher[:1], beta=0.0)) == 0
    q, p = student.softmax(dim=1), teacher.softmax(dim=1)
    by_class = [torch.corrcoef(torch.stack([q[:, c], p[:, c]]))[0, 1] for c in range(3)]
    assert float(within[0]) == pytest.approx(float(1 - sum(by_class) / 3))


@losses
@pytest.mark.parametrize("classes", [2, 7])
def test_zero_with_zero_gradient_where_the_student_is_the_teacher(loss, classes):
    teacher = draw(6, classes)
    student = teacher.clone().requires_grad_()
    values = loss(student, teacher, temperature=2.0)
    torch.testing.assert_close(values, torch.zeros_like(values), rtol=0, atol=1e-7)
    (gradient,) = torch.autograd.grad(values.sum(), student)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-6)


@losses
def test_never_below_zero(loss):
    assert float(loss(draw(200, 5), draw(200, 5, seed=1), temperature=2.0).min()) >= -1e-12


def weight_by_hand(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - exp(-CE(q, y) / CE(p, y)) at T = 1, y the teacher's choice; without a gradient."""
    place = teacher.argmax(dim=1, keepdim=True)
    ours, theirs = (-z.detach().softmax(dim=1).gather(1, place).log() for z in (student, teacher))
    return 1 - torch.exp(-ours / theirs)[:, 0]


@losses
def test_gradcheck(loss):
    teacher = draw(4, 5, seed=1)
    student = draw(4, 5).requires_grad_()
    if loss is weighted_kl:  # its weight depends on the student, and passes no gradient
        held = weight_by_hand(student, teacher)

        def as_if_held(z: Tensor) -> Tensor:
            return loss(z, teacher, temperature=2.0) * held / weight_by_hand(z, teacher)

        assert torch.autograd.gradcheck(as_if_held, student)
        torch.testing.assert_close(
            loss(student, teacher, temperature=2.0), held * kl(student, teacher, temperature=2.0)
        )
        return
    assert torch.autograd.gradcheck(lambda z: loss(z, teacher, temperature=2.0), student)


@losses
def test_a_constant_added_to_a_row_changes_nothing(loss):
    student, teacher = draw(6, 5), draw(6, 5, seed=1)
    shift = torch.arange(6.0, dtype=torch.float64)[:, None]
    torch.testing.assert_close(
        loss(student + shift, teacher - 2 * shift, temperature=2.0),
        loss(student, teacher, temperature=2.0),
    )


@losses
def test_the_order_of_the_classes_does_not_matter(loss):
    student, teacher = draw(6, 5), draw(6, 5, seed=1)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(
        loss(student[:, order], teacher[:, order], temperature=2.0),
        loss(student, teacher, temperature=2.0),
    )


@losses
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_finite_at_large_logits_and_constant_rows(loss, dtype):
    student = torch.tensor(
        [[1e4, -1e4, 0.0], [0.0, 0.0, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype, requires_grad=True
    )
    teacher = torch.tensor([[-1e4, 1e4, 0.0], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], dtype=dtype)
    values = loss(student, teacher, temperature=2.0)
    assert values.dtype is torch.float32
    (gradient,) = torch.autograd.grad(values.sum(), student)
    assert bool(torch.isfinite(values).all())
    assert bool(torch.isfinite(gradient).all())


def test_an_objective_hands_the_labels_over():
    labels = torch.tensor([0, UNLABELLED, 3])
    student, teacher = (Outputs(torch.tensor(rows)) for rows in (STUDENT, TEACHER))
    batch = Batch(torch.zeros(3, 1), torch.arange(3), labels)
    for loss in (dkd, partial(dkd, beta=2.0), standardized(dkd)):
        value, parts = Objective([soft(loss, 1.0, temperature=4.0)])(student, teacher, batch)
        expected = loss(student.logits, teacher.logits, labels=labels, temperature=4.0)
        torch.testing.assert_close(value, expected.mean())
    assert list(parts) == ["standardized_dkd"]


@losses
def test_what_does_not_fit_is_named(loss):
    two = torch.zeros(2, 3)
    with pytest.raises(AttarError, match="same shape"):
        loss(two, torch.zeros(2, 4))
    with pytest.raises(AttarError, match="temperature"):
        loss(two, two, temperature=0.0)
    with pytest.raises(AttarError, match="teacher"):
        loss(two, TopKTargets.of(two, 2))


@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        (dkd, {"alpha": -1}),
        (dkd, {"beta": math.nan}),
        (dist, {"gamma": -0.1}),
        (skewed_kl, {"skew": 1.0}),
        (skewed_reverse_kl, {"skew": -0.1}),
    ],
)
def test_numbers_out_of_range_are_named(loss, settings):
    with pytest.raises(AttarError, match=next(iter(settings))):
        loss(torch.zeros(2, 3), torch.zeros(2, 3), **settings)


@pytest.mark.parametrize("labels", [torch.tensor([0]), torch.zeros(2), torch.zeros(2, 1).long()])
def test_wrong_labels_are_named(labels):
    for loss in (dkd, weighted_kl):
        with pytest.raises(AttarError, match="labels must be whole numbers"):
            loss(torch.zeros(2, 3), torch.zeros(2, 3), labels=labels)
