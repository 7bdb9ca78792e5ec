"""Does an ONNX model keep all its weights inside its own bytes?

A tensor of an ONNX file may name another file that holds its data. onnxruntime follows such a
name even when it is given bytes (it then reads from the working folder), so a model from outside
could read files that it has no business with, and a model that was copied without its second
file fails only where it is deployed. This looks through the bytes before onnxruntime does,
without the library `onnx`, which production does not have.
"""

from __future__ import annotations

from attar.checks import AttarError

#: Message of onnx.proto -> the number of each field that leads to a tensor -> its message.
CHILDREN: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}

#: ``TensorProto.data_location``; 0 means inside this file.
DATA_LOCATION = 14

_GRAPH = 7  # ModelProto.graph
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types; groups are not ONNX


def check_self_contained(owner: str, data: bytes) -> None:
    """Raise unless ``data`` is an ONNX model that holds all its tensors itself.

    Reads the structure and steps over the weights: some microseconds for each node.

    Raises:
        AttarError: If the bytes are no ONNX model, end too early, or name external data.
    """
    has_graph = False
    todo = [("ModelProto", 0, len(data))]
    while todo:
        message, position, end = todo.pop()
        children = CHILDREN[message]
        while position < end:
            tag, position = _varint(owner, data, position, end)
            if tag >= 2**32:  # a reader that keeps 32 bits of it would see another field
                raise _broken(owner)
            field, wire = tag >> 3, tag & 7
            if wire == _VARINT:
                value, position = _varint(owner, data, position, end)
                if message == "TensorProto" and field == DATA_LOCATION and value:
                    raise AttarError(
                        f"{owner}: the model keeps weights in another file (external data), and "
                        f"only models in a single file are read. Save it without external data."
                    )
            elif wire == _BYTES:
                size, position = _varint(owner, data, position, end)
                if field in children:
                    todo.append((children[field], position, position + size))
                    has_graph |= message == "ModelProto" and field == _GRAPH
                position += size
            elif wire in (_FIXED64, _FIXED32):
                position += 8 if wire == _FIXED64 else 4
            else:
                raise _broken(owner)
            if position > end:
                raise _broken(owner)
    if not has_graph:
        raise _broken(owner)


def _varint(owner: str, data: bytes, position: int, end: int) -> tuple[int, int]:
    """The number that starts at ``position``, and the position after it."""
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _broken(owner)


def _broken(owner: str) -> AttarError:
    return AttarError(
        f"{owner}: this is not an ONNX model, or it was cut short. Export or copy it again."
    )
