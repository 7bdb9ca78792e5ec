"""Rows that belong together (of one patient, one photograph), on whichever side they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attar.checks import AttarError
from attar.data.split import among_themselves
from attar.teachers.folds import check_groups, cut
from attar.types import Data, is_known

#: A split takes one part of so many.
_PARTS = 5


class Groups:
    """The group of each row, by row number.

    Args:
        data: Rows.
        groups: ``[N]``, the names of their groups: anything that can be compared.

    Raises:
        AttarError: If there is not one for each row.

    Example:
        >>> from attar.data import ArrayData
        >>> data = ArrayData(torch.zeros(4, 1), torch.tensor([0, 1, 0, 1]))
        >>> groups = Groups(data, ["ann", "ann", "bob", "bob"])
        >>> groups.of(data.take(torch.tensor([3, 0])))
        array([1, 0])
    """

    def __init__(self, data: Data, groups: Any) -> None:
        rows = data.rows.cpu().numpy()
        named = check_groups("distill", groups, len(data))
        order = np.argsort(rows, kind="stable")
        self._rows = rows[order]
        self._codes = np.unique(named, return_inverse=True)[1].reshape(-1)[order]

    def of(self, data: Data) -> NDArray[Any]:
        """``[N]`` the number of each row's group; -1 for a row that was not there."""
        rows = data.rows.cpu().numpy()
        places = np.searchsorted(self._rows, rows).clip(max=len(self._rows) - 1)
        return np.where(self._rows[places] == rows, self._codes[places], -1)

    def split(self, data: Data, *, seed: int) -> tuple[Data, Data]:
        """A fifth of the labelled rows held out, whole groups at a time; the rest comes first.

        Raises:
            AttarError: If there are too few groups, or they cannot be cut like that.
        """
        assert data.labels is not None
        whose = self.of(data)
        found = len(np.unique(whose[is_known(data.labels).cpu().numpy()]))
        if found < _PARTS:
            raise AttarError(
                f"distill: the labelled rows of train are of {found} groups, and a split that "
                f"holds whole groups out needs {_PARTS}. Give validation= and test= of your own."
            )
        held_out = cut("distill", data, _PARTS, groups=whose, seed=seed)[0].held_out
        kept = torch.ones(len(data), dtype=torch.bool)
        kept[held_out] = False
        rest = data.take(kept.nonzero()[:, 0])
        return among_themselves(rest), among_themselves(data.take(held_out))
