"""What every teacher of this package offers, and what they share in reading a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.checks import AttarError
from attar.types import Batch, Mixture, Outputs


class NamedTeacher(Protocol):
    """A teacher that says who it is. Nothing to inherit; these members are enough."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def parameters(self) -> int | None:
        """How many it has; None where that is unknown or means nothing."""
        ...

    @property
    def bytes(self) -> int | None:
        """Its size; None where unknown."""
        ...

    def __call__(self, batch: Batch) -> Outputs:
        """Float32 logits ``[N, C]`` on the device of ``batch.ids``."""
        ...

    def fingerprint(self) -> str:
        """A hash, in hexadecimal digits, of what decides the answers."""
        ...


def select(batch: Batch, index: Tensor) -> Batch:
    """The rows of a batch at these positions ``[B]``."""
    inputs: Any
    if isinstance(batch.inputs, Mapping):
        inputs = {name: value[index] for name, value in batch.inputs.items()}
    else:
        inputs = batch.inputs[index]
    mixture = batch.mixture
    return replace(
        batch,
        inputs=inputs,
        ids=batch.ids[index],
        labels=None if batch.labels is None else batch.labels[index],
        weights=None if batch.weights is None else batch.weights[index],
        mixture=mixture and Mixture(mixture.labels[index], mixture.shares[index]),
    )


def to_numpy(value: Any) -> NDArray[Any]:
    """A tensor, on any device and with any gradient, or an array, as a numpy array."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return np.asarray(value.float() if value.dtype is torch.bfloat16 else value)
    return np.asarray(value)


def answer_tensor(owner: str, values: Any, *, rows: int, least: int = 2) -> Tensor:
    """What a teacher outside of PyTorch answered, as a tensor ``[rows, C]``.

    Raises:
        AttarError: If it is not numeric, or has another shape.
    """
    try:
        array = to_numpy(values)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"of the dtype {array.dtype}")
        array = array.astype(np.float64 if array.dtype == np.float64 else np.float32)
    except (TypeError, ValueError) as error:
        raise AttarError(
            f"{owner}: the answer must be an array [N, C] of numbers. Got "
            f"{type(values).__name__} ({error})."
        ) from None
    if array.ndim != 2 or array.shape[0] != rows or array.shape[1] < least:
        raise AttarError(
            f"{owner}: the answer must have the shape [N, C], here {rows} rows and at least two "
            f"classes. Got {array.shape}."
            + (
                " For two classes give both columns, [1 - p, p]."
                if array.ndim < 2 or array.shape[1] == 1
                else ""
            )
        )
    return torch.from_numpy(np.ascontiguousarray(array))
