"""A student with its teacher's classifier: frozen, shipped whole, learnt from features alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import functional_call

import attar
from attar.checks import AttarError
from attar.data import ArrayData, Batches
from attar.engine import Distiller, TrainConfig, train
from attar.losses import Objective, WithFeatures, hint, matched
from attar.students import ReusedClassifier, bottleneck
from attar.teachers import ModelTeacher
from attar.types import Batch, Outputs


def images(count: int = 48) -> ArrayData:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(count, 1, 8, 8, generator=generator)
    return ArrayData(rows, (rows.mean(dim=(1, 2, 3)) > 0).long(), classes=("dark", "light"))


def backbone(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, stride=2, padding=1), nn.BatchNorm2d(channels), nn.ReLU()
    )


class Big(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc = backbone(12), nn.Linear(12, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(rows).mean(dim=(2, 3)))


def test_it_learns_the_feature_and_answers_through_the_teachers_classifier(tmp_path: Path) -> None:
    torch.manual_seed(0)
    big = Big().eval()
    student = ReusedClassifier(backbone(4), bottleneck(4, 12), big.fc)
    teacher = ModelTeacher(WithFeatures(big, ["body"]), outputs="logits")
    objective = Objective([matched(hint, 1.0, student="projected", teacher="body")])
    data = images()
    config = TrainConfig(steps=150, learning_rate=0.02, log_every=50)
    for record in train(Distiller(student, objective, teacher), Batches(data, 24), config):
        last = record
    assert torch.equal(student.classifier.weight, big.fc.weight)
    assert student.classifier.weight.grad is None
    assert last.loss < 0.25
    with torch.no_grad():
        ours, theirs = student(data.inputs).logits, big(data.inputs)
    assert (ours - theirs).abs().mean() < 0.5 * theirs.std()
    export = attar.export.to_onnx(
        student, tmp_path / "s.onnx", example=data.inputs, classes=data.classes
    )
    assert export.rows_checked == 48


def by_hand() -> ReusedClassifier:
    layers = nn.Linear(2, 2, bias=False), nn.Linear(2, 3, bias=False), nn.Linear(3, 2)
    weights = [[1.0, 0], [1, 1]], [[1.0, 0], [0, 1], [1, -1]], [[1.0, 0, 1], [0, 2, 0]]
    with torch.no_grad():
        for layer, weight in zip(layers, weights, strict=True):
            layer.weight.copy_(torch.tensor(weight))
        layers[2].bias.copy_(torch.tensor([0.5, -1.0]))
    return ReusedClassifier(*layers)


OBJECTIVE = Objective([matched(hint, 1.0, student="projected", teacher="fc:input")])


def test_its_answer_loss_and_gradient_by_hand() -> None:
    student = by_hand()
    said = student(torch.tensor([[1.0, 2.0]]))  # a feature of (1, 3)
    assert said.features["projected"].tolist() == [[1, 3, -2]]
    assert said.logits.tolist() == [[1 - 2 + 0.5, 2 * 3 - 1]]
    told = Outputs(torch.zeros(1, 2), {"fc:input": torch.tensor([[2.0, 1.0, -2.0]])})
    value, _ = OBJECTIVE(said, told, Batch(torch.zeros(1, 2), torch.arange(1), torch.zeros(1)))
    assert value.item() == pytest.approx((1 + 4 + 0) / 3)
    value.backward()
    slope = torch.tensor([[-1.0], [2.0], [0.0]]) * 2 / 3  # of each number of the projected feature
    torch.testing.assert_close(student.projector.weight.grad, slope * torch.tensor([[1.0, 3.0]]))
    behind = student.projector.weight.detach().T @ slope
    torch.testing.assert_close(student.backbone.weight.grad, behind * torch.tensor([[1.0, 2.0]]))
    assert all(one.grad is None for one in student.classifier.parameters())


def test_a_map_is_projected_as_it_is_and_pooled_for_the_classifier() -> None:
    first, second, last = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 2, 1), nn.Linear(2, 2)
    with torch.no_grad():
        first.weight.fill_(2.0), second.weight.copy_(torch.tensor([1.0, -1]).reshape(2, 1, 1, 1))
        last.weight.copy_(torch.eye(2))
        for layer in (first, second, last):
            layer.bias.zero_()
    said = ReusedClassifier(first, second, last)(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    assert said.features["projected"].tolist() == [[[[2, 4], [6, 8]], [[-2, -4], [-6, -8]]]]
    assert said.logits.tolist() == said.features["pooled"].tolist() == [[5, -5]]


def test_gradcheck_of_the_path_that_is_trained() -> None:
    torch.manual_seed(0)
    student = ReusedClassifier(
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Tanh()), bottleneck(2, 4), nn.Linear(4, 3)
    ).double()
    inputs = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    feature = torch.randn(3, 4, 4, 4, dtype=torch.float64)
    told = Outputs(torch.zeros(3, 3, dtype=torch.float64), {"fc:input": feature})
    batch = Batch(inputs, torch.arange(3), torch.arange(3))
    names = [name for name, value in student.named_parameters() if value.requires_grad]
    assert not any(name.startswith("classifier") for name in names)

    def of(*values: torch.Tensor) -> torch.Tensor:
        said = functional_call(student, dict(zip(names, values, strict=True)), (inputs,))
        return OBJECTIVE(said, told, batch)[0]

    values = [student.get_parameter(name).detach().clone().requires_grad_() for name in names]
    assert of(*values).dtype is torch.float64
    assert torch.autograd.gradcheck(of, values)


def test_the_classifier_is_a_copy_that_never_trains() -> None:
    layer = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2))
    student = ReusedClassifier(nn.Linear(2, 3), nn.Identity(), layer)
    student.train()
    assert not student.classifier.training
    assert student.backbone.training
    assert all(p.requires_grad for p in layer.parameters())


def test_a_bottleneck_that_is_too_narrow_is_refused() -> None:
    with pytest.raises(AttarError, match="factor"):
        bottleneck(4, 2, factor=3)
    with pytest.raises(AttarError, match="before"):
        bottleneck(0, 2)
