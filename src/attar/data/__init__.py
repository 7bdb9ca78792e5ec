"""Data: rows that can be asked for by position, in batches, each row in its views.

Whatever the source (arrays, an image folder, idx files, a table, a data set of another
library), what comes back keeps row numbers, so that soft targets find their rows again.
"""

from __future__ import annotations

from attar.data.arrays import ArrayData, join
from attar.data.batches import Batches
from attar.data.views import Draws, Transform, Views, crop, flip, shift

__all__ = [
    "ArrayData",
    "Batches",
    "Draws",
    "Transform",
    "Views",
    "crop",
    "flip",
    "join",
    "shift",
]
