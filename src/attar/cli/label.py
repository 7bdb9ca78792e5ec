"""`attar label`: ask a teacher about every row once, and keep what it said."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from attar.checks import AttarError, need
from attar.cli.inputs import data_form
from attar.cli.options import DataWord, Label, Labels, Lenient, Size, Teachers, Trust
from attar.cli.teachers import TEACHER_FORMS, TeacherWord, as_one, recipe_of


def label(
    data: DataWord,
    out: Annotated[str, typer.Option(help="The folder of the store, or an address of fsspec.")],
    teacher: Teachers = None,
    trust: Trust = None,
    label: Label = None,
    lenient: Lenient = False,
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
    batch_size: Annotated[
        str, typer.Option(help="Rows of one question; auto: what a short measurement finds.")
    ] = "auto",
    name: Annotated[
        str | None,
        typer.Option(help="What the store calls this teacher, where several stand in it."),
    ] = None,
    shard: Annotated[
        str,
        typer.Option(
            metavar="I/N", help="One of N shares, 1/N to N/N, each by a process of its own."
        ),
    ] = "",
) -> None:
    """Keep a teacher's soft targets in a store. Called again, it goes on where it stopped."""
    from attar.cli import show

    data_form(data, "the data")
    share = _share(shard)
    words = [TeacherWord.of(word) for word in teacher or ()]
    if not words:
        raise AttarError(f"attar label needs a --teacher: {TEACHER_FORMS}.")
    need("torch", extra="train", purpose="attar label")
    from attar import store
    from attar.export.backend import BACKENDS

    reading = replace(recipe_of(words), label=label, size=size, lenient=lenient)
    rows = reading.read(data, "the data", labels=labels)
    asked = as_one(words, trust or [], rows, folds=folds)
    # From when, and from which row on, the teacher was asked; None until that is known.
    first = None if Path(out).exists() else (time.perf_counter(), 0)
    done, total = 0, 0
    with show.Reporter() as reporter:
        tell = reporter.counter("label", "The teacher answers")

        def progress(now: int, of: int) -> None:
            nonlocal first, done, total
            done, total = now, of
            first = first or (time.perf_counter(), done)
            tell(done, total)

        made = store.label_shard(
            asked,
            rows,
            out,
            shard=share,
            dtype=dtype,
            top_k=int(top_k) if top_k is not None and top_k.isdecimal() else top_k,  # type: ignore[arg-type]
            sample=sample,
            temperatures=temperature or [1.0],
            max_kl=max_kl,
            batch_size=batch_size_of(batch_size),
            name=name,
            backends=BACKENDS,
            progress=progress,
        )
    if made is None:
        line = f"share {shard} is done, {out} is not finished: other shares are still to come"
    else:
        line = f"{len(made):,} rows in {out}"
    if first is None:
        line += ", which was finished already" if made is not None else ""
    elif done > first[1]:
        line += f", {(done - first[1]) / (time.perf_counter() - first[0]):,.0f} rows/s"
    show.console().print(line, soft_wrap=True)


def batch_size_of(word: str) -> int | Literal["auto"]:
    """A number of rows, or ``"auto"``."""
    if word == "auto":
        return "auto"
    if not word.isdecimal() or int(word) < 1:
        raise AttarError(f"--batch-size must be a number of rows, or auto. Got {word}.")
    return int(word)


def _share(word: str) -> tuple[int, int]:
    """``"3/16"`` -> ``(2, 16)``; without a word, everything."""
    match = re.fullmatch(r"(\d+)/(\d+)", word or "1/1")
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise AttarError(f"--shard must be I/N with I from 1 to N, 3/16 say. Got {word}.")
    return int(match[1]) - 1, int(match[2])
