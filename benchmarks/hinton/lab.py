"""What every table of this benchmark shares: the rows, the folder, the precision, the targets."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "mnist"))
from fetch import cache_folder, mnist
from turns import turn

from attar.data import ArrayData, Views, cutmix, join, mixup, shift, split
from attar.store import Store, label
from attar.teachers import EnsembleTeacher

#: Rows of the training set on which choices are made; no teacher sees them.
VALIDATION = 5_000
#: Rows at a time when a teacher answers on a processor: convolutions then stay in the caches.
ASK = 64
#: The same on a GPU.
ASK_GPU = 2048


class Clock:
    """Says what is going on, now and then."""

    def __init__(self) -> None:
        self.began = self.said = time.perf_counter()
        self.doing = ""

    def __call__(self, what: str, done: int = 0, total: int = 0) -> None:
        """A line when something new begins, and every 30 seconds."""
        now = time.perf_counter()
        if what != self.doing or now - self.said > 30:
            share = f" {100 * done / total:3.0f} %" if total else ""
            print(f"{(now - self.began) / 60:6.1f} min  {what}{share}", flush=True)
            self.doing, self.said = what, now


@dataclass(frozen=True)
class Lab:
    """The rows and where things are kept.

    Attributes:
        train: 55,000 rows, on which the teachers are trained.
        validation: 5,000 rows, for choices.
        test: 10,000 rows, opened once for each table.
        folder: Where everything is kept that took time.
        accelerator: Decides the precision of training.
        precision: ``"bf16"`` or ``"no"`` (float32).
        clock: Says what is going on.
        quick: Whether everything is a miniature that shows that it runs, and nothing else.
    """

    train: ArrayData
    validation: ArrayData
    test: ArrayData
    folder: Path
    accelerator: Any
    precision: str
    clock: Clock
    quick: bool = False

    def steps(self, count: int) -> int:
        """So many steps, or a few."""
        return 20 if self.quick else count

    def seeds(self, count: int) -> int:
        """So many seeds, or two."""
        return 2 if self.quick else count

    @property
    def device(self) -> torch.device:
        """Where networks are trained and asked."""
        found: torch.device = self.accelerator.device
        return found

    @property
    def ask_size(self) -> int:
        """Rows at a time when a teacher answers."""
        return ASK if self.device.type == "cpu" else ASK_GPU

    @property
    def everything(self) -> ArrayData:
        """The 60,000 rows of the training set."""
        return join(self.train, self.validation)

    def targets(
        self,
        teacher: EnsembleTeacher,
        key: str,
        views: int,
        kind: str = "shift",
        rows: ArrayData | None = None,
    ) -> Store:
        """What the teacher says of these rows in so many views; the 60,000 where none are given."""
        rows = (rows or self.everything).with_views(student_views(views, kind))
        mixed = "" if kind == "shift" else f"-{kind.replace(' ', '-')}"

        def report(done: int, total: int) -> None:
            self.clock(f"{key} answers", done, total)

        folder = self.folder / "targets" / f"{key}-v{views}{mixed}"
        with turn(self.folder / "turns" / folder.name), self.cast():
            return label(teacher, rows, folder, batch_size=self.ask_size, progress=report)

    def judged(self, teacher: EnsembleTeacher, key: str) -> Store:
        """What the teacher says of the test rows."""
        folder = self.folder / "targets" / f"{key}-test"
        with turn(self.folder / "turns" / folder.name):
            return label(teacher, self.test, folder, batch_size=self.ask_size)

    def cast(self) -> torch.autocast:
        """The context in which a teacher labels: in the precision of training."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


#: What may become of a row in its views, beside being moved by up to two pixels.
MIXED = {"mixup": mixup(1.0), "cutmix": cutmix(1.0)}


def student_views(count: int, kind: str = "shift") -> Views | None:
    """What teacher and student both see: the rows as they are, and in ``count - 1`` other views.

    Args:
        count: How many views, the rows themselves included.
        kind: ``"shift"``: moved by up to two pixels; ``"shift mixup"``, ``"shift cutmix"``,
            ``"shift mixup cutmix"``: each row then mixed with another one.
    """
    if count == 1:
        return None
    return Views((shift(2), *(MIXED[word] for word in kind.split()[1:])), count)


def open_lab(precision: str = "auto", *, gpu: bool = False, quick: bool = False) -> Lab:
    """MNIST, split, and the folder ``benchmarks/hinton`` of the cache."""
    from accelerate import Accelerator

    if precision == "auto":
        # Processors with matrix units (AMX) train these networks two to three times faster so.
        precision = "bf16" if gpu or torch.cpu._is_amx_tile_supported() else "no"
    cache = cache_folder()
    rows, test = mnist(cache)
    if quick:
        rows, test = rows.take(torch.arange(1200)), test.take(torch.arange(300))
    share = VALIDATION / 60_000
    train_rows, validation = split(rows, (1 - share, share), seed=0)
    assert isinstance(train_rows, ArrayData)
    assert isinstance(validation, ArrayData)
    return Lab(
        train_rows,
        validation,
        test,
        cache / "benchmarks" / ("hinton-quick" if quick else "hinton"),
        Accelerator(mixed_precision=precision, cpu=not gpu),
        precision,
        Clock(),
        quick,
    )
