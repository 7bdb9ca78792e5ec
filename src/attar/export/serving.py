"""The folders that model servers read: NVIDIA Triton, and KServe with Triton behind it.

No server is needed to write them, and none was asked: the texts follow the documented formats
(Triton's ``ModelConfig``, KServe's ``InferenceService`` and the Open Inference Protocol, V2).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attar.checks import AttarError, check_number
from attar.export import archive
from attar.export.runtime import Student, load

#: numpy's name of a type -> its name in the Open Inference Protocol; Triton adds ``TYPE_``.
_DTYPES = {
    "float32": "FP32",
    "float16": "FP16",
    "float64": "FP64",
    "uint8": "UINT8",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
}

#: A DNS label, which KServe asks for; Triton takes it too.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def to_triton(
    student: str | Path,
    folder: str | Path,
    *,
    name: str = "student",
    max_batch: int = 64,
    delay: int = 100,
) -> Path:
    """Write a model repository of NVIDIA Triton with one model in it.

    ``tritonserver --model-repository=FOLDER`` serves it through ONNX Runtime as ``name``, and
    puts requests that come at the same time into one batch. Columns and class names are not the
    server's business: it takes the numbers that :func:`attar.columns.encode_columns` gives, and
    its classification extension reads ``labels.txt``.

    Args:
        student: An ONNX file or a bundle.
        folder: A folder that is not there yet.
        name: The model's name: small letters, digits and dashes.
        max_batch: Rows of one batch at most, where the model takes any number.
        delay: How long a request may wait for others, in microseconds.

    Returns:
        The folder.

    Raises:
        AttarError: If the model cannot be read, the name or a number is out of range, or the
            folder is there already.
    """
    check_number("to_triton", "max_batch", max_batch, low=1, whole=True)
    check_number("to_triton", "delay", delay, low=0, whole=True)
    files = _repository("to_triton", Path(student), name, max_batch, delay)
    archive.write_folder("to_triton", Path(folder), files)
    return Path(folder)


def to_kserve(
    student: str | Path,
    folder: str | Path,
    *,
    name: str = "student",
    max_batch: int = 64,
    storage: str = "s3://your-bucket/student",
) -> Path:
    """Write what KServe needs: a model repository, a manifest and a request to try it with.

    ``model-repository/`` goes to where ``storage`` points, ``inference-service.yaml`` to
    ``kubectl apply``, and ``request.json`` to ``/v2/models/NAME/infer``. KServe's runtime for
    ONNX is Triton (``kserve-tritonserver``), so the repository is Triton's.

    Args:
        student: An ONNX file or a bundle.
        folder: A folder that is not there yet.
        name: The service's and the model's name: small letters, digits and dashes.
        max_batch: Rows of one batch at most, where the model takes any number.
        storage: The ``storageUri`` of the manifest: where you will put ``model-repository``.

    Returns:
        The folder.

    Raises:
        AttarError: As :func:`to_triton`, and if ``storage`` is no URI.
    """
    check_number("to_kserve", "max_batch", max_batch, low=1, whole=True)
    if not re.fullmatch(r"[a-z][a-z0-9]*://[!-~]+", storage):
        raise AttarError(
            f"to_kserve: storage must be a URI such as s3://bucket/folder or pvc://claim/folder. "
            f"Got {storage!r}."
        )
    repository = _repository("to_kserve", Path(student), name, max_batch, 100)
    inputs, outputs = load(student, threads=1).tensors()
    files = {f"model-repository/{place}": data for place, data in repository.items()}
    files["inference-service.yaml"] = _service(name, storage).encode()
    files["model-metadata.json"] = _json(
        {
            "name": name,
            "versions": ["1"],
            "platform": "onnxruntime_onnx",
            "inputs": [_metadata(value) for value in inputs],
            "outputs": [_metadata(value) for value in outputs],
        }
    )
    files["request.json"] = _json({"id": "1", "inputs": [_zeros(value) for value in inputs]})
    archive.write_folder("to_kserve", Path(folder), files)
    return Path(folder)


def _repository(owner: str, path: Path, name: str, max_batch: int, delay: int) -> dict[str, bytes]:
    """The files of a model repository, by their paths in it."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise AttarError(
            f"{owner}: name must be small letters, digits and dashes, at most 63. Got {name!r}."
        )
    student = load(path, threads=1)
    labels = "".join(f"{' '.join(label.split())}\n" for label in student.classes)
    return {
        f"{name}/config.pbtxt": _config(name, student, max_batch, delay).encode(),
        f"{name}/labels.txt": labels.encode(),
        f"{name}/1/model.onnx": _onnx(path),
    }


