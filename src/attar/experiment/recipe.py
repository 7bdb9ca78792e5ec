"""The recipe: what is chosen for the task at hand instead of being guessed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

#: What to hand to :func:`attar.distill` where there is no reason for something else:
#: ``attar.distill(teacher, student, train=(X, y), **attar.RECIPE)``. T and the weight of the soft
#: targets are looked for on validation, and where few rows have a label also whether the teacher's
#: argmax stands for it in the hard loss; every arm chooses whether it learns from views (of
#: images), and whether from rows between the rows (of a table), which the teacher labels. What
#: each part is worth was measured: ``docs/results/recipe.md``.
RECIPE: Mapping[str, Any] = MappingProxyType(
    {
        "temperature": "auto",
        "alpha": "auto",
        "pseudo_labels": "auto",
        "views": "auto",
        "transfer": "auto",
    }
)
