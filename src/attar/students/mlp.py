"""The plain student for vectors: a multilayer perceptron."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from attar.students.family import Family


class MLP(nn.Module):
    """``D - width - width - C`` with ReLU between, on inputs of any shape, flattened.

    The student of Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network",
    2015 (784-800-800-10 there).

    Args:
        width: Units of each of the two hidden layers.
        input_shape: The shape of one row.
        classes: How many logits come out.
    """

    def __init__(self, width: int, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(math.prod(input_shape), width)
        self.second = nn.Linear(width, width)
        self.head = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[N, C]`` of inputs ``[N, ...]``."""
        hidden = F.relu(self.first(inputs.flatten(1)))
        logits: Tensor = self.head(F.relu(self.second(hidden)))
        return logits


#: Sized by the units of its hidden layers; for vectors and small images.
mlp = Family("mlp", MLP)
