"""A network's answers through ONNX Runtime, where that is the faster way to ask it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from attar.checks import AttarError
from attar.export.channels import in_fours
from attar.export.graph import WithProbabilities, trace
from attar.export.proof import copy_of


def onnxruntime_backend(module: nn.Module, inputs: Any) -> Callable[[Any], Tensor]:
    """A network as a function of its inputs that ONNX Runtime computes, on the CPU.

    Args:
        module: Gives logits ``[N, C]`` for a tensor ``[N, ...]``, alone or as ``.logits``.
        inputs: ``[N, ...]``, real rows, by which it is traced.

    Returns:
        From inputs like these, any number of rows, to logits float32 on the CPU. It computes with
        as many threads as torch does now.

    Raises:
        AttarError: If the inputs are no single tensor, or the model cannot be expressed in ONNX.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> with torch.no_grad():
        ...     _ = model.weight.copy_(torch.eye(2)), model.bias.zero_()
        >>> run = onnxruntime_backend(model, torch.zeros(4, 2))
        >>> run(torch.tensor([[3.0, 1.0]]))
        tensor([[3., 1.]])
    """
    import onnxruntime as ort

    if not isinstance(inputs, Tensor):
        raise AttarError(
            "onnxruntime_backend: a model of several inputs is not asked through ONNX Runtime. Got "
            f"{type(inputs).__name__}."
        )
    model = copy_of("onnxruntime_backend", module).eval()
    # Of the two outputs only the logits are asked for, so the other one costs nothing.
    traced = trace(WithProbabilities(model), inputs[:64].cpu())
    program = in_fours(traced).SerializeToString()
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(program, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(some: Any) -> Tensor:
        (logits,) = session.run(["logits"], {name: some.detach().cpu().numpy()})
        return torch.from_numpy(logits)

    return run


#: What :func:`attar.label` can ask a network through, beside torch itself.
BACKENDS = {"onnxruntime": onnxruntime_backend}
