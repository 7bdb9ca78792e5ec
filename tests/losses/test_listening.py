"""A network with features: what it hears, what trains, what ships."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import attar
from attar.checks import AttarError
from attar.data import ArrayData, Batches
from attar.engine import Distiller, TrainConfig, train
from attar.losses import ContrastiveLoss, Objective, WithFeatures, hard, hint, matched
from attar.teachers import ModelTeacher
from attar.types import Outputs


def network(width: int, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2))


def test_features_are_outputs_and_inputs_of_layers_and_logits_stay() -> None:
    plain = network(3)
    rows = torch.randn(5, 2)
    said = WithFeatures(plain, ["0", "2:input"])(rows)
    assert torch.equal(said.logits, plain(rows))
    assert torch.equal(said.features["0"], plain[0](rows))
    assert torch.equal(said.features["2:input"], plain[1](plain[0](rows)))
    assert not plain[0]._forward_hooks


def test_a_copy_hears_itself() -> None:
    first = WithFeatures(network(3), ["0"])
    other = copy.deepcopy(first)
    nn.init.zeros_(other.network[0].weight)
    nn.init.zeros_(other.network[0].bias)
    assert not bool(other(torch.ones(1, 2)).features["0"].any())
    assert bool(first(torch.ones(1, 2)).features["0"].any())


def test_hooks_are_gone_after_an_error() -> None:
    listening = WithFeatures(network(3), ["0"])
    with pytest.raises(RuntimeError):
        listening(torch.zeros(1, 9))
    assert not listening.network[0]._forward_hooks


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(AttarError, match=r"no layer 'fc'\. It has 0, 1, 2"):
        WithFeatures(network(3), ["fc"])
    with pytest.raises(AttarError, match="projector"):
        WithFeatures(network(3), ["0"], projectors={"1": nn.Identity()})

    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, rows: Tensor) -> Outputs:
            return Outputs(self.used(rows))

    with pytest.raises(AttarError, match="was not called"):
        WithFeatures(Lazy(), ["unused"])(torch.zeros(1, 2))


def test_a_student_trains_on_features_with_its_projector_and_ships_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rows = torch.randn(64, 2)
    data = ArrayData(rows, (rows[:, 0] > 0).long(), classes=("left", "right"))
    big = network(8, seed=1)
    teacher = ModelTeacher(WithFeatures(big, ["1"]), outputs="logits")
    projector = nn.Linear(3, 8)
    contrastive = ContrastiveLoss(64, 8, 8, width=4, negatives=16)
    student = WithFeatures(network(3), ["1"], projectors={"1": projector}, losses=[contrastive])
    objective = Objective(
        [hard(0.1), matched(hint, 1.0, student="1"), matched(contrastive, 0.1, student="1")]
    )
    before = [p.clone() for p in (projector.weight, contrastive.of_student.weight)]
    distiller = Distiller(student, objective, teacher)
    config = TrainConfig(steps=200, learning_rate=0.02, log_every=20)
    checkpoint = tmp_path / "run.safetensors"
    records = list(train(distiller, Batches(data, 32), config, checkpoint=checkpoint))
    parts = [record.parts["hint"] for record in records]
    assert parts[0] is not None
    assert parts[-1] is not None
    assert parts[-1] < 0.5 * parts[0]
    after = (projector.weight, contrastive.of_student.weight)
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.grad is None for p in big.parameters())
    export = attar.export.to_onnx(
        student.network, tmp_path / "student.onnx", example=rows, classes=["left", "right"]
    )
    assert export.rows_checked == 64
    assert sum(p.numel() for p in student.network.parameters()) == 2 * 3 + 3 + 3 * 2 + 2


def test_two_equal_runs_end_alike_and_a_resumed_one_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rows = torch.randn(40, 2)
    data = ArrayData(rows, (rows[:, 0] > 0).long(), classes=("left", "right"))
    teacher = ModelTeacher(WithFeatures(network(8, seed=1), ["1"]), outputs="logits")
    config = TrainConfig(steps=20, log_every=5, checkpoint_every=5)
    ends = []
    for stop in (None, 2):
        torch.manual_seed(0)
        loss = ContrastiveLoss(40, 3, 8, width=4, negatives=8)
        student = WithFeatures(network(3), ["1"], losses=[loss])
        objective = Objective([hard(1.0), matched(loss, 0.5, student="1")])
        path = tmp_path / f"{stop}.safetensors"
        if stop is not None:
            half = train(
                Distiller(student, objective, teacher), Batches(data, 8), config, checkpoint=path
            )
            for _ in range(stop):
                next(half)
            half.close()
        for _ in train(
            Distiller(student, objective, teacher), Batches(data, 8), config, checkpoint=path
        ):
            pass
        ends.append({k: v.clone() for k, v in student.state_dict().items()})
    for key, value in ends[0].items():
        assert torch.equal(value, ends[1][key]), key
