"""Several teachers, growing views, shares, merging and pruning: one store, many layers."""

from __future__ import annotations

import errno
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from attar.checks import AttarError
from attar.data import ArrayData, Views, flip, shift
from attar.store import Store, label, label_shard, layout, merge, prune, writer
from attar.types import VIEW, Batch, Outputs


class Times:
    """Answers with a multiple of the first row of each image."""

    def __init__(self, factor: float, name: str = "") -> None:
        self.factor = factor
        self.name = name or f"times {factor:g}"
        self.asked: list[int] = []

    def fingerprint(self) -> str:
        return f"times {self.factor}"

    def __call__(self, batch: Batch) -> Outputs:
        self.asked += batch.ids.tolist()
        return Outputs(batch.inputs[:, 0, 0] * self.factor)


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "BLOCK_BYTES", 64)  # four rows of sixteen bytes
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 256)  # sixteen rows


def rows(first: int = 0, count: int = 40, views: int = 1, seed: int = 0) -> ArrayData:
    images = torch.rand(200, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    made = Views([flip()], views, seed=seed) if views > 1 else None
    numbers = torch.arange(first, first + count)
    names = ["a", "b", "c", "d"]
    return ArrayData(images[numbers], rows=numbers, classes=names, views=made)


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def said(data: ArrayData, factor: float) -> torch.Tensor:
    """What a teacher must have said about all views, in the order of the ids."""
    everything = torch.arange(len(data))
    views = [data.batch(everything, view).inputs[:, 0, 0] for view in range(data.view_count)]
    return torch.cat(views) * factor


def test_teachers_are_asked_at_different_times_and_each_keeps_its_word(tmp_path: Path) -> None:
    first = label(Times(1), rows(), tmp_path / "s")
    before = contents(tmp_path / "s")
    second = label(Times(2), rows(), tmp_path / "s", dtype="float16")
    assert {name: contents(tmp_path / "s")[name] for name in before} == before
    assert (first.teachers, second.teachers) == (("times 1",), ("times 2",))
    both = Store.open(tmp_path / "s")
    assert both.teachers == ("times 1", "times 2")
    for name, factor, close in (("times 1", 1, 0.0), ("times 2", 2, 2e-3)):
        one = both.teacher(name)
        torch.testing.assert_close(one.logits(one.ids), said(rows(), factor), rtol=0, atol=close)
    with pytest.raises(AttarError, match=r"2 teachers said. Choose one.*'times 1'.*as_teacher"):
        both.logits(torch.tensor([0]))
    with pytest.raises(AttarError, match=r"knows 'times 1', 'times 2'. Got 'times 3'"):
        both.teacher("times 3")
    assert both.fingerprint not in (first.fingerprint, second.fingerprint)


def test_a_name_belongs_to_one_teacher(tmp_path: Path) -> None:
    label(Times(1, "big"), rows(), tmp_path / "s")
    before = contents(tmp_path / "s")
    with pytest.raises(AttarError, match=r"the teacher \(big, times 1 there; big, times 2"):
        label(Times(2, "big"), rows(), tmp_path / "s")
    assert contents(tmp_path / "s") == before


def test_views_grow_and_the_old_ones_are_not_asked_about(tmp_path: Path) -> None:
    label(Times(1), rows(), tmp_path / "s")
    for views, asked in ((3, 80), (2, 0), (3, 0), (4, 40)):
        teacher = Times(1)
        store = label(teacher, rows(views=views), tmp_path / "s")
        assert len(teacher.asked) == asked
        assert len(store) == 40 * max(views, 3)
    assert store.describes(rows(views=2))
    assert not store.describes(rows(views=5))
    assert torch.equal(store.logits(store.ids), said(rows(views=4), 1))
    label(Times(1), rows(views=4), tmp_path / "at once")
    assert contents(tmp_path / "s") == contents(tmp_path / "at once")
    with pytest.raises(AttarError, match=r"the views \(Views\(\[Flip\(\)\], seed=0\) there"):
        label(Times(1), rows(views=4, seed=1), tmp_path / "s")


def test_views_that_were_begun_in_another_way_are_refused(tmp_path: Path) -> None:
    class Stops(Times):
        def __call__(self, batch: Batch) -> Outputs:
            if int(batch.ids[0]) >= VIEW:
                raise RuntimeError("out of credit")
            return super().__call__(batch)

    with pytest.raises(RuntimeError):
        label(Stops(1), rows(views=2), tmp_path / "s", batch_size=8)
    moved = rows().with_views(Views([shift(1)], 2))
    with pytest.raises(AttarError, match=r"the views"):
        label(Times(1), moved, tmp_path / "s")


def test_other_rows_stand_beside_the_first(tmp_path: Path) -> None:
    label(Times(1), rows(0), tmp_path / "s")
    label(Times(1), rows(100), tmp_path / "s", dtype="float16")
    store = Store.open(tmp_path / "s")
    ids = torch.tensor([120, 5, 100, 39])
    want = torch.cat([said(rows(int(i), 1), 1) for i in ids])
    torch.testing.assert_close(store.logits(ids), want, rtol=0, atol=1e-3)
    assert len(store) == 80
    assert store.describes(rows(100))
    assert not store.describes(rows(50))
    with pytest.raises(AttarError, match=r"1 of 2 ids.*row 50"):
        store.logits(torch.tensor([5, 50]))
    with pytest.raises(AttarError, match=r"several encodings"):
        Store.targets(_sparse(store), ids)
    with pytest.raises(AttarError, match=r"the data \(40 inputs"):
        label(Times(1), rows(130), tmp_path / "s")  # rows 130 to 139 would stand there twice


def _sparse(store: Store) -> Store:
    """The store with encodings that look as if they kept a part of the logits only."""
    for layer in store.layers:
        kind = type(f"Partly{layer.about.encoding.name}", (), {"plain": None, "record": "V1"})
        object.__setattr__(layer.about, "encoding", kind())
    return store


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 50])
def test_shares_in_any_order_give_the_bytes_of_one(tmp_path: Path, count: int) -> None:
    label(Times(1), rows(views=2), tmp_path / "whole", batch_size=4)
    asked: list[int] = []
    order = torch.randperm(count, generator=torch.Generator().manual_seed(count)).tolist()
    for number, index in enumerate(order):
        teacher = Times(1)
        data = rows(views=2)
        store = label_shard(teacher, data, tmp_path / "s", shard=(index, count), batch_size=4)
        assert (store is None) == (number < count - 1)
        asked += teacher.asked
    assert sorted(asked) == Store.open(tmp_path / "s").ids.tolist()  # none lost, none twice
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")


