"""A trained model as one ONNX file, with proof that the file answers as the model does."""

from __future__ import annotations

import copy
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import attar
from attar.checks import AttarError, check_finite, check_logits, check_number, need
from attar.export import runtime
from attar.export.files import write_whole

#: The version of ONNX's operators. Both of torch's exporters write it as it is, and every
#: onnxruntime that Attar allows reads it.
OPSET = 18

_OWNER = "to_onnx"
_NAMES = ("inputs", "logits", "probabilities")
_CHUNK = 512  # rows of one call while the two are compared: bounds the memory, nothing else


@dataclass(frozen=True)
class Export:
    """What was written, and how close it is to the model.

    Attributes:
        path: The file.
        bytes: Its size.
        max_probability_difference: The largest absolute difference, over all checked rows and
            classes, between a probability of the file and of the model.
        argmax_differences: How many checked rows get another class; all of them were ties, or
            the export would have raised.
        rows_checked: How many rows were compared.
        opset: The version of ONNX's operators in the file.
    """

    path: Path
    bytes: int
    max_probability_difference: float
    argmax_differences: int
    rows_checked: int
    opset: int


def to_onnx(
    model: nn.Module,
    path: str | Path,
    *,
    example: Tensor,
    classes: Sequence[str],
    metadata: Mapping[str, Any] | None = None,
    columns: Any = None,
    tolerance: float = 1e-4,
    margin: float = 2e-4,
) -> Export:
    """Write a model as ONNX, and prove on real rows that the file answers as the model does.

    The file has one input, ``inputs``, with any number of rows, and two outputs, ``logits`` and
    ``probabilities`` (their softmax at temperature 1). It runs wherever ONNX Runtime does;
    :func:`attar.export.runtime.load` reads it. The model itself is not touched: a copy of it, in
    eval mode and on the CPU, is exported. Normalisation belongs into the model: what the file
    takes is what the model takes.

    The file is compared with the model on all rows of ``example``, in batches of several sizes,
    before it is put in its place; if they differ, nothing is written.

    Args:
        model: Gives logits ``[N, C]`` for a tensor ``[N, ...]``.
        path: Where to write; a file that is there is replaced.
        example: ``[N, ...]`` float32 or uint8, at least one row; real rows, validation rows for
            instance, since on random ones two models agree or differ for no good reason.
        classes: The name of each class, in the order of the logits.
        metadata: Anything that JSON can hold, kept in the file: metrics, say.
        columns: The recipe of a table's columns (``attar.columns``), kept in the file, so that
            the file answers named columns.
        tolerance: The largest difference in a probability that is accepted.
        margin: Another class is accepted where the model's two likeliest classes differ by no
            more than this in probability.

    Raises:
        AttarError: If an argument is not as described, the model cannot be expressed in ONNX,
            or the file and the model differ.

    >>> import pathlib, tempfile, torch
    >>> from attar.export import runtime, to_onnx
    >>> model = torch.nn.Linear(2, 2)
    >>> with torch.no_grad():
    ...     _ = model.weight.copy_(torch.eye(2)), model.bias.zero_()
    >>> rows = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "student.onnx")
    ...     export = to_onnx(model, path, example=rows, classes=["left", "right"])
    ...     student = runtime.load(path)
    >>> export.rows_checked, export.argmax_differences
    (2, 0)
    >>> student.predict(rows)
    array(['left', 'right'], dtype='<U5')
    >>> student.predict_proba(rows).round(3)
    array([[0.953, 0.047],
           [0.269, 0.731]], dtype=float32)
    """
    check_number(_OWNER, "tolerance", tolerance, low=0.0)
    check_number(_OWNER, "margin", margin, low=0.0)
    properties = _properties(classes, metadata, columns)
    example = _checked_example(example)
    wrapper = _WithProbabilities(_copy(model)).eval().requires_grad_(False)
    logits = _reference(wrapper, example, len(classes))
    data = _finished(_graph(wrapper, example), properties, len(classes))
    student = runtime.loads(data, name=_OWNER)
    difference, changed = _prove(student, example, logits, tolerance=tolerance, margin=margin)
    path = Path(path)
    write_whole(_OWNER, path, data)
    return Export(path, len(data), difference, changed, len(example), OPSET)


