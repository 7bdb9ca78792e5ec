"""A student that starts from weights of a larger network of its kind."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from attar.checks import AttarError
from attar.students.standardize import Standardize

_Module = TypeVar("_Module", bound=nn.Module)


def pick_weights(student: _Module, larger: nn.Module) -> _Module:
    """The student, its weights picked from a larger network of its kind.

    Of every tensor of the larger network (weights, biases, statistics of norms) the student gets
    evenly spaced elements along each dimension. A :class:`Standardize` in front keeps the
    student's own numbers. Every student that is picked from one network starts alike: seeds then
    differ in the order of their rows alone. With hard labels it has heard of the larger network
    too, so that a distilled student is compared with one of the same start.

    Args:
        student: A fresh one; its weights are written over. ``mlp.model(30, ...)``, say.
        larger: Of the same family, at least as wide, for the same inputs and classes:
            ``mlp.model(500, ...)``, trained; a member of a teacher is its ``.module``. It stays
            as it is.

    Returns:
        The student itself.

    Raises:
        AttarError: If the two have other tensors, or one of the larger's is smaller; then the
            student is as it was.

    Example:
        >>> small, large = nn.Linear(2, 3), nn.Linear(4, 3)
        >>> _ = large.weight.data.copy_(torch.arange(12.0).reshape(3, 4))
        >>> pick_weights(small, large).weight.tolist()
        [[0.0, 2.0], [4.0, 6.0], [8.0, 10.0]]

    References:
        Xu et al. 2024, *Initializing Models with Larger Ones* (ICLR),
        https://arxiv.org/abs/2311.18823 (uniform selection, of networks of one depth)
    """
    ours, theirs = _tensors(student), _tensors(larger)
    if ours.keys() != theirs.keys():
        other = sorted(ours.keys() ^ theirs.keys())
        raise AttarError(
            "pick_weights: student and larger must be of one family and depth, so that each "
            f"tensor of the one is a part of the other's. {len(other)} are in one of them only, "
            f"{other[0]} first."
        )
    for name, mine in ours.items():
        shapes = tuple(mine.shape), tuple(theirs[name].shape)
        if mine.ndim != theirs[name].ndim or any(a > b for a, b in zip(*shapes, strict=True)):
            raise AttarError(
                f"pick_weights: no tensor of larger may be smaller than the student's. {name} is "
                f"{shapes[1]}, the student's {shapes[0]}."
            )
    *_, last = (name for name, _ in student.named_parameters())
    classes = [list(one[last].shape[:1]) for one in (ours, theirs)]
    if classes[0] != classes[1]:
        raise AttarError(
            f"pick_weights: student and larger must be for the same classes. {last} gives "
            f"{classes[0][0]} numbers in the student and {classes[1][0]} in larger: picked evenly, "
            "they would stand for other classes."
        )
    with torch.no_grad():
        for name, mine in ours.items():
            mine.copy_(_evenly(theirs[name], mine.shape))
    return student


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, without those of a scaler."""
    scalers = [name for name, part in model.named_modules() if isinstance(part, Standardize)]
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.rpartition(".")[0] not in scalers
    }


def _evenly(tensor: Tensor, shape: torch.Size) -> Tensor:
    """As many elements along each dimension as ``shape`` says."""
    for dimension, (wide, narrow) in enumerate(zip(tensor.shape, shape, strict=True)):
        if wide % narrow == 0:  # as published: from the first on, then from end to end
            places = torch.arange(0, wide, wide // narrow)
        else:
            places = torch.linspace(0, wide - 1, narrow, dtype=torch.float64).round().long()
        tensor = tensor.index_select(dimension, places.to(tensor.device))
    return tensor
