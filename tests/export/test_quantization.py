from __future__ import annotations

import json
import math

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from attar.checks import AttarError
from attar.evaluation.metrics import kl_to_teacher
from attar.export import narrow, quantize, runtime, to_onnx
from attar.export.narrow import half

CLASSES = ("a", "b", "c")


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 16, 32),
        nn.ReLU(),
        nn.Linear(32, 3),
    ).eval()


@pytest.fixture(scope="module")
def rows():
    """Inputs, and the network's own answer as their labels: the float student is always right."""
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(600, 1, 8, 8, generator=generator)
    with torch.no_grad():
        return inputs, network()(inputs).argmax(dim=1)


@pytest.fixture(scope="module")
def student(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("float") / "student.onnx"
    to_onnx(network(), path, example=rows[0][:64], classes=CLASSES, metadata={"accuracy": 1.0})
    return path


def small(student, path, rows, **choices):
    choices = {"max_drop": 5.0, "seconds": 0.0, "validation": rows, **choices}
    return quantize(student, path, **choices)


@pytest.mark.parametrize("method", ["static", "dynamic", "float16", "bfloat16"])
def test_what_is_written_is_what_was_measured(tmp_path, student, rows, method):
    path = tmp_path / "small.onnx"
    result = small(
        student, path, rows, method=method, train=rows, test=(rows[0][:50], rows[1][:50])
    )
    before, after = runtime.load(student), runtime.load(path)
    # One row a call: with ranges that are found in each call, the rows beside it have a say.
    said = np.array([int(after.logits(row[None]).argmax()) for row in rows[0].numpy()])
    meant = before.logits(rows[0]).argmax(axis=1)
    cost = result.validation
    right = said == rows[1].numpy()
    assert cost.accuracy == right.mean()
    assert cost.agreement == (said == meant).mean() == 1 - cost.lost / 600  # the float one is right
    assert cost.won == 0
    assert cost.drop == pytest.approx(100 * (1 - right.mean()))
    assert result.test is not None
    assert result.test.rows == 50
    assert result.bytes == path.stat().st_size < result.bytes_before == student.stat().st_size
    assert after.classes == CLASSES
    told = after.metadata
    assert told["accuracy"] == 1.0
    assert told["quantization"]["method"] == method
    assert told["quantization"]["validation"]["lost"] == cost.lost
    assert set(result.latency_ratio) == {1, 64}
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["bytes"] == result.bytes
    assert cost.agreement > 0.96
    # Probabilities come from float logits: they are many different numbers, not 256.
    assert len(np.unique(after.predict_proba(rows[0]))) > 600


def types(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def test_each_method_makes_the_graph_that_it_says(tmp_path, student, rows):
    for method in ("static", "dynamic", "float16"):
        small(student, tmp_path / f"{method}.onnx", rows, method=method, train=rows)
    static = onnx.load(tmp_path / "static.onnx")
    weights = [t for t in static.graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert sorted(np.prod(t.dims) for t in weights if np.prod(t.dims) > 32) == [72, 96, 4096]
    assert {"QuantizeLinear", "DequantizeLinear"} <= set(types(tmp_path / "static.onnx"))
    # The logits are what the last layer says, not rounded.
    last = next(node for node in static.graph.node if "logits" in node.output)
    assert last.op_type == "Gemm"
    assert "DynamicQuantizeLinear" in types(tmp_path / "dynamic.onnx")
    assert types(tmp_path / "float16.onnx").count("Cast") == 3  # the three large weights


def test_rounding_by_hand():
    """One weight of each kind: float16 keeps 11 bits, bfloat16 8."""
    weights = np.full((1, 64), 1 + 2**-9 + 2**-12, dtype=np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "one",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 1])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 64])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = onnx.helper.make_model(graph, ir_version=8)
    for kind, expected in (("float16", 1 + 2**-9), ("bfloat16", 1.0)):
        kept = half(model, kind).graph.initializer[0]
        assert float(numpy_helper.to_array(kept)[0, 0].astype(np.float32)) == expected
    assert numpy_helper.to_array(model.graph.initializer[0]).dtype == np.float32  # untouched
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights * 70000, "w"))
    with pytest.raises(AttarError, match=r"'w' are larger than float16 holds.*bfloat16"):
        half(model, "float16")


def test_a_cost_beyond_the_bound_leaves_nothing_behind(tmp_path, student, rows):
    inputs, labels = rows
    # Inputs a thousand times larger than those that the ranges come from: all saturate.
    path = tmp_path / "new" / "small.onnx"
    with pytest.raises(
        AttarError,
        match=r"static, both ends in float32 costs .* points .*max_drop=0.3, and nothing was",
    ):
        quantize(student, path, train=(inputs * 1e-3, None), validation=rows, seconds=0)
    assert not path.parent.exists()
    path.parent.mkdir()
    path.write_bytes(b"what was there")
    with pytest.raises(AttarError, match="quantize_aware"):
        quantize(student, path, train=(inputs * 1e-3, None), validation=(inputs, labels), seconds=0)
    assert path.read_bytes() == b"what was there"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_auto_takes_the_nearer_ranges(tmp_path, student, rows, scale):
    inputs = rows[0][:576].clone()  # whole batches of the quantizer
    inputs[:, 0, 0, 0] = scale * (torch.arange(576) % 100 == 0)  # a pixel that is rarely large

    def distance(ranges):
        path = tmp_path / f"{ranges}.onnx"
        result = small(
            student, path, rows, train=(inputs, None), ranges=ranges, max_drop=100, method="static"
        )
        meant, said = (
            torch.from_numpy(runtime.load(file).logits(inputs)).double() for file in (student, path)
        )
        kl = meant.softmax(1) * (meant.log_softmax(1) - said.log_softmax(1))
        return float(kl.sum(dim=1).mean()), result.ranges

    found = {ranges: distance(ranges) for ranges in ("minmax", "percentile", "auto")}
    nearest = min(("minmax", "percentile"), key=lambda ranges: found[ranges][0])
    assert found["auto"] == found[nearest]
    assert found["minmax"][0] != found["percentile"][0]


