"""The loss in blocks of rows is the formula: its values, its gradients, and every second use."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from attar.losses import blocks, kl
from attar.types import TopKTargets


def draw(rows: int, classes: int, *, seed: int = 0, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, classes, generator=generator, dtype=torch.float64)


def reference(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    log_p = (teacher.double() / temperature).log_softmax(dim=1)
    log_q = (student.double() / temperature).log_softmax(dim=1)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(dim=1)


def with_gradient(loss, student: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    student = student.clone().requires_grad_()
    losses = loss(student)
    (result,) = torch.autograd.grad(losses, student, slope.type_as(losses))
    return losses.detach(), result


@pytest.fixture
def always(monkeypatch):
    """Blocks of a few rows, however few the logits."""
    monkeypatch.setattr(blocks, "_WORTH_IT", 0)
    monkeypatch.setattr(blocks, "_BLOCK", 64)


@pytest.mark.parametrize("shape", [(512, 100), (70, 1000), (3, 70_000)])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_values_and_gradients_are_those_of_float64(shape, temperature):
    student, teacher = draw(*shape).float(), draw(*shape, seed=1).float()
    slope = torch.rand(shape[0], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert blocks.fits(student)
    losses, gradient = with_gradient(
        lambda s: kl(s, teacher, temperature=temperature), student, slope
    )
    expected, expected_gradient = with_gradient(
        lambda s: reference(s, teacher, temperature), student, slope
    )
    torch.testing.assert_close(losses.double(), expected, rtol=1e-5, atol=0)
    error = (gradient.double() - expected_gradient).abs()
    assert error.max() <= 1e-5 * expected_gradient.abs().max()
    assert error.norm() <= 1e-5 * expected_gradient.norm()


@pytest.mark.usefixtures("always")
def test_any_block_size_and_any_memory_layout():
    student, teacher = draw(13, 30), draw(13, 30, seed=1)
    slope = torch.linspace(0.5, 2.0, 13, dtype=torch.float64)
    expected = with_gradient(lambda s: reference(s, teacher, 2.0), student, slope)
    wide = torch.stack([teacher, teacher], dim=2)[:, :, 0]  # every second number
    for there in (teacher, teacher.t().contiguous().t(), wide):
        for here in (student, student.t().contiguous().t()):
            result = with_gradient(lambda s, t=there: kl(s, t, temperature=2.0), here, slope)
            torch.testing.assert_close(result, expected)


@pytest.mark.usefixtures("always")
def test_first_and_second_derivatives():
    student, teacher = draw(5, 6).requires_grad_(), draw(5, 6, seed=1)
    for temperature in (1.0, 3.0):
        loss = lambda s, t=temperature: kl(s, teacher, temperature=t)  # noqa: E731
        # The second pass is by the formula, whose last bits are others.
        assert torch.autograd.gradcheck(loss, student, nondet_tol=1e-9)
        assert torch.autograd.gradgradcheck(loss, student)


@pytest.mark.usefixtures("always")
def test_a_second_backward_pass_gives_the_same_gradient():
    student, teacher = draw(5, 6).requires_grad_(), draw(5, 6, seed=1)
    losses = kl(student, teacher)
    (first,) = torch.autograd.grad(losses.sum(), student, retain_graph=True)
    kept = first.clone()
    (second,) = torch.autograd.grad(3 * losses.sum(), student, retain_graph=True)
    torch.testing.assert_close(first, kept)  # and it was not changed by the second
    torch.testing.assert_close(second, 3 * kept)


@pytest.mark.usefixtures("always")
def test_the_gradient_of_a_sum_of_two_uses():
    student, teacher = draw(5, 6).requires_grad_(), draw(5, 6, seed=1)
    (kl(student, teacher).sum() + kl(2 * student, teacher).sum()).backward()
    expected = student.detach().clone().requires_grad_()
    total = reference(expected, teacher, 1.0).sum() + reference(2 * expected, teacher, 1.0).sum()
    total.backward()
    torch.testing.assert_close(student.grad, expected.grad)


@pytest.mark.usefixtures("always")
def test_without_a_gradient_nothing_is_kept():
    student, teacher = draw(5, 6).requires_grad_(), draw(5, 6, seed=1)
    with torch.no_grad():
        losses = kl(student, teacher)
    assert not losses.requires_grad
    torch.testing.assert_close(losses, reference(student.detach(), teacher, 1.0))
    assert not kl(student.detach(), teacher).requires_grad
    assert kl(torch.zeros(0, 6, requires_grad=True), torch.zeros(0, 6)).shape == (0,)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_logits(dtype):
    student, teacher = draw(6, 200).to(dtype), draw(6, 200, seed=1).to(dtype)
    slope = torch.full((6,), 0.01)
    losses, gradient = with_gradient(lambda s: kl(s, teacher, temperature=4.0), student, slope)
    expected, expected_gradient = with_gradient(
        lambda s: reference(s, teacher, 4.0), student, slope
    )
    assert losses.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(losses.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, expected_gradient.to(dtype), rtol=2e-2, atol=1e-6)
    mixed = kl(student, teacher.float(), temperature=4.0)
    torch.testing.assert_close(mixed, losses)


@pytest.mark.usefixtures("always")
def test_other_transforms_of_the_loss_take_the_formula():
    student, teacher = draw(5, 6), draw(5, 6, seed=1)
    expected = with_gradient(lambda s: reference(s, teacher, 1.0), student, torch.ones(5))[1]
    transformed = torch.func.grad(lambda s: kl(s, teacher).sum())(student)
    torch.testing.assert_close(transformed, expected)
    rows = torch.func.vmap(lambda s, t: kl(s[None], t[None])[0])(student, teacher)
    torch.testing.assert_close(rows, reference(student, teacher, 1.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = kl(student.float(), teacher.float())
    torch.testing.assert_close(losses, reference(student, teacher, 1.0).float())


@pytest.mark.usefixtures("always")
def test_a_compiled_step_takes_the_formula():
    student, teacher = draw(5, 6), draw(5, 6, seed=1)
    compiled = torch.compile(lambda s: kl(s, teacher), backend="aot_eager", fullgraph=True)
    result = with_gradient(compiled, student, torch.ones(5))
    expected = with_gradient(lambda s: reference(s, teacher, 1.0), student, torch.ones(5))
    torch.testing.assert_close(result, expected)


@pytest.mark.usefixtures("always")
def test_a_teacher_that_learns_gets_its_gradient():
    student, teacher = draw(5, 6).requires_grad_(), draw(5, 6, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(kl, (student, teacher))


def test_several_threads_share_a_block():
    student, teacher = draw(40, 3000).float(), draw(40, 3000, seed=1).float()
    one = with_gradient(lambda s: kl(s, teacher), student, torch.ones(40))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two = with_gradient(lambda s: kl(s, teacher), student, torch.ones(40))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(two, one)


class Allocations(TorchDispatchMode):
    """The bytes of each tensor that an operation makes, rather than writes to or looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[int] = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        if isinstance(result, Tensor) and function._schema.returns[0].alias_info is None:
            self.made.append(result.nbytes)
        return result


@pytest.mark.parametrize("kept", [None, 16])
def test_one_tensor_of_the_size_of_the_logits_is_made(kept, monkeypatch):
    student, teacher = draw(256, 4096).float().requires_grad_(), draw(256, 4096, seed=1).float()
    targets = teacher if kept is None else TopKTargets.of(teacher, kept, temperatures=[2.0])

    def count() -> tuple[int, int]:
        with Allocations() as allocations:
            kl(student, targets, temperature=2.0).sum().backward()
        large = [size for size in allocations.made if size >= student.nbytes / 2]
        return len(large), sum(allocations.made) - sum(large)

    large, small = count()
    assert large == 1
    assert small < 0.4 * student.nbytes  # even if none of it were ever freed
    monkeypatch.setattr(blocks, "_WORTH_IT", 2**62)
    assert count()[0] >= 4  # the formula
