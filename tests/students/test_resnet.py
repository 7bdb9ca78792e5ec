from __future__ import annotations

import pytest
import torch

from attar.checks import AttarError
from attar.students import resnet


def test_the_residual_passes_on_where_the_branch_is_silent():
    first, halving = resnet.model(4, input_shape=(1, 8, 8), classes=3).eval().blocks[:2]
    torch.nn.init.zeros_(first.mix.weight)
    maps = torch.rand(2, 4, 8, 8)
    assert torch.equal(first(maps), maps)
    torch.nn.init.zeros_(halving.mix.weight)
    assert torch.equal(halving(maps), halving.around(maps).relu())
    assert halving(maps).shape == (2, 8, 4, 4)


def test_convolutions_are_full_ones():
    block = resnet.model(4, input_shape=(1, 8, 8), classes=3).blocks[0]
    assert block.first.weight.shape == block.second.weight.shape == (4, 4, 3, 3)


def test_every_weight_gets_a_gradient():
    model = resnet.model(4, input_shape=(3, 32, 32), classes=3)
    model(torch.randn(8, 3, 32, 32)).square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in model.parameters())


def test_other_shapes_are_refused():
    with pytest.raises(AttarError, match=r"resnet: .*from 8 to 224. Got \(64,\)"):
        resnet.model(4, input_shape=(64,), classes=3)
