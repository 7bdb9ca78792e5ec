"""Channels in fours: the same answers, and channels of zeros only where nobody listens to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from attar.export import runtime, to_onnx
from attar.export.channels import in_fours
from attar.export.graph import WithProbabilities, trace
from attar.students import FAMILIES

SHAPE = (3, 12, 12)


def images(count: int = 5) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(0))


def lively(model: nn.Module) -> nn.Module:
    """With statistics and biases that are not those of a fresh network."""
    torch.manual_seed(1)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            for values in (part.running_var, part.weight, part.running_mean, part.bias):
                assert values is not None
                nn.init.uniform_(values, 0.5, 1.5)
    return model.eval()


def traced(model: nn.Module) -> Any:
    return trace(WithProbabilities(lively(model)).eval().requires_grad_(False), images())


def answers(proto: Any) -> np.ndarray:
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"inputs": images().numpy()})
    return np.asarray(logits)


def convolutions(proto: Any) -> list[tuple[int, ...]]:
    sizes = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    return [sizes[node.input[1]] for node in proto.graph.node if node.op_type == "Conv"]


@pytest.mark.parametrize(("name", "width"), [("convnet", 7), ("resnet", 13), ("plain_convnet", 15)])
def test_every_channel_comes_in_fours_and_nothing_else_changes(name: str, width: int) -> None:
    torch.manual_seed(0)
    before = traced(FAMILIES[name].build(width, SHAPE, 10))
    after = in_fours(before)
    np.testing.assert_allclose(answers(after), answers(before), rtol=1e-4, atol=1e-5)
    assert all(out % 4 == 0 for out, *_ in convolutions(after))
    assert any(out % 4 for out, *_ in convolutions(before))  # the graph that was given stays


class Odd(nn.Module):
    """Two convolutions of 13 channels, and something in between and behind."""

    def __init__(self, between: Callable[[Tensor], Tensor], behind: Callable[..., Tensor]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 13, 3, padding=1)
        self.second = nn.Conv2d(13, 13, 3, padding=1)
        self.last = nn.Conv2d(13, 13, 1)
        self.head = nn.Linear(13 * 12 * 12, 13)
        self.norm = nn.BatchNorm2d(13)
        self.pairs = nn.Conv2d(26, 26, 1, groups=2)
        self.between, self.behind = between, behind

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self, self.second(self.between(self.first(x))))


def flat(self: Any, maps: Tensor) -> Tensor:
    logits: Tensor = self.head(maps.flatten(1))
    return logits


#: What listens to the channels -> how many the two convolutions give.
LISTENERS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[..., Tensor], tuple[int, int]]] = {
    "nothing": (torch.relu, flat, (16, 16)),
    "all kinds of bends": (
        lambda x: nn.functional.hardswish(x.clamp(-1, 2)).tanh(),
        flat,
        (16, 16),
    ),
    "a residual": (torch.relu, lambda self, x: flat(self, x + self.last(x)), (16, 16)),
    "its own gate": (lambda x: x * x.sigmoid(), flat, (16, 16)),
    "a softmax over the channels": (lambda x: x.softmax(dim=1), flat, (13, 16)),
    "their mean": (lambda x: x - x.mean(dim=1, keepdim=True), flat, (13, 16)),
    "a mean over a row": (torch.relu, lambda self, x: x.mean(dim=(1, 3)).repeat(1, 2), (16, 13)),
    "a division": (lambda x: 1 / (x * x + 1), flat, (13, 16)),
    "the logits": (torch.relu, lambda self, x: x.mean(dim=(2, 3)), (16, 13)),
    "a sum with what is not longer": (
        torch.relu,
        lambda self, x: flat(self, x + x.mean(dim=1, keepdim=True)),
        (16, 13),
    ),
    "a matrix product": (torch.relu, lambda self, x: self.head(x.flatten(1)[None])[0], (16, 13)),
    "groups": (
        torch.relu,
        lambda self, x: self.pairs(torch.cat([x, x], dim=1)).mean(dim=(2, 3)),
        (16, 13),
    ),
}


@pytest.mark.parametrize("name", LISTENERS)
def test_channels_that_somebody_listens_to_are_left(name: str) -> None:
    between, behind, expected = LISTENERS[name]
    torch.manual_seed(0)
    before = traced(Odd(between, behind))
    after = in_fours(before)
    np.testing.assert_allclose(answers(after), answers(before), rtol=1e-4, atol=1e-5)
    found = convolutions(after)
    assert (found[0][0], found[1][0]) == expected


def test_weights_that_are_used_twice_are_left() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.again = nn.Conv2d(3, 13, 1), nn.Conv2d(13, 13, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            maps: Tensor = self.again(self.again(self.stem(x)))
            return maps.mean(dim=(2, 3))

    before = traced(Twice())
    assert in_fours(before) is before


def test_channels_of_a_sequence_are_left() -> None:
    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Conv1d(3, 13, 3), nn.Linear(1, 10)

        def forward(self, x: Tensor) -> Tensor:  # the mean is one over channels too
            said: Tensor = self.head(self.first(x.flatten(2)).mean(dim=(-2, -1))[:, None])
            return said

    before = traced(Sequence())
    assert in_fours(before) is before


def test_one_channel_may_still_be_spread_over_others() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.maps = nn.Conv2d(3, 1, 1), nn.Conv2d(3, 3, 3, padding=1, groups=3)
            self.wide, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 30, 1)

        def forward(self, x: Tensor) -> Tensor:
            maps: Tensor = self.two(self.maps(self.wide(x)) * self.gate(x))
            return maps.mean(dim=(2, 3), keepdim=True).flatten(1)

    before = traced(Gate())
    np.testing.assert_allclose(answers(in_fours(before)), answers(before), rtol=1e-4, atol=1e-5)


def test_a_graph_that_has_nothing_to_gain_is_handed_back() -> None:
    for model in (
        FAMILIES["resnet"].build(16, SHAPE, 10),  # fours already
        FAMILIES["resnet"].build(6, SHAPE, 10),  # blocks would be half empty
        nn.Sequential(nn.Flatten(), nn.Linear(432, 13), nn.ReLU(), nn.Linear(13, 10)),
        # Depthwise, so that fours would be faster; but they would be more than half as much again.
        nn.Sequential(
            nn.Conv2d(3, 5, 3), nn.Conv2d(5, 5, 3, groups=5), nn.Flatten(), nn.Linear(320, 10)
        ),
    ):
        before = traced(model)
        assert in_fours(before) is before


def test_the_file_is_that_of_the_fast_graph(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = lively(FAMILIES["convnet"].build(7, SHAPE, 10))
    path = tmp_path / "student.onnx"
    export = to_onnx(model, path, example=images(), classes=[str(one) for one in range(10)])
    assert all(out % 4 == 0 for out, *_ in convolutions(onnx.load(path)))
    assert export.max_probability_difference < 1e-5
    with torch.no_grad():
        expected = model(images()).numpy()
    np.testing.assert_allclose(runtime.load(path).logits(images()), expected, rtol=1e-4, atol=1e-5)
