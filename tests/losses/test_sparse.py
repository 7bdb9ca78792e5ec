"""The losses against sparse targets: slow references, limits, bounds, and what is refused."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from attar import Batch, Outputs
from attar.checks import AttarError
from attar.losses import Objective, blocks, hard, jsd, kl, logit_mse, pseudo, reverse_kl, soft
from attar.types import UNLABELLED, SampledTargets, TopKTargets

TEMPERATURES = [1.0, 2.5]

in_blocks = pytest.mark.parametrize("worth_it", [0, 2**62], ids=["blocks", "formula"])
both = pytest.mark.parametrize("loss", [kl, reverse_kl])


def draw(rows: int, classes: int, *, seed: int = 0, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, classes, generator=generator, dtype=torch.float64)


def gradient(loss, student: Tensor, *arguments, **options) -> Tensor:
    student = student.clone().requires_grad_()
    (result,) = torch.autograd.grad(loss(student, *arguments, **options).sum(), student)
    return result


def softmax(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp((value - max(row)) / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def coarse(row: list[float], kept: list[int], temperature: float) -> list[float]:
    """The kept probabilities, and all the others as one."""
    p = softmax(row, temperature)
    return [*(p[c] for c in kept), sum(p[c] for c in range(len(row)) if c not in kept)]


@in_blocks
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_top_k_equals_the_reference(monkeypatch, worth_it, temperature):
    monkeypatch.setattr(blocks, "_WORTH_IT", worth_it)
    student, teacher = draw(9, 12), draw(9, 12, seed=1)
    targets = TopKTargets.of(teacher, 3, temperatures=TEMPERATURES)
    forward, backward = [], []
    for row in range(9):
        kept = targets.indices[row].tolist()
        p = coarse(teacher[row].tolist(), kept, temperature)
        q = coarse(student[row].tolist(), kept, temperature)
        forward.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
        backward.append(sum(b * math.log(b / a) for a, b in zip(p, q, strict=True)))
    for loss, expected in ((kl, forward), (reverse_kl, backward)):
        result = loss(student, targets, temperature=temperature)
        expected = temperature**2 * torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-12)


@in_blocks
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_sampled_equals_the_reference(monkeypatch, worth_it, temperature):
    monkeypatch.setattr(blocks, "_WORTH_IT", worth_it)
    student, teacher = draw(9, 12), draw(9, 12, seed=1)
    targets = SampledTargets.of(teacher, torch.arange(9), 4, temperatures=TEMPERATURES)
    expected, slopes = [], []
    for row in range(9):
        p = softmax(teacher[row].tolist(), temperature)
        q = softmax(student[row].tolist(), temperature)
        drawn = targets.indices[row, TEMPERATURES.index(temperature)].tolist()
        shares = [drawn.count(c) / 4 for c in range(12)]
        cross = -sum(w * math.log(b) for w, b in zip(shares, q, strict=True))
        expected.append(temperature**2 * (cross + sum(a * math.log(a) for a in p)))
        slopes.append([temperature * (b - w) for w, b in zip(shares, q, strict=True)])
    result = kl(student, targets, temperature=temperature)
    torch.testing.assert_close(result, torch.tensor(expected).double(), rtol=1e-5, atol=1e-5)
    result = gradient(kl, student, targets, temperature=temperature)
    torch.testing.assert_close(result, torch.tensor(slopes).double(), rtol=1e-5, atol=1e-6)


@in_blocks
@both
def test_gradcheck(monkeypatch, worth_it, loss):
    monkeypatch.setattr(blocks, "_WORTH_IT", worth_it)
    teacher, student = draw(4, 7, seed=1), draw(4, 7).requires_grad_()
    kinds = [TopKTargets.of(teacher, k, temperatures=[3.0]) for k in (1, 3, 6, 7)]
    if loss is kl:
        kinds.append(SampledTargets.of(teacher, torch.arange(4), 4, temperatures=[3.0]))
    for targets in kinds:
        call = partial(loss, teacher=targets, temperature=3.0)
        # The second pass is by the formula, whose last bits are others.
        assert torch.autograd.gradcheck(call, student, nondet_tol=1e-9)
        assert torch.autograd.gradgradcheck(call, student)


@in_blocks
@both
def test_with_all_classes_it_is_the_dense_loss(monkeypatch, worth_it, loss):
    monkeypatch.setattr(blocks, "_WORTH_IT", worth_it)
    student, teacher = draw(6, 9), draw(6, 9, seed=1)
    for temperature in (0.7, 1.0, 4.0):
        for pair in ((student, teacher), (student.float(), teacher.float())):
            targets = TopKTargets.of(pair[1], 9)
            dense = loss(*pair, temperature=temperature)
            torch.testing.assert_close(
                loss(pair[0], targets, temperature=temperature), dense, rtol=1e-5, atol=5e-6
            )
            slope = gradient(loss, *pair, temperature=temperature)
            result = gradient(loss, pair[0], targets, temperature=temperature)
            torch.testing.assert_close(result, slope, rtol=1e-5, atol=5e-6)


@both
def test_zero_where_the_student_is_the_teacher_whatever_was_kept(loss):
    teacher = draw(6, 200)
    for k in (1, 10, 199):
        targets = TopKTargets.of(teacher, k)
        assert loss(teacher, targets).abs().max() < 1e-12
        assert gradient(loss, teacher, targets).abs().max() < 1e-12
        assert loss(draw(6, 200, seed=1), targets).min() > 0.01


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("k", [1, 4, 30])
def test_the_error_of_the_rest_keeps_its_bound(k, temperature):
    student, teacher = draw(64, 60), draw(64, 60, seed=1)
    targets = TopKTargets.of(teacher, k, temperatures=[temperature])
    rest = targets.at(temperature).rest
    dense = kl(student, teacher, temperature=temperature)
    loss = kl(student, targets, temperature=temperature)
    # What is missing is T^2 r KL(p' | q') of the two distributions within the rest.
    others = torch.ones_like(teacher).scatter(1, targets.indices, 0.0).bool()
    within = kl(
        student[others].reshape(64, -1), teacher[others].reshape(64, -1), temperature=temperature
    )
    torch.testing.assert_close(dense - loss, rest * within)
    assert (dense >= loss).all()
    gap = gradient(kl, student, targets, temperature=temperature)
    gap -= gradient(kl, student, teacher, temperature=temperature)
    assert (gap.abs().sum(dim=1) <= 2 * temperature * rest).all()
    assert gap.gather(1, targets.indices).abs().max() < 1e-9
    # The bound is no empty one: a student that has the rest elsewhere comes near to it.
    k_th = targets.indices[:, -1:]
    worst = teacher.scatter(1, teacher.scatter(1, targets.indices, math.inf).argmin(1, True), 40.0)
    assert k_th.shape == (64, 1)
    gap = gradient(kl, worst, targets, temperature=temperature)
    gap -= gradient(kl, worst, teacher, temperature=temperature)
    assert (gap.abs().sum(dim=1) > 1.8 * temperature * rest)[rest > 1e-3].all()


def test_sampled_gradients_are_the_dense_one_in_the_mean_and_top_k_is_not():
    copies, k = 6000, 4
    student, teacher = draw(1, 40, scale=1.0), draw(1, 40, seed=1, scale=1.0)
    dense = gradient(kl, student, teacher)[0]
    rows = student.expand(copies, -1)
    targets = SampledTargets.of(teacher.expand(copies, -1), torch.arange(copies), k)
    slopes = gradient(kl, rows, targets)
    mean, error = slopes.mean(dim=0), slopes.std(dim=0) / math.sqrt(copies)
    assert (error > 0).all()
    # 40 classes, each within 4.5 standard errors: a right estimate fails 3 times in 10,000.
    assert ((mean - dense).abs() <= 4.5 * error).all()
    losses = kl(rows, targets)
    value = kl(student, teacher)[0]
    assert (losses.mean() - value).abs() <= 4.5 * losses.std() / math.sqrt(copies)
    # The same test refuses top-k, whose error does not shrink with the rows, in both ways of
    # treating the rest: as the student has it, and cut off and renormalised.
    kept = TopKTargets.of(teacher, k)
    cut = teacher.scatter(1, kept.indices, 0.0).fill_(-40.0).scatter(1, kept.indices, kept.logits)
    for biased in (gradient(kl, student, kept)[0], gradient(kl, student, cut)[0]):
        assert ((biased - dense).abs() > 4.5 * error).sum() > 20


@in_blocks
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_students_lose_nothing_but_their_own_rounding(monkeypatch, worth_it, dtype):
    monkeypatch.setattr(blocks, "_WORTH_IT", worth_it)
    student, teacher = draw(6, 80).to(dtype), draw(6, 80, seed=1)
    targets = TopKTargets.of(teacher.float(), 5, temperatures=[2.0])
    exact = TopKTargets.of(teacher, 5, temperatures=[2.0])
    for loss in (kl, reverse_kl):
        expected = loss(student.double(), exact, temperature=2.0).float()
        result = loss(student, targets, temperature=2.0)
        assert result.dtype == torch.float32
        torch.testing.assert_close(result, expected, rtol=2e-5, atol=2e-5)
        slope = gradient(loss, student, targets, temperature=2.0)
        assert slope.dtype == dtype
        expected = gradient(loss, student.double(), exact, temperature=2.0)
        torch.testing.assert_close(slope.double(), expected, rtol=1e-2, atol=1e-3)


@in_blocks
@both
def test_finite_at_logits_of_ten_thousand(monkeypatch, worth_it, loss):
    monkeypatch.setattr(blocks, "_WORTH_IT", worth_it)
    signs = torch.sign(draw(8, 40)).float()
    student = 1e4 * signs
    for teacher in (student, -student.roll(1, dims=1), student.clamp(max=0.0)):
        kinds = [TopKTargets.of(teacher, k, temperatures=[1.0, 4.0]) for k in (1, 20, 39)]
        if loss is kl:
            kinds.append(SampledTargets.of(teacher, torch.arange(8), 7, temperatures=[1.0, 4.0]))
        for targets in kinds:
            for temperature in (1.0, 4.0):
                assert loss(student, targets, temperature=temperature).isfinite().all()
                slope = gradient(loss, student, targets, temperature=temperature)
                assert slope.isfinite().all()


def test_a_certain_student_keeps_the_digits_of_the_rest():
    # 1 less the kept probabilities is 0 in float32 here; the rest's own sum is e^-30.
    student = torch.tensor([[30.0, 0.0, 0.0]], requires_grad=True)
    targets = TopKTargets.of(torch.tensor([[0.0, -1.0, -1.0]]), 1)
    rest = float(targets.at(1.0).rest)
    expected = (1 - rest) * math.log(1 - rest) + rest * (math.log(rest) + 30 - math.log(2))
    loss = kl(student, targets)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.sum().backward()
    assert student.grad[0].tolist() == pytest.approx([rest, -rest / 2, -rest / 2], rel=1e-5)


def test_what_has_no_meaning_is_refused():
    student, teacher = torch.zeros(2, 5), torch.arange(10.0).reshape(2, 5)
    top = TopKTargets.of(teacher, 2, temperatures=[1.0, 4.0])
    drawn = SampledTargets.of(teacher, torch.arange(2), 3)
    with pytest.raises(AttarError, match=r"jsd: .*TopKTargets, which names only some of its 5"):
        jsd(student, top)
    with pytest.raises(AttarError, match=r"logit_mse: .*SampledTargets.*Use kl"):
        logit_mse(student, drawn)
    with pytest.raises(AttarError, match=r"reverse_kl: .*sampled targets do not say it. Use kl"):
        reverse_kl(student, drawn)
    for loss in (kl, reverse_kl):
        with pytest.raises(AttarError, match=r"at temperature 2.*made for 1, 4"):
            loss(student, top, temperature=2.0)
        with pytest.raises(AttarError, match=r"stand for, \(2, 5\). Got \(2, 6\)"):
            loss(torch.zeros(2, 6), top)
        with pytest.raises(AttarError, match=r"on one device. Got cpu and meta"):
            loss(student, top.to("meta"))
        with pytest.raises(AttarError, match=r"'temperature' parameter of \w*kl must be"):
            loss(student, top, temperature=0.0)


def test_an_objective_passes_them_through():
    student = Outputs(draw(4, 6).float())
    teacher = draw(4, 6, seed=1).float()
    batch = Batch(torch.zeros(4, 1), torch.arange(4), torch.tensor([1, UNLABELLED, 0, UNLABELLED]))
    top = Outputs(TopKTargets.of(teacher, 6, temperatures=[4.0]))
    for terms in ([soft(kl, 0.9, temperature=4.0), hard(0.1)], [pseudo(1.0)]):
        expected, _ = Objective(terms)(student, Outputs(teacher), batch)
        result, _ = Objective(terms)(student, top, batch)
        torch.testing.assert_close(result, expected)
    drawn = Outputs(SampledTargets.of(teacher, torch.arange(4), 3))
    with pytest.raises(AttarError, match=r"pseudo: the logits of all classes.*SampledTargets"):
        Objective([pseudo(1.0)])(student, drawn, batch)
