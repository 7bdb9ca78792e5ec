"""Normalisation as part of the model, so that it ships inside the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from attar.checks import AttarError

#: Values raised to float64 at a time while fitting (32 MB).
_CHUNK = 2**22


class Standardize(nn.Module):
    """``(x - mean) / std`` in float32, on raw inputs of any number type.

    It stands in front of a student as its first layer: a ``uint8`` image goes in as it is, and
    the exported file needs no preparation outside. ``mean`` and ``std`` are buffers; nothing
    here is trained or counted as a parameter.

    Args:
        mean: What to subtract; broadcasts against a row: ``[D]``, or ``[C, 1, 1]`` for images.
        std: What to divide by, above 0; the same shape.

    Raises:
        AttarError: If the shapes differ, a value is not finite, or a std is not above 0.

    Example:
        >>> scaler = Standardize.fit(torch.tensor([[0, 7], [2, 7]], dtype=torch.uint8))
        >>> scaler(torch.tensor([[2, 7]], dtype=torch.uint8)).tolist()  # the second is constant
        [[1.0, 0.0]]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        mean, std = mean.to(torch.float32), std.to(torch.float32)
        if mean.shape != std.shape:
            raise AttarError(
                f"Standardize: mean and std must have the same shape. Got {tuple(mean.shape)} and "
                f"{tuple(std.shape)}."
            )
        if not (torch.isfinite(mean).all() and torch.isfinite(std).all() and (std > 0).all()):
            raise AttarError(
                "Standardize: mean and std must be finite in float32, and std above 0."
            )
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, inputs: Tensor) -> Tensor:
        """Standardised float32 inputs, of the same shape."""
        return (inputs.to(torch.float32) - self.mean) / self.std

    @classmethod
    def fit(cls, inputs: Any) -> Standardize:
        """Mean and standard deviation over rows: one a channel for images, else one a feature.

        A feature that is constant, up to float32's rounding, gets std 1: it is then 0 for every
        row like those seen, instead of rounding noise blown up to the size of the others.

        Args:
            inputs: ``[N, D]``, images ``[N, C, H, W]`` or ``[N, H, W]``; any number type, finite.

        Raises:
            AttarError: If there is no row, or the shape is another one.
        """
        if not isinstance(inputs, Tensor) or inputs.ndim not in (2, 3, 4) or inputs.numel() == 0:
            came = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
            raise AttarError(
                f"Standardize.fit: needs a tensor [N, D], [N, H, W] or [N, C, H, W] with at least "
                f"one row. Got {came}."
            )
        axes = {2: (0,), 3: (0, 1, 2), 4: (0, 2, 3)}[inputs.ndim]
        shape = {2: inputs.shape[1:], 3: (1, 1), 4: (inputs.shape[1], 1, 1)}[inputs.ndim]
        count = inputs.numel() // (inputs.shape[1] if inputs.ndim in (2, 4) else 1)
        # Two passes over pieces: exact enough in float64, without a float copy of all images.
        mean = sum(piece.sum(axes, keepdim=True) for piece in _pieces(inputs)) / count
        squares = (((piece - mean) ** 2).sum(axes, keepdim=True) for piece in _pieces(inputs))
        std = (sum(squares) / count) ** 0.5
        assert isinstance(mean, Tensor)
        std = torch.where(std <= 1e-6 * mean.abs(), torch.ones_like(std), std)
        return cls(mean.reshape(shape), std.reshape(shape))


def _pieces(inputs: Tensor) -> Iterator[Tensor]:
    rows = max(1, _CHUNK // (inputs[0].numel()))
    for start in range(0, len(inputs), rows):
        yield inputs[start : start + rows].to(torch.float64)
