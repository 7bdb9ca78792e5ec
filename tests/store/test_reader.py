"""Store: soft targets by id, and nothing taken on trust from the files."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from attar.checks import AttarError
from attar.data import ArrayData, Views, flip
from attar.losses import kl
from attar.store import Store, label, layout, mapped
from attar.types import VIEW, Batch, Outputs, TopKTargets


def by_id(ids: torch.Tensor) -> torch.Tensor:
    """What the teacher of these tests says about an id: its row, its view, their product."""
    row, view = (ids % VIEW).float(), (ids // VIEW).float()
    return torch.stack([row, view, row * view], dim=1)


def teacher(batch: Batch) -> Outputs:
    return Outputs(by_id(batch.ids))


def make(folder: Path, rows: torch.Tensor, *, views: int = 1, dtype: str = "float32") -> Store:
    data = ArrayData(
        torch.zeros(len(rows), 1, 2, 2),
        rows=rows,
        classes=["row", "view", "product"],
        views=None if views == 1 else Views([flip()], views),
    )
    return label(teacher, data, folder, dtype=dtype, batch_size=64)


def shuffled(count: int) -> torch.Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(count))


ROWS = {
    "all rows in order": torch.arange(40),
    "from a number on": torch.arange(40) + 1000,
    "a shuffled split": shuffled(100)[:40],
    "far apart": shuffled(40) * 2**30 + 17,
}


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_every_id_gets_its_own_logits_in_any_order(
    tmp_path: Path, rows: torch.Tensor, views: int
) -> None:
    store = make(tmp_path / "s", rows, views=views)
    ids = torch.cat([store.ids[shuffled(len(store))], store.ids[:3]])  # and some twice
    assert torch.equal(store.logits(ids), by_id(ids))
    assert store.logits(ids[:0]).shape == (0, 3)


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_every_missing_id_is_noticed(tmp_path: Path, rows: torch.Tensor, views: int) -> None:
    store = make(tmp_path / "s", rows, views=views)
    low, high = int(rows.min()), int(rows.max())
    there = set(store.ids.tolist())
    near = [low - 1, high + 1, high + len(rows), low + VIEW * views, high + VIEW, -1, -VIEW, 2**62]
    inside = [i + v * VIEW for v in range(views) for i in range(low, min(high, low + 60))]
    strange = [i for i in [*near, *inside] if i not in there]
    assert len(strange) >= 7
    for missing in strange:
        with pytest.raises(AttarError, match=r"1 of 2 ids are not in") as error:
            store.logits(torch.tensor([store.ids[0], missing]))
        assert f"row {missing % VIEW} in view {missing // VIEW}" in str(error.value)


def test_missing_ids_are_counted(tmp_path: Path) -> None:
    store = make(tmp_path / "s", torch.arange(5))
    with pytest.raises(AttarError, match=r"2 of 3 ids.*first is row 9 in view 1.*5 inputs"):
        store.logits(torch.tensor([3, 9 + VIEW, 5]))
    with pytest.raises(AttarError, match=r"int64 of shape \[B\]. Got torch.int32"):
        store.logits(torch.tensor([3], dtype=torch.int32))
    with pytest.raises(AttarError, match=r"of shape \(\)"):
        store.logits(torch.tensor(3))


def answers(folder: Path) -> Path:
    """The only file of answers in a store."""
    (path,) = folder.glob("*/*.answers")
    return path


def test_answers_can_be_written_to_and_the_file_stays(tmp_path: Path) -> None:
    make(tmp_path / "s", torch.arange(5))
    before = answers(tmp_path / "s").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns about tensors over read-only memory
        store = Store.open(tmp_path / "s")
    logits = store.logits(torch.arange(5)).requires_grad_()
    logits.sum().backward()  # no inference tensor
    with torch.no_grad():
        logits.fill_(7.0)
    assert torch.equal(store.logits(torch.arange(5)), by_id(torch.arange(5)))
    assert answers(tmp_path / "s").read_bytes() == before


def test_rows_stand_by_rising_number_whatever_the_order_of_the_data(tmp_path: Path) -> None:
    rows = torch.tensor([9, 2, 4])
    assert make(tmp_path / "s", rows, views=2).ids.tolist() == [
        2,
        4,
        9,
        2 + VIEW,
        4 + VIEW,
        9 + VIEW,
    ]


def test_half_comes_back_as_half(tmp_path: Path) -> None:
    store = make(tmp_path / "s", torch.arange(9), dtype="float16")
    ids = torch.tensor([8, 1])
    assert store.logits(ids).dtype is torch.float32
    half = store.logits(ids, dtype=torch.float16)
    assert half.dtype is torch.float16
    assert torch.equal(half, by_id(ids).half())
    assert torch.equal(store.targets(ids), by_id(ids))
    assert torch.equal(store.targets(ids, dtype=torch.float16), half)


@pytest.mark.parametrize("more", [{"top_k": 2}, {"dtype": "int8"}])
def test_what_is_kept_in_fewer_bytes_comes_back_as_half_too(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    store = label(teacher, ArrayData(torch.zeros(9, 1)), tmp_path / "s", **more)
    ids = torch.tensor([8, 1, 8])
    whole, half = store.targets(ids), store.targets(ids, dtype=torch.float16)
    if isinstance(whole, TopKTargets):
        assert torch.equal(half.indices, whole.indices)
        assert torch.equal(half.log_sum_exp, whole.log_sum_exp)
        student = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
        assert torch.equal(kl(student, half), kl(student, whole))  # kept as half: nothing is lost
        whole, half = whole.logits, half.logits
    assert half.dtype is torch.float16
    assert torch.equal(half, whole.half())


def test_a_store_goes_to_another_process(tmp_path: Path) -> None:
    store = make(tmp_path / "s", torch.arange(9))
    there = pickle.loads(pickle.dumps(store))  # noqa: S301
    assert torch.equal(there.logits(torch.tensor([3])), by_id(torch.tensor([3])))


def test_rows_that_fill_many_files_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of 16 rows of 12 bytes begin at no page: there are gaps between them in memory."""
    monkeypatch.setattr(layout, "BLOCK_BYTES", 50)  # four rows a block
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 200)  # sixteen rows a file
    store = make(tmp_path / "s", shuffled(200)[:70], views=3)
    assert len(list((tmp_path / "s").glob("*/*.answers"))) == 3 * 5
    ids = store.ids[shuffled(len(store))]
    for some in ids.split(33):
        assert torch.equal(store.logits(some), by_id(some))
    store.verify()
    with pytest.raises(AttarError, match=r"1 of 1 ids"):
        store.logits(torch.tensor([3 * VIEW + int(ids[0]) % VIEW]))


