"""Families of students, each sized by one number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attar.checks import AttarError, check_number
from attar.columns import Column
from attar.students.standardize import Standardize


@dataclass(frozen=True)
class Family:
    """Networks of one kind that differ in a single number, their width.

    Args:
        name: What tables call it.
        build: ``(width, input_shape, classes) -> module``, whose parameters grow with the width.
            The module takes float inputs ``[N, *input_shape]`` and gives logits ``[N, classes]``.
        largest: The greatest width there is; None where any is.
        standardized: Whether its inputs are numbers to be standardised; False where they are
            names of things, such as words.

    Example:
        >>> from attar.students import mlp
        >>> count_parameters(mlp.model(30, input_shape=(784,), classes=10))
        24790
    """

    name: str
    build: Callable[[int, tuple[int, ...], int], nn.Module]
    largest: int | None = None
    standardized: bool = True

    def model(
        self,
        width: int,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        scaler: nn.Module | None = None,
    ) -> nn.Module:
        """A fresh member, its weights drawn from torch's generator.

        Args:
            width: The size, from 1 to ``largest``.
            input_shape: The shape of one row, without the batch.
            classes: How many classes, or values of a regression; at least 1.
            scaler: Put in front, so that the model takes raw inputs: :class:`Standardize`, or
                what :meth:`fit` gave; a family whose inputs are not standardised does without.

        Raises:
            AttarError: If a number is out of range or the family does not take such inputs.
        """
        high = math.inf if self.largest is None else self.largest
        check_number(self.name, "width", width, low=1, high=high, whole=True)
        check_number(self.name, "classes", classes, low=1, whole=True)
        member = self.build(width, tuple(input_shape), classes)
        if scaler is None or not self.standardized:
            return member
        return nn.Sequential(scaler, member)

    def fit(
        self, inputs: Any, columns: Sequence[Column] | None = None
    ) -> tuple[Family, nn.Module | None]:
        """The family as it suits these rows, and the scaler to put in front of its members.

        Args:
            inputs: The training rows ``[N, ...]``.
            columns: What the features stand for (:mod:`attar.columns`), where they are those of
                a table.
        """
        return self, Standardize.fit(inputs) if self.standardized else None

    def restore(self, weights: Mapping[str, Tensor]) -> tuple[Family, nn.Module | None]:
        """The family and the scaler that a model with these weights was made with.

        Args:
            weights: Its ``state_dict``.

        Raises:
            KeyError: If the weights are those of something else.
        """
        if not self.standardized:
            return self, None
        return self, Standardize(weights["0.mean"], weights["0.std"])


def fit_to(family: Family, *, parameters: int, input_shape: tuple[int, ...], classes: int) -> int:
    """The width of the largest member with at most this many parameters.

    Args:
        family: Which family.
        parameters: The budget, at least 1.
        input_shape: The shape of one row, without the batch.
        classes: How many classes, at least 2.

    Raises:
        AttarError: If even the smallest member is larger; the message says how large it is.

    Example:
        >>> from attar.students import mlp
        >>> fit_to(mlp, parameters=25_000, input_shape=(784,), classes=10)
        30
    """
    check_number("fit_to", "parameters", parameters, low=1, whole=True)

    def size(width: int) -> int:
        with torch.device("meta"):  # shapes alone: no memory, no random numbers
            return count_parameters(family.model(width, input_shape=input_shape, classes=classes))

    smallest = size(1)
    if smallest > parameters:
        raise AttarError(
            f"fit_to: the smallest {family.name} for inputs {tuple(input_shape)} and {classes} "
            f"classes has {smallest:,} parameters, more than the {parameters:,} allowed. Allow "
            f"more, or give smaller inputs."
        )
    limit = math.inf if family.largest is None else family.largest
    fits, beyond = 1, 2
    while beyond <= limit and size(beyond) <= parameters:
        fits, beyond = beyond, 2 * beyond
    beyond = int(min(beyond, limit + 1))
    while beyond - fits > 1:
        middle = (fits + beyond) // 2
        if size(middle) <= parameters:
            fits = middle
        else:
            beyond = middle
    return fits


def count_parameters(module: nn.Module) -> int:
    """How many numbers the module learns; a shared weight counts once, buffers do not."""
    return sum(parameter.numel() for parameter in module.parameters())
