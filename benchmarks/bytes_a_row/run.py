"""Bytes a row against what is lost: Attar's records, dense ones, and what others keep.

Two teachers: a real network of 1,000 classes on real photographs, and logits over 151,936 classes
that fall with the rank as in a language model. For each way of keeping a row and T = 1, 2, 4: the
mean divergence of the stored softmax from the teacher's, in nats; and the cosine between the
gradient that a student gets from what was kept and the one that it gets from all logits, row by
row and of the batch's mean (which is what a bias learns from). The student's logits are 0.6 times
the teacher's, with noise.

Then the other way round: for each of the peers, how many of the best logits Attar must keep to
lose no more than it, by the divergence and by the rows' cosine, and how many bytes that takes; at
each T with a record for this T alone, and with one record for all three.

    python benchmarks/bytes_a_row/run.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
import record
from bytes_a_row import network, photographs
from bytes_a_row.ways import DRAWN, SEED, WAYS, Keep, encoded
from mnist.fetch import cache_folder

from attar.losses import kl
from attar.store.sparse import Sampled, TopK
from attar.types import SparseTargets

RESULTS = Path(__file__).with_name("results.json")
TEMPERATURES = (1.0, 2.0, 4.0)
ROWS = {"lite0": 250, "zipf": 32}
ZIPF_CLASSES = 151_936
#: Rows that are worked on at once.
STEP = 32

PEERS = ("tinyvit100", "distillkit128", "distillkit50")
#: A cosine of 1 is made of float32 gradients: what is nearer than this is the same.
TIE = 1e-6


def teachers(cache: Path) -> dict[str, Tensor]:
    """Logits ``[N, C]`` by name."""
    model, images = network.network(cache), photographs.crops(cache, ROWS["lite0"], SEED)
    with torch.no_grad():
        real = torch.cat([model(part) for part in torch.split(images, STEP)])
    generator = torch.Generator().manual_seed(SEED)
    rows = ROWS["zipf"]
    slope = 1.2 + 1.3 * torch.rand(rows, 1, generator=generator)
    ranks = torch.rand(rows, ZIPF_CLASSES, generator=generator).argsort(dim=1) + 1.0
    noise = 0.5 * torch.randn(rows, ZIPF_CLASSES, generator=generator)
    return {"lite0": real, "zipf": noise - slope * ranks.log()}


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


class Judge:
    """What a teacher and a student know at one temperature, and how near a way comes to it.

    Args:
        logits: ``[N, C]``, the teacher's.
        temperature: T.
    """

    def __init__(self, logits: Tensor, temperature: float) -> None:
        generator = torch.Generator().manual_seed(SEED + 1)
        self.logits, self.temperature = logits, temperature
        self.student = 0.6 * logits + 0.5 * torch.randn(logits.shape, generator=generator)
        self.true = torch.cat(
            [gradient(self.student[some], logits[some], temperature) for some in self._parts()]
        )
        self._best: dict[int, dict[str, float]] = {}

    def _parts(self) -> list[slice]:
        return [slice(at, at + STEP) for at in range(0, len(self.logits), STEP)]

    def __call__(self, keep: Keep, *, drawn: bool = False) -> dict[str, float] | None:
        """Divergence (not of draws) and cosines; None where a way says nothing at T."""
        apart, cosines, mean = [], [], torch.zeros(self.logits.shape[1])
        for some in self._parts():
            target = keep(self.logits[some], torch.arange(len(self.logits))[some], self.temperature)
            if target is None:
                return None
            found = gradient(self.student[some], target, self.temperature)
            cosines.append(torch.cosine_similarity(self.true[some], found, dim=1))
            mean += found.sum(dim=0)
            if not drawn:
                apart.append(divergence(self.logits[some], target, self.temperature))
        measured = {
            "row_cosine": float(torch.cat(cosines).mean()),
            "batch_cosine": float(torch.cosine_similarity(self.true.sum(dim=0), mean, dim=0)),
        }
        return measured if drawn else {"kl": max(0.0, float(torch.cat(apart).mean())), **measured}

    def best(self, k: int) -> dict[str, float]:
        """The same of the k best logits."""
        if k not in self._best:
            keep = encoded(lambda classes, t: TopK(k, classes, (t,)))[1]
            measured = self(keep)
            assert measured is not None
            self._best[k] = measured
        return self._best[k]

    def smallest(self, peer: dict[str, float], by: str) -> int | None:
        """The least k that loses no more than a peer, by ``"kl"`` or by ``"row_cosine"``.

        None if such a record is no smaller than all logits as float16.
        """

        def enough(k: int) -> bool:
            ours = self.best(k)[by]
            return ours <= peer[by] if by == "kl" else ours >= peer[by] - TIE

        low, high = 0, 1  # not enough, or nothing
        while not enough(high):
            low, high = high, 2 * high
            if high > self.logits.shape[1] // 2:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high

    def fewest(self, peer: dict[str, float]) -> int:
        """The least number of draws that come as near as a peer that draws, up to 1,024."""
        for draws in range(1, 1025):
            keep = encoded(lambda classes, t, n=draws: Sampled(n, classes, (t,)))[1]
            ours = self(keep, drawn=True)
            assert ours is not None
            if all(ours[name] >= peer[name] - TIE for name in ("row_cosine", "batch_cosine")):
                return draws
        raise AssertionError("no number of draws comes as near")


def measure(name: str, judges: dict[float, Judge]) -> list[dict[str, Any]]:
    """A row for each way and temperature."""
    table = []
    for temperature, judge in judges.items():
        for way, (size, keep) in WAYS.items():
            measured = judge(keep, drawn=way in DRAWN)
            if measured is None:
                continue
            row = {"teacher": name, "way": way, "temperature": temperature}
            table.append({**row, "bytes": size(judge.logits.shape[1]), **measured})
            show(table[-1])
    return table


def equal(
    name: str, judges: dict[float, Judge], kept: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """A row for each peer and temperature: what Attar needs to lose no more."""
    classes = judges[1.0].logits.shape[1]
    theirs = {(row["way"], row["temperature"]): row for row in kept if row["teacher"] == name}
    table: list[dict[str, Any]] = []
    for peer in PEERS:
        for by in ("kl", "row_cosine"):
            found = {t: judge.smallest(theirs[peer, t], by) for t, judge in judges.items()}
            wanted = {f"t{t:g}": ((t,), k) for t, k in found.items()}
            known = [k for k in found.values() if k is not None]
            if len(known) == len(found):
                wanted["all"] = (TEMPERATURES, max(known))
            for at, (temperatures, k) in wanted.items():
                if k is not None:
                    size = TopK(k, classes, temperatures).record.itemsize
                    row = {"teacher": name, "peer": peer, "by": by, "at": at, "k": k}
                    table.append({**row, "bytes": size})
    draws = judges[1.0].fewest(theirs["independent12", 1.0])
    size = Sampled(draws, classes).record.itemsize
    row = {"teacher": name, "peer": "independent12", "by": "cosines", "at": "t1", "draws": draws}
    table.append({**row, "bytes": size})
    for row in table:
        row["peer_bytes"] = theirs[row["peer"], 1.0]["bytes"]
        show(row)
    return table


def show(row: dict[str, Any]) -> None:
    """A line of text."""
    print(*(f"{k} {v:.4g}" if isinstance(v, float) else v for k, v in row.items()), flush=True)


def figures_of(kept: list[dict[str, Any]], needed: list[dict[str, Any]]) -> dict[str, float]:
    """A name for each number."""
    figures: dict[str, float] = {"goal_top16_of_151936_bytes": 72}
    for row in kept:
        key = f"{row['teacher']}_{row['way']}"
        figures[f"{key}_bytes"] = row["bytes"]
        for field in ("kl", "row_cosine", "batch_cosine"):
            if field in row:
                figures[f"{key}_t{row['temperature']:g}_{field}"] = row[field]
    for row in needed:
        key = f"{row['teacher']}_like_{row['peer']}_{row['at']}_by_{row['by']}"
        number = "k" if "k" in row else "draws"
        figures[f"{key}_{number}"] = row[number]
        figures[f"{key}_bytes"] = row["bytes"]
        figures[f"{key}_peer_over_attar_bytes"] = row["peer_bytes"] / row["bytes"]
    return figures


def main() -> None:
    """Measure both teachers and write results.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=cache_folder(), help="for the packages")
    parser.add_argument("--quick", action="store_true", help="few rows and classes, not written")
    arguments = parser.parse_args()
    kept: list[dict[str, Any]] = []
    needed: list[dict[str, Any]] = []
    for name, logits in teachers(arguments.cache).items():
        some = logits[:16, :4000] if arguments.quick else logits
        judges = {temperature: Judge(some, temperature) for temperature in TEMPERATURES}
        kept += measure(name, judges)
        needed += equal(name, judges, kept)
    if not arguments.quick:
        RESULTS.unlink(missing_ok=True)
        rows = [
            {"what": what, **row} for what, t in (("kept", kept), ("like", needed)) for row in t
        ]
        record.write(
            {"kept": (rows, figures_of(kept, needed))},
            command=" ".join(["python benchmarks/bytes_a_row/run.py", *sys.argv[1:]]),
            seeds={"rows": SEED},
            path=RESULTS,
            threads=torch.get_num_threads(),
        )


if __name__ == "__main__":
    main()
