"""Bytes a row against what is lost: Attar's records, dense ones, and what others keep.

Two teachers: a real network of 1,000 classes on real photographs, and logits over 151,936 classes
that fall with the rank as in a language model. For each way of keeping a row and T = 1, 2, 4: the
mean divergence of the stored softmax from the teacher's, in nats; and the cosine between the
gradient that a student gets from what was kept and the one that it gets from all logits, row by
row and of the batch's mean (which is what a bias learns from). The student's logits are 0.6 times
the teacher's, with noise.

    python benchmarks/bytes_a_row/run.py
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
import record
from bytes_a_row import network
from mnist.fetch import cache_folder

from attar.losses import kl
from attar.store.encodings import Dense
from attar.store.int8 import Int8
from attar.store.sparse import Sampled, TopK
from attar.types import SparseTargets

RESULTS = Path(__file__).with_name("results.json")
TEMPERATURES, SEED = (1.0, 2.0, 4.0), 0
ROWS = {"lite0": 256, "zipf": 64}
ZIPF_CLASSES = 151_936

#: From logits [B, C], ids [B] and T to what a loss is given.
Keep = Callable[[Tensor, Tensor, float], Tensor | SparseTargets]


def teachers(cache: Path) -> dict[str, Tensor]:
    """Logits ``[N, C]`` by name."""
    model, images = network.network(cache), network.crops(ROWS["lite0"], SEED)
    with torch.no_grad():
        real = torch.cat([model(part) for part in torch.split(images, 32)])
    generator = torch.Generator().manual_seed(SEED)
    rows = ROWS["zipf"]
    slope = 1.2 + 1.3 * torch.rand(rows, 1, generator=generator)
    ranks = torch.rand(rows, ZIPF_CLASSES, generator=generator).argsort(dim=1) + 1.0
    noise = 0.5 * torch.randn(rows, ZIPF_CLASSES, generator=generator)
    return {"lite0": real, "zipf": noise - slope * ranks.log()}


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


def gradient(student: Tensor, target: Tensor | SparseTargets, temperature: float) -> Tensor:
    """``[B, C]``, of each row's own loss."""
    student = student.detach().requires_grad_()
    (found,) = torch.autograd.grad(kl(student, target, temperature=temperature).sum(), student)
    return found


def divergence(logits: Tensor, target: Tensor | SparseTargets, temperature: float) -> Tensor:
    """``[B]`` KL of the stored softmax from the teacher's, in nats."""
    dense = target.dense(temperature) if isinstance(target, SparseTargets) else target
    log_p = (logits.double() / temperature).log_softmax(dim=1)
    log_q = (dense.double() / temperature).log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def measure(name: str, logits: Tensor) -> list[dict[str, Any]]:
    """A row for each way and temperature."""
    generator = torch.Generator().manual_seed(SEED + 1)
    student = 0.6 * logits + 0.5 * torch.randn(logits.shape, generator=generator)
    table = []
    for temperature in TEMPERATURES:
        for way, (size, keep) in WAYS.items():
            apart, cosines, mean, true_mean = [], [], torch.zeros(1), torch.zeros(1)
            for start in range(0, len(logits), 32):
                some = slice(start, start + 32)
                target = keep(logits[some], torch.arange(len(logits))[some], temperature)
                if target is None:
                    break
                true = gradient(student[some], logits[some], temperature)
                found = gradient(student[some], target, temperature)
                cosines.append(torch.cosine_similarity(true, found, dim=1))
                mean, true_mean = mean + found.sum(dim=0), true_mean + true.sum(dim=0)
                apart.append(divergence(logits[some], target, temperature))
            if not cosines:
                continue
            row = {
                "teacher": name,
                "way": way,
                "temperature": temperature,
                "bytes": size(logits.shape[1]),
                "row_cosine": float(torch.cat(cosines).mean()),
                "batch_cosine": float(torch.cosine_similarity(true_mean, mean, dim=0)),
            }
            if way not in ("attar_sampled16", "independent12"):  # a few draws have none
                row["kl"] = max(0.0, float(torch.cat(apart).mean()))
            table.append(row)
            print(name, *(f"{k} {v:.4g}" if isinstance(v, float) else v for k, v in row.items()))
    return table


def main() -> None:
    """Measure both teachers and write results.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=cache_folder(), help="for the package")
    parser.add_argument("--no-write", action="store_true", help="print only")
    arguments = parser.parse_args()
    table: list[dict[str, Any]] = []
    figures: dict[str, float] = {}
    for name, logits in teachers(arguments.cache).items():
        table += measure(name, logits)
    for row in table:
        key = f"{row['teacher']}_{row['way']}"
        figures[f"{key}_bytes"] = row["bytes"]
        for field in ("kl", "row_cosine", "batch_cosine"):
            if field in row:
                figures[f"{key}_t{row['temperature']:g}_{field}"] = row[field]
    if not arguments.no_write:
        RESULTS.unlink(missing_ok=True)
        record.write(
            {"kept": (table, figures)},
            command=" ".join(["python benchmarks/bytes_a_row/run.py", *sys.argv[1:]]),
            seeds={"rows": SEED},
            path=RESULTS,
            threads=torch.get_num_threads(),
        )


if __name__ == "__main__":
    main()
