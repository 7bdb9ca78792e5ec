"""A trained model as one ONNX file, with proof that the file answers as the model does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import attar
from attar.checks import AttarError, check_number
from attar.data.label_columns import check_task
from attar.export import runtime
from attar.export.channels import in_fours
from attar.export.graph import OPSET, OWNER, WithProbabilities, to_bytes, trace
from attar.export.proof import check_example, check_names, copy_of, prove, reference
from attar.export.tables import Takes, encode_inside, raw_rows
from attar.export.task_proof import prove_task
from attar.files import as_json, write_whole


@dataclass(frozen=True)
class Export:
    """What was written, and how close it is to the model.

    Attributes:
        path: The file.
        bytes: Its size.
        max_probability_difference: The largest absolute difference, over all checked rows and
            classes, between a probability of the file and of the model; of a regression the
            largest difference in a value, as a share of the standard deviation of its column.
        argmax_differences: How many checked rows get another class, or other labels; all of
            them were ties, or the export would have raised.
        rows_checked: How many rows were compared.
        opset: The version of ONNX's operators in the file; None in a file that is no ONNX.
        temperature: What the file divides the model's logits by.
    """

    path: Path
    bytes: int
    max_probability_difference: float
    argmax_differences: int
    rows_checked: int
    opset: int | None
    temperature: float = 1.0


def to_onnx(
    model: nn.Module,
    path: str | Path,
    *,
    example: Tensor,
    classes: Sequence[str],
    metadata: Mapping[str, Any] | None = None,
    columns: Sequence[Mapping[str, Any]] | None = None,
    takes: Takes = "encoded",
    temperature: float = 1.0,
    tolerance: float = 1e-4,
    margin: float = 2e-4,
    task: str = "multiclass",
) -> Export:
    """Write a model as ONNX, and prove on real rows that the file answers as the model does.

    The file has one input, ``inputs``, with any number of rows (others with ``takes``), and two
    outputs, ``logits`` and ``probabilities`` (their softmax at temperature 1). It runs wherever
    ONNX Runtime does; :func:`attar.export.runtime.load` reads it. The model itself is not
    touched: a copy of it, in eval mode and on the CPU, is exported. Normalisation belongs into
    the model: what the file takes is what the model takes.

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
        takes: ``"encoded"``: the file has the one input that the model has. With ``columns`` the
            whole encoding can go into the graph: ``"columns"`` has an input ``[N, 1]`` for each
            column, numbers with NaN for a gap or texts with ``""``, and ``"matrix"`` one
            ``[N, columns]`` for all, where all are numbers. A gap is filled and marked, a new
            category is none of the known ones, as ``columns`` says; where it says nothing of
            these, such a row gets NaN (and through :mod:`attar.export.runtime` an error).
        temperature: Above 0. The file gives the model's logits divided by it
            (:func:`attar.evaluation.fit_temperature`), and the probabilities of these: so
            ``softmax(logits)`` are the ``probabilities``, here as in every file. The order of
            the classes stays as it was.
        tolerance: The largest difference in a probability that is accepted.
        margin: Another class is accepted where the model's two likeliest classes differ by no
            more than this in probability.
        task: ``"multiclass"``; ``"multilabel"``: ``probabilities`` are the sigmoids of the
            logits, each label its own; ``"regression"``: the one output is ``values``, and
            ``tolerance`` is a share of each column's standard deviation.

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
    if takes not in ("encoded", "columns", "matrix") or (takes != "encoded" and not columns):
        raise AttarError(
            f"The 'takes' parameter of {OWNER} must be 'encoded', or with columns= 'columns' or "
            f"'matrix'. Got {takes!r} instead."
        )
    check_task(OWNER, task)
    properties = _properties(classes, metadata, columns, temperature, task)
    example = check_example(OWNER, example, columns)
    wrapper = WithProbabilities(copy_of(OWNER, model), temperature, task)
    wrapper = wrapper.eval().requires_grad_(False)
    logits = reference(OWNER, wrapper, example, len(classes)) / temperature
    proto = in_fours(trace(wrapper, example))
    asked: Any = example.numpy()
    if takes != "encoded":
        assert columns is not None
        encode_inside(proto, columns, takes)
        asked = raw_rows(asked, columns, takes)
        properties = {runtime.TAKES: json.dumps(takes), **properties}
    data = to_bytes(proto, properties, classes=len(classes))
    student = runtime.loads(data, name=OWNER)
    if student.rows is not None:
        raise AttarError(
            f"{OWNER}: the exported graph takes {student.rows} rows and no other number: the "
            f"model makes a constant of the number of rows. In forward, write x.shape[0] in place "
            f"of len(x) or int(x.shape[0])."
        )
    proof = prove if task == "multiclass" else prove_task
    difference, changed = proof(OWNER, student, asked, logits, tolerance=tolerance, margin=margin)
    path = Path(path)
    write_whole(OWNER, path, data)
    return Export(path, len(data), difference, changed, len(example), OPSET, temperature)


def _properties(
    classes: Sequence[str], metadata: Any, columns: Any, temperature: float, task: str
) -> dict[str, str]:
    """What the file says about itself; the keys that :mod:`attar.export.runtime` reads."""
    names = check_names(OWNER, classes, least=2 if task == "multiclass" else 1)
    values = {"attar.classes": json.dumps(names), "attar.temperature": json.dumps(temperature)}
    for name, value in (("metadata", metadata), ("columns", columns)):
        if value is not None:
            values[f"attar.{name}"] = as_json(OWNER, name, value)
    if task != "multiclass":
        values[runtime.TASK] = json.dumps(task)
    return {**values, "attar.version": attar.__version__}  # last: its absence tells of a cut
