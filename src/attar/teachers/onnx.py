"""An ONNX file as a teacher."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError, need
from attar.store.pace import AS_IT_IS, Way
from attar.teachers.outputs import OutputKind
from attar.teachers.outputs import Outputs as Kind
from attar.teachers.protocol import answer_tensor, to_numpy
from attar.types import Batch, Outputs

_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")


class OnnxTeacher:
    """A model in an ONNX file, run by ONNX Runtime on the CPU.

    Of its outputs the one named ``logits`` is taken, else ``probabilities``, else the first
    float output ``[N, C]``. Inputs are cast to what the model takes, and flattened where it
    takes rows. A model with a fixed batch size is asked in pieces of that size.

    Args:
        path: The file. Weights kept outside of it must lie in its folder or below.
        name: What to call it; the name of the file otherwise.
        outputs: ``"auto"``, ``"logits"`` or ``"probabilities"``.
        floor: The least probability, for a model that gives probabilities.

    Raises:
        AttarError: If the file is missing, torn or no ONNX model, points at files outside its
            folder, or has no output that could be logits or probabilities.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        outputs: Kind = "auto",
        floor: float = 1e-6,
    ) -> None:
        self.path = Path(path)
        self.name = name or self.path.name
        self._owner = f"the teacher {self.name!r}"
        self._files, self._parameters = _inspect(self._owner, self.path)
        self._session = _session(self._owner, self.path)
        self._inputs = {item.name: item for item in self._session.get_inputs()}
        self._output, told = _choose_output(self._owner, self._session.get_outputs(), outputs)
        self._requested = outputs
        self._kind = OutputKind(told, owner=self._owner, floor=floor)

    @property
    def outputs(self) -> str:
        """``"logits"`` or ``"probabilities"``; ``"auto"`` before the first answer."""
        return self._kind.decided

    @property
    def parameters(self) -> int | None:
        """The numbers in its weights; None if there are none (a tree ensemble)."""
        return self._parameters or None

    @property
    def bytes(self) -> int:
        """The size of the file, and of the weights kept beside it."""
        return sum(path.stat().st_size for path in self._files)

    def __call__(self, batch: Batch) -> Outputs:
        """Logits ``[N, C]`` float32 on the device of ``batch.ids``."""
        feed = self._feed(batch.inputs)
        answer = answer_tensor(self._owner, self._run(feed, len(batch)), rows=len(batch))
        return Outputs(self._kind(answer, ids=batch.ids).to(batch.ids.device))

    def ways(self, example: Batch, backends: Mapping[str, Any] = {}) -> dict[str, Way]:
        """One: how many rows it is asked about at a time is all that there is to choose."""
        return {AS_IT_IS: Way(lambda: self)}

    def fingerprint(self) -> str:
        """The hash of the file's bytes, and of the weights kept beside it."""
        digest = hashlib.sha256(f"onnx\n{self._requested}\n{self._kind.floor!r}".encode())
        for path in self._files:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def _feed(self, inputs: Any) -> dict[str, NDArray[Any]]:
        if not isinstance(inputs, Mapping):
            if len(self._inputs) != 1:
                raise AttarError(
                    f"{self._owner}: the model takes {len(self._inputs)} inputs "
                    f"({', '.join(self._inputs)}), and the data has one. Give data whose inputs "
                    f"are a mapping with these names."
                )
            inputs = {next(iter(self._inputs)): inputs}
        missing = sorted(set(self._inputs) - set(inputs))
        if missing:
            raise AttarError(
                f"{self._owner}: the model takes {', '.join(self._inputs)}, and the data lacks "
                f"{', '.join(missing)}."
            )
        return {
            name: _fitted(self._owner, item, inputs[name]) for name, item in self._inputs.items()
        }

    def _run(self, feed: dict[str, NDArray[Any]], rows: int) -> NDArray[Any]:
        first = next(iter(self._inputs.values())).shape
        size = first[0] if first and isinstance(first[0], int) and first[0] > 0 else rows
        pieces = []
        for start in range(0, rows, size):
            piece = {name: value[start : start + size] for name, value in feed.items()}
            here = min(size, rows - start)
            if here < size:  # the last piece of a fixed size is filled up with its first row
                piece = {
                    name: np.concatenate([value, np.repeat(value[:1], size - here, axis=0)])
                    for name, value in piece.items()
                }
            pieces.append(self._answer(piece)[:here])
        whole: NDArray[Any] = np.concatenate(pieces)
        return whole

    def _answer(self, piece: dict[str, NDArray[Any]]) -> NDArray[Any]:
        try:
            (said,) = self._session.run([self._output], piece)
        except Exception as error:  # the runtime has a dozen classes of its own
            shapes = {name: value.shape for name, value in piece.items()}
            raise AttarError(
                f"{self._owner}: the model cannot take inputs of the shape {shapes}. It says: "
                f"{str(error).strip().splitlines()[-1][:300]}"
            ) from error
        return np.asarray(said)


