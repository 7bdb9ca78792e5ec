"""Parts of a data set, stratified over its classes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from attar.checks import AttarError, check_number
from attar.types import UNLABELLED, Data, is_known


def split(data: Data, fractions: Sequence[float], *, seed: int = 0) -> tuple[Data, ...]:
    """Cut data into parts that hold every class in the same proportion.

    Each class is cut by itself, into whole rows that come as near to the fractions as they can,
    and roundings are evened out from class to class. A class with at least as many rows as there
    are parts appears in each part. Unlabelled rows all go to the first part, as validation and
    test need labels: the fractions are those of the labelled rows. Data without any label is cut
    at random. Row numbers stay what they were, and stand in their old order.

    Args:
        data: What to cut.
        fractions: One a part, above 0, together 1.
        seed: Decides which rows go where; 0 or more.

    Returns:
        As many parts as fractions; every row is in one of them.

    Raises:
        AttarError: If the fractions are not as above, or a part would have no row.

    Example:
        >>> from attar.data import ArrayData
        >>> data = ArrayData(torch.zeros(10, 1), torch.tensor([0] * 5 + [1] * 5))
        >>> [part.labels.tolist() for part in split(data, (0.6, 0.4))]
        [[0, 0, 0, 1, 1, 1], [0, 0, 1, 1]]
    """
    check_number("split", "seed", seed, low=0, whole=True)
    for fraction in fractions:
        check_number("split", "fractions", fraction, low=0, high=1, low_open=True)
    if not fractions or not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise AttarError(
            f"split: the fractions must sum to 1. Got {tuple(fractions)}, which sum to "
            f"{sum(fractions):g}."
        )
    fractions = [fraction / sum(fractions) for fraction in fractions]
    parts: list[list[Tensor]] = [[] for _ in fractions]
    behind = [0.0] * len(fractions)  # how many rows each part lacks to its fraction so far
    for stratum, positions in _strata(data):
        if stratum == UNLABELLED:
            parts[0].append(positions)
            continue
        sizes = _sizes(len(positions), fractions, behind)
        mixed = positions[_permutation(len(positions), seed, stratum)]
        for part, piece in zip(parts, torch.split(mixed, sizes), strict=True):
            part.append(piece)
    indices = [torch.cat(part).sort().values if part else torch.empty(0) for part in parts]
    empty = [place for place, part in enumerate(indices) if not len(part)]
    if empty:
        raise AttarError(
            f"split: part {empty[0]} of {tuple(fractions)} would have no row: the data has "
            f"{len(data)} rows. Give more rows, or fewer parts."
        )
    return tuple(among_themselves(data.take(part)) for part in indices)


def among_themselves(data: Data) -> Data:
    """The same data; where its views mix rows, they mix its own alone, and none of a test set."""
    views, change = getattr(data, "views", None), getattr(data, "with_views", None)
    if views is None or change is None or not views.mixes:
        return data
    alone: Data = change(views)
    return alone


def _strata(data: Data) -> list[tuple[int, Tensor]]:
    """The positions of each class; all as one where no row is labelled."""
    if data.labels is None or not bool(is_known(data.labels).any()):
        return [(0, torch.arange(len(data)))]
    labels = data.labels.cpu()
    if labels.is_floating_point():  # values are no classes: all labelled rows are one stratum
        labels = torch.where(is_known(labels), 0, UNLABELLED)
    return [
        (int(label), (labels == label).nonzero()[:, 0]) for label in torch.unique(labels).tolist()
    ]


def _sizes(rows: int, fractions: Sequence[float], behind: list[float]) -> list[int]:
    """How many of a class's rows each part gets; brings ``behind`` up to date."""
    quotas = [rows * fraction for fraction in fractions]
    sizes = [math.floor(quota + 1e-6) for quota in quotas]
    # The largest remainder goes first; what a part lost to rounding in earlier classes counts,
    # or ten classes of 15 rows would be halved into 80 and 70.
    owed = [q - size + late for q, size, late in zip(quotas, sizes, behind, strict=True)]
    rounded = [p for p, quota in enumerate(quotas) if quota - sizes[p] > 1e-6]
    for place in sorted(rounded, key=lambda p: -owed[p])[: rows - sum(sizes)]:
        sizes[place] += 1
    while rows >= len(sizes) and 0 in sizes:
        sizes[sizes.index(max(sizes))] -= 1
        sizes[sizes.index(0)] += 1
    for place, quota in enumerate(quotas):
        behind[place] += quota - sizes[place]
    return sizes


def _permutation(rows: int, seed: int, stratum: int) -> Tensor:
    """A fixed order for this seed and class; no random state is drawn from."""
    digest = hashlib.blake2b(f"split/{seed}/{stratum}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest) >> 1)
    return torch.randperm(rows, generator=generator)
