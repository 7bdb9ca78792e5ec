"""Attar: knowledge distillation. Train big, distill small, prove it, ship it.

The public names are listed here by hand. Nothing heavy is loaded before it is used:
``import attar`` takes milliseconds, and ``attar.export.runtime`` needs numpy and
onnxruntime alone.
"""

from __future__ import annotations

import importlib
from typing import Any

from attar.checks import AttarError
from attar.types import UNLABELLED, Batch, Data, Outputs, Teacher

__version__ = "0.1.0"

#: Public name -> the module that defines it.
_LAZY: dict[str, str] = {}

#: Public folders, loaded when they are first touched.
_MODULES = ("data", "engine", "evaluation", "export", "losses", "store", "students", "teachers")

__all__ = [
    "UNLABELLED",
    "AttarError",
    "Batch",
    "Data",
    "Outputs",
    "Teacher",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"attar.{name}")
    raise AttributeError(f"module 'attar' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_LAZY, *_MODULES})