def _fitted(owner: str, item: Any, value: Any) -> NDArray[Any]:
    """One input in the type that the model takes, and flat where it takes rows."""
    if item.type not in _TYPES:
        raise AttarError(f"{owner}: its input {item.name!r} is a {item.type}, not a number.")
    array = to_numpy(value).astype(_TYPES[item.type], copy=False)
    if item.shape is not None and len(item.shape) == 2 and array.ndim > 2:
        array = array.reshape(len(array), -1)
    return np.ascontiguousarray(array)


def _choose_output(owner: str, found: list[Any], outputs: Kind) -> tuple[str, Kind]:
    """The name of the output to take, and what it is known to be."""
    fitting = [
        item
        for item in found
        if item.type in _FLOATS and (item.shape is None or len(item.shape) in (0, 2))
    ]
    names = [item.name for item in fitting]
    order = (
        ("probabilities", "logits") if outputs == "probabilities" else ("logits", "probabilities")
    )
    for name in order:
        if name in names:
            # Its own name tells what it is, unless the user knows better.
            return name, outputs if outputs != "auto" else (
                "logits" if name == "logits" else "probabilities"
            )
    if names:
        return names[0], outputs
    listed = ", ".join(f"{item.name}: {item.type}" for item in found)
    if any(item.type.startswith("seq(map") for item in found):
        raise AttarError(
            f"{owner}: its probabilities are a list of dictionaries ({listed}), which is how "
            f"skl2onnx exports a classifier by default. Export it again with "
            f"options={{'zipmap': False}}."
        )
    raise AttarError(
        f"{owner}: it has no float output [N, C] that could be logits or probabilities. Its "
        f"outputs are {listed}."
    )


def _session(owner: str, path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings about unused initializers help nobody here
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a dozen classes of its own
        raise AttarError(
            f"{owner}: ONNX Runtime cannot load {path}. It says: {str(error).strip()[:300]}"
        ) from error


def _inspect(owner: str, path: Path) -> tuple[list[Path], int]:
    """The files that the model is made of, and how many numbers its weights hold.

    Raises:
        AttarError: If it is no ONNX model, or names a file outside its folder: a model from
            elsewhere could so read any file of this machine into its weights.
    """
    if not path.is_file():
        raise AttarError(f"{owner}: there is no file {path}.")
    onnx = need("onnx", extra="train", purpose="an ONNX file as a teacher")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's DecodeError, by whichever implementation is there
        raise AttarError(
            f"{owner}: {path} is not an ONNX model, or is torn ({str(error)[:200]})."
        ) from None
    if not model.graph.node:
        raise AttarError(f"{owner}: {path} is not an ONNX model, or is torn (it has no nodes).")
    files, parameters = {path}, 0
    for tensor in _tensors(model):
        parameters += math.prod(tensor.dims)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            places = [item.value for item in tensor.external_data if item.key == "location"]
            for place in places:
                files.add(_inside(owner, path, place))
    return [path, *sorted(files - {path})], parameters


def _inside(owner: str, path: Path, place: str) -> Path:
    """The file at ``place``, seen from the model, if it lies in the model's folder or below."""
    folder = path.parent.resolve()
    target = (folder / place).resolve()  # follows links
    for flavour in (PurePosixPath(place), PureWindowsPath(place)):
        if flavour.is_absolute() or flavour.drive or ".." in flavour.parts:
            target = folder.parent
    if not target.is_relative_to(folder) or target == folder:
        raise AttarError(
            f"{owner}: {path} keeps weights in {place!r}, outside of its own folder, which is "
            f"refused. Put the file beside the model and let the model name it there."
        )
    if not target.is_file():
        raise AttarError(f"{owner}: {path} keeps weights in {place!r}, which is missing.")
    return target


def _tensors(model: Any) -> Iterator[Any]:
    """Every tensor in a model, in subgraphs and functions too."""
    waiting = [model.graph, *model.functions]
    while waiting:
        part = waiting.pop()
        yield from getattr(part, "initializer", [])
        for sparse in getattr(part, "sparse_initializer", []):
            yield from (sparse.values, sparse.indices)
        for node in part.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                if attribute.HasField("sparse_tensor"):
                    yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
                yield from attribute.tensors
                for sparse in attribute.sparse_tensors:
                    yield from (sparse.values, sparse.indices)
                waiting.extend([attribute.g] if attribute.HasField("g") else [])
                waiting.extend(attribute.graphs)
