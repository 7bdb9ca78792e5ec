"""Options that several commands share, with one wording; and the panels of their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: Panels of ``--help``.
DATA, TEACHER, STUDENT, RUN = "Data", "Teacher", "Student and training", "Run"

DataWord = Annotated[
    str,
    typer.Argument(
        help="A folder of images, a .csv or .parquet table, an idx file, or an .npz with X and y."
    ),
]
Label = Annotated[
    str | None,
    typer.Option(help="The column of a table that is to be predicted.", rich_help_panel=DATA),
]
Labels = Annotated[
    str | None,
    typer.Option(
        help="The idx file of labels, where its name does not tell.", rich_help_panel=DATA
    ),
]
Size = Annotated[
    int | None,
    typer.Option(help="Resize the images of a folder to this side.", min=1, rich_help_panel=DATA),
]
Teachers = Annotated[
    list[str] | None,
    typer.Option(
        "--teacher",
        help="An .onnx or .skops file, a store, a run folder, module:object, or boosted-stack "
        "(for tables, fitted here); several are an ensemble.",
        rich_help_panel=TEACHER,
    ),
]
Trust = Annotated[
    list[str] | None,
    typer.Option(
        help="A type that a .skops file may hold, beside those known to be safe.",
        rich_help_panel=TEACHER,
    ),
]
Track = Annotated[
    list[str] | None,
    typer.Option(
        help="Log curves, scores and files to tensorboard, mlflow, wandb or trackio too.",
        rich_help_panel=RUN,
    ),
]
Shift = Annotated[
    int | None,
    typer.Option(
        help="Views of images: moved by up to so many pixels.", min=1, rich_help_panel=STUDENT
    ),
]
ViewCount = Annotated[
    int | None,
    typer.Option(
        "--views", help="How many views with --shift (8).", min=2, rich_help_panel=STUDENT
    ),
]
BundlePath = Annotated[
    Path | None,
    typer.Option(
        help="Write the student as a bundle, too: a .zip or a new folder.", rich_help_panel=RUN
    ),
]
