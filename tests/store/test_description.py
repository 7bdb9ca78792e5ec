"""layer.json: nothing in it is taken on trust."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from attar.checks import AttarError
from attar.data import ArrayData
from attar.store import Store, description, label
from attar.types import Outputs


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    data = ArrayData(torch.eye(3), classes=["a", "b", "c"])
    label(lambda batch: Outputs(batch.inputs), data, tmp_path / "s")
    (path,) = (tmp_path / "s").glob("*/layer.json")
    return path


def change(path: Path, fields: dict[str, Any]) -> None:
    """Put other values into a description, with a checksum that fits: a hostile hand can."""
    raw = json.loads(path.read_text())
    del raw["checksum"]
    for name, value in fields.items():
        if isinstance(value, dict) and value:
            raw[name].update(value)
        else:
            raw[name] = value
    path.write_bytes(description.pack(raw))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": 3}, "format version 3, and this Attar reads up to 2. Update"),
        ({"version": "1"}, "'version'"),
        ({"version": True}, "'version'"),
        ({"format": "zip"}, "not of the format"),
        ({"encoding": {"name": "object"}}, "encoding must be one of"),
        ({"encoding": {"name": ["float32"]}}, "encoding must be one of"),
        ({"encoding": {"file": "/etc/passwd"}}, "encoding must be one of"),
        ({"encoding": "float32"}, "'encoding'"),
        ({"encoding": {"name": "float16"}}, "torn: 26 bytes expected, 44 found"),
        ({"classes": ["a", 1, "c"]}, "'classes'"),
        ({"classes": ["a"]}, "'classes'"),
        ({"classes": None}, "'classes'"),
        ({"classes": 1}, "'classes'"),
        ({"classes": 2**22}, "'classes'"),
        ({"classes": 2**21}, "torn"),
        ({"created_with": 3}, "'created_with'"),
        ({"pass": []}, "'pass'"),
        ({"fidelity": None}, "'fidelity'"),
        ({"teacher": {"name": None}}, "'teacher.name'"),
        ({"teacher": {"fingerprint": "another"}}, "describes another layer"),
        ({"teacher": {"verified": "yes"}}, "'teacher.verified'"),
        ({"teacher": {"outputs": "words"}}, "'teacher.outputs'"),
        ({"teacher": {"outputs": {}}}, "'teacher.outputs'"),
        ({"teacher": {"parameters": -1}}, "'teacher.parameters'"),
        ({"teacher": {"bytes": 1.5}}, "'teacher.bytes'"),
        ({"teacher": []}, "'teacher'"),
        ({"data": {"fingerprint": 7}}, "'data.fingerprint'"),
        ({"data": {"fingerprint": "../../etc"}}, "describes another layer"),
        ({"data": {"transforms": 7}}, "'data.transforms'"),
        ({"data": {"count": 3.0}}, "'data.count'"),
        ({"data": {"count": 0}}, "'data.count'"),
        ({"data": {"count": 2**41}}, "'data.count'"),
        ({"data": {"count": 2**40, "start": 0}}, "is missing"),
        ({"data": {"start": -1}}, "'data.start'"),
        ({"data": {"start": 2**40}}, "'data.start'"),
        ({"data": {"start": None}}, "rows is missing"),
        ({"data": {"views": -1}}, "'data.views'"),
        ({"data": {"views": 2**23}}, "'data.views'"),
        ({"data": {"views": 2**22}}, "is missing"),
        ({"data": {"views": 0}}, "not finished"),
        ({"data": None}, "'data'"),
        ({"data": {"left_out": 3}}, "'data.left_out'"),
        ({"data": {"left_out": [[0, 2, 4]]}}, "'data.left_out'"),
        ({"data": {"left_out": [[2, 2]]}}, "'data.left_out'"),
        ({"data": {"left_out": [[5, 9], [0, 2]]}}, "'data.left_out'"),
        ({"data": {"left_out": [[0, 2.0]]}}, "'data.left_out'"),
        ({"data": {"left_out": [[-1, 2]]}}, "'data.left_out'"),
    ],
)
def test_every_field_is_checked(layer: Path, fields: dict[str, Any], message: str) -> None:
    change(layer, fields)
    with pytest.raises(AttarError, match=message):
        Store.open(layer.parents[1])


@pytest.mark.parametrize("text", [b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b""])
def test_what_is_no_json_object_is_refused(layer: Path, text: bytes) -> None:
    for path in (layer, layer.parents[1] / "store.json"):
        before = path.read_bytes()
        path.write_bytes(text)
        with pytest.raises(AttarError, match=rf"{path.name} .*(not JSON|not of the format)"):
            Store.open(layer.parents[1])
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"verified": false', b'"verified": true '),
        (b'"count": 3', b'"count": 2'),
        (b'"a"', b'"A"'),
        (b"\n ", b" \n"),
        (b'"kl": 0.0', b'"kl": NaN'),
        (b'"kl": 0.0', b'"kl": 1e999'),
    ],
)
def test_a_change_without_the_checksum_is_noticed(layer: Path, old: bytes, new: bytes) -> None:
    before = layer.read_bytes()
    assert old in before
    layer.write_bytes(before.replace(old, new, 1))
    with pytest.raises(AttarError, match=r"layer\.json is not what was written"):
        Store.open(layer.parents[1])


def test_unknown_fields_are_left_aside(layer: Path) -> None:
    change(layer, {"files": ["../x"], "teacher": {"path": "/etc/passwd"}})
    assert "files" not in Store.open(layer.parents[1]).manifest


def test_a_description_from_before_rows_could_be_left_out_is_read(layer: Path) -> None:
    raw = json.loads(layer.read_text())
    del raw["checksum"], raw["data"]["left_out"]
    layer.write_bytes(description.pack(raw))
    assert Store.open(layer.parents[1]).manifest["data"]["left_out"] == []


def test_layers_of_other_classes_are_refused(layer: Path) -> None:
    data = ArrayData(torch.eye(3), rows=torch.arange(3) + 3, classes=["a", "b", "c"])

    def other(batch: Any) -> Outputs:
        return Outputs(batch.inputs)

    label(other, data, layer.parents[1])
    assert len(Store.open(layer.parents[1]).teachers) == 2
    change(layer, {"classes": ["a", "b", "z"]})
    with pytest.raises(AttarError, match=r"same classes"):
        Store.open(layer.parents[1])


def test_a_folder_by_another_name_is_no_layer(layer: Path) -> None:
    layer.parent.rename(layer.parents[1] / "0123456789abcdef01234567")
    with pytest.raises(AttarError, match=r"describes another layer"):
        Store.open(layer.parents[1])
