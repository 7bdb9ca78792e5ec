"""Ways to keep a row of logits: Attar's records, dense ones, and what others keep."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from attar.store.encodings import Dense
from attar.store.int8 import Int8
from attar.store.sparse import Sampled, TopK
from attar.types import SparseTargets

SEED = 0

#: From logits [B, C], ids [B] and T to what a loss is given; None where a way says nothing at T.
Keep = Callable[[Tensor, Tensor, float], Tensor | SparseTargets | None]


def encoded(make: Callable[[int, float], Any]) -> tuple[Callable[[int], int], Keep]:
    """An encoding of Attar's: its bytes a row for C classes, and what it gives back."""

    def keep(logits: Tensor, ids: Tensor, temperature: float) -> Tensor | SparseTargets:
        encoding = make(logits.shape[1], temperature)
        kept: Tensor | SparseTargets = encoding.decode(encoding.encode(logits, ids))
        return kept

    return lambda classes: int(make(classes, 1.0).record.itemsize), keep


def _spread(values: Tensor, indices: Tensor, classes: int) -> Tensor:
    """Log-probabilities ``[B, C]``: these, and the missing mass spread evenly."""
    rest = (1.0 - values.exp().sum(dim=1, keepdim=True)).clamp(min=1e-12)
    even = (rest / (classes - values.shape[1])).log()
    return even.expand(-1, classes).scatter(1, indices, values)


def tinyvit(logits: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """TinyViT: the 100 best probabilities at T = 1 in float16, the rest spread evenly."""
    values, indices = logits.log_softmax(dim=1).topk(100, dim=1)
    kept = values.exp().half().float().clamp(min=1e-8).log()
    return _spread(kept, indices, logits.shape[1])


def distillkit(k: int, exact: int, half: bool) -> Keep:
    """DistillKit: some best log-probabilities as they are, the others as a curve over the rank.

    The curve has the terms 1, t, ..., t^4 and sqrt(t), fitted by least squares. What is missing
    of the mass is spread evenly.
    """

    def keep(logits: Tensor, ids: Tensor, temperature: float) -> Tensor:
        values, indices = logits.log_softmax(dim=1).topk(k, dim=1)
        t = torch.arange(k - exact, dtype=torch.float64) / (k - exact)
        terms = torch.stack([*(t**power for power in range(5)), t.sqrt()], dim=1)
        wanted = values[:, exact:].double()
        weights = torch.linalg.lstsq(terms, wanted.T).solution
        weights = weights.half().double() if half else weights.float().double()
        curve = (terms @ weights).T.float()
        kept = torch.cat([values[:, :exact].half().float(), curve.clamp(max=0.0)], dim=1)
        return _spread(kept, indices, logits.shape[1])

    return keep


def index_bytes(classes: int, k: int) -> int:
    """Bits packed without a gap, as DistillKit counts them."""
    return math.ceil(k * math.ceil(math.log2(classes)) / 8)


def independent(logits: Tensor, ids: Tensor, temperature: float) -> Tensor | None:
    """Random sampling as published: 12 independent draws at T = 1, as shares."""
    if temperature != 1.0:
        return None
    generator = torch.Generator().manual_seed(SEED + int(ids[0]))
    drawn = logits.softmax(dim=1).multinomial(12, replacement=True, generator=generator)
    shares = torch.zeros_like(logits).scatter_add_(1, drawn, torch.full(drawn.shape, 1 / 12))
    return shares.clamp(min=1e-30).log()


#: Each way: how many bytes a row takes for C classes, and what comes back.
WAYS: dict[str, tuple[Callable[[int], int], Any]] = {
    "attar_top16": encoded(lambda classes, t: TopK(16, classes, (t,))),
    "attar_top50": encoded(lambda classes, t: TopK(50, classes, (t,))),
    "attar_top100": encoded(lambda classes, t: TopK(100, classes, (t,))),
    "attar_sampled16": encoded(lambda classes, t: Sampled(16, classes, (t,))),
    "attar_int8": encoded(lambda classes, t: Int8(classes)),
    "dense_float16": encoded(lambda classes, t: Dense("float16", classes)),
    "tinyvit100": (lambda classes: 4 + 100 * (4 if classes <= 65_536 else 6), tinyvit),
    "distillkit128": (lambda c: index_bytes(c, 128) + 32 + 24, distillkit(128, 16, half=False)),
    "distillkit50": (lambda c: index_bytes(c, 50) + 2 + 12, distillkit(50, 1, half=True)),
    "independent12": (lambda classes: 36, independent),
}

#: Of which a row says little alone: they have no divergence, and are right in the mean.
DRAWN = ("attar_sampled16", "independent12")
