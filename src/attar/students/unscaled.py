"""A student of values around its own numbers: it learns scaled, and answers in the labels' unit."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from attar.students.trees import TreeEnsemble

#: What the weights of the model inside are called in a file.
_INSIDE = "model."


class Unscaled(nn.Module):
    """A student that learned scaled values, and gives them in the unit of the labels.

    Args:
        model: Gives ``[N, D]``.
        middle: ``[D]`` or ``[1]``, what is 0 to the model.
        spread: ``[D]`` or ``[1]``, above 0: what is 1 to it.

    Example:
        >>> import torch
        >>> hot = Unscaled(nn.Identity(), torch.tensor([20.0]), torch.tensor([5.0]))
        >>> hot(torch.tensor([[-1.0], [2.0]])).tolist()
        [[15.0], [30.0]]
    """

    middle: Tensor
    spread: Tensor

    def __init__(self, model: nn.Module, middle: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("middle", middle.float())
        self.register_buffer("spread", spread.float())

    def forward(self, inputs: Tensor) -> Tensor:
        """``[N, D]`` values."""
        values: Tensor = self.model(inputs) * self.spread + self.middle
        return values


def in_unit(model: nn.Module, middle: Tensor, spread: Tensor) -> nn.Module:
    """A student of scaled values as one that gives them in the unit of the labels.

    Trees take the scale into their leaves, and so stay trees that can be read.
    """
    if isinstance(model, TreeEnsemble):
        return model.in_unit(middle, spread).eval()
    return Unscaled(model, middle, spread).eval()


def is_unscaled(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of an :class:`Unscaled`, by their names.

    >>> import torch
    >>> is_unscaled(Unscaled(nn.Linear(2, 1), torch.ones(1), torch.ones(1)).state_dict())
    True
    """
    inside = [name for name in tensors if name.startswith(_INSIDE)]
    return bool(inside) and {*tensors} - {*inside} == {"middle", "spread"}


def without_scale(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the model inside an :class:`Unscaled`, under its own names."""
    return {
        name.removeprefix(_INSIDE): value
        for name, value in tensors.items()
        if name.startswith(_INSIDE)
    }
