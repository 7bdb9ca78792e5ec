from __future__ import annotations

import pytest
import torch

from attar.checks import AttarError
from attar.students import convnet


@pytest.mark.parametrize(
    ("shape", "last"),
    [
        ((1, 8, 8), (4, 4)),
        ((1, 28, 28), (7, 7)),
        ((3, 32, 32), (4, 4)),
        ((3, 9, 14), (5, 7)),
        ((2, 63, 64), (4, 4)),
        ((3, 224, 224), (7, 7)),
        ((1, 8, 224), (4, 112)),
    ],
)
def test_images_of_every_size_are_halved_until_few_pixels_are_left(shape, last):
    model = convnet.model(2, input_shape=shape, classes=5).eval()
    images = torch.randn(2, *shape)
    maps = model.blocks(model.stem(images))
    assert maps.shape[2:] == last
    assert model(images).shape == (2, 5)


def test_a_row_does_not_depend_on_its_batch_once_trained():
    model = convnet.model(4, input_shape=(1, 8, 8), classes=3)
    images = torch.randn(6, 1, 8, 8)
    model(images)  # batch norm takes its statistics
    model.eval()
    assert torch.allclose(model(images)[2:3], model(images[2:3]), atol=1e-6)


def test_convolutions_are_separable_and_the_residual_passes_on():
    block = convnet.model(4, input_shape=(1, 8, 8), classes=3).eval().blocks[0]
    assert block.depthwise.weight.shape == (4, 1, 3, 3)
    assert block.pointwise.weight.shape == (4, 4, 1, 1)
    torch.nn.init.zeros_(block.mix.weight)
    maps = torch.rand(2, 4, 8, 8)
    assert torch.equal(block(maps), maps)


def test_every_weight_gets_a_gradient():
    model = convnet.model(4, input_shape=(1, 28, 28), classes=3)
    model(torch.randn(8, 1, 28, 28)).square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in model.parameters())


@pytest.mark.parametrize("shape", [(64,), (8, 8), (1, 7, 8), (3, 225, 100), (1, 1, 8, 8)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(AttarError, match=r"convnet: .*\(C, H, W\).*from 8 to 224. Got \("):
        convnet.model(4, input_shape=shape, classes=3)