@pytest.mark.parametrize("count", [2, 5])
def test_shares_in_folders_of_their_own_are_merged(tmp_path: Path, count: int) -> None:
    label(Times(1), rows(views=2), tmp_path / "whole", batch_size=4)
    folders = [tmp_path / f"part{index}" for index in range(count)]
    for index, folder in enumerate(folders):
        label_shard(Times(1), rows(views=2), folder, shard=(index, count), batch_size=4)
    before = [contents(folder) for folder in folders]
    merge(tmp_path / "s", folders[1:])
    with pytest.raises(AttarError, match=r"not finished"):
        Store.open(tmp_path / "s")
    merge(tmp_path / "s", folders)
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")
    assert [contents(folder) for folder in folders] == before


def test_the_shares_of_a_job_are_within_the_rows_and_in_order() -> None:
    for count, rows_, views in ((16, 10**6, 3), (7, 20, 2), (50, 3, 1), (3, 16 * 2**20 + 1, 1)):
        geometry = layout.Geometry(400, rows_)
        edges = [geometry.shard(index, count, views) for index in range(count)]
        assert edges[0][0] == 0
        assert edges[-1][1] == rows_ * views
        assert all(a[1] == b[0] for a, b in pairwise(edges))
        assert all(start <= stop for start, stop in edges)


def test_merge_takes_teachers_rows_and_views(tmp_path: Path) -> None:
    label(Times(1), rows(), tmp_path / "a")
    label(Times(2), rows(), tmp_path / "b")
    label(Times(1), rows(100), tmp_path / "c")
    label(Times(1), rows(views=3), tmp_path / "d")
    merge(tmp_path / "s", [tmp_path / name for name in "abcd"])
    store = Store.open(tmp_path / "s")
    assert store.teachers == ("times 1", "times 2")
    one = store.teacher("times 1")
    assert len(one) == 40 * 3 + 40
    ids = rows().rows + 2 * VIEW
    assert torch.equal(one.logits(ids), said(rows(views=3), 1)[80:])
    store.teacher("times 2").verify()
    before = contents(tmp_path / "s")
    merge(tmp_path / "s", [tmp_path / "a"])  # nothing new
    assert contents(tmp_path / "s") == before


