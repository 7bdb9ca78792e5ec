"""A trained model as one ONNX file, with proof that the file answers as the model does."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import attar
from attar.checks import AttarError, check_finite, check_logits, check_number
from attar.columns import encoded_width
from attar.export import runtime
from attar.export.graph import OPSET, OWNER, WithProbabilities, to_bytes, trace
from attar.export.runtime import first_line
from attar.files import as_json, write_whole
from attar.types import ask, dense_logits

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
    columns: Sequence[Mapping[str, Any]] | None = None,
    temperature: float = 1.0,
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
        model: Gives logits ``[N, C]`` for a tensor ``[N, ...]``, alone or as ``.logits``.
        path: Where to write; a file that is there is replaced.
        example: ``[N, ...]`` float32 or uint8, at least one row; real rows, validation rows for
            instance, since on random ones two models agree or differ for no good reason.
        classes: The name of each class, in the order of the logits.
        metadata: Anything that JSON can hold, kept in the file: metrics, say.
        columns: How a table becomes ``inputs`` (:func:`attar.columns.describe_columns`), kept
            in the file, so that the student takes named columns.
        temperature: Above 0. The file gives the model's logits divided by it
            (:func:`attar.evaluation.fit_temperature`), and the probabilities of these: so
            ``softmax(logits)`` are the ``probabilities``, here as in every file. The order of
            the classes stays as it was.
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
    check_number(OWNER, "temperature", temperature, low=0.0, low_open=True)
    check_number(OWNER, "tolerance", tolerance, low=0.0)
    check_number(OWNER, "margin", margin, low=0.0)
    properties = _properties(classes, metadata, columns, temperature)
    example = _checked_example(example, columns)
    wrapper = WithProbabilities(_copy(model), temperature).eval().requires_grad_(False)
    logits = _reference(wrapper, example, len(classes)) / temperature
    data = to_bytes(trace(wrapper, example), properties, classes=len(classes))
    student = runtime.loads(data, name=OWNER)
    if student.rows is not None:
        raise AttarError(
            f"{OWNER}: the exported graph takes {student.rows} rows and no other number: the "
            f"model makes a constant of the number of rows. In forward, write x.shape[0] in place "
            f"of len(x) or int(x.shape[0])."
        )
    difference, changed = _prove(student, example, logits, tolerance=tolerance, margin=margin)
    path = Path(path)
    write_whole(OWNER, path, data)
    return Export(path, len(data), difference, changed, len(example), OPSET)


def _properties(
    classes: Sequence[str], metadata: Any, columns: Any, temperature: float
) -> dict[str, str]:
    """What the file says about itself; the keys that :mod:`attar.export.runtime` reads."""
    names = list(classes)
    if isinstance(classes, str) or not all(isinstance(name, str) for name in names):
        raise AttarError(
            f"{OWNER}: classes must be names (strings), one a class. Got {str(classes)[:100]}."
        )
    if len(names) < 2 or len(set(names)) < len(names):
        raise AttarError(
            f"{OWNER}: classes must be at least two different names. Got {str(names)[:100]}."
        )
    values = {"attar.classes": json.dumps(names), "attar.temperature": json.dumps(temperature)}
    for name, value in (("metadata", metadata), ("columns", columns)):
        if value is not None:
            values[f"attar.{name}"] = as_json(OWNER, name, value)
    return {**values, "attar.version": attar.__version__}  # last: its absence tells of a cut


def _checked_example(example: Tensor, columns: Sequence[Mapping[str, Any]] | None) -> Tensor:
    if not isinstance(example, Tensor) or example.dtype not in (torch.float32, torch.uint8):
        kind = example.dtype if isinstance(example, Tensor) else type(example).__name__
        raise AttarError(
            f"{OWNER}: example must be a float32 or uint8 tensor of real rows. Got {kind}. The "
            f"file will take numbers of the example's type."
        )
    if example.ndim < 2 or example.numel() == 0:
        raise AttarError(
            f"{OWNER}: example must have shape [N, ...] with at least one row. Got "
            f"{tuple(example.shape)}. A single row needs its batch axis: example[None]."
        )
    if columns is not None and tuple(example.shape[1:]) != (encoded_width(columns),):
        raise AttarError(
            f"{OWNER}: example must have the {encoded_width(columns)} features that columns "
            f"describe. Got shape {tuple(example.shape)}."
        )
    check_finite(OWNER, "example", example)
    return example.detach().cpu().contiguous()


def _copy(model: nn.Module) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise AttarError(f"{OWNER}: model must be a torch module. Got {type(model).__name__}.")
    try:
        return copy.deepcopy(model).cpu()
    except RuntimeError as error:
        raise AttarError(f"{OWNER}: the model cannot be copied: {error}") from error


def _reference(wrapper: WithProbabilities, example: Tensor, classes: int) -> Tensor:
    """What the model says: logits ``[N, C]``, float64."""
    try:
        with torch.no_grad():
            parts = [
                dense_logits("export", ask(wrapper.model, rows))
                for rows in torch.split(example, _CHUNK)
            ]
    except Exception as error:
        raise AttarError(
            f"{OWNER}: the model cannot answer the example of shape {tuple(example.shape)}, "
            f"{example.dtype}: {first_line(error)}"
        ) from error
    if not isinstance(parts[0], Tensor):
        raise AttarError(
            f"{OWNER}: the model must answer with a tensor of logits [N, C]. Got "
            f"{type(parts[0]).__name__}. Wrap it in a module that returns the logits alone."
        )
    logits = torch.cat(parts)
    check_logits(OWNER, "the model's answer", logits, rows=len(example))
    if logits.shape[1] != classes:
        raise AttarError(
            f"{OWNER}: classes must name each class of the model. Got {classes} names for "
            f"{logits.shape[1]} classes."
        )
    check_finite(OWNER, "the model's logits", logits)
    return logits.double()


def _prove(
    student: runtime.Student, example: Tensor, logits: Tensor, *, tolerance: float, margin: float
) -> tuple[float, int]:
    """The largest difference in probability, and the rows with another class, or an error."""
    difference = 0.0
    changed = torch.zeros(len(example), dtype=torch.bool)
    far_apart = torch.zeros(len(example), dtype=torch.bool)
    for rows in _batches(len(example)):
        expected = torch.softmax(logits[rows], dim=1)
        inputs = example[rows].numpy()
        probabilities = torch.from_numpy(student.predict_proba(inputs)).double()
        from_logits = torch.softmax(torch.from_numpy(student.logits(inputs)).double(), dim=1)
        for got in (probabilities, from_logits):
            difference = max(difference, float((got - expected).abs().max()))
        best = expected.topk(2, dim=1)
        changed[rows] |= from_logits.argmax(dim=1) != best.indices[:, 0]
        far_apart[rows] = best.values[:, 0] - best.values[:, 1] > margin
    wrong = int((changed & far_apart).sum())
    if difference > tolerance or wrong:
        raise AttarError(
            f"{OWNER}: the exported file does not answer as the model does, and was not kept: "
            f"over {len(example)} rows, probabilities differ by up to {difference:.2e} (allowed: "
            f"{tolerance:.2e}), and {wrong} rows whose two likeliest classes are more than "
            f"{margin:.2e} apart get another class (allowed: 0). Usual causes: dropout that is on "
            f"in eval mode, random numbers in forward, rows that depend on their batch."
        )
    return difference, int(changed.sum())


def _batches(rows: int) -> Iterator[Tensor]:
    """Positions ``[B]`` of all rows, in batches of 1, 7 and more; few rows are repeated."""
    order = torch.arange(max(rows, 1 + 7 + 16)) % rows
    yield order[:1]
    yield order[1:8]
    yield from torch.split(order[8:], _CHUNK)
