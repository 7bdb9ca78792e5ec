"""`attar quantize`: a smaller file of a student, unless that costs too much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attar.checks import AttarError, need
from attar.cli.aware import Training, train_with_rounding
from attar.cli.files import onnx_of
from attar.cli.inputs import RunFiles, data_form
from attar.cli.options import (
    DATA,
    STUDENT,
    Label,
    Labels,
    Shift,
    Size,
    Teachers,
    Trust,
    ViewCount,
)
from attar.cli.teachers import TeacherWord, check_of_classes, recipe_of

if TYPE_CHECKING:
    from attar.export import Quantized


def quantize(
    model: Annotated[
        str,
        typer.Argument(
            help="The float student: an .onnx file, a bundle or a run folder; with --aware one of "
            "the last two, since it needs the weights."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The ONNX file to write.")],
    validation: Annotated[
        str | None,
        typer.Option(
            help="Labelled rows that hold the bound; those that the run cut from --train where "
            "it is a run that is made --aware.",
            rich_help_panel=DATA,
        ),
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(
            help="Training rows: for the ranges of static int8, and to train on with --aware.",
            rich_help_panel=DATA,
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            help="Labelled rows that decide nothing; the cost is told on them, too.",
            rich_help_panel=DATA,
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="static (the default), dynamic, float16 or bfloat16.")
    ] = None,
    max_drop: Annotated[
        float, typer.Option(help="The most accuracy that may be lost on validation, in points.")
    ] = 0.3,
    reduce_range: Annotated[
        bool | None,
        typer.Option(
            "--reduce-range/--full-range",
            help="Weights in 7 bits, for x86 processors without VNNI, or in 8; as this processor "
            "needs it by default.",
        ),
    ] = None,
    aware: Annotated[
        bool,
        typer.Option(
            "--aware",
            help="Train the student a little longer, with int8 rounding in it and the teacher as "
            "its guide.",
            rich_help_panel=STUDENT,
        ),
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="With --aware: passes over --train; 3, or as many as make 300 steps.",
            min=1,
            rich_help_panel=STUDENT,
        ),
    ] = None,
    learning_rate: Annotated[
        float,
        typer.Option(
            help="With --aware: a tenth of what it was trained with.", rich_help_panel=STUDENT
        ),
    ] = 2e-4,
    temperature: Annotated[
        float, typer.Option(help="With --aware: of the soft targets.", rich_help_panel=STUDENT)
    ] = 4.0,
    alpha: Annotated[
        float, typer.Option(help="With --aware: their weight.", rich_help_panel=STUDENT)
    ] = 0.9,
    seed: Annotated[int, typer.Option(min=0, rich_help_panel=STUDENT)] = 0,
    student: Annotated[
        str | None,
        typer.Option(
            help="With --aware: module:function that makes the module, where it is your own.",
            rich_help_panel=STUDENT,
        ),
    ] = None,
    shift: Shift = None,
    views: ViewCount = None,
    teacher: Teachers = None,
    trust: Trust = None,
    label: Label = None,
    labels: Labels = None,
    size: Size = None,
) -> None:
    """Write a student with smaller weights; what that costs is measured first.

    A run folder keeps what it costs, for its report. With --aware the student learns to round:
    from --teacher, or from what its run's teacher said.
    """
    from attar.cli import show

    words = [TeacherWord.of(word) for word in teacher or ()]
    files = RunFiles(train or "", labels, validation, test, None)
    if not aware:
        for name, given in (("--teacher", teacher), ("--epochs", epochs), ("--shift", shift)):
            if given is not None:
                raise AttarError(f"{name} belongs to --aware: add it, or leave {name} out.")
        done = _after(model, out, files, method or "static", max_drop, reduce_range, label, size)
    else:
        if method is not None:
            raise AttarError(f"give --aware or --method {method}, not both.")
        how = Training(
            epochs=epochs,
            learning_rate=learning_rate,
            temperature=temperature,
            alpha=alpha,
            seed=seed,
            max_drop=max_drop,
            reduce_range=reduce_range,
        )
        done = train_with_rounding(
            model,
            out,
            how,
            files=files,
            student=student,
            views=(shift, views),
            words=words,
            trust=trust or [],
            label=label,
            size=size,
        )
    if (Path(model) / "result.json").exists():
        done.save(model)
    show.show_values(_lines(done))


def _after(
    model: str,
    out: Path,
    files: RunFiles,
    method: str,
    max_drop: float,
    reduce_range: bool | None,
    label: str | None,
    size: int | None,
) -> Quantized:
    """Without training."""
    own = TeacherWord(model, "onnx", onnx_of(model))
    check_of_classes("attar quantize", [own])
    if files.validation is None:
        raise AttarError("attar quantize needs --validation, labelled rows that hold the bound.")
    parts = {"validation": files.validation, "train": files.train, "test": files.test}
    given = {name: word for name, word in parts.items() if word}
    for name, word in given.items():
        data_form(word, f"--{name}")
    need("torch", extra="train", purpose="attar quantize")
    from attar.export import quantize as run

    reading = replace(recipe_of([own]), label=label, size=size)
    labels = files.labels
    rows: dict[str, Any] = {
        name: reading.read(word, name, labels=labels if name == "validation" else None)
        for name, word in given.items()
    }
    return run(own.path, out, method=method, max_drop=max_drop, reduce_range=reduce_range, **rows)


def _lines(done: Quantized) -> dict[str, Any]:
    """What was written and what it costs, as a person reads it."""
    from attar.export.quantization import KEPT

    cost = done.validation
    ratios = ", ".join(f"{ratio:.2f} at {n} rows" for n, ratio in done.latency_ratio.items())
    lines: dict[str, Any] = {
        "file": f"{done.path}, {done.method}, weights in {done.bits} bits{KEPT[done.float_layers]}",
        "bytes": f"{done.bytes:,} (before: {done.bytes_before:,})",
        "accuracy": f"{100 * cost.accuracy:.2f} % on {cost.rows:,} validation rows",
        "lost": f"{cost.drop:.2f} points ({cost.lost} rows lost, {cost.won} won)",
        "agrees with the float student": f"{100 * cost.agreement:.2f} %",
        "ECE": f"{100 * cost.ece:.2f} % (before: {100 * cost.ece_before:.2f} %)",
        f"worst class ({cost.worst_class})": f"{100 * cost.worst_class_accuracy:.2f} % "
        f"(before: {100 * cost.worst_class_before:.2f} %)",
        "time over the float student's": ratios,
    }
    if done.test is not None:
        lines["on test"] = (
            f"{100 * done.test.accuracy:.2f} % of {done.test.rows:,} rows; lost "
            f"{done.test.drop:.2f} points, agrees on {100 * done.test.agreement:.2f} %"
        )
    return lines
