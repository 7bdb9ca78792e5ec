"""What a mixed row is made of, and the rows that partners are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from attar.types import UNLABELLED, Mixture


class Part(NamedTuple):
    """One ingredient of a batch of rows.

    Attributes:
        places: ``[B]`` int64, positions in the pool; None for the rows themselves.
        shares: ``[B]`` float32, how much of the result is theirs.
    """

    places: Tensor | None
    shares: Tensor


@dataclass(frozen=True, eq=False)
class Pool:
    """The rows that partners are drawn from: those of the data that the views were given to.

    They stay the same where rows are taken out of that data, so that an id names the same input.

    Attributes:
        read: Positions ``[B]`` -> inputs ``[B, ...]``.
        rows: ``[P]`` int64 row numbers.
        labels: ``[P]`` int64; None without labels.
        contents: A hash of inputs and row numbers.
    """

    read: Callable[[Tensor], Tensor]
    rows: Tensor
    labels: Tensor | None
    contents: Callable[[], str]

    def __len__(self) -> int:
        return len(self.rows)

    def relabelled(self, rows: Tensor, labels: Tensor | None) -> Pool:
        """The same with other labels for these rows; None takes them away."""
        before = torch.full_like(self.rows, UNLABELLED) if self.labels is None else self.labels
        after = before.clone()
        order = torch.argsort(self.rows)
        place = torch.searchsorted(self.rows[order], rows).clamp_(max=len(self.rows) - 1)
        found = self.rows[order[place]] == rows
        after[order[place[found]]] = UNLABELLED if labels is None else labels[found]
        return replace(self, labels=after)


def combined(own: list[Part], met: Sequence[tuple[list[Part], Tensor]]) -> list[Part]:
    """What rows are made of after partners were mixed in, one after the other."""
    for parts, share in met:
        theirs = share.to(torch.float32)
        own = [Part(part.places, part.shares * (1 - theirs)) for part in own] + [
            Part(part.places, part.shares * theirs) for part in parts
        ]
    return own


def mixture_of(parts: Sequence[Part], labels: Tensor, pool: Pool) -> tuple[Tensor, Mixture]:
    """The labels of mixed rows: none of their own, and those of all they are made of.

    Args:
        parts: The ingredients; the rows themselves first.
        labels: ``[B]`` int64, of the rows themselves.
        pool: Where the other ingredients come from.

    Returns:
        ``[B]`` labels, :data:`attar.UNLABELLED` where a row is mixed; and the mixture.
    """
    nothing = torch.full_like(labels, UNLABELLED)
    columns = []
    for part in parts:
        if part.places is None:
            columns.append(labels)
        elif pool.labels is None:
            columns.append(nothing)
        else:
            columns.append(pool.labels.index_select(0, part.places))
    shares = torch.stack([part.shares for part in parts], dim=1)
    mixed = (shares[:, 1:] > 0).any(dim=1)
    return torch.where(mixed, nothing, labels), Mixture(torch.stack(columns, dim=1), shares)
