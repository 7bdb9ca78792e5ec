"""``transfer="auto"``: rows between the training rows of a table, for the teacher to label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.columns import decode_columns, encode_columns
from attar.data import ArrayData, mix_neighbours, without_copies
from attar.experiment.inputs import Splits
from attar.experiment.transfer import add_rows
from attar.types import Data

#: So many synthetic rows for each training row.
TIMES = 2


def rows_between(splits: Splits, *, seed: int = 0) -> Splits:
    """The same with synthetic rows among the training rows, which teach by the soft loss alone.

    They are drawn between neighbours (:func:`attar.data.mix_neighbours`), of training rows alone:
    nothing is learnt of the rows that are kept to choose and to judge on, and a synthetic row that
    is one of these is left out. Rows that are no table of numbers, images and texts among them,
    stay as they are.

    Args:
        splits: Of the experiment.
        seed: Of the draw.
    """
    train = splits.train
    if not is_table(train):
        return splits
    assert isinstance(train, ArrayData)
    made = mix_neighbours(_as_table(train), count=TIMES * len(train), seed=seed)
    made = without_copies(made, _as_table(splits.validation), _as_table(splits.test))
    inputs = made if train.columns is None else encode_columns(made, train.columns)
    if not len(inputs):
        return splits
    first = 1 + max(int(part.rows.max()) for part in (train, splits.validation, splits.test))
    rows = torch.arange(first, first + len(inputs))
    further = ArrayData(torch.from_numpy(np.ascontiguousarray(inputs)), rows=rows)
    return replace(splits, train=add_rows(train, further), added=rows, drawn=True)


def is_table(data: Data) -> bool:
    """Whether the rows are ``[N, D]`` numbers in memory, two or more, without weights.

    >>> is_table(ArrayData(torch.zeros(3, 2))), is_table(ArrayData(torch.zeros(3, 1, 8, 8)))
    (True, False)
    """
    inputs = getattr(data, "inputs", None)
    return (
        isinstance(data, ArrayData)
        and isinstance(inputs, Tensor)
        and inputs.ndim == 2
        and inputs.is_floating_point()
        and len(data) > 1
        and data.weights is None
    )


def _as_table(data: Data) -> Any:
    """The rows as they were before they were encoded; as an array where nothing is described."""
    assert isinstance(data, ArrayData)
    assert isinstance(data.inputs, Tensor)
    rows = data.inputs.cpu().numpy()
    if data.columns is None:
        return rows
    decoded = decode_columns(rows, data.columns)
    return {
        column["name"]: _column([row[place] for row in decoded], column["kind"])
        for place, column in enumerate(data.columns)
    }


def _column(values: list[Any], kind: str) -> NDArray[Any]:
    if kind == "number":
        return np.array([np.nan if one is None else one for one in values], dtype=np.float64)
    return np.array(values, dtype=object)