def test_where_files_cannot_be_mapped_side_by_side_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "BLOCK_BYTES", 50)
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 200)
    monkeypatch.setattr(mapped, "SIDE_BY_SIDE", False)
    monkeypatch.setattr(mapped, "GRAIN", 1)
    store = make(tmp_path / "s", shuffled(200)[:70], views=2)
    assert torch.equal(store.logits(store.ids), by_id(store.ids))


def test_a_changed_bit_is_found_before_its_values_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "BLOCK_BYTES", 50)  # four rows of twelve bytes
    make(tmp_path / "s", torch.arange(10)).verify()
    path = answers(tmp_path / "s")
    raw = bytearray(path.read_bytes())
    raw[5 * 12] ^= 4
    path.write_bytes(raw)
    store = Store.open(tmp_path / "s")
    sound = torch.tensor([0, 3, 8, 9])
    assert torch.equal(store.logits(sound), by_id(sound))
    for row in (4, 5, 7):
        with pytest.raises(AttarError, match=r"block 1 of .*answers \(rows 4 to 7 of view 0\)"):
            store.logits(torch.tensor([0, row]))
    with pytest.raises(AttarError, match=r"1 blocks in .* are not what was written: block 1"):
        store.verify()


def test_blocks_that_changed_places_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "BLOCK_BYTES", 50)
    make(tmp_path / "s", torch.arange(8))
    path = answers(tmp_path / "s")
    raw = path.read_bytes()
    path.write_bytes(raw[48:96] + raw[:48] + raw[104:] + raw[96:104])
    with pytest.raises(AttarError, match=r"2 blocks in"):
        Store.open(tmp_path / "s").verify()


def test_a_changed_row_number_is_found(tmp_path: Path) -> None:
    rows = torch.tensor([3, 4, 90])
    make(tmp_path / "s", rows)
    (path,) = (tmp_path / "s").glob("*/rows")
    raw = bytearray(path.read_bytes())
    raw[8] ^= 1
    path.write_bytes(raw)
    store = Store.open(tmp_path / "s")
    with pytest.raises(AttarError, match=r"block 0 of .*rows is not what was written"):
        store.logits(rows)
    with pytest.raises(AttarError, match=r"block 0 of \w+/rows"):
        store.verify()


def test_fingerprint_is_that_of_the_contents(tmp_path: Path) -> None:
    one = make(tmp_path / "one", torch.arange(4))
    assert make(tmp_path / "two", torch.arange(4)).fingerprint == one.fingerprint
    assert make(tmp_path / "three", torch.arange(4) + 1).fingerprint != one.fingerprint
    assert len(one.fingerprint) == 64
    assert "4 x 3 float32, by 'teacher'" in repr(one)


def test_torn_and_missing_files_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "s", torch.arange(400))
    path = answers(tmp_path / "s")
    raw = path.read_bytes()
    for torn in (raw[:-5], raw + b"more", b""):
        path.write_bytes(torn)
        with pytest.raises(
            AttarError, match=rf"torn: {len(raw)} bytes expected, {len(torn)} found"
        ):
            Store.open(tmp_path / "s")
    path.unlink()
    with pytest.raises(AttarError, match=r"\.answers is missing.*repair"):
        Store.open(tmp_path / "s")
    with pytest.raises(AttarError, match=r"is no store"):
        Store.open(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AttarError, match=r"is no store.*label\(\) makes"):
        Store.open(tmp_path / "empty")


def test_a_file_that_shrinks_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    store = make(tmp_path / "s", torch.arange(400))
    answers(tmp_path / "s").write_bytes(b"")
    with pytest.raises(AttarError, match=r"has changed its size"):
        store.logits(torch.tensor([0]))


def test_a_store_of_the_first_version_is_refused(tmp_path: Path) -> None:
    for name in ("manifest.json", "logits.npy", "ids.npy"):
        (tmp_path / name).touch()
    with pytest.raises(AttarError, match=r"no longer read. Label again"):
        Store.open(tmp_path)


def test_nothing_that_can_run_code_is_loaded(tmp_path: Path) -> None:
    make(tmp_path / "s", torch.arange(4))
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (ran,))

    size = answers(tmp_path / "s").stat().st_size
    answers(tmp_path / "s").write_bytes(pickle.dumps(Bomb()).ljust(size, b"\0")[:size])
    with pytest.raises(AttarError, match=r"not what was written"):
        Store.open(tmp_path / "s").logits(torch.arange(4))
    assert not ran.exists()


def test_class_names_of_any_script_survive(tmp_path: Path) -> None:
    names = ("Änne", "猫", "a\nb", "\ud800")
    data = ArrayData(torch.zeros(2, 4), classes=names)
    label(lambda batch: Outputs(batch.inputs), data, tmp_path / "s")
    assert Store.open(tmp_path / "s").classes == names
