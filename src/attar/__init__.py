"""Attar: knowledge distillation. Train big, distill small, prove it, ship it.

The public names are listed here by hand. Nothing heavy is loaded before it is used:
``import attar`` takes milliseconds, and ``attar.export.runtime`` needs numpy and
onnxruntime alone.
"""

from __future__ import annotations

import importlib
from typing import Any

from attar.checks import AttarError, MissingExtraError
from attar.types import UNLABELLED, Batch, Data, Outputs, Teacher

__version__ = "0.1.0"

#: Public name -> the module that defines it.
_LAZY = {
    "Distiller": "attar.engine",
    "EnsembleTeacher": "attar.teachers",
    "Experiment": "attar.experiment",
    "Objective": "attar.losses",
    "RECIPE": "attar.experiment",
    "Store": "attar.store",
    "TrainConfig": "attar.engine",
    "as_teacher": "attar.teachers",
    "cascade": "attar.export.cascade",
    "compare": "attar.evaluation",
    "distill": "attar.experiment",
    "evaluate": "attar.evaluation",
    "label": "attar.experiment",
    "ladder": "attar.experiment",
    "train": "attar.engine",
    "train_ensemble": "attar.experiment",
}

#: Public folders, loaded when they are first touched.
_MODULES = (
    "data",
    "demo",
    "engine",
    "evaluation",
    "experiment",
    "export",
    "losses",
    "sklearn",
    "store",
    "students",
    "teachers",
)

__all__ = [
    "UNLABELLED",
    "AttarError",
    "Batch",
    "Data",
    "MissingExtraError",
    "Outputs",
    "Teacher",
    "__version__",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name, f"attar.{name}" if name in _MODULES else None)
    if module is None:
        raise AttributeError(f"module 'attar' has no attribute {name!r}")
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "attar").partition(".")[0] == "attar":
            raise  # a fault of ours, not an extra that is missing
        raise MissingExtraError(
            f"attar.{name} needs {error.name}, which is not installed: pip install 'attar[train]'"
        ) from None
    return getattr(loaded, name) if name in _LAZY else loaded


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_LAZY, *_MODULES})
