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
    dtype: Annotated[
        str | None, typer.Option(help="float32 where nothing is said; float16, int8.")
    ] = None,
    top_k: Annotated[
        str | None,
        typer.Option(
            help="Keep so many of the best logits; auto: the smallest record within --max-kl."
        ),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(help="Keep so many classes, drawn from the teacher's answer.")
    ] = None,
    temperature: Annotated[
        list[float] | None,
        typer.Option(help="To be used at it, where not all is kept; may be given again."),
    ] = None,
    max_kl: Annotated[
        float | None, typer.Option(help="What --top-k auto may lose, in nats: 0.001.")
    ] = None,
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

        made = store.label(
            asked,
            rows,
            out,
            dtype=dtype,
            top_k=int(top_k) if top_k is not None and top_k.isdecimal() else top_k,  # type: ignore[arg-type]
            sample=sample,
            temperatures=temperature or [1.0],
            max_kl=max_kl,
            batch_size=batch_size,
            progress=progress,
        )
    line = f"{len(made):,} rows in {out}"
    if first is None:
        line += ", which was finished already"
    elif len(made) > first[1]:
        pace = (len(made) - first[1]) / (time.perf_counter() - first[0])
        line += f", {pace:,.0f} rows/s"
    show.console().print(line, soft_wrap=True)
