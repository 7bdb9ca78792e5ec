"""A process that labels and is killed, again and again; run by test_kills.py.

``python kills.py FOLDER points STEP`` kills at every STEP-th write, rename and removal.
``python kills.py FOLDER clock N SEED`` kills N times at random moments.
``python kills.py FOLDER pair N SEED`` the same with two processes that label a share each.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from attar.data import ArrayData, Views, shift
from attar.store import label, label_shard, layout, writer
from attar.types import Batch, Outputs

IMAGES = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0))
ROWS = ArrayData(IMAGES, classes=["a", "b", "c", "d"], views=Views([shift(1)], 2, seed=0))
left = 0


def event() -> None:
    """One more thing that a kill can come before."""
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def counted(function):
    def call(*args, **keywords):
        event()
        return function(*args, **keywords)

    return call


class Teacher:
    """Says three times the first row of each image."""

    name = "rows"

    def __init__(self, pause: float) -> None:
        self.pause = pause

    def fingerprint(self) -> str:
        return "rows"

    def __call__(self, batch: Batch) -> Outputs:
        event()
        time.sleep(self.pause)
        return Outputs(batch.inputs[:, 0, 0] * 3)


def start(folder: Path, *, kill_at: int = 0, pause: float = 0.0, shard=(0, 1)) -> int:
    """A child that labels; it kills itself at its ``kill_at``-th event."""
    global left
    child = os.fork()
    if child == 0:
        left = kill_at
        code = 0
        try:
            if shard == (0, 1):
                label(Teacher(pause), ROWS, folder, batch_size=5)
            else:
                label_shard(Teacher(pause), ROWS, folder, shard=shard, batch_size=5)
        except BaseException as error:
            print(type(error).__name__, error, file=sys.stderr, flush=True)
            code = 3
        os._exit(code)
    return child


def killed(child: int) -> bool:
    """Whether it was killed, once it has ended; it must not have failed."""
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status != 0


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def points(base: Path, whole: dict[str, bytes], step: int) -> None:
    point = 1
    while killed(start(base / f"at{point}", kill_at=point)):
        assert not killed(start(base / f"at{point}"))
        assert contents(base / f"at{point}") == whole, point
        point += step
    times = 0
    while killed(start(base / "often", kill_at=9)):  # killed again and again
        times += 1
    assert contents(base / "often") == whole
    print(point - step, times)


def clock(base: Path, whole: dict[str, bytes], count: int, seed: int, shards: int) -> None:
    random_ = random.Random(seed)
    kills = stores = 0
    while kills < count:
        folder = base / f"clock{stores}"
        waiting = [(index, shards) for index in range(shards)]
        while waiting:
            children = [(start(folder, pause=0.002, shard=shard), shard) for shard in waiting]
            if kills < count:
                time.sleep(random_.uniform(0.0, 0.15))
                for child, _ in random_.sample(children, random_.randint(1, len(children))):
                    os.kill(child, signal.SIGKILL)
            ended = [(killed(child), shard) for child, shard in children]
            waiting = [shard for was_killed, shard in ended if was_killed]
            kills += len(waiting)
        assert contents(folder) == whole, (stores, sorted(contents(folder)))
        stores += 1
    print(kills, stores)


def main(base: Path, form: str, *numbers: int) -> None:
    """One of the three forms."""
    writer.PART_SECONDS = writer.PART_SHARE = 0.0  # a part a batch
    layout.BLOCK_BYTES, layout.SEGMENT_BYTES = 64, 256  # four rows a block, sixteen a file
    # A kill leaves what was written in the system's hands: the disk itself is not waited for.
    os.fsync = counted(lambda _: None)
    for name in ("replace", "unlink", "rmdir", "link"):
        setattr(os, name, counted(getattr(os, name)))
    assert not killed(start(base / "whole"))
    whole = contents(base / "whole")
    assert len(whole) == 1 + 2 + 4, sorted(whole)
    if form == "points":
        points(base, whole, *numbers)
    else:
        clock(base, whole, *numbers, shards=2 if form == "pair" else 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
