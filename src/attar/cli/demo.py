"""`attar demo`: the main job on real images, in two minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attar.cli.options import BundlePath, Track

_OUT = Path("runs/demo")


def demo(
    all_labels: Annotated[
        bool, typer.Option("--all-labels", help="Label every training row, not 150 of them.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="The run folder; by default the next free one of runs/demo, -2, ..."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds of each arm.", min=1)] = 5,
    track: Track = None,
    bundle: BundlePath = None,
) -> None:
    """Distil an ensemble into a small student on handwritten digits, and see the verdict."""
    from attar.checks import need
    from attar.cli import show
    from attar.cli.files import check_bundle, check_free

    folder = _next_free(_OUT) if out is None else out
    check_free(folder)
    check_bundle(bundle)
    need("torch", extra="train", purpose="attar demo")
    from attar.demo import run
    from attar.experiment.tracking import check_trackers

    check_trackers(track)

    with show.Reporter() as reporter:
        experiment = run(folder, all_labels=all_labels, seeds=seeds, progress=reporter, track=track)
        reporter.tell("report", "Drawing the page")
        experiment.report(folder / "report.html")
    if bundle is not None:
        experiment.bundle(bundle)
    show.show_experiment(experiment, folder, demo=True)


def _next_free(folder: Path) -> Path:
    """The folder itself, or the first of ``-2``, ``-3``, ... that is not there."""
    free, number = folder, 2
    while free.exists():
        free, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return free
