"""`attar report` and `attar compare`: finished runs as pages to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attar.cli.files import existing


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    out: Annotated[
        Path | None, typer.Option(help="The HTML file; by default report.html in the run folder.")
    ] = None,
) -> None:
    """Write a finished run as one HTML page that needs nothing else."""
    from attar.cli import show
    from attar.report import write_page

    existing(str(run), "the run folder")
    written = write_page(run, run / "report.html" if out is None else out)
    show.console().print(f"{written}: {written.stat().st_size / 1e6:.1f} MB", soft_wrap=True)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="The folders of two or more finished runs.")],
    out: Annotated[Path, typer.Option(help="The HTML file.")] = Path("compare.html"),
) -> None:
    """Set several finished runs side by side on one HTML page."""
    from attar.cli import show
    from attar.report import write_comparison

    for run in runs:
        existing(str(run), "the run folder")
    written = write_comparison(runs, out)
    show.console().print(f"{written}: {written.stat().st_size / 1e6:.1f} MB", soft_wrap=True)
