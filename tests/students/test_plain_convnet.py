from __future__ import annotations

import pytest
import torch

from attar.checks import AttarError
from attar.students import plain_convnet


@pytest.mark.parametrize(
    ("shape", "features"),
    [((1, 8, 8), 8 * 2 * 2), ((3, 32, 32), 32 * 2 * 2), ((1, 28, 28), 16 * 3 * 3)],
)
def test_images_are_halved_until_less_than_4_pixels_are_left(shape, features):
    model = plain_convnet.model(4, input_shape=shape, classes=5).eval()
    assert model.head[-1].in_features == features
    assert model(torch.randn(2, *shape)).shape == (2, 5)


def test_dropout_is_for_training_alone():
    model = plain_convnet.model(4, input_shape=(1, 8, 8), classes=5)
    images = torch.randn(4, 1, 8, 8)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


@pytest.mark.parametrize("shape", [(64,), (8, 8), (1, 7, 8)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(AttarError, match=r"plain_convnet: .*H and W of 8 or more. Got \("):
        plain_convnet.model(4, input_shape=shape, classes=3)
