"""Each loss against an obvious reference, and the properties that make it that loss."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from attar.checks import AttarError
from attar.losses import cross_entropy, jsd, kl, logit_mse, reverse_kl
from attar.losses import logits as module
from attar.types import UNLABELLED

TEMPERATURES = (0.5, 1.0, 2.5, 20.0)
SOFTENED = {"kl": kl, "reverse_kl": reverse_kl, "jsd": jsd, "jsd(0.2)": partial(jsd, beta=0.2)}
SOFT = {**SOFTENED, "logit_mse": logit_mse}

softened = pytest.mark.parametrize("loss", SOFTENED.values(), ids=SOFTENED.keys())
soft = pytest.mark.parametrize("loss", SOFT.values(), ids=SOFT.keys())


def draw(rows: int, classes: int, *, seed: int = 0, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, classes, generator=generator, dtype=torch.float64)


def probabilities(row: list[float], temperature: float) -> list[float]:
    top = max(row)
    powers = [math.exp((value - top) / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def divergence(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def reference(name: str, student: Tensor, teacher: Tensor, temperature: float) -> list[float]:
    """The formulas of the docstrings, written with loops."""
    values = []
    for s, t in zip(student.double().tolist(), teacher.double().tolist(), strict=True):
        if name == "logit_mse":
            gaps = [a - b for a, b in zip(s, t, strict=True)]
            centre = sum(gaps) / len(gaps)
            values.append(sum((gap - centre) ** 2 for gap in gaps) / (2 * len(gaps)))
            continue
        q, p = probabilities(s, temperature), probabilities(t, temperature)
        if name == "kl":
            value = divergence(p, q)
        elif name == "reverse_kl":
            value = divergence(q, p)
        else:
            beta = {"jsd": 0.5, "jsd(0.2)": 0.2}[name]
            m = [beta * a + (1 - beta) * b for a, b in zip(p, q, strict=True)]
            value = beta * divergence(p, m) + (1 - beta) * divergence(q, m)
        values.append(temperature**2 * value)
    return values


def gradient(loss, student: Tensor, teacher: Tensor, **options) -> Tensor:
    student = student.clone().requires_grad_()
    (result,) = torch.autograd.grad(loss(student, teacher, **options).sum(), student)
    return result


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", SOFTENED)
def test_softened_losses_equal_the_reference(name, temperature):
    student, teacher = draw(7, 5), draw(7, 5, seed=1)
    result = SOFTENED[name](student, teacher, temperature=temperature)
    expected = torch.tensor(reference(name, student, teacher, temperature), dtype=torch.float64)
    assert result.dtype == torch.float64
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-12)


def test_logit_mse_equals_the_reference():
    student, teacher = draw(7, 5), draw(7, 5, seed=1)
    expected = torch.tensor(reference("logit_mse", student, teacher, 1.0), dtype=torch.float64)
    torch.testing.assert_close(logit_mse(student, teacher), expected)


def test_kl_by_hand():
    # p = (3/4, 1/4), q = (1/2, 1/2): 3/4 log 3/2 + 1/4 log 1/2, and at T = 2 with logits doubled
    # the same divergence times 4.
    student, teacher = torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]])
    value = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert kl(student, teacher).item() == pytest.approx(value, abs=1e-6)
    doubled = kl(student, 2 * teacher, temperature=2.0)
    assert doubled.item() == pytest.approx(4 * value, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_equals_the_reference(smoothing):
    student, labels = draw(6, 4), torch.tensor([0, 3, UNLABELLED, 1, 2, UNLABELLED])
    expected = []
    for row, label in zip(student.tolist(), labels.tolist(), strict=True):
        logs = [math.log(q) for q in probabilities(row, 1.0)]
        target = [(1 - smoothing) * (c == label) + smoothing / 4 for c in range(4)]
        value = -sum(w * log for w, log in zip(target, logs, strict=True))
        expected.append(0.0 if label == UNLABELLED else value)
    result = cross_entropy(student, labels, smoothing=smoothing)
    torch.testing.assert_close(result, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_unlabelled_rows_have_no_gradient(smoothing):
    labels = torch.tensor([1, UNLABELLED, 0])
    slope = gradient(partial(cross_entropy, smoothing=smoothing), draw(3, 4), labels)
    assert torch.equal(slope[1], torch.zeros(4, dtype=torch.float64))
    assert slope[[0, 2]].abs().min() > 0


@soft
def test_gradcheck(loss):
    teacher = draw(4, 5, seed=1)
    student = draw(4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), student)
    assert torch.autograd.gradgradcheck(lambda s: loss(s, teacher), student)
    if loss is not logit_mse:
        assert torch.autograd.gradcheck(lambda s: loss(s, teacher, temperature=3.0), student)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_gradcheck_of_cross_entropy(smoothing):
    labels = torch.tensor([0, UNLABELLED, 4])
    student = draw(3, 5).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: cross_entropy(s, labels, smoothing=smoothing), student
    )


@soft
@pytest.mark.parametrize("classes", [5, 40])
def test_zero_with_zero_gradient_where_the_student_is_the_teacher(loss, classes):
    logits = draw(6, classes).float()
    assert loss(logits, logits).abs().max() < 1e-6
    assert gradient(loss, logits, logits).abs().max() < 1e-6
    assert loss(logits, draw(6, classes, seed=1).float()).min() > 0.1


@soft
def test_a_constant_added_to_a_row_changes_nothing(loss):
    student, teacher = draw(6, 5), draw(6, 5, seed=1)
    shift = draw(6, 1, seed=2, scale=50.0)
    expected, slope = loss(student, teacher), gradient(loss, student, teacher)
    for moved in ((student + shift, teacher), (student, teacher + shift)):
        torch.testing.assert_close(loss(*moved), expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(gradient(loss, *moved), slope, rtol=1e-9, atol=1e-9)


@soft
def test_the_order_of_the_classes_does_not_matter(loss):
    student, teacher = draw(6, 5), draw(6, 5, seed=1)
    order = torch.tensor([3, 0, 4, 2, 1])
    torch.testing.assert_close(loss(student[:, order], teacher[:, order]), loss(student, teacher))
    assert (loss(student[:, order], teacher) - loss(student, teacher)).abs().min() > 1e-3


def test_cross_entropy_knows_no_row_shift_and_no_class_order():
    student, labels = draw(6, 5), torch.tensor([0, 1, 2, 3, 4, 0])
    order = torch.tensor([3, 0, 4, 2, 1])
    place = torch.argsort(order)
    for smoothing in (0.0, 0.1):
        expected = cross_entropy(student, labels, smoothing=smoothing)
        moved = cross_entropy(student + 50.0, labels, smoothing=smoothing)
        permuted = cross_entropy(student[:, order], place[labels], smoothing=smoothing)
        torch.testing.assert_close(moved, expected)
        torch.testing.assert_close(permuted, expected)


def test_for_infinite_temperature_the_gradient_of_kl_is_that_of_matching_logits():
    student, teacher = draw(6, 5), draw(6, 5, seed=1)
    gap = student - teacher
    limit = (gap - gap.mean(dim=1, keepdim=True)) / 5
    torch.testing.assert_close(gradient(logit_mse, student, teacher), limit)
    errors = [
        (gradient(kl, student, teacher, temperature=t) - limit).abs().max().item()
        for t in (1e2, 1e3, 1e4)
    ]
    assert errors[0] < 0.1
    # It comes nearer as 1/T.
    assert errors[1] / errors[0] == pytest.approx(0.1, rel=0.1)
    assert errors[2] / errors[1] == pytest.approx(0.1, rel=0.1)


@softened
def test_the_gradient_keeps_its_size_over_the_temperatures(loss):
    student, teacher = draw(64, 10, scale=2.0), draw(64, 10, seed=1, scale=5.0)
    sizes = [gradient(loss, student, teacher, temperature=float(t)).norm() for t in range(1, 21)]
    assert max(sizes) / min(sizes) < 10
    assert sizes[0] / (sizes[-1] / 20**2) > 40  # what it would be without the factor T^2


def test_jsd_is_symmetric_at_a_half_and_bounded():
    student, teacher = draw(6, 5), draw(6, 5, seed=1)
    torch.testing.assert_close(jsd(student, teacher), jsd(teacher, student))
    mirrored = jsd(teacher, student, beta=0.8)
    torch.testing.assert_close(jsd(student, teacher, beta=0.2), mirrored)
    assert not torch.allclose(jsd(student, teacher, beta=0.2), jsd(teacher, student, beta=0.2))
    apart = jsd(torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]]))
    assert apart.item() == pytest.approx(math.log(2.0))


def test_jsd_tends_to_kl_and_to_reverse_kl():
    student, teacher = draw(6, 5, scale=1.0), draw(6, 5, seed=1, scale=1.0)
    near, far = 1e-6, 1 - 1e-6
    forward = gradient(partial(jsd, beta=near), student, teacher) / near
    torch.testing.assert_close(forward, gradient(kl, student, teacher), rtol=1e-3, atol=1e-4)
    backward = gradient(partial(jsd, beta=far), student, teacher) / (1 - far)
    expected = gradient(reverse_kl, student, teacher)
    torch.testing.assert_close(backward, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("classes", [3, 40])
@soft
def test_finite_at_logits_of_ten_thousand(loss, dtype, classes):
    signs = torch.sign(draw(8, classes))
    student, teacher = (1e4 * signs).to(dtype), (-1e4 * signs.roll(1, dims=1)).to(dtype)
    for pair in ((student, teacher), (student, student), (student, teacher.clamp(max=0.0))):
        assert loss(*pair).isfinite().all()
        assert gradient(loss, *pair).isfinite().all()
        if loss is not logit_mse:
            assert gradient(loss, *pair, temperature=4.0).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_finite_at_logits_of_ten_thousand(dtype, smoothing):
    student = (1e4 * torch.sign(draw(8, 5))).to(dtype)
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1, UNLABELLED])
    loss = partial(cross_entropy, smoothing=smoothing)
    assert loss(student, labels).isfinite().all()
    assert gradient(loss, student, labels).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("classes", [5, 200])
@pytest.mark.parametrize("name", SOFT)
def test_half_inputs_lose_nothing_but_their_own_rounding(name, dtype, classes):
    student, teacher = draw(6, classes).to(dtype), draw(6, classes, seed=1).to(dtype)
    expected = torch.tensor(reference(name, student, teacher, 4.0))
    options = {} if name == "logit_mse" else {"temperature": 4.0}
    result = SOFT[name](student, teacher, **options)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
    # A teacher may be kept in another type than the student computes in.
    mixed = SOFT[name](student, teacher.float(), **options)
    torch.testing.assert_close(mixed, expected, rtol=1e-5, atol=1e-5)
    assert gradient(SOFT[name], student, teacher).dtype == dtype


def test_half_inputs_of_cross_entropy_are_raised():
    student, labels = draw(6, 50).half(), torch.arange(6)
    result = cross_entropy(student, labels)
    assert result.dtype == torch.float32
    expected = cross_entropy(student.double(), labels).float()
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("lanes", [0, 16])
@pytest.mark.parametrize("classes", [2, 10, 15, 16])
def test_short_rows_side_by_side_give_the_same_softmax(monkeypatch, lanes, classes):
    monkeypatch.setattr(module, "_LANES", lanes)
    student, teacher = draw(9, classes), draw(9, classes, seed=1)
    for loss in SOFTENED.values():
        expected, slope = loss(student, teacher), gradient(loss, student, teacher)
        result = loss(student.float(), teacher.float())
        torch.testing.assert_close(result, expected.float(), rtol=1e-5, atol=1e-6)
        result = gradient(loss, student.float(), teacher.float())
        torch.testing.assert_close(result, slope.float(), rtol=1e-5, atol=1e-6)


@soft
def test_the_teacher_gets_a_gradient_only_where_it_asks_for_one(loss):
    student, teacher = draw(3, 4).requires_grad_(), draw(3, 4, seed=1)
    loss(student, teacher).sum().backward()
    assert teacher.grad is None
    teacher.requires_grad_()
    assert torch.autograd.gradcheck(loss, (student, teacher))


@soft
def test_an_empty_batch_gives_an_empty_loss(loss):
    assert loss(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)


def test_wrong_shapes_are_named():
    with pytest.raises(AttarError, match=r"kl: .*same shape \[N, C\]. Got \(2, 3\) and \(2, 4\)"):
        kl(torch.zeros(2, 3), torch.zeros(2, 4))
    # One row would broadcast over the others, silently.
    with pytest.raises(AttarError, match=r"reverse_kl: .*Got \(2, 3\) and \(1, 3\)"):
        reverse_kl(torch.zeros(2, 3), torch.zeros(1, 3))
    with pytest.raises(AttarError, match=r"jsd: student must be .*\[N, C\].*Got shape \(2, 3, 4\)"):
        jsd(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4))
    with pytest.raises(AttarError, match=r"logit_mse: teacher must be floating.*int64"):
        logit_mse(torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(AttarError, match=r"cross_entropy: student must be .*Got shape \(3,\)"):
        cross_entropy(torch.zeros(3), torch.zeros(3, dtype=torch.int64))


def test_wrong_labels_are_named():
    with pytest.raises(AttarError, match=r"labels must be int64 of shape \[2\].*Got shape \(3,\)"):
        cross_entropy(torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(AttarError, match=r"Got shape \(2, 3\), dtype torch.float32"):
        cross_entropy(torch.zeros(2, 3), torch.zeros(2, 3))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan, "4"])
@softened
def test_a_bad_temperature_is_named(loss, temperature):
    with pytest.raises(AttarError, match=r"'temperature' parameter of \w+ must be .*\(0.0, inf"):
        loss(torch.zeros(2, 3), torch.zeros(2, 3), temperature=temperature)


def test_other_bad_numbers_are_named():
    logits = torch.zeros(2, 3)
    for beta in (0.0, 1.0):
        with pytest.raises(AttarError, match=r"'beta' parameter of jsd .*\(0.0, 1.0\)"):
            jsd(logits, logits, beta=beta)
    with pytest.raises(AttarError, match=r"'smoothing' parameter of cross_entropy .*Got 1.5"):
        cross_entropy(logits, torch.zeros(2, dtype=torch.int64), smoothing=1.5)
