"""Options that several commands share, with one wording; and the panels of their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: Panels of ``--help``.
DATA, TEACHER, STUDENT, RUN = "Data", "Teacher", "Student and training", "Run"
GOAL = "Goal and sizes"

DataWord = Annotated[
    str,
    typer.Argument(
        help="A folder of images, a .csv or .parquet table, an idx file, or an .npz with X and y."
    ),
]
Label = Annotated[
    str | None,
    typer.Option(
        help="The column of a table that is to be predicted; of several labels or values their "
        "columns, with commas between.",
        rich_help_panel=DATA,
    ),
]
Lenient = Annotated[
    bool,
    typer.Option(
        "--lenient",
        help="Of a table: take gaps among numbers (the median stands there, and a mark says so) "
        "and, later, texts that were not there in training.",
        rich_help_panel=DATA,
    ),
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
Train = Annotated[
    str,
    typer.Option(
        help="A folder of images, a .csv or .parquet table, an idx file, or an .npz.",
        rich_help_panel=DATA,
    ),
]
Out = Annotated[Path, typer.Option(help="The run folder.", rich_help_panel=RUN)]
Validation = Annotated[
    str | None,
    typer.Option(help="Labelled; a fifth of --train by default.", rich_help_panel=DATA),
]
TestRows = Annotated[
    str | None,
    typer.Option(help="Labelled; a fifth of --train by default.", rich_help_panel=DATA),
]
Transfer = Annotated[
    str | None,
    typer.Option(
        help="More rows, for the soft targets alone; or the part of the rows of --train that "
        "the student is distilled on.",
        rich_help_panel=DATA,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on in --out.", rich_help_panel=RUN)]
AnyThreads = Annotated[
    bool,
    typer.Option(
        "--any-threads",
        help="Go on also with another thread count; the run then ends with other bits.",
        rich_help_panel=RUN,
    ),
]
Folds = Annotated[
    int,
    typer.Option(
        help="Estimators label the rows out of fold, by this many clones; 0: as they are.",
        rich_help_panel=TEACHER,
    ),
]
Members = Annotated[
    int,
    typer.Option(
        help="Networks of the ensemble that is trained without --teacher.",
        min=2,
        rich_help_panel=TEACHER,
    ),
]
TeacherWidth = Annotated[
    int | None,
    typer.Option(
        help="Their width; by default 256, or 32 for images.",
        min=1,
        rich_help_panel=TEACHER,
    ),
]
TeacherSteps = Annotated[
    int, typer.Option(help="Steps of each of them.", min=1, rich_help_panel=TEACHER)
]
Temperature = Annotated[
    str,
    typer.Option(help="A number, a list to choose from, or auto.", rich_help_panel=STUDENT),
]
Calibrate = Annotated[
    bool,
    typer.Option(
        "--calibrate",
        help="Ship the student with a temperature that makes its probabilities honest, "
        "fitted on validation.",
        rich_help_panel=STUDENT,
    ),
]
Alpha = Annotated[
    str,
    typer.Option(
        help="The weight of the soft targets: a number, a list, or auto.",
        rich_help_panel=STUDENT,
    ),
]
Loss = Annotated[
    str | None,
    typer.Option(
        help="kl, jsd, dkd, standardized_kl, a list of these, or auto. Where this, T or alpha "
        "is auto, or losses are several, all are searched for on validation.",
        rich_help_panel=STUDENT,
    ),
]
Seeds = Annotated[
    str, typer.Option(help="How many (3), or which (0,1,5).", rich_help_panel=STUDENT)
]
Steps = Annotated[
    int | None, typer.Option(help="Steps of every run.", min=1, rich_help_panel=STUDENT)
]
Epochs = Annotated[
    float | None,
    typer.Option(
        help="Instead: passes over the rows of --train, less those held out, and of --transfer "
        "(20, or as many as make 500 steps); views and rows drawn between rows make no run longer.",
        rich_help_panel=STUDENT,
    ),
]
BatchSize = Annotated[int, typer.Option(help="Rows a step.", min=1, rich_help_panel=STUDENT)]
LearningRate = Annotated[
    float, typer.Option(help="The peak of the schedule.", rich_help_panel=STUDENT)
]
