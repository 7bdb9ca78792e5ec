"""Folds, groups and time order: who learns from which rows, and who labels them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.model_selection import GroupKFold, RepeatedKFold, TimeSeriesSplit
from sklearn.neighbors import KNeighborsClassifier

from attar.checks import AttarError
from attar.data import ArrayData
from attar.teachers import cross_fit
from attar.teachers.folds import cut
from attar.types import UNLABELLED


def rows(count: int = 60, *, unlabelled: int = 10) -> ArrayData:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    labels[torch.randperm(count, generator=generator)[:unlabelled]] = UNLABELLED
    numbers = torch.randperm(1000, generator=generator)[:count]
    return ArrayData(torch.rand(count, 3, generator=generator), labels, rows=numbers)


def test_every_labelled_row_is_held_out_once_and_never_seen_there() -> None:
    data = rows()
    folds = cut("here", data, 4)
    held = torch.cat([fold.held_out for fold in folds])
    assert sorted(held.tolist()) == (data.labels != UNLABELLED).nonzero()[:, 0].tolist()
    for seen, out in folds:
        assert not set(seen.tolist()) & set(out.tolist())
        assert len(seen) + len(out) == len(held)


@pytest.mark.parametrize("folds", [3, GroupKFold(3)])
def test_a_group_is_never_on_both_sides(folds: object) -> None:
    data = rows()
    groups = np.arange(60) // 6  # ten groups, named for all rows
    for seen, out in cut("here", data, folds, groups=groups):
        assert not set(groups[seen.numpy()]) & set(groups[out.numpy()])


def test_in_time_order_nobody_learns_from_later_rows_and_the_first_are_left_out() -> None:
    data = rows()
    folds = cut("here", data, TimeSeriesSplit(4))
    for seen, out in folds:
        assert int(seen.max()) < int(out.min())
    teacher = cross_fit(KNeighborsClassifier(1), data, folds=TimeSeriesSplit(4))
    known = (data.labels != UNLABELLED).nonzero()[:, 0]
    never = known[known < folds[0].held_out.min()]
    assert teacher.left_out.tolist() == data.rows[never].tolist()
    assert len(never) == 10
    rest = torch.tensor([i for i in range(60) if i not in never.tolist()])
    assert teacher(data.batch(rest)).logits.shape == (50, 2)
    with pytest.raises(AttarError, match=r"no fold holds out row .*\(10 rows in all\)"):
        teacher(data.batch(torch.arange(60)))


def test_a_row_that_is_held_out_twice_is_labelled_by_the_mean() -> None:
    data = rows(20, unlabelled=0)
    splitter = RepeatedKFold(n_splits=2, n_repeats=2, random_state=0)
    teacher = cross_fit(KNeighborsClassifier(1), data, folds=splitter)
    said = teacher(data.batch(torch.arange(20))).logits.exp()
    folds = cut("here", data, splitter)
    by_hand = torch.zeros(20, 2)
    for fold, member in zip(folds, teacher.members[1:], strict=True):
        by_hand[fold.held_out] += member(data.batch(fold.held_out)).logits.exp() / 2
    torch.testing.assert_close(said, by_hand)


class Cheat:
    def split(self, X: object, y: object = None, groups: object = None) -> object:
        yield np.arange(10), np.arange(5, 15)

    def get_n_splits(self, *args: object) -> int:
        return 1


@pytest.mark.parametrize(
    ("folds", "groups", "message"),
    [
        (1, None, r"'folds' parameter of here must be an integer in the range \[2"),
        (Cheat(), None, "fold 0 labels rows that it has learnt from"),
        (GroupKFold(3), None, "cannot cut these rows: The 'groups' parameter"),
        (3, np.arange(4), r"'groups' parameter .* each of the 60 rows. Got the shape \(4,\)"),
        (TimeSeriesSplit(100), None, "cannot cut these rows"),
    ],
)
def test_what_cannot_be_cut_is_refused(folds: object, groups: object, message: str) -> None:
    with pytest.raises(AttarError, match=message):
        cut("here", rows(), folds, groups=groups)
