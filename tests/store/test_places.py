"""A store lies in any folder, or at any address that fsspec knows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from attar.checks import AttarError
from attar.cli.teachers import TeacherWord
from attar.data import ArrayData
from attar.store import Store, damage, folder, label, label_shard, prune
from attar.store.places import LocalPlace
from attar.teachers import as_teacher
from attar.types import Batch, Outputs

DATA = ArrayData(torch.rand(50, 4), rows=torch.arange(50) * 2)


def echo(batch: Batch) -> Outputs:
    return Outputs(batch.inputs)


def test_a_store_in_memory_is_written_read_verified_and_pruned(tmp_path: Path) -> None:
    url = f"memory://{tmp_path}/s"
    assert label_shard(echo, DATA, url, shard=(1, 2), batch_size=4) is None
    with pytest.raises(AttarError, match=r"not finished"):
        Store.open(url)
    store = label(echo, DATA, url, batch_size=4)
    assert torch.equal(store.logits(DATA.rows), DATA.inputs)
    assert damage(url) == []
    assert torch.equal(Store.open(f"simplecache::{url}").logits(DATA.rows), DATA.inputs)
    prune(url, teachers=["echo"])
    with pytest.raises(AttarError, match=r"not finished"):
        Store.open(url)


def test_an_address_is_a_teacher(tmp_path: Path) -> None:
    url = f"memory://{tmp_path}/t"
    label(echo, DATA, url)
    batch = Batch(torch.zeros(3, 1), DATA.rows[:3])
    assert torch.equal(as_teacher(url)(batch).logits, DATA.inputs[:3])
    word = TeacherWord.of(url)
    assert word.form == "store"
    assert word.load([]).teachers == ("echo",)


def test_an_address_of_a_file_is_a_folder(tmp_path: Path) -> None:
    label(echo, DATA, f"file://{tmp_path}/s")
    assert torch.equal(Store.open(tmp_path / "s").logits(DATA.rows), DATA.inputs)


def test_an_unknown_address_is_refused() -> None:
    with pytest.raises(AttarError, match=r"nowhere://x cannot be opened"):
        Store.open("nowhere://x")


def test_a_file_that_another_writer_removes_while_it_is_listed_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"xy")
    scan = os.scandir

    @contextlib.contextmanager
    def late(folder: Path) -> Iterator[Any]:
        with scan(folder) as entries:
            listed = list(entries)
        (tmp_path / "b").unlink()
        yield listed

    monkeypatch.setattr(os, "scandir", late)
    assert LocalPlace(tmp_path).sizes() == {"a": 2, "c": 2}


def test_a_folder_that_another_writer_claims_in_the_same_moment_is_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = LocalPlace(tmp_path / "store")
    looked = []

    def read(self: LocalPlace, name: str, limit: int) -> bytes | None:
        looked.append(name)
        if len(looked) == 1:  # not there yet; and there before the next look
            monkeypatch.undo()
            folder.claim(LocalPlace(tmp_path / "store"))
            return None
        return None

    monkeypatch.setattr(LocalPlace, "read", read)
    folder.claim(place)
    assert looked == ["store.json"]
    assert folder.mark_is_sound(place)
