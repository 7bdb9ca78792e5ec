"""`attar predict`: what a student says about rows; numpy and onnxruntime are enough."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Rows of one call: bounds the memory, nothing else.
_CHUNK = 4096


def predict(
    model: Annotated[
        str, typer.Argument(help="An .onnx file, a bundle (.zip or folder) or a run folder.")
    ],
    data: Annotated[str, typer.Argument(help="Rows: a .csv, .parquet, .npy or .npz file.")],
    out: Annotated[
        Path | None, typer.Option(help="Write all predictions to this CSV file.")
    ] = None,
    rows: Annotated[int, typer.Option(help="How many rows to print.", min=1)] = 10,
) -> None:
    """Predict the class of rows, with its probability. Needs no torch."""
    from attar.cli import files, show
    from attar.export import runtime

    student = runtime.load(files.onnx_of(model))
    found = files.read_rows(data)
    if student.columns is None:
        found = files.as_numbers(data, found)
    names, probabilities = _answers(student, found)
    if out is not None:
        _write(out, names, probabilities)
        show.console().print(f"{len(names):,} predictions written to {out}", soft_wrap=True)
        return
    first = [
        [str(row), names[row], f"{probabilities[row]:.4f}"] for row in range(min(rows, len(names)))
    ]
    show.console().print(show.table(["row", "class", "probability"], first))
    if len(names) > len(first):
        show.console().print(
            f"{len(first):,} of {len(names):,} rows; --out predictions.csv writes all of them."
        )


def _answers(student: Any, rows: Any) -> tuple[list[str], NDArray[Any]]:
    """The class of each row and its probability ``[N]``."""
    import numpy as np

    from attar.cli import files

    names: list[str] = []
    probabilities = []
    for start in range(0, max(1, files.count_rows(rows)), _CHUNK):
        answer = student.predict_proba(files.some_rows(rows, start, start + _CHUNK))
        names += [student.classes[place] for place in answer.argmax(axis=1)]
        probabilities.append(answer.max(axis=1))
    return names, np.concatenate(probabilities)


def _write(path: Path, names: list[str], probabilities: NDArray[Any]) -> None:
    import csv
    import io

    from attar.files import write_whole

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "class", "probability"])
    for row, (name, probability) in enumerate(zip(names, probabilities, strict=True)):
        writer.writerow([row, name, f"{probability:.6f}"])
    write_whole("attar predict", path, text.getvalue().encode())
