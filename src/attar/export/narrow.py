"""From a float ONNX graph to one whose weights take fewer bytes; the files never leave memory.

Integers through onnxruntime's own quantizer, as Jacob et al. 2018, "Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference": weights int8, symmetric, one
scale a channel; activations uint8, one scale a tensor. Half types keep the weights alone in 16
bits: the graph computes in float32 as before.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError, need
from attar.export.runtime import first_line

#: What the integer graph covers; the rest, the softmax above all, stays float32.
_INTEGER = ("Conv", "Gemm", "MatMul", "Add", "MaxPool", "Relu", "GlobalAveragePool")

#: How the ranges of activations are found: the whole range, or without the rarest values.
RANGES = ("minmax", "percentile", "entropy")

#: Which convolutions and linear layers stay float32, by their places in the graph. Rounding the
#: first one costs most: all later layers read what it says, and it has few weights.
FLOAT_LAYERS: dict[str, tuple[int, ...]] = {"none": (), "first": (0,), "ends": (0, -1)}

_LAYERS = ("Conv", "Gemm", "MatMul")

#: Rows of one call while the ranges are found; the quantizer wants batches of one size.
_ROWS = 32

#: Weights smaller than this stay as they are: a scale and a name would weigh as much.
_FEW = 64


@functools.cache
def saturates() -> bool:
    """Whether sums of 8-bit products overflow here: x86 processors without VNNI do that.

    Asked of onnxruntime itself: pairs of 255 * 127 are more than the 16 bits in which such a
    processor adds them.
    """
    onnx = need("onnx", extra="train", purpose="quantization")
    runtime = need("onnxruntime", extra="train", purpose="quantization")
    many, helper, types = 64, onnx.helper, onnx.TensorProto
    weights = np.full((many, 4), 127, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["sum"])],
        "probe",
        [helper.make_tensor_value_info("a", types.UINT8, [4, many])],
        [helper.make_tensor_value_info("sum", types.INT32, [4, 4])],
        [helper.make_tensor("b", types.INT8, weights.shape, weights.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    total = session.run(None, {"a": np.full((4, many), 255, np.uint8)})[0]
    return bool((total != 255 * 127 * many).any())


def static(
    proto: Any,
    rows: NDArray[Any],
    *,
    ranges: str,
    reduce_range: bool,
    float_layers: str = "none",
) -> Any:
    """Weights and activations in 8 bits, the ranges of activations from these rows.

    Args:
        proto: The float graph; it is not changed.
        rows: ``[N, ...]``, what the graph takes.
        ranges: One of :data:`RANGES`.
        reduce_range: Weights in 7 bits, for x86 processors without VNNI.
        float_layers: One of :data:`FLOAT_LAYERS`.
    """
    from onnxruntime import quantization

    kinds = {
        "minmax": quantization.CalibrationMethod.MinMax,
        "percentile": quantization.CalibrationMethod.Percentile,
        "entropy": quantization.CalibrationMethod.Entropy,
    }
    # Its base class may be another one in another version: it needs `get_next` alone.
    reader = _reader(quantization.CalibrationDataReader, proto.graph.input[0].name, rows)
    with _scratch() as folder:
        prepared = _prepared(proto, folder)
        quantization.quantize_static(
            prepared,
            folder / "int8.onnx",
            reader,
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(_INTEGER),
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=kinds[ranges],
            nodes_to_exclude=_layers(prepared, float_layers),
            # The logits are not rounded: who is sure, and how sure, is read from them.
            extra_options={
                "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
                "CalibPercentile": 99.99,
            },
        )
        return _read(folder / "int8.onnx")


def dynamic(proto: Any, *, reduce_range: bool, float_layers: str = "none") -> Any:
    """Weights in 8 bits; the range of an activation is found anew in each call."""
    from onnxruntime import quantization

    with _scratch() as folder:
        prepared = _prepared(proto, folder)
        quantization.quantize_dynamic(
            prepared,
            folder / "int8.onnx",
            per_channel=True,
            reduce_range=reduce_range,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=_layers(prepared, float_layers),
        )
        return _read(folder / "int8.onnx")


def half(proto: Any, kind: str) -> Any:
    """Weights kept in 16 bits and raised to float32 when the model is loaded.

    onnxruntime has few operators in half types on a processor: computing in them would be slow
    or not possible. Kept so, the weights take half the bytes and an answer the same time.

    Args:
        proto: The float graph; it is not changed.
        kind: ``"float16"`` (11 significant bits, up to 65504) or ``"bfloat16"`` (8 significant
            bits, the range of float32).
    """
    onnx = need("onnx", extra="train", purpose="quantization")
    narrow = onnx.ModelProto()
    narrow.CopyFrom(proto)
    graph = narrow.graph
    types = {"float16": onnx.TensorProto.FLOAT16, "bfloat16": onnx.TensorProto.BFLOAT16}
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < _FEW:
            continue
        name = tensor.name
        values = onnx.numpy_helper.to_array(tensor)
        if kind == "float16" and np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            raise AttarError(
                f"quantize: the weights {name!r} are larger than float16 holds (65504). Use "
                "method='bfloat16'."
            )
        element = onnx.helper.tensor_dtype_to_np_dtype(types[kind])
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(element), f"{name}_{kind}"))
        casts.append(
            onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return narrow


def fold_weights(proto: Any) -> None:
    """Where a graph rounds a weight in each call, keep the rounded weight instead, in place.

    A graph that was traced from fake quantization holds float weights, then QuantizeLinear, then
    DequantizeLinear.
    """
    onnx = need("onnx", extra="train", purpose="quantization")
    graph = proto.graph
    values = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:  # the tracer writes scales as constants, equal ones but once
        if node.op_type == "Identity" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
        elif node.op_type == "Constant" and node.attribute[0].name == "value":
            values[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    stored = {t.name for t in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] not in stored:
            kept.append(node)
            continue
        weight, scale, zero = (values[name] for name in node.input)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        if scale.ndim:  # one a channel
            shape = [1] * weight.ndim
            shape[axis] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        limits = np.iinfo(zero.dtype)
        whole = np.rint(weight / scale) + zero
        rounded = np.clip(whole, limits.min, limits.max).astype(zero.dtype)
        graph.initializer.append(onnx.numpy_helper.from_array(rounded, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    left = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(left)


def shorten_names(proto: Any) -> None:
    """Short names inside the graph, in place: a student of some kilobytes is names for a third."""
    graph = proto.graph
    shown = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {"": ""}
    for node in graph.node:
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            return  # a graph inside a graph may name what is outside of it
    for name in (
        *(tensor.name for tensor in graph.initializer),
        *(name for node in graph.node for name in (*node.input, *node.output)),
    ):
        if name not in names:
            names[name] = name if name in shown else f"t{len(names)}"
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    for node in graph.node:
        node.ClearField("name")
        inputs, outputs = ([names[n] for n in side] for side in (node.input, node.output))
        del node.input[:], node.output[:]
        node.input.extend(inputs)
        node.output.extend(outputs)
    del graph.value_info[:]


def properties_of(path: Path) -> dict[str, str]:
    """What an ONNX file says about itself."""
    return {item.key: item.value for item in _read(path).metadata_props}


def _prepared(proto: Any, folder: Path) -> Path:
    """The graph as the quantizer wants it: shapes inferred, batch normalisation folded."""
    onnx = need("onnx", extra="train", purpose="quantization")
    from onnxruntime.quantization.shape_inference import quant_pre_process

    onnx.save(proto, folder / "float.onnx")
    # Symbolic shapes need sympy, and students have plain ones.
    quant_pre_process(
        folder / "float.onnx", folder / "prepared.onnx", skip_symbolic_shape=True, verbose=0
    )
    prepared = _read(folder / "prepared.onnx")
    for place, node in enumerate(prepared.graph.node):
        node.name = f"n{place}"  # the quantizer tells nodes by names, and not all have one
    onnx.save(prepared, folder / "prepared.onnx")
    return folder / "prepared.onnx"


def float_choices(proto: Any) -> tuple[str, ...]:
    """Of :data:`FLOAT_LAYERS`, those that leave a layer to round."""
    layers = sum(node.op_type in _LAYERS for node in proto.graph.node)
    return tuple(
        kept for kept, places in FLOAT_LAYERS.items() if not places or len(places) < layers
    )


def _layers(prepared: Path, kept: str) -> list[str]:
    """The names of the layers that stay as they are."""
    layers = [node.name for node in _read(prepared).graph.node if node.op_type in _LAYERS]
    names = {layers[place] for place in FLOAT_LAYERS[kept]}
    # For ranges that are found in each call, the quantizer first turns a Gemm into a MatMul.
    return sorted(names | {f"{name}_MatMul" for name in names})


def _read(path: Path) -> Any:
    onnx = need("onnx", extra="train", purpose="quantization")
    return onnx.load(path)


def _reader(base: type, name: str, rows: NDArray[Any]) -> Any:
    whole = len(rows) // _ROWS * _ROWS
    batches = np.split(rows[:whole], whole // _ROWS) if whole else [rows]

    class Reader(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(batches)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            batch = next(self._left, None)
            return None if batch is None else {name: batch}

    return Reader()


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder that is gone afterwards; the quantizer's prints and advice go with it."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.redirect_stdout(io.StringIO()),
        ):
            yield Path(folder)
    except AttarError:
        raise
    except Exception as error:  # the quantizer raises whatever its parts do
        raise AttarError(
            f"quantize: onnxruntime cannot quantize this model: {first_line(error)}"
        ) from error
    finally:
        root.setLevel(level)