@pytest.fixture(scope="module")
def wide():
    """A network whose first layer reads one very large column: 256 steps lose all the others."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3)
    ).eval()
    inputs = torch.randn(400, 8)
    with torch.no_grad():
        model[0].weight[:, 0] /= 1e4
        inputs[:, 0] *= 1e4
        return model, (inputs, model(inputs).argmax(dim=1))


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_layers_stay_float_where_int8_of_all_costs_too_much(tmp_path, wide, method):
    model, rows = wide
    to_onnx(model, tmp_path / "float.onnx", example=rows[0][:64], classes=CLASSES)
    integers = {}
    for kept in ("none", "first", "ends", "auto"):
        path = tmp_path / f"{kept}.onnx"
        result = small(
            tmp_path / "float.onnx",
            path,
            rows,
            method=method,
            train=rows,
            float_layers=kept,
            max_drop=1.0 if kept == "auto" else 100.0,
        )
        weights = [t for t in onnx.load(path).graph.initializer if np.prod(t.dims) >= 72]
        integers[kept] = [t.data_type == onnx.TensorProto.INT8 for t in weights]
        drop = result.validation.drop
        assert (drop > 1) == (kept == "none")
    assert [sum(found) for found in integers.values()] == [3, 2, 1, 2]
    assert result.float_layers == "first"
    assert runtime.load(path).metadata["quantization"]["float_layers"] == "first"


def test_a_layer_is_left_to_round(tmp_path, rows):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    to_onnx(model, tmp_path / "one.onnx", example=rows[0][:64], classes=CLASSES)
    with pytest.raises(AttarError, match=r"'first' leaves no layer of .* one of auto, none\."):
        small(tmp_path / "one.onnx", tmp_path / "x.onnx", rows, train=rows, float_layers="first")


def test_seven_bits_stay_inside_seven_bits(tmp_path, student, rows):
    small(student, tmp_path / "seven.onnx", rows, train=rows, reduce_range=True)
    for tensor in onnx.load(tmp_path / "seven.onnx").graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8:
            values = numpy_helper.to_array(tensor).astype(int)
            assert np.abs(values).max() <= 64


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_where_sums_overflow_the_nearer_width_is_kept(tmp_path, student, rows, monkeypatch, method):
    assert narrow.saturates() in (True, False)  # asked of onnxruntime, whatever this one is
    wanted = runtime.load(student).logits(rows[0])

    def made(name, **choices):
        path = tmp_path / f"{name}.onnx"
        result = small(student, path, rows, method=method, train=rows, max_drop=100.0, **choices)
        model = runtime.load(path)
        said = np.concatenate([model.logits(row[None]) for row in rows[0].numpy()])
        return kl_to_teacher(torch.from_numpy(said), torch.from_numpy(wanted)), result.bits

    found = [made("eight", reduce_range=False), made("seven", reduce_range=True)]
    assert [bits for _, bits in found] == [8, 7]
    for overflows, expected in ((True, min(found)), (False, found[0])):
        monkeypatch.setattr(narrow, "saturates", lambda overflows=overflows: overflows)
        assert made("auto")[1] == expected[1]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            {"method": "int4"},
            "method must be one of static, dynamic, float16, bfloat16. Got 'int4'",
        ),
        ({"ranges": "widest"}, "ranges must be one of auto, minmax"),
        ({"float_layers": "last"}, "float_layers must be one of auto, none, first, ends"),
        ({"max_drop": -1}, "'max_drop' parameter of quantize"),
        ({"max_drop": math.nan}, "'max_drop' parameter of quantize"),
        ({"seconds": -1}, "'seconds' parameter of quantize"),
        ({"calibration_rows": 0}, "'calibration_rows' parameter of quantize"),
        ({"train": None}, "method='static' needs train="),
        ({"train": (torch.zeros(4, 5), None)}, r"must have shape \[N, 1, 8, 8\]"),
        ({"validation": (torch.zeros(4, 1, 8, 8), None)}, "validation must have labels"),
        ({"validation": (torch.zeros(2, 1, 8, 8), ["a", "z"])}, "not among the 3 classes"),
    ],
)
def test_what_is_refused(tmp_path, student, rows, choices, message):
    with pytest.raises(AttarError, match=message):
        small(student, tmp_path / "small.onnx", rows, **{"train": rows, **choices})
    assert not list(tmp_path.iterdir())


def test_a_file_is_quantized_once_and_must_be_ours(tmp_path, student, rows):
    path = tmp_path / "int8.onnx"
    small(student, path, rows, method="dynamic")
    with pytest.raises(AttarError, match="quantized already"):
        small(path, tmp_path / "again.onnx", rows, method="dynamic")
    foreign = onnx.load(student)
    foreign.producer_name = "other"
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(AttarError, match="no file of Attar's"):
        small(tmp_path / "foreign.onnx", path, (rows[0], rows[1]), method="dynamic")
    with pytest.raises(AttarError, match="cannot be read"):
        small(tmp_path / "missing.onnx", path, rows)
