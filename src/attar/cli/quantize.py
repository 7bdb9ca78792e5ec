"""`attar quantize`: a smaller file of a student, unless that costs too much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from attar.checks import need
from attar.cli.files import onnx_of
from attar.cli.inputs import data_form
from attar.cli.options import Label, Labels, Size
from attar.cli.teachers import TeacherWord, recipe_of


def quantize(
    model: Annotated[str, typer.Argument(help="The float student: an .onnx file or a run folder.")],
    validation: Annotated[str, typer.Option(help="Labelled rows that hold the bound.")],
    out: Annotated[Path, typer.Option(help="The ONNX file to write.")],
    train: Annotated[
        str | None, typer.Option(help="Training rows, for the ranges of static int8.")
    ] = None,
    method: Annotated[str, typer.Option(help="static, dynamic, float16 or bfloat16.")] = "static",
    max_drop: Annotated[
        float, typer.Option(help="The most accuracy that may be lost on validation, in points.")
    ] = 0.3,
    label: Label = None,
    labels: Labels = None,
    size: Size = None,
) -> None:
    """Write a student with smaller weights; what that costs is measured first."""
    from attar.cli import show

    own = TeacherWord(model, "onnx", onnx_of(model))
    for word in (validation, *([] if train is None else [train])):
        data_form(word, "the data")
    need("torch", extra="train", purpose="attar quantize")
    from attar.export import quantize as run

    reading = replace(recipe_of([own]), label=label, size=size)
    held = reading.read(validation, "validation", labels=labels)
    rows = None if train is None else reading.read(train, "train")
    done = run(own.path, out, validation=held, train=rows, method=method, max_drop=max_drop)
    cost = done.validation
    ratios = ", ".join(f"{ratio:.2f} at {n} rows" for n, ratio in done.latency_ratio.items())
    show.show_values(
        {
            "file": str(out),
            "bytes": f"{done.bytes:,} (before: {done.bytes_before:,})",
            "accuracy": f"{100 * cost.accuracy:.2f} % on {cost.rows:,} validation rows",
            "lost": f"{cost.drop:.2f} points ({cost.lost} rows lost, {cost.won} won)",
            "agrees with the float student": f"{100 * cost.agreement:.2f} %",
            "ECE": f"{100 * cost.ece:.2f} % (before: {100 * cost.ece_before:.2f} %)",
            f"worst class ({cost.worst_class})": f"{100 * cost.worst_class_accuracy:.2f} % "
            f"(before: {100 * cost.worst_class_before:.2f} %)",
            "time over the float student's": ratios,
        }
    )
