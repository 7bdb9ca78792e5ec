"""Data: rows that can be asked for by position, in batches, each row in its views.

Whatever the source (arrays, an image folder, idx files, a table, a data set of another
library), what comes back keeps row numbers, so that soft targets find their rows again.
"""

from __future__ import annotations

from attar import needs_torch  # noqa: F401
from attar.data.arrays import ArrayData, join
from attar.data.batches import Batches
from attar.data.convert import as_data
from attar.data.datasets_ import from_dataset
from attar.data.draws import Draws
from attar.data.idx import idx
from attar.data.images import images
from attar.data.mapped import MappedData
from attar.data.mixing import cutmix, mixup
from attar.data.split import split
from attar.data.synthetic import mix_neighbours, munge, resample, without_copies
from attar.data.tables import table
from attar.data.texts import word_numbers
from attar.data.usual import usual_views
from attar.data.views import Transform, Views, crop, flip, shift

__all__ = [
    "ArrayData",
    "Batches",
    "Draws",
    "MappedData",
    "Transform",
    "Views",
    "as_data",
    "crop",
    "cutmix",
    "flip",
    "from_dataset",
    "idx",
    "images",
    "join",
    "mix_neighbours",
    "mixup",
    "munge",
    "resample",
    "shift",
    "split",
    "table",
    "usual_views",
    "without_copies",
    "word_numbers",
]
