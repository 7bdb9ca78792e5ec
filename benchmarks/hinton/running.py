"""How the tables are run: threads, device, several processes, and the results written."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import record
import torch
from lab import Lab, open_lab
from turns import turn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What every script of these tables takes."""
    parser.add_argument("--quick", action="store_true", help="a miniature; shows that it runs")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--processes", type=int, default=1, help="how many train at once")
    parser.add_argument("--precision", choices=("auto", "bf16", "no"), default="auto")
    parser.add_argument("--gpu", action="store_true", help="train on a GPU")
    # The number of a process that only trains, and leaves the results to the one that started it.
    parser.add_argument("--assist", type=int, default=None, help=argparse.SUPPRESS)


def start(arguments: argparse.Namespace) -> Lab:
    """The rows and the folders."""
    torch.set_num_threads(arguments.threads)
    return open_lab(arguments.precision, gpu=arguments.gpu, quick=arguments.quick)


def turned(arguments: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """The tables in the order of this process: each begins with another one."""
    first = (arguments.assist or 0) % len(names)
    return [*names[first:], *names[:first]]


@contextmanager
def assistants(arguments: argparse.Namespace, names: Sequence[str]) -> Iterator[None]:
    """Other processes that train for the same tables for as long as this one is at them."""
    assert Path(sys.argv[0]).suffix == ".py"
    own = ["--threads", str(arguments.threads), "--precision", arguments.precision]
    own += [f"--{flag}" for flag in ("quick", "gpu") if getattr(arguments, flag)]
    count = arguments.processes - 1 if arguments.assist is None else 0
    running = [
        subprocess.Popen([sys.executable, sys.argv[0], *names, *own, "--assist", str(number + 1)])
        for number in range(count)
    ]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def write(
    lab: Lab,
    parts: Mapping[str, record.Part],
    command: str,
    seeds: Mapping[str, int],
    path: Path,
) -> None:
    """Put a table into the results, beside others that may be written at the same moment."""
    with turn(lab.folder / "turns" / path.stem):
        record.write(
            parts, command=command, seeds=seeds, path=path, threads=torch.get_num_threads()
        )
    for part, (_, figures) in parts.items():
        print(part, {key: round(value, 4) for key, value in figures.items()}, flush=True)
