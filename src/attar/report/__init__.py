"""A run folder as one HTML page: what was kept, what was lost, and what the teacher knew.

:func:`write_page` makes the page of a run folder or of an :class:`attar.Experiment`,
:func:`write_comparison` sets several runs side by side, and :mod:`attar.report.figures` holds each
figure as a function, for notebooks. It reads files alone: nothing is trained, asked or loaded
that could run code.
"""

from __future__ import annotations

from attar.report import figures
from attar.report.compare import comparison_page, write_comparison
from attar.report.figure import Figure
from attar.report.page import page, write_page
from attar.report.run import Run, as_run

__all__ = [
    "Figure",
    "Run",
    "as_run",
    "comparison_page",
    "figures",
    "page",
    "write_comparison",
    "write_page",
]
