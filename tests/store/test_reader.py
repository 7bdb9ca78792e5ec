"""Store: soft targets by id, and nothing taken on trust from the files."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attar.checks import AttarError
from attar.data import ArrayData, Views, flip
from attar.store import Store, label
from attar.types import VIEW, Batch, Outputs


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


def test_answers_can_be_written_to_and_the_file_stays(tmp_path: Path) -> None:
    before = (make(tmp_path / "s", torch.arange(5)).path / "logits.npy").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns about tensors over read-only memory
        store = Store.open(tmp_path / "s")
    logits = store.logits(torch.arange(5)).requires_grad_()
    logits.sum().backward()  # no inference tensor
    with torch.no_grad():
        logits.fill_(7.0)
    assert torch.equal(store.logits(torch.arange(5)), by_id(torch.arange(5)))
    assert (tmp_path / "s" / "logits.npy").read_bytes() == before


def test_ids_out_of_grid_order_are_found_too(tmp_path: Path) -> None:
    """A store need not come from label(): any order of any ids is a store."""
    store = make(tmp_path / "s", torch.arange(6), views=2)
    order = shuffled(12).numpy()
    ids = store.ids.numpy()[order]
    np.save(tmp_path / "s" / "ids.npy", ids)
    np.save(tmp_path / "s" / "logits.npy", by_id(torch.from_numpy(ids)).numpy())
    mixed = Store.open(tmp_path / "s")
    wanted = torch.from_numpy(np.sort(ids))
    assert torch.equal(mixed.logits(wanted), by_id(wanted))
    with pytest.raises(AttarError, match=r"row 6 in view 0"):
        mixed.logits(torch.tensor([6]))


@pytest.mark.parametrize("ids", [[0, 1, 1, 3], [5, 2, 5, 1], [0, VIEW, 0, VIEW]])
def test_ids_that_stand_twice_are_refused(tmp_path: Path, ids: list[int]) -> None:
    make(tmp_path / "s", torch.arange(4))
    np.save(tmp_path / "s" / "ids.npy", np.array(ids))
    with pytest.raises(AttarError, match=r"every input once"):
        Store.open(tmp_path / "s")
    np.save(tmp_path / "s" / "ids.npy", np.array([0, 1, 2, -3]))
    with pytest.raises(AttarError, match=r"negative id"):
        Store.open(tmp_path / "s")


def test_verify_finds_a_changed_bit(tmp_path: Path) -> None:
    store = make(tmp_path / "s", torch.arange(4))
    store.verify()
    path = tmp_path / "s" / "logits.npy"
    raw = bytearray(path.read_bytes())
    raw[-2] ^= 4
    path.write_bytes(raw)
    with pytest.raises(AttarError, match=r"logits\.npy is not what was written"):
        Store.open(tmp_path / "s").verify()


def test_fingerprint_is_that_of_the_contents(tmp_path: Path) -> None:
    one = make(tmp_path / "one", torch.arange(4))
    assert make(tmp_path / "two", torch.arange(4)).fingerprint == one.fingerprint
    assert make(tmp_path / "three", torch.arange(4) + 1).fingerprint != one.fingerprint
    assert len(one.fingerprint) == 64
    assert "4 x 3 float32, by 'teacher'" in repr(one)


def test_torn_and_missing_files_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "s", torch.arange(400))
    path = tmp_path / "s" / "logits.npy"
    raw = path.read_bytes()
    path.write_bytes(raw[:-5])
    with pytest.raises(AttarError, match=r"logits\.npy is torn: 4928 bytes expected, 4923 found"):
        Store.open(tmp_path / "s")
    path.write_bytes(raw + b"more")
    with pytest.raises(AttarError, match=r"torn"):
        Store.open(tmp_path / "s")
    path.write_bytes(raw[:20])
    with pytest.raises(AttarError, match=r"not a \.npy array"):
        Store.open(tmp_path / "s")
    path.unlink()
    with pytest.raises(AttarError, match=r"logits\.npy is missing"):
        Store.open(tmp_path / "s")
    with pytest.raises(AttarError, match=r"is no folder"):
        Store.open(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AttarError, match=r"manifest\.json is missing.*label\(\) makes"):
        Store.open(tmp_path / "empty")


def test_arrays_other_than_the_manifest_promises_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "s", torch.arange(4))
    path = tmp_path / "s" / "logits.npy"
    for array in (np.zeros((4, 3)), np.zeros((3, 4), "<f4"), np.zeros((4, 3), "<f4", order="F")):
        np.save(path, array)
        with pytest.raises(AttarError, match=r"must hold float32 of shape \(4, 3\)"):
            Store.open(tmp_path / "s")


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    make(tmp_path / "s", torch.arange(4))
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (ran,))

    for name in ("logits.npy", "ids.npy"):
        path = tmp_path / "s" / name
        raw = path.read_bytes()
        np.save(path, np.array([Bomb()] * 4, dtype=object), allow_pickle=True)
        with pytest.raises(AttarError, match=r"pickled Python objects, which are never loaded"):
            Store.open(tmp_path / "s")
        path.write_bytes(raw)
    assert not ran.exists()


def change(folder: Path, **fields: Any) -> None:
    path = folder / "manifest.json"
    raw = json.loads(path.read_text())
    for name, value in fields.items():
        if isinstance(value, dict):
            raw[name].update(value)
        else:
            raw[name] = value
    path.write_text(json.dumps(raw))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": 2}, "format version 2, and this Attar reads up to 1. Update"),
        ({"version": "1"}, "'version'"),
        ({"version": True}, "'version'"),
        ({"format": "zip"}, "not of the format"),
        ({"dtype": "object"}, "'dtype'.*float16 or float32"),
        ({"dtype": ["float32"]}, "'dtype'"),
        ({"dtype": "float16"}, r"must hold float16 of shape \(4, 3\).*Got float32"),
        ({"shape": [4, 3, 1]}, "'shape'"),
        ({"shape": [4.0, 3]}, "'shape'"),
        ({"shape": [0, 3]}, "'shape'"),
        ({"shape": [4, 2]}, "'shape'"),
        ({"shape": [2**62, 3]}, "must hold"),
        ({"classes": ["a", 1, "c"]}, "'classes'"),
        ({"classes": ["a"]}, "'classes'"),
        ({"classes": None}, "'classes'"),
        ({"created_with": 3}, "'created_with'"),
        ({"teacher": {"name": None}}, "'teacher.name'"),
        ({"teacher": {"verified": "yes"}}, "'teacher.verified'"),
        ({"teacher": {"outputs": "words"}}, "'teacher.outputs'"),
        ({"teacher": {"outputs": {}}}, "'teacher.outputs'"),
        ({"teacher": {"parameters": -1}}, "'teacher.parameters'"),
        ({"teacher": {"bytes": 1.5}}, "'teacher.bytes'"),
        ({"teacher": []}, "'teacher'"),
        ({"data": {"fingerprint": 7}}, "'data.fingerprint'"),
        ({"data": None}, "'data'"),
        ({"sha256": {"logits": "../../etc"}}, "'sha256.logits'"),
        ({"sha256": {"ids": None}}, "'sha256.ids'"),
    ],
)
def test_every_field_of_the_manifest_is_checked(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    make(tmp_path / "s", torch.arange(4))
    change(tmp_path / "s", **fields)
    with pytest.raises(AttarError, match=message):
        Store.open(tmp_path / "s")


@pytest.mark.parametrize("text", [b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b""])
def test_a_manifest_that_is_no_json_object_is_refused(tmp_path: Path, text: bytes) -> None:
    make(tmp_path / "s", torch.arange(4))
    (tmp_path / "s" / "manifest.json").write_bytes(text)
    with pytest.raises(AttarError, match=r"not JSON|not of the format"):
        Store.open(tmp_path / "s")


def test_paths_in_a_manifest_are_not_read(tmp_path: Path) -> None:
    make(tmp_path / "s", torch.arange(4))
    change(tmp_path / "s", logits="/etc/passwd", files=["../x"])
    assert "logits" not in Store.open(tmp_path / "s").manifest


def test_class_names_of_any_script_survive(tmp_path: Path) -> None:
    names = ("Änne", "猫", "a\nb", "\ud800")
    data = ArrayData(torch.zeros(2, 4), classes=names)
    label(lambda batch: Outputs(batch.inputs), data, tmp_path / "s")
    assert Store.open(tmp_path / "s").classes == names
