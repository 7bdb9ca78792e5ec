"""Every way to run a model, timed in turn, in rounds: a ratio is one of the same minutes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from files import Files
from models import Trained
from numpy.typing import NDArray
from torch import nn

from attar.evaluation import call_times, first_rows
from attar.export import runtime

BATCHES = (1, 64)

Call = Callable[[], object]


def ways(
    trained: Trained, name: str, files: Files, inputs: NDArray[Any]
) -> tuple[dict[str, Call], dict[str, str]]:
    """Name -> a call that answers these rows; and why a way is not there."""
    student = trained.students[name].eval()
    tensor = torch.from_numpy(inputs)
    calls: dict[str, Call] = {"torch": lambda: student(tensor)}
    missing: dict[str, str] = {}
    for way, make in (("compile", _compiled), ("openvino", _openvino)):
        try:
            calls[way] = make(student, files, inputs)
        except Exception as error:  # not installed, or no compiler here: said, not hidden
            missing[way] = f"{type(error).__name__}: {str(error).splitlines()[0][:150]}"
    for kind, path in files.students.items():
        calls[kind] = _onnx(path, inputs)
    calls["teacher"] = _onnx(files.teacher, inputs)
    calls["teacher_torch"] = lambda: [member.module(tensor) for member in trained.teacher.members]
    return calls, missing


def _onnx(path: Path, inputs: NDArray[Any]) -> Call:
    """Attar's runtime, its checks included, on one thread."""
    model = runtime.load(path, threads=1)
    return lambda: model.logits(inputs)


def _compiled(student: nn.Module, files: Files, inputs: NDArray[Any]) -> Call:
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(files.teacher.parent / "inductor"))
    torch._dynamo.reset()
    compiled = torch.compile(student, dynamic=False)
    tensor = torch.from_numpy(inputs)
    compiled(tensor)
    return lambda: compiled(tensor)


def _openvino(student: nn.Module, files: Files, inputs: NDArray[Any]) -> Call:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    settings["INFERENCE_PRECISION_HINT"] = "f32"  # as the others: it would take bfloat16 itself
    core = openvino.Core()
    request = core.compile_model(files.students["fp32"], "CPU", settings).create_infer_request()
    return lambda: request.infer([inputs], share_inputs=True, share_outputs=True)


def measure(
    trained: Trained, name: str, files: Files, *, rounds: int, seconds: float
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A row a way, batch size and round."""
    table: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    for rows, inputs in first_rows(trained.test.inputs.numpy(), BATCHES).items():
        with torch.inference_mode():
            calls, lacking = ways(trained, name, files, inputs)
            missing |= lacking
            for number in range(rounds):
                times = call_times(calls, seconds=seconds, repetitions=10)
                table += [
                    {
                        "task": trained.task.name,
                        "student": name,
                        "way": way,
                        "batch": rows,
                        "round": number,
                        "p50_ms": float(np.percentile(taken, 50)) / 1e6,
                        "p99_ms": float(np.percentile(taken, 99)) / 1e6,
                        "calls": len(taken),
                    }
                    for way, taken in times.items()
                ]
    return table, missing


def overhead(rounds: int, seconds: float, folder: Path) -> list[dict[str, Any]]:
    """`predict` over a bare `InferenceSession.run`: an MLP 64-32-32-10, one row, one thread."""
    import onnxruntime

    from attar.export import to_onnx
    from attar.students import mlp

    torch.manual_seed(0)
    rows = torch.randn(64, 64)
    model = mlp.model(32, input_shape=(64,), classes=10).eval()
    path = folder / "overhead.onnx"
    to_onnx(model, path, example=rows, classes=[str(digit) for digit in range(10)])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    student = runtime.load(path, threads=1)
    row = rows[:1].numpy()
    calls: dict[str, Call] = {
        "bare": lambda: session.run(["logits"], {"inputs": row}),
        "predict": lambda: student.predict(row),
        "predict_proba": lambda: student.predict_proba(row),
    }
    table = []
    for number in range(rounds):
        times = call_times(calls, seconds=seconds)
        micros = {f"{way}_us": float(np.median(taken)) / 1e3 for way, taken in times.items()}
        table.append({"round": number, **micros})
    return table
