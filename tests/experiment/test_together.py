"""Rows that belong together stay together where distill splits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attar.checks import AttarError
from attar.data import ArrayData
from attar.experiment.inputs import make_splits
from attar.types import UNLABELLED


def data(count: int = 120, groups: int = 12) -> tuple[ArrayData, list[str]]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    labels[::7] = UNLABELLED
    rows = torch.randperm(1000, generator=generator)[:count]
    return ArrayData(torch.rand(count, 3), labels, rows=rows), [
        f"patient {i % groups}" for i in range(count)
    ]


def test_a_group_is_in_one_split_alone_and_a_fifth_is_held_out() -> None:
    rows, groups = data()
    splits = make_splits(rows, transfer=(torch.rand(9, 3), None), groups=groups)
    whose = dict(zip(rows.rows.tolist(), groups, strict=True))
    labels = dict(zip(rows.rows.tolist(), rows.labels.tolist(), strict=True))
    sides = [
        {whose[row] for row in part.rows.tolist() if labels.get(row, UNLABELLED) >= 0}
        for part in (splits.train, splits.validation, splits.test)
    ]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 12
    assert len(splits.test) == pytest.approx(0.2 * 102, abs=10)  # two or three groups of ten rows
    # Unlabelled rows stay in train, and the transfer rows that were added are of no group.
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 129
    assert splits.groups is not None
    named = splits.groups.of(splits.train)
    assert (named[-9:] == -1).all()
    assert len(np.unique(named[:-9])) == 12
    other = make_splits(rows, groups=groups, seed=5)
    assert other.test.rows.tolist() != splits.test.rows.tolist()


def test_what_cannot_be_split_by_groups_is_refused() -> None:
    rows, groups = data(groups=4)
    with pytest.raises(
        AttarError, match=r"are of 4 groups, .* needs 5\. Give validation= and test="
    ):
        make_splits(rows, groups=groups)
    with pytest.raises(AttarError, match=r"'groups' parameter of distill .* each of the 120 rows"):
        make_splits(rows, groups=groups[1:])


def test_rows_that_are_not_learnt_from_leave_the_transfer_set_too() -> None:
    rows, _ = data()
    splits = make_splits(rows, transfer=np.arange(120) < 60)
    gone = splits.train.rows[:10]
    fewer = splits.without(gone)
    assert len(fewer.train) == len(splits.train) - 10
    assert fewer.transfer is not None
    assert not torch.isin(torch.cat([fewer.train.rows, fewer.transfer.rows]), gone).any()
    assert splits.without(torch.empty(0, dtype=torch.int64)) is splits
