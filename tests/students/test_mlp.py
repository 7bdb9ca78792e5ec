from __future__ import annotations

import torch

from attar.students import mlp


def test_logits_by_hand():
    model = mlp.model(2, input_shape=(2,), classes=2)
    with torch.no_grad():
        model.first.weight.copy_(torch.tensor([[1.0, 0], [0, -1]]))
        model.first.bias.copy_(torch.tensor([0.0, 1]))
        model.second.weight.copy_(torch.tensor([[1.0, 1], [-1, -1]]))
        model.second.bias.zero_()
        model.head.weight.copy_(torch.tensor([[2.0, 5], [0, 7]]))
        model.head.bias.copy_(torch.tensor([0.0, 1]))
    # (3, 4) -> relu(3, -3) = (3, 0) -> relu(3, -3) = (3, 0) -> (6, 1)
    assert model(torch.tensor([[3.0, 4.0]])).tolist() == [[6, 1]]


def test_inputs_of_any_shape_are_flattened():
    model = mlp.model(3, input_shape=(1, 2, 4), classes=5)
    images = torch.randn(7, 1, 2, 4)
    assert model(images).shape == (7, 5)
    assert torch.equal(model(images), model(images.reshape(7, 8)))
