"""ModelTeacher: always in eval mode, without gradients, and no part of what trains."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from attar.checks import AttarError
from attar.teachers import ModelTeacher
from attar.types import Batch, Outputs


def batch(inputs: object, count: int = 4) -> Batch:
    return Batch(inputs, torch.arange(count))


def test_it_is_no_child_of_what_trains() -> None:
    class Student(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.teacher = ModelTeacher(nn.Sequential(nn.Linear(2, 2), nn.Dropout()))

    student = Student()
    assert len(list(student.parameters())) == 2
    assert list(student.state_dict()) == ["layer.weight", "layer.bias"]
    student.teacher(batch(torch.rand(4, 2)))
    student.train()
    assert not student.teacher.module.training


def test_it_answers_in_eval_mode_whatever_was_done_to_the_module() -> None:
    module = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 3), nn.BatchNorm1d(3))
    teacher = ModelTeacher(module)
    inputs = torch.rand(4, 2)
    first = teacher(batch(inputs)).logits
    statistics = module[3].running_mean.clone()
    for train in (module.train, module[1].train):  # all of it, or one part behind its back
        train()
        assert torch.equal(teacher(batch(inputs)).logits, first)
    assert torch.equal(module[3].running_mean, statistics)


def test_its_logits_can_enter_a_loss_but_carry_no_gradient() -> None:
    teacher = ModelTeacher(nn.Linear(2, 3))
    logits = teacher(batch(torch.rand(4, 2))).logits
    assert not logits.requires_grad
    assert not logits.is_inference()
    weight = torch.ones(3, requires_grad=True)
    (logits * weight).sum().backward()  # an inference tensor could not be saved for this
    torch.testing.assert_close(weight.grad, logits.sum(dim=0))


def test_it_takes_what_models_return() -> None:
    class Returns(nn.Module):
        def __init__(self, wrap: object) -> None:
            super().__init__()
            self.wrap = wrap

        def forward(self, x: torch.Tensor) -> object:
            return self.wrap(x)  # type: ignore[operator]

    x = torch.tensor([[2.0, -1.0]])
    one = Batch(x, torch.tensor([0]))
    assert torch.equal(ModelTeacher(Returns(lambda x: SimpleNamespace(logits=x)))(one).logits, x)
    said = ModelTeacher(Returns(lambda x: Outputs(x, {"pooled": x * 2})))(one)
    assert torch.equal(said.logits, x)
    assert torch.equal(said.features["pooled"], x * 2)
    with pytest.raises(AttarError, match=r"'Returns'.*object with `\.logits.*Got tuple"):
        ModelTeacher(Returns(lambda x: (x, x)))(one)
    with pytest.raises(AttarError, match=r"must have 1 rows"):
        ModelTeacher(Returns(lambda x: x.repeat(2, 1)))(one)
    with pytest.raises(AttarError, match=r"shape \[N, C\]"):
        ModelTeacher(Returns(lambda x: x[:, 0]))(one)


def test_a_mapping_goes_in_as_keywords() -> None:
    class Text(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 2)

        def forward(self, *, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return (self.table(tokens) * mask[..., None]).sum(dim=1)

    text = Text()
    inputs = {"tokens": torch.tensor([[1, 2], [3, 0]]), "mask": torch.tensor([[1.0, 1.0], [1, 0]])}
    logits = ModelTeacher(text)(batch(inputs, 2)).logits
    torch.testing.assert_close(logits[1], text.table.weight[3].detach())


def test_inputs_come_in_the_precision_of_the_weights_and_logits_in_float32() -> None:
    for dtype in (torch.bfloat16, torch.float64):
        teacher = ModelTeacher(nn.Linear(2, 3).to(dtype))
        assert teacher(batch(torch.rand(4, 2))).logits.dtype == torch.float32


def test_probabilities_are_recognised() -> None:
    teacher = ModelTeacher(nn.Sequential(nn.Linear(2, 3), nn.Softmax(dim=1)))
    assert teacher.outputs == "auto"
    inputs = torch.rand(4, 2)
    logits = teacher(batch(inputs)).logits
    assert teacher.outputs == "probabilities"
    expected = torch.log_softmax(teacher.module[0](inputs), dim=1).detach()
    torch.testing.assert_close(logits, expected)


def test_fingerprint_follows_weights_buffers_and_architecture() -> None:
    def build(*extra: nn.Module) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), *extra)

    first = ModelTeacher(build()).fingerprint()
    assert first == ModelTeacher(build(), name="other").fingerprint()
    same = build().train()
    assert ModelTeacher(same).fingerprint() == first
    with torch.no_grad():
        same[0].weight[0, 0] += 1e-6
    assert ModelTeacher(same).fingerprint() != first
    moved = build()
    moved[1].running_mean[0] = 1.0
    assert ModelTeacher(moved).fingerprint() != first
    assert ModelTeacher(build(nn.ReLU())).fingerprint() != first
    assert ModelTeacher(build(), outputs="logits").fingerprint() != first
    hidden = [build() for _ in range(2)]
    for value, module in enumerate(hidden):
        module.register_buffer("shift", torch.tensor(float(value)), persistent=False)
    assert len({ModelTeacher(module).fingerprint() for module in hidden}) == 2
    half = ModelTeacher(build().to(torch.bfloat16))
    assert half.fingerprint() == half.fingerprint() != first


def test_size_counts_shared_weights_once() -> None:
    shared = nn.Linear(4, 4)
    teacher = ModelTeacher(nn.Sequential(shared, shared, nn.BatchNorm1d(4)))
    assert teacher.parameters == 20 + 8
    assert teacher.bytes == 28 * 4 + 2 * 4 * 4 + 8  # and the statistics, and their counter
