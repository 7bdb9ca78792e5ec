"""The controlled experiment: teacher, arms, seeds, verdict, run folder."""

from attar import needs_torch  # noqa: F401
from attar.experiment.distill import distill
from attar.experiment.ensemble import train_ensemble
from attar.experiment.labelling import label
from attar.experiment.ladder import ladder
from attar.experiment.ladder_result import Ladder, Rung
from attar.experiment.progress import Progress
from attar.experiment.recipe import RECIPE
from attar.experiment.result import Experiment
from attar.experiment.task_result import TaskExperiment

__all__ = [
    "RECIPE",
    "Experiment",
    "Ladder",
    "Progress",
    "Rung",
    "TaskExperiment",
    "distill",
    "label",
    "ladder",
    "train_ensemble",
]
