"""From a torch module to the graph that is stored: torch's exporters, tamed."""

from __future__ import annotations

import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import attar
from attar.checks import AttarError, need
from attar.export.runtime import PRODUCER, first_line
from attar.export.trees import trees_graph
from attar.students import TreeEnsemble
from attar.types import ask, dense_logits

#: The version of ONNX's operators. Both of torch's exporters write it as it is, and every
#: onnxruntime that Attar allows reads it.
OPSET = 18

OWNER = "to_onnx"
NAMES = ("inputs", "logits", "probabilities")


class WithProbabilities(nn.Module):
    """The model with the two outputs that the file has, its logits divided by a temperature.

    Args:
        model: Gives logits, or the values of a regression.
        temperature: That they are divided by.
        task: Of several labels each has a probability of its own; a regression has one output,
            ``values``.
    """

    def __init__(
        self, model: nn.Module, temperature: float = 1.0, task: str = "multiclass"
    ) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.task = task

    @property
    def names(self) -> tuple[str, ...]:
        """Of the input and the outputs."""
        return ("inputs", "values") if self.task == "regression" else NAMES

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """``logits`` and ``probabilities``, or ``values``; ``[N, C]`` float32."""
        logits = dense_logits("export", ask(self.model, inputs))
        if logits.dtype != torch.float32:
            logits = logits.float()
        if self.temperature != 1.0:  # else the graph has no node for it
            logits = logits / self.temperature
        if self.task == "regression":
            return (logits,)
        if self.task == "multilabel":
            return logits, torch.sigmoid(logits)
        return logits, torch.softmax(logits, dim=1)


def trace(wrapper: WithProbabilities, example: Tensor) -> Any:
    """The model as an ONNX graph (``onnx.ModelProto``).

    The tracer goes first: it takes 0.005 to 0.2 s where torch.export takes 0.6 to 3.5 s, and its
    graphs run as fast or faster. But it sees only the calls that were made, warns where Python
    decided something by a value, knows fewer operators, and will leave torch one day; in each of
    these cases torch.export takes over. Trees are written as the one operator that they are.
    """
    need("onnx", extra="train", purpose="export to ONNX")
    if isinstance(wrapper.model, TreeEnsemble) and wrapper.task != "multilabel":
        return trees_graph(wrapper.model, wrapper.temperature, names=wrapper.names, opset=OPSET)
    need("onnxscript", extra="train", purpose="export to ONNX")
    # Not one row: a size of one may be taken for a constant, or broadcast.
    rows = example[:3] if len(example) > 1 else example.repeat(2, *[1] * (example.ndim - 1))
    with quiet(), torch.no_grad():
        with suppress(Exception):  # whatever stops the tracer, torch.export's word is the last
            return _traced(wrapper, rows)
        try:
            return _captured(wrapper, rows)
        except Exception as error:
            reason = first_line(error.__cause__ or error)  # the exporter's own is a page of advice
            raise AttarError(
                f"{OWNER}: {type(wrapper.model).__name__} cannot be expressed in ONNX for any "
                f"number of rows: {reason}"
            ) from error


def _traced(wrapper: WithProbabilities, rows: Tensor) -> Any:
    import onnx

    # Where an operator has no translation, torch prints the whole graph, `verbose` or not, and
    # it makes sure of that as it starts: so this is turned off when it is under way.
    printing = getattr(torch._C, "_jit_set_onnx_log_enabled", lambda _: None)
    hook = wrapper.register_forward_pre_hook(lambda *_: printing(False))
    with warnings.catch_warnings(record=True) as caught, tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("always", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        path = Path(folder, "traced.onnx")
        try:
            torch.onnx.export(
                wrapper,
                (rows,),
                path,
                dynamo=False,
                opset_version=OPSET,
                input_names=list(wrapper.names[:1]),
                output_names=list(wrapper.names[1:]),
                dynamic_axes={name: {0: "batch"} for name in wrapper.names},
            )
        finally:
            hook.remove()
        for warning in caught:
            if issubclass(warning.category, torch.jit.TracerWarning):  # type: ignore[attr-defined]
                raise RuntimeError(str(warning.message))
        return onnx.load(path)


def _captured(wrapper: WithProbabilities, rows: Tensor) -> Any:
    program = torch.onnx.export(
        wrapper,
        (rows,),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(wrapper.names[:1]),
        output_names=list(wrapper.names[1:]),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None  # it is None only where a file was asked for
    return program.model_proto


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' progress, warnings and dumps to themselves."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with redirect_stderr(io.StringIO()):
                yield
    finally:
        logger.setLevel(level)


def to_bytes(proto: Any, properties: Mapping[str, str], *, classes: int) -> bytes:
    """The bytes of the file: without the traces of the machine, with what Attar adds."""
    import onnx

    _strip(proto.graph)
    proto.graph.name = "attar"
    proto.producer_name, proto.producer_version = PRODUCER, attar.__version__
    proto.ClearField("doc_string")
    proto.ClearField("metadata_props")
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
        raise AttarError(f"{OWNER}: the exported graph is not valid ONNX: {error}") from error


def _strip(graph: Any) -> None:
    """Remove what exporters note in a graph: source lines, with the paths of this machine."""
    del graph.value_info[:]
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    for node in graph.node:
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    _strip(inner)
