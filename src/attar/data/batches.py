"""The order in which rows are seen: a pure function of (seed, step), with nothing to rewind."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from attar.checks import AttarError, check_number
from attar.types import Batch, Data


class Batches:
    """An endless sequence of full batches, any of which can be asked for at any time.

    Epoch ``e`` is a permutation of the rows that depends on ``(seed, e)`` alone; the epochs are
    laid end to end and cut into batches of ``batch_size``, so that every batch is full, also
    where there are fewer rows than that. In epoch ``e`` each row is seen in view
    ``e mod view_count``. No random state is drawn from, so a run that goes on from step ``s``
    sees exactly what it would have seen.

    Args:
        data: Where the rows come from.
        batch_size: Rows a batch, over all processes together; at least 1.
        seed: Decides the order; 0 or more.

    Example:
        >>> from attar.data import ArrayData
        >>> batches = Batches(ArrayData(torch.arange(6.0).reshape(3, 2)), 2, seed=1)
        >>> torch.equal(batches.at(5).ids, batches.at(5).ids)
        True
        >>> sorted(torch.cat([batches.at(s).ids for s in range(3)]).tolist())
        [0, 0, 1, 1, 2, 2]
    """

    def __init__(self, data: Data, batch_size: int, *, seed: int = 0) -> None:
        check_number("Batches", "batch_size", batch_size, low=1, whole=True)
        check_number("Batches", "seed", seed, low=0, whole=True)
        if len(data) == 0:
            raise AttarError("Batches: the data has no rows; a batch needs at least one.")
        self.data = data
        self.batch_size = batch_size
        self.seed = seed
        self._orders: dict[int, Tensor] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which every row was seen at least once."""
        return -(-len(self.data) // self.batch_size)

    def at(self, step: int, *, shard: int = 0, shards: int = 1) -> Batch:
        """The batch of this step; with ``shards``, the part that process ``shard`` works on."""
        rows = len(self.data)
        epoch, offset = divmod(step * self.batch_size, rows)
        if offset + self.batch_size <= rows:  # the whole batch lies in one epoch
            indices = self._order(epoch)[offset : offset + self.batch_size]
            if shards > 1:
                indices = indices[shard::shards]
            return self.data.batch(indices, epoch % self.data.view_count)

        pieces: list[Tensor] = []
        views: list[Tensor] = []
        missing = self.batch_size
        while missing:
            piece = self._order(epoch)[offset : offset + missing]
            pieces.append(piece)
            views.append(torch.full((len(piece),), epoch % self.data.view_count))
            missing -= len(piece)
            epoch, offset = epoch + 1, 0
        indices, seen_in = torch.cat(pieces), torch.cat(views)
        if self.data.view_count == 1:
            return self.data.batch(indices[shard::shards])
        return self.data.batch(indices[shard::shards], seen_in[shard::shards])

    def _order(self, epoch: int) -> Tensor:
        """The permutation of an epoch; the last few are kept, since batches straddle epochs."""
        if epoch not in self._orders:
            digest = hashlib.blake2b(f"{self.seed}/{epoch}".encode(), digest_size=8).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest) >> 1)
            while len(self._orders) >= 4:
                del self._orders[min(self._orders)]
            self._orders[epoch] = torch.randperm(len(self.data), generator=generator)
        return self._orders[epoch]
