from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from attar.checks import AttarError
from attar.export.wire import CHILDREN, DATA_LOCATION, check_self_contained


def outside(name: str = "weights") -> TensorProto:
    """A tensor whose numbers lie in another file."""
    tensor = numpy_helper.from_array(np.ones((3, 2), dtype=np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    return tensor


def model(*nodes: onnx.NodeProto, initializers: tuple[TensorProto, ...] = ()) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("inputs", 1, ["batch", 3])]
    outputs = [helper.make_tensor_value_info("logits", 1, ["batch", 2])]
    graph = helper.make_graph(list(nodes), "graph", inputs, outputs, list(initializers))
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])


def in_initializer() -> onnx.ModelProto:
    return model(
        helper.make_node("MatMul", ["inputs", "weights"], ["logits"]), initializers=(outside(),)
    )


def in_constant() -> onnx.ModelProto:
    return model(helper.make_node("Constant", [], ["weights"], value=outside()))


def in_branch() -> onnx.ModelProto:
    inner = in_initializer().graph
    return model(
        helper.make_node("If", ["which"], ["logits"], then_branch=inner, else_branch=inner)
    )


def in_function() -> onnx.ModelProto:
    found = model()
    constant = helper.make_node("Constant", [], ["weights"], value=outside())
    imports = [helper.make_opsetid("", 18)]
    found.functions.append(
        helper.make_function("mine", "Ones", [], ["weights"], [constant], imports)
    )
    return found


def in_sparse() -> onnx.ModelProto:
    found = model()
    found.graph.sparse_initializer.add().values.CopyFrom(outside())
    return found


@pytest.mark.parametrize(
    "hide",
    [in_initializer, in_constant, in_branch, in_function, in_sparse],
    ids=lambda hide: hide.__name__,
)
def test_weights_in_another_file_are_found_wherever_they_hide(hide):
    with pytest.raises(AttarError, match=r"m\.onnx: .*another file.*without external data"):
        check_self_contained("m.onnx", hide().SerializeToString())


def test_the_table_knows_every_way_to_a_tensor_that_onnx_has():
    def leads(message, above: tuple[str, ...] = ()) -> bool:
        if message.name in above:
            return False
        return message.name == "TensorProto" or any(
            field.message_type and leads(field.message_type, (*above, message.name))
            for field in message.fields
        )

    found: dict[str, dict[int, str]] = {}
    todo = [onnx.ModelProto.DESCRIPTOR]
    while todo:
        message = todo.pop()
        if message.name in found:
            continue
        tensor = message.name == "TensorProto"
        fields = [f for f in message.fields if not tensor and f.message_type]
        fields = [f for f in fields if leads(f.message_type)]
        found[message.name] = {field.number: field.message_type.name for field in fields}
        todo += [field.message_type for field in fields]
    assert found == CHILDREN
    assert onnx.TensorProto.DESCRIPTOR.fields_by_name["data_location"].number == DATA_LOCATION


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


@pytest.mark.parametrize(
    "location",
    [
        varint(14 << 3) + b"\x01",
        varint(14 << 3) + b"\x00" + varint(14 << 3) + b"\x01",  # said twice: the last one counts
        varint(14 << 3) + b"\x81\x80\x00",  # 1, written longer than it need be
        varint(14 << 3)[:-1] + b"\xf0\x80\x00\x01"[:1] + b"\x00\x01",  # its tag, written longer
        varint(14 << 3) + varint(2**32 + 1),  # 1 for a reader that keeps 32 bits
        b"\xfa\x3e\x03abc" + varint(14 << 3) + b"\x01",  # after a field that is not known
    ],
    ids=range(6),
)
def test_no_way_of_writing_it_gets_past(location):
    with pytest.raises(AttarError, match="another file"):
        check_self_contained("m.onnx", field(7, field(5, location)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08\x08",  # a model without a graph
        b"PK\x03\x04 a zip file, that is to say a pickle of torch",
        b"\x3a\x7f",  # a graph of 127 bytes that are not there
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x3b\x3c" + field(7, b""),  # protobuf's groups
        varint((1 << 35) | (7 << 3) | 2) + b"\x00" + field(7, b""),  # a tag of more than 32 bits
        b"\x3d\x00",  # a number of four bytes that are not there
    ],
    ids=range(8),
)
def test_what_is_no_onnx_model_is_refused(data):
    with pytest.raises(
        AttarError, match=r"m\.onnx: this is not an ONNX model, or it was cut short"
    ):
        check_self_contained("m.onnx", data)


def test_whole_models_pass_and_long_nesting_is_no_trouble():
    inside = numpy_helper.from_array(np.ones((3, 2), dtype=np.float32), "weights")
    inside.data_location = TensorProto.DEFAULT
    whole = model(
        helper.make_node("MatMul", ["inputs", "weights"], ["logits"]), initializers=(inside,)
    )
    check_self_contained("m.onnx", whole.SerializeToString())
    deep = b""
    for _ in range(2000):  # a graph in an attribute of a node of a graph, and so on
        deep = field(1, field(5, field(6, deep)))
    check_self_contained("m.onnx", field(7, deep))
