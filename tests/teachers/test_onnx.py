"""OnnxTeacher: the right output, the right input, and no file but its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from attar.checks import AttarError
from attar.data import ArrayData
from attar.store import label
from attar.teachers import OnnxTeacher
from attar.types import Batch

WEIGHT = np.array([[1.0, 0.0], [0.0, -1.0], [2.0, 1.0]], dtype=np.float32)  # [3 inputs, 2 classes]
ROWS = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, -1.0], [2.0, 2.0, 2.0]])


def build(
    path: Path,
    *,
    outputs: tuple[str, ...] = ("logits",),
    kind: int = TensorProto.FLOAT,
    size: int | str = "N",
    extra: list[Any] | None = None,
    weight: Any = None,
    form: list[Any] | None = None,
) -> Path:
    """x @ WEIGHT as ``z``, copied to the wanted outputs; ``probabilities`` is its softmax."""
    weight = numpy_helper.from_array(WEIGHT, "W") if weight is None else weight
    nodes = [helper.make_node("MatMul", ["y", "W"], ["z"]), *(extra or [])]
    cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    made = []
    for name in outputs:
        operator = "Softmax" if name == "probabilities" else "Identity"
        if name == "label":
            nodes.append(helper.make_node("ArgMax", ["z"], ["label"], axis=1, keepdims=0))
            made.append(helper.make_tensor_value_info("label", TensorProto.INT64, [size]))
        elif name == "dictionaries":
            nodes += [
                helper.make_node("Softmax", ["z"], ["p"]),
                helper.make_node(
                    "ZipMap", ["p"], [name], domain="ai.onnx.ml", classlabels_int64s=[0, 1]
                ),
            ]
            value = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
            mapping = helper.make_map_type_proto(TensorProto.INT64, value)
            made.append(helper.make_value_info(name, helper.make_sequence_type_proto(mapping)))
        else:
            nodes.append(helper.make_node(operator, ["z"], [name]))
            made.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, 2]))
    graph = helper.make_graph(
        [cast, *nodes],
        "g",
        [helper.make_tensor_value_info("x", kind, form or [size, 3])],
        made,
        [weight],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def ask(teacher: OnnxTeacher, rows: torch.Tensor = ROWS) -> torch.Tensor:
    return teacher(Batch(rows, torch.arange(len(rows)))).logits


EXPECTED = ROWS @ torch.from_numpy(WEIGHT)


def test_the_output_is_chosen_by_name_and_known_by_it(tmp_path: Path) -> None:
    logits = OnnxTeacher(build(tmp_path / "a.onnx", outputs=("label", "probabilities", "logits")))
    assert torch.equal(ask(logits), EXPECTED)
    assert logits.outputs == "logits"
    named = OnnxTeacher(build(tmp_path / "b.onnx", outputs=("label", "probabilities")))
    assert named.outputs == "probabilities"  # before the first answer
    torch.testing.assert_close(ask(named), torch.log_softmax(EXPECTED, dim=1), atol=1e-4, rtol=0)
    first = OnnxTeacher(build(tmp_path / "c.onnx", outputs=("label", "score", "other")))
    assert first.outputs == "auto"
    assert torch.equal(ask(first), EXPECTED)
    assert first.outputs == "logits"
    forced = OnnxTeacher(tmp_path / "a.onnx", outputs="probabilities")
    torch.testing.assert_close(ask(forced).exp(), torch.softmax(EXPECTED, dim=1))
    with pytest.raises(AttarError, match=r"must be probabilities"):
        ask(OnnxTeacher(tmp_path / "c.onnx", outputs="probabilities"))


@pytest.mark.parametrize(
    "kind",
    [TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.UINT8],
)
def test_inputs_are_cast_to_what_the_model_takes(tmp_path: Path, kind: int) -> None:
    teacher = OnnxTeacher(build(tmp_path / "m.onnx", kind=kind))
    rows = ROWS.abs()
    assert torch.equal(ask(teacher, rows.double()), rows @ torch.from_numpy(WEIGHT))


def test_images_are_flattened_where_rows_are_taken(tmp_path: Path) -> None:
    teacher = OnnxTeacher(build(tmp_path / "m.onnx"))
    assert torch.equal(ask(teacher, ROWS.reshape(3, 1, 3, 1)), EXPECTED)
    with pytest.raises(AttarError, match=r"cannot take inputs of the shape .*\(3, 2\)"):
        ask(teacher, ROWS[:, :2])


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_fixed_batch_size_is_kept(tmp_path: Path, size: int) -> None:
    teacher = OnnxTeacher(build(tmp_path / "m.onnx", size=size))
    assert torch.equal(ask(teacher), EXPECTED)


def test_several_inputs_come_from_a_mapping(tmp_path: Path) -> None:
    teacher = OnnxTeacher(build(tmp_path / "m.onnx"))
    batch = Batch({"x": ROWS, "unused": ROWS}, torch.arange(3))
    assert torch.equal(teacher(batch).logits, EXPECTED)
    with pytest.raises(AttarError, match=r"takes x, and the data lacks x"):
        teacher(Batch({"y": ROWS}, torch.arange(3)))


def test_zipmap_says_how_to_export(tmp_path: Path) -> None:
    path = build(tmp_path / "m.onnx", outputs=("label", "dictionaries"))
    with pytest.raises(AttarError, match=r"list of dictionaries.*'zipmap': False"):
        OnnxTeacher(path)
    both = build(tmp_path / "n.onnx", outputs=("dictionaries", "logits"))
    assert torch.equal(ask(OnnxTeacher(both)), EXPECTED)
    with pytest.raises(AttarError, match=r"no float output.*label: tensor\(int64\)"):
        OnnxTeacher(build(tmp_path / "o.onnx", outputs=("label",)))


def test_torn_and_strange_files_are_refused(tmp_path: Path) -> None:
    path = build(tmp_path / "m.onnx")
    whole = path.read_bytes()
    for keep in (len(whole) - 1, len(whole) // 2, 10, 0):
        path.write_bytes(whole[:keep])
        with pytest.raises(AttarError, match=r"not an ONNX model, or is torn|cannot load"):
            OnnxTeacher(path)
    path.write_text("hello")
    with pytest.raises(AttarError, match=r"not an ONNX model"):
        OnnxTeacher(path)
    with pytest.raises(AttarError, match=r"there is no file"):
        OnnxTeacher(tmp_path / "none.onnx")


def external(place: str) -> Any:
    tensor = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=WEIGHT.shape)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    return tensor


def test_weights_beside_the_model_belong_to_it(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    data = tmp_path / "weights" / "w.bin"
    data.write_bytes(WEIGHT.tobytes())
    path = build(tmp_path / "m.onnx", weight=external("weights/w.bin"))
    teacher = OnnxTeacher(path)
    assert torch.equal(ask(teacher), EXPECTED)
    assert teacher.bytes == path.stat().st_size + 24
    before = teacher.fingerprint()
    data.write_bytes((WEIGHT * 2).tobytes())
    assert OnnxTeacher(path).fingerprint() != before
    data.unlink()
    with pytest.raises(AttarError, match=r"'weights/w\.bin', which is missing"):
        OnnxTeacher(path)


@pytest.mark.parametrize(
    "place", ["../secret", "a/../../secret", "{folder}/secret", "..\\secret", "C:\\secret", "link"]
)
def test_weights_outside_the_folder_are_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    path = build(folder / "m.onnx", weight=external(place.format(folder=tmp_path)))
    with pytest.raises(AttarError, match=r"outside of its own folder, which is refused"):
        OnnxTeacher(path)


def test_weights_hidden_in_a_subgraph_are_found(tmp_path: Path) -> None:
    hidden = external("../secret")
    constant = helper.make_node("Constant", [], ["c"], value=hidden)
    branch = helper.make_graph(
        [constant], "b", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, [3, 2])]
    )
    truth = helper.make_node(
        "Constant", [], ["t"], value=numpy_helper.from_array(np.array(True), "t")
    )
    either = helper.make_node("If", ["t"], ["e"], then_branch=branch, else_branch=branch)
    path = build(tmp_path / "m.onnx", extra=[truth, either])
    with pytest.raises(AttarError, match=r"'../secret', outside"):
        OnnxTeacher(path)


def test_fingerprint_and_size(tmp_path: Path) -> None:
    path = build(tmp_path / "m.onnx")
    teacher = OnnxTeacher(path)
    assert teacher.name == "m.onnx"
    assert teacher.parameters == 6
    assert teacher.bytes == path.stat().st_size
    copied = tmp_path / "copy.onnx"
    copied.write_bytes(path.read_bytes())
    assert OnnxTeacher(copied).fingerprint() == teacher.fingerprint()
    model = onnx.load(path)
    model.producer_name = "someone"
    copied.write_bytes(model.SerializeToString())
    assert OnnxTeacher(copied).fingerprint() != teacher.fingerprint()


def test_it_labels(tmp_path: Path) -> None:
    teacher = OnnxTeacher(build(tmp_path / "m.onnx"))
    store = label(teacher, ArrayData(ROWS), tmp_path / "s", batch_size=2)
    assert torch.equal(store.logits(torch.arange(3)), EXPECTED)
    assert store.manifest["teacher"]["verified"] is True
