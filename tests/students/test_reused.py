"""A student with its teacher's classifier: frozen, shipped whole, learnt from features alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import attar
from attar.checks import AttarError
from attar.data import ArrayData, Batches
from attar.engine import Distiller, TrainConfig, train
from attar.losses import Objective, WithFeatures, hint, matched
from attar.students import ReusedClassifier, bottleneck
from attar.teachers import ModelTeacher


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