class _WithProbabilities(nn.Module):
    """The model with the two outputs that the file has."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(inputs)
        if logits.dtype != torch.float32:
            logits = logits.float()
        return logits, torch.softmax(logits, dim=1)


def _properties(classes: Sequence[str], metadata: Any, columns: Any) -> dict[str, str]:
    """What the file says about itself; the keys that :mod:`attar.export.runtime` reads."""
    names = list(classes)
    if isinstance(classes, str) or not all(isinstance(name, str) for name in names):
        raise AttarError(
            f"{_OWNER}: classes must be names (strings), one a class. Got {str(classes)[:100]}."
        )
    if len(names) < 2 or len(set(names)) < len(names):
        raise AttarError(
            f"{_OWNER}: classes must be at least two different names. Got {str(names)[:100]}."
        )
    values = {"attar.version": attar.__version__, "attar.classes": json.dumps(names)}
    for name, value in (("metadata", metadata), ("columns", columns)):
        if value is None:
            continue
        try:
            # A NaN would be written as a word that JSON does not know.
            text = json.dumps(value, allow_nan=False, default=_plain)
        except (TypeError, ValueError) as error:
            raise AttarError(f"{_OWNER}: {name} must fit into JSON: {error}.") from error
        values[f"attar.{name}"] = text
    return values


def _plain(value: Any) -> Any:
    """A Python number from a number of numpy or torch, for JSON."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    raise TypeError(f"got {type(value).__name__} {str(value)[:60]}")


def _checked_example(example: Tensor) -> Tensor:
    if not isinstance(example, Tensor) or example.dtype not in (torch.float32, torch.uint8):
        kind = example.dtype if isinstance(example, Tensor) else type(example).__name__
        raise AttarError(
            f"{_OWNER}: example must be a float32 or uint8 tensor of real rows. Got {kind}. The "
            f"file will take numbers of the example's type."
        )
    if example.ndim < 2 or example.numel() == 0:
        raise AttarError(
            f"{_OWNER}: example must have shape [N, ...] with at least one row. Got "
            f"{tuple(example.shape)}. A single row needs its batch axis: example[None]."
        )
    check_finite(_OWNER, "example", example)
    return example.detach().cpu().contiguous()


def _copy(model: nn.Module) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise AttarError(f"{_OWNER}: model must be a torch module. Got {type(model).__name__}.")
    try:
        return copy.deepcopy(model).cpu()
    except RuntimeError as error:
        raise AttarError(f"{_OWNER}: the model cannot be copied: {error}") from error


def _reference(wrapper: nn.Module, example: Tensor, classes: int) -> Tensor:
    """What the model says: logits ``[N, C]``, float64."""
    try:
        with torch.no_grad():
            logits = torch.cat([wrapper(rows)[0] for rows in torch.split(example, _CHUNK)])
    except Exception as error:
        raise AttarError(
            f"{_OWNER}: the model cannot answer the example of shape {tuple(example.shape)}, "
            f"{example.dtype}, with a tensor of logits [N, C]: {error}"
        ) from error
    check_logits(_OWNER, "the model's answer", logits, rows=len(example))
    if logits.shape[1] != classes:
        raise AttarError(
            f"{_OWNER}: classes must name each class of the model. Got {classes} names for "
            f"{logits.shape[1]} classes."
        )
    check_finite(_OWNER, "the model's logits", logits)
    return logits.double()


def _graph(wrapper: nn.Module, example: Tensor) -> Any:
    """The model as an ONNX graph (``onnx.ModelProto``).

    The tracer goes first: it takes 0.005 to 0.2 s where torch.export takes 0.6 to 3.5 s, and its
    graphs run as fast or faster. But it sees only the calls that were made, warns where Python
    decided something by a value, knows fewer operators, and will leave torch one day; in each of
    these cases torch.export takes over.
    """
    need("onnx", extra="train", purpose="export to ONNX")
    need("onnxscript", extra="train", purpose="export to ONNX")
    # Not one row: a size of one may be taken for a constant, or broadcast.
    rows = example[:3] if len(example) > 1 else example.repeat(2, *[1] * (example.ndim - 1))
    with _quiet(), torch.no_grad():
        with suppress(Exception):  # whatever stops the tracer, torch.export's word is the last
            return _traced(wrapper, rows)
        try:
            return _captured(wrapper, rows)
        except Exception as error:
            raise AttarError(
                f"{_OWNER}: {type(wrapper.model).__name__} cannot be expressed in ONNX with any "
                f"number of rows: {error}"
            ) from error


