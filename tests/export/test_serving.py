"""The folders for model servers: texts that their own formats parse, and that fit the model."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from google.protobuf import text_format
from onnx import TensorProto, helper

from attar.checks import AttarError
from attar.export import runtime, to_kserve, to_onnx, to_triton

#: numpy's type -> Triton's ``DataType``, as its documentation lists them.
TRITON = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "float64": "TYPE_FP64",
    "uint8": "TYPE_UINT8",
    "int8": "TYPE_INT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
}


@pytest.fixture(scope="module")
def pb():
    """Triton's own protobuf messages; its client package imports gRPC too, which nothing needs."""
    (folder,) = importlib.util.find_spec("tritonclient").submodule_search_locations
    path = Path(folder, "grpc", "model_config_pb2.py")
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def images(tmp_path):
    """A student of images with 3 classes, as uint8."""

    class Net(torch.nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.float())

    model = Net(torch.nn.Flatten(), torch.nn.Linear(2 * 4 * 5, 3))
    rows = torch.randint(0, 256, (9, 2, 4, 5), dtype=torch.uint8)
    to_onnx(model, tmp_path / "s.onnx", example=rows, classes=["a", 'b "c"', "d\ne"])
    return tmp_path / "s.onnx"


def bare(path, *, dtype="float32", shape=("batch", 2)):
    """A graph of another maker: scores are the sums of its input's features, twice."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["f", "wanted"], ["flat"]),
        helper.make_node("ReduceSum", ["flat", "one"], ["sum"], keepdims=1),
        helper.make_node("Concat", ["sum", "sum"], ["logits"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape[0], 2])],
        [
            helper.make_tensor("wanted", TensorProto.INT64, [2], [0, -1]),
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        ],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(model, path)
    return path


def config_of(pb, folder, name="student"):
    text = (folder / name / "config.pbtxt").read_text()
    return text_format.Parse(text, pb.ModelConfig())  # an unknown field is an error


def fits(config, path):
    """What Triton compares when it loads an ONNX model: names, types and dims without the batch."""
    inputs, outputs = runtime.load(path, threads=1).tensors()
    for told, real in ((config.input, inputs), (config.output, outputs)):
        assert [value.name for value in told] == [value["name"] for value in real]
        for value, tensor in zip(told, real, strict=True):
            kind = value.DESCRIPTOR.fields_by_name["data_type"].enum_type
            assert kind.values_by_number[value.data_type].name == TRITON[tensor["dtype"]]
            shape = tensor["shape"][1:] if config.max_batch_size else tensor["shape"]
            expected = [-1 if size is None else size for size in shape]
            assert list(value.dims) == (expected or [1])


def test_the_config_is_triton_s_and_fits_the_model(pb, images, tmp_path):
    folder = to_triton(images, tmp_path / "repo", name="digits", max_batch=32, delay=250)
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == [
        "digits/1/model.onnx",
        "digits/config.pbtxt",
        "digits/labels.txt",
    ]
    config = config_of(pb, folder, "digits")
    fits(config, images)
    assert config.name == "digits"  # the name of its folder
    assert config.platform == "onnxruntime_onnx"
    assert config.max_batch_size == 32
    assert list(config.input[0].dims) == [2, 4, 5]
    assert config.dynamic_batching.max_queue_delay_microseconds == 250
    assert config.parameters["intra_op_thread_count"].string_value == "1"
    assert [output.label_filename for output in config.output] == ["", "labels.txt"]
    # One line a class, in their order, whatever is in the names.
    assert (folder / "digits" / "labels.txt").read_text() == 'a\nb "c"\nd e\n'
    assert (folder / "digits" / "1" / "model.onnx").read_bytes() == images.read_bytes()


@pytest.mark.parametrize("dtype", TRITON)
def test_every_type_that_the_runtime_takes_has_its_name(pb, tmp_path, dtype):
    path = bare(tmp_path / "s.onnx", dtype=dtype, shape=("batch", None))
    config = config_of(pb, to_triton(path, tmp_path / "repo"))
    fits(config, path)
    assert list(config.input[0].dims) == [-1]


def test_a_fixed_number_of_rows_is_a_part_of_the_shape(pb, tmp_path):
    path = bare(tmp_path / "s.onnx", shape=(8, 2))
    config = config_of(pb, to_triton(path, tmp_path / "repo"))
    fits(config, path)
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [8, 2]
    assert not config.HasField("dynamic_batching")


def test_a_row_of_a_single_number_is_reshaped(pb, tmp_path):
    path = bare(tmp_path / "s.onnx", shape=("batch",))
    config = config_of(pb, to_triton(path, tmp_path / "repo"))
    assert list(config.input[0].dims) == [1]
    assert config.input[0].HasField("reshape")
    assert list(config.input[0].reshape.shape) == []


def test_kserve_gets_a_repository_a_manifest_and_a_request_that_works(pb, images, tmp_path):
    folder = to_kserve(images, tmp_path / "k", name="digits", storage="pvc://models/digits")
    fits(config_of(pb, folder / "model-repository", "digits"), images)
    service = yaml.safe_load((folder / "inference-service.yaml").read_text())
    assert service == {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "digits"},
        "spec": {
            "predictor": {
                "model": {
                    "modelFormat": {"name": "onnx"},
                    "protocolVersion": "v2",
                    "runtime": "kserve-tritonserver",
                    "storageUri": "pvc://models/digits",
                }
            }
        },
    }
    told = json.loads((folder / "model-metadata.json").read_text())
    assert told["inputs"] == [{"name": "inputs", "datatype": "UINT8", "shape": [-1, 2, 4, 5]}]
    assert [value["shape"] for value in told["outputs"]] == [[-1, 3], [-1, 3]]
    (value,) = json.loads((folder / "request.json").read_text())["inputs"]
    assert (value["name"], value["datatype"]) == ("inputs", "UINT8")
    rows = np.array(value["data"], np.uint8).reshape(value["shape"])
    assert len(runtime.load(images).predict(rows)) == 1


def test_a_bundle_is_served_as_its_first_model(zipped, tmp_path):
    folder = to_triton(zipped, tmp_path / "repo")
    model = folder / "student" / "1" / "model.onnx"
    assert runtime.load(model).classes == runtime.load(zipped).classes


@pytest.mark.parametrize("name", ["", "Student", "a_b", "-a", "a/b", "../x", "a" * 64, "a b", None])
def test_a_name_that_a_server_or_a_path_cannot_take_is_refused(images, tmp_path, name):
    for write in (to_triton, to_kserve):
        with pytest.raises(AttarError, match="name must be small letters, digits and dashes"):
            write(images, tmp_path / "x", name=name)
    assert not (tmp_path / "x").exists()


def test_what_else_is_refused_leaves_nothing(images, tmp_path):
    for arguments, message in (
        ({"max_batch": 0}, "'max_batch' parameter of to_triton"),
        ({"delay": -1}, "'delay' parameter of to_triton"),
    ):
        with pytest.raises(AttarError, match=message):
            to_triton(images, tmp_path / "x", **arguments)
    for storage in ("somewhere", "s3://a b", 'x://"\nkind: Secret', ""):
        with pytest.raises(AttarError, match="storage must be a URI"):
            to_kserve(images, tmp_path / "x", storage=storage)
    with pytest.raises(AttarError, match="cannot be read"):
        to_triton(tmp_path / "none.onnx", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    to_triton(images, tmp_path / "x")
    with pytest.raises(AttarError, match="exists already and is not overwritten"):
        to_triton(images, tmp_path / "x")
