"""A file is there whole or not at all."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from attar.checks import AttarError
from attar.files import as_json, write_text, write_whole


def test_a_file_and_its_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "name.bin"
    write_whole("here", path, b"\x00\x01")
    write_text("here", path.with_suffix(".txt"), "Grüße")
    assert path.read_bytes() == b"\x00\x01"
    assert path.with_suffix(".txt").read_bytes() == "Grüße".encode()
    assert sorted(p.name for p in path.parent.iterdir()) == ["name.bin", "name.txt"]


def test_a_writer_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "name"
    write_whole("here", path, b"old")

    def fails(file: object) -> None:
        file.write(b"new, but torn")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_whole("here", path, fails)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["name"]


def test_an_error_names_the_path_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/name'$") as raised:
        write_whole("here", tmp_path / "file" / "name", b"new")
    assert ".tmp" not in str(raised.value)


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "name"
    write_whole("here", path, b"old")
    seen = []

    def writes(file: object) -> None:
        file.write(b"new")  # type: ignore[attr-defined]
        seen.append(path.read_bytes())

    write_whole("here", path, writes)
    assert seen == [b"old"]
    assert path.read_bytes() == b"new"


def test_others_may_read_what_the_mask_lets_them(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_whole("here", tmp_path / "name", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "name").stat().st_mode) == 0o644


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(AttarError, match=r"here: path must name a file\. Got the folder"):
        write_whole("here", tmp_path, b"")


def test_numbers_of_other_libraries_are_json() -> None:
    value = {"a": np.float32(0.5), "b": torch.tensor(3), "c": [np.int64(2)]}
    assert json.loads(as_json("here", "it", value)) == {"a": 0.5, "b": 3, "c": [2]}


@pytest.mark.parametrize("value", [math.nan, math.inf, torch.ones(2), object()])
def test_what_json_cannot_hold_is_named(value: object) -> None:
    with pytest.raises(AttarError, match="here: the note must fit into JSON"):
        as_json("here", "the note", value)
