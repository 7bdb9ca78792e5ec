from __future__ import annotations

import pytest
import torch

from attar import AttarError
from attar.data import ArrayData, Batches, Views, shift
from attar.types import VIEW


def data(rows: int, *, views: Views | None = None) -> ArrayData:
    inputs = torch.arange(float(rows * 4)).reshape(rows, 1, 2, 2)
    return ArrayData(inputs, torch.arange(rows) % 2, views=views)


@pytest.mark.parametrize(("rows", "size"), [(10, 4), (10, 5), (3, 8), (7, 7), (5, 1)])
def test_every_epoch_holds_each_row_once_and_every_batch_is_full(rows: int, size: int) -> None:
    batches = Batches(data(rows), size, seed=3)
    steps = rows * size  # enough for a whole number of epochs
    ids = torch.cat([batches.at(step).ids for step in range(steps)])
    assert all(len(batches.at(step)) == size for step in range(min(steps, 9)))
    for epoch in ids.reshape(-1, rows):
        assert sorted(epoch.tolist()) == list(range(rows))


def test_order_is_a_pure_function_of_seed_and_step() -> None:
    one, other = Batches(data(50), 8, seed=1), Batches(data(50), 8, seed=1)
    forward = [one.at(step).ids for step in range(40)]
    backward = [other.at(step).ids for step in reversed(range(40))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))
    assert not torch.equal(forward[0], Batches(data(50), 8, seed=2).at(0).ids)


def test_no_random_state_is_drawn_from() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    Batches(data(50), 8, seed=1).at(17)
    assert torch.equal(before, torch.get_rng_state())


def test_epoch_e_is_seen_in_view_e() -> None:
    batches = Batches(data(4, views=Views((shift(1),), 3)), 3, seed=0)
    ids = torch.cat([batches.at(step).ids for step in range(12)])
    views = (ids // VIEW).reshape(-1, 4)
    assert views.tolist() == [[epoch % 3] * 4 for epoch in range(9)]


def test_shards_make_up_the_batch() -> None:
    batches = Batches(data(30), 8, seed=0)
    for step in range(6):  # some of them straddle two epochs
        parts = [batches.at(step, shard=i, shards=3).ids for i in range(3)]
        assert sorted(torch.cat(parts).tolist()) == sorted(batches.at(step).ids.tolist())


def test_no_rows_are_refused() -> None:
    with pytest.raises(AttarError, match="no rows"):
        Batches(data(4).take(torch.empty(0, dtype=torch.int64)), 2)


def test_a_batch_size_of_zero_is_refused() -> None:
    with pytest.raises(AttarError, match="'batch_size' parameter of Batches must be an integer"):
        Batches(data(4), 0)
