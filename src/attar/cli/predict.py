"""`attar predict`: what a student says about rows; numpy and onnxruntime are enough."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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
    """Predict the class of rows, with its probability, or their values. Needs no torch."""
    from attar.cli import files, show
    from attar.export import runtime

    student = runtime.load(files.onnx_of(model))
    found = files.read_rows(data)
    if student.columns is None:
        found = files.as_numbers(data, found)
    head, lines = _answers(student, found, digits=4 if out is None else 6)
    if out is not None:
        _write(out, head, lines)
        show.console().print(f"{len(lines):,} predictions written to {out}", soft_wrap=True)
        return
    first = [[str(row), *line] for row, line in enumerate(lines[:rows])]
    show.console().print(show.table(["row", *head], first))
    if len(lines) > len(first):
        show.console().print(
            f"{len(first):,} of {len(lines):,} rows; --out predictions.csv writes all of them."
        )


def _answers(student: Any, rows: Any, *, digits: int) -> tuple[list[str], list[list[str]]]:
    """The heads of what is said of a row, and it, row by row.

    A class and its probability, with so many digits; of several labels the probability of each;
    or values.
    """
    from attar.cli import files

    head = ["class", "probability"] if student.task == "multiclass" else list(student.classes)
    lines: list[list[str]] = []
    for start in range(0, max(1, files.count_rows(rows)), _CHUNK):
        part = files.some_rows(rows, start, start + _CHUNK)
        if student.task == "regression":
            lines += [[f"{value:.7g}" for value in row] for row in student.values(part)]
            continue
        answer = student.predict_proba(part)
        if student.task == "multilabel":
            lines += [[f"{value:.{digits}f}" for value in row] for row in answer]
            continue
        best = answer.argmax(axis=1)
        lines += [
            [student.classes[place], f"{answer[row, place]:.{digits}f}"]
            for row, place in enumerate(best)
        ]
    return head, lines


def _write(path: Path, head: list[str], lines: list[list[str]]) -> None:
    import csv
    import io

    from attar.files import write_whole

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", *head])
    for row, line in enumerate(lines):
        writer.writerow([row, *line])
    write_whole("attar predict", path, text.getvalue().encode())