def _onnx(path: Path) -> bytes:
    if path.is_file() and path.suffix.lower() != ".zip":
        return path.read_bytes()
    from attar.export.bundle import read_bundle

    bundle = read_bundle(path)
    return bundle.files[bundle.manifest["models"][0]["path"]]


def _config(name: str, student: Student, max_batch: int, delay: int) -> str:
    """Triton's ``ModelConfig`` as protobuf text."""
    inputs, outputs = student.tensors()
    batched = student.rows is None
    lines = [
        f"name: {_quoted(name)}",
        'platform: "onnxruntime_onnx"',
        f"max_batch_size: {max_batch if batched else 0}",
    ]
    for kind, values in (("input", inputs), ("output", outputs)):
        lines.append(f"{kind} [")
        lines.append(",\n".join(_tensor(kind, value, batched) for value in values))
        lines.append("]")
    if batched:
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {delay} }}")
    # One thread a call: a small student loses more than it gains by sharing its work out.
    lines.append('parameters { key: "intra_op_thread_count" value: { string_value: "1" } }')
    return "\n".join(lines) + "\n"


def _tensor(kind: str, value: Mapping[str, Any], batched: bool) -> str:
    shape: Sequence[int | None] = value["shape"][1:] if batched else value["shape"]
    parts = [
        f"name: {_quoted(value['name'])}",
        f"data_type: TYPE_{_dtype(value)}",
        f"dims: [ {', '.join('-1' if size is None else str(size) for size in shape) or '1'} ]",
    ]
    if not shape:  # a row is one number: Triton has no empty shape, and takes the axis away
        parts.append("reshape: { shape: [ ] }")
    if kind == "output" and value["name"] == "probabilities":
        parts.append('label_filename: "labels.txt"')
    return "  {\n" + "".join(f"    {part}\n" for part in parts) + "  }"


def _quoted(text: str) -> str:
    return json.dumps(text)  # the escapes of JSON are among those of protobuf's text


def _dtype(value: Mapping[str, Any]) -> str:
    found = _DTYPES.get(value["dtype"])
    if found is None:
        raise AttarError(
            f"serving: the tensor '{value['name']}' is of type {value['dtype']}, which is not one "
            f"of {', '.join(_DTYPES)}."
        )
    return found


def _metadata(value: Mapping[str, Any]) -> dict[str, Any]:
    shape = [-1 if size is None else size for size in value["shape"]]
    return {"name": value["name"], "datatype": _dtype(value), "shape": shape}


def _zeros(value: Mapping[str, Any]) -> dict[str, Any]:
    """One row of zeros, as a request of the Open Inference Protocol has it."""
    shape = [size or 1 for size in value["shape"]]
    count = math.prod(shape)
    data: list[Any] = [0.0 if value["dtype"].startswith("float") else 0] * count
    return {"name": value["name"], "shape": shape, "datatype": _dtype(value), "data": data}


def _service(name: str, storage: str) -> str:
    return f"""\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {json.dumps(name)}
spec:
  predictor:
    model:
      modelFormat:
        name: onnx
      protocolVersion: v2
      runtime: kserve-tritonserver
      storageUri: {json.dumps(storage)}
"""


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()