def _traced(wrapper: nn.Module, rows: Tensor) -> Any:
    import onnx

    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("error", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        path = Path(folder, "traced.onnx")
        torch.onnx.export(
            wrapper,
            (rows,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(_NAMES[:1]),
            output_names=list(_NAMES[1:]),
            dynamic_axes={name: {0: "batch"} for name in _NAMES},
        )
        return onnx.load(path)


def _captured(wrapper: nn.Module, rows: Tensor) -> Any:
    program = torch.onnx.export(
        wrapper,
        (rows,),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(_NAMES[:1]),
        output_names=list(_NAMES[1:]),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None  # it is None only where a file was asked for
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' progress and warnings to themselves."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _finished(proto: Any, properties: Mapping[str, str], classes: int) -> bytes:
    """The bytes of the file: without the traces of the machine, with what Attar adds."""
    import onnx

    _strip(proto.graph)
    proto.graph.name = "attar"
    proto.producer_name, proto.producer_version = "attar", attar.__version__
    proto.doc_string = ""
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, dict(properties))
    for output in proto.graph.output:  # an exporter may not know the sizes; the runtime needs C
        batch, count = onnx.TensorShapeProto.Dimension(), onnx.TensorShapeProto.Dimension()
        batch.dim_param, count.dim_value = "batch", classes
        del output.type.tensor_type.shape.dim[:]
        output.type.tensor_type.shape.dim.extend([batch, count])
    try:
        onnx.checker.check_model(proto, full_check=True)
        return bytes(proto.SerializeToString())
    except Exception as error:  # the checker's errors, and a message of more than 2 GB
        raise AttarError(f"{_OWNER}: the exported graph is not valid ONNX: {error}") from error


def _strip(graph: Any) -> None:
    """Remove what exporters note in a graph: source lines, with the paths of this machine."""
    del graph.value_info[:]
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    for node in graph.node:
        for attribute in node.attribute:
            attribute.doc_string = ""
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    _strip(inner)


def _prove(
    student: runtime.Student, example: Tensor, logits: Tensor, *, tolerance: float, margin: float
) -> tuple[float, int]:
    """The largest difference in probability, and the rows with another class, or an error."""
    difference, changed, wrong = 0.0, 0, 0
    for rows in _batches(len(example)):
        expected = torch.softmax(logits[rows], dim=1)
        inputs = example[rows].numpy()
        probabilities = torch.from_numpy(student.predict_proba(inputs)).double()
        from_logits = torch.softmax(torch.from_numpy(student.logits(inputs)).double(), dim=1)
        for got in (probabilities, from_logits):
            difference = max(difference, float((got - expected).abs().max()))
        best = expected.topk(2, dim=1)
        other = from_logits.argmax(dim=1) != best.indices[:, 0]
        changed += int(other.sum())
        wrong += int((other & (best.values[:, 0] - best.values[:, 1] > margin)).sum())
    if difference > tolerance or wrong:
        raise AttarError(
            f"{_OWNER}: the exported file does not answer as the model does, and was not kept: "
            f"over {len(example)} rows, probabilities differ by up to {difference:.2e} (allowed: "
            f"{tolerance:.2e}), and {wrong} rows whose two likeliest classes are more than "
            f"{margin:.2e} apart get another class (allowed: 0). Usual causes: dropout that is on "
            f"in eval mode, random numbers in forward, rows that depend on their batch."
        )
    return difference, changed


def _batches(rows: int) -> Iterator[Tensor]:
    """Positions ``[B]`` of all rows, in batches of 1, 7 and more; few rows are repeated."""
    order = torch.arange(max(rows, 1 + 7 + 16)) % rows
    yield order[:1]
    yield order[1:8]
    yield from torch.split(order[8:], _CHUNK)
