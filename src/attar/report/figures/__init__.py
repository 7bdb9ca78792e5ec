"""The figures, each a function of a run folder or an :class:`attar.Experiment`.

Each returns a :class:`~attar.report.figure.Figure`, which shows itself in a notebook, or None
where the run does not keep what it needs.
"""

from __future__ import annotations

from attar.report.figures.accuracy import (
    accuracy_over_latency,
    accuracy_over_parameters,
    differences,
    gap,
)
from attar.report.figures.dark import dark_knowledge, temperature_effect
from attar.report.figures.lost import errors, lost_by_class
from attar.report.figures.samples import disagreements, samples
from attar.report.figures.training import training_curves, trials
from attar.report.figures.trust import agreement_over_confidence, cascade, reliability
from attar.report.figures.values import by_column, errors_by_range, said_and_true

__all__ = [
    "accuracy_over_latency",
    "accuracy_over_parameters",
    "agreement_over_confidence",
    "by_column",
    "cascade",
    "dark_knowledge",
    "differences",
    "disagreements",
    "errors",
    "errors_by_range",
    "gap",
    "lost_by_class",
    "reliability",
    "said_and_true",
    "samples",
    "temperature_effect",
    "training_curves",
    "trials",
]
