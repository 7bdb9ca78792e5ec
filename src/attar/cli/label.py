"""`attar label`: ask a teacher about every row once, and keep what it said."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from attar.checks import AttarError, need
from attar.cli.inputs import data_form
from attar.cli.options import DataWord, Label, Labels, Size, Teachers, Trust
from attar.cli.teachers import TEACHER_FORMS, TeacherWord, as_one, recipe_of


def label(
    data: DataWord,
    out: Annotated[Path, typer.Option(help="The folder of the store.")],
    teacher: Teachers = None,
    trust: Trust = None,
    label: Label = None,
    labels: Labels = None,
    size: Size = None,
    folds: Annotated[
        int,
        typer.Option(help="Estimators that saw these rows label them out of fold, by clones."),
    ] = 0,
    dtype: Annotated[str, typer.Option(help="float32, or float16 for half the disk.")] = "float32",
    batch_size: Annotated[int, typer.Option(help="Rows of one question.", min=1)] = 256,
) -> None:
    """Keep a teacher's soft targets in a store. Called again, it goes on where it stopped."""
    from attar.cli import show

    data_form(data, "the data")
    words = [TeacherWord.of(word) for word in teacher or ()]
    if not words:
        raise AttarError(f"attar label needs a --teacher: {TEACHER_FORMS}.")
    need("torch", extra="train", purpose="attar label")
    from attar import store

    reading = replace(recipe_of(words), label=label, size=size)
    rows = reading.read(data, "the data", labels=labels)
    asked = as_one(words, trust or [], rows, folds=folds)
    # From when, and from which row on, the teacher was asked; None until that is known.
    first = None if out.exists() else (time.perf_counter(), 0)
    with show.Reporter() as reporter:
        tell = reporter.counter("label", "The teacher answers")

        def progress(done: int, total: int) -> None:
            nonlocal first
            first = first or (time.perf_counter(), done)
            tell(done, total)

        made = store.label(asked, rows, out, dtype=dtype, batch_size=batch_size, progress=progress)
    line = f"{len(made):,} rows in {out}"
    if first is None:
        line += ", which was finished already"
    elif len(made) > first[1]:
        pace = (len(made) - first[1]) / (time.perf_counter() - first[0])
        line += f", {pace:,.0f} rows/s"
    show.console().print(line, soft_wrap=True)