def test_merge_refuses_contradictions_and_damage(tmp_path: Path) -> None:
    label(Times(1, "big"), rows(), tmp_path / "a")
    label(Times(2, "big"), rows(), tmp_path / "b")
    label(Times(1, "big"), rows(), tmp_path / "half", dtype="float16")
    label(Times(1, "big"), rows(20), tmp_path / "overlap")
    other = rows(100).with_labels(None, classes=["a", "b", "c", "z"])
    label(Times(3), other, tmp_path / "classes")
    for name, message in (
        ("b", "the teacher"),
        ("half", r"the dtype \(float32 there; float16 here\)"),
        ("overlap", "the data"),
        ("classes", "the classes"),
    ):
        with pytest.raises(AttarError, match=message):
            merge(tmp_path / f"with {name}", [tmp_path / "a", tmp_path / name])
    with pytest.raises(AttarError, match=r"at least one store"):
        merge(tmp_path / "s", [])
    with pytest.raises(AttarError, match=r"is no store"):
        merge(tmp_path / "s", [tmp_path / "nowhere"])
    path = next((tmp_path / "a").glob("*/*.answers"))
    path.write_bytes(b"\1" + path.read_bytes()[1:])
    with pytest.raises(AttarError, match=r"block 0 of .*Repair that store first"):
        merge(tmp_path / "s", [tmp_path / "a"])


def test_prune_removes_teachers_views_and_what_is_unfinished(tmp_path: Path) -> None:
    label(Times(1), rows(views=3), tmp_path / "s")
    label(Times(2), rows(), tmp_path / "s")
    label_shard(Times(3), rows(), tmp_path / "s", shard=(0, 2), batch_size=4)
    (tmp_path / "s" / ".store.json.1-ab.tmp").write_text("left by a kill")
    assert prune(tmp_path / "s") == 0
    assert not list((tmp_path / "s").glob(".*"))
    assert prune(tmp_path / "s", views=1) > 2 * 40 * 16
    assert len(Store.open(tmp_path / "s").teacher("times 1")) == 40
    label(Times(3), rows(), tmp_path / "again")
    label_shard(Times(3), rows(), tmp_path / "again", shard=(0, 2))
    assert prune(tmp_path / "s", teachers=["times 2"]) > 40 * 16
    assert Store.open(tmp_path / "s").teachers == ("times 1",)
    with pytest.raises(AttarError, match=r"Got 'times 2'"):
        prune(tmp_path / "s", teachers=["times 2"])
    with pytest.raises(AttarError, match=r"'views' parameter of prune"):
        prune(tmp_path / "s", views=0)
    label(Times(1), rows(), tmp_path / "one")
    label_shard(Times(1), rows(views=2), tmp_path / "one", shard=(0, 2), batch_size=4)
    label_shard(Times(1), rows(views=2), tmp_path / "one", shard=(1, 3), batch_size=4)
    prune(tmp_path / "one", unfinished=True)
    assert contents(tmp_path / "s") == contents(tmp_path / "one")


def full_disk(after: int) -> Callable[..., object]:
    """An ``os.fsync`` that finds the disk full from the n-th call on."""
    left = [after]

    def fsync(_: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    return fsync


@pytest.mark.parametrize("after", range(0, 30, 3))
def test_a_full_disk_stops_cleanly_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(writer, "PART_SECONDS", 0.0)
    monkeypatch.setattr(writer, "PART_SHARE", 0.0)
    label(Times(1), rows(), tmp_path / "whole", batch_size=5)
    first = Times(1)
    with monkeypatch.context() as full:
        full.setattr("os.fsync", full_disk(after))
        with pytest.raises(AttarError, match=r"No space left.*make room and run the same again"):
            label(first, rows(), tmp_path / "s", batch_size=5)
    assert not list(tmp_path.rglob("*.tmp"))
    again = Times(1)
    label(again, rows(), tmp_path / "s", batch_size=5)
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")
    assert len(again.asked) <= 40 - len(first.asked) + 10  # the batch whose part found no room
