"""`attar cascade`: when a student asks its teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from attar.checks import AttarError, need
from attar.cli.files import onnx_of
from attar.cli.inputs import data_form
from attar.cli.options import Label, Labels, Size
from attar.cli.teachers import TeacherWord, check_of_classes, recipe_of


def cascade(
    student: Annotated[str, typer.Argument(help="An .onnx file or a run folder.")],
    teacher: Annotated[str, typer.Argument(help="An .onnx file.")],
    validation: Annotated[
        str, typer.Option(help="Labelled rows that neither model was trained on.")
    ],
    keep: Annotated[
        float | None, typer.Option(help="Of the teacher's accuracy, a fraction: 0.995.")
    ] = None,
    teacher_share: Annotated[
        float | None, typer.Option(help="The largest share of rows for the teacher: 0.05.")
    ] = None,
    confidence: Annotated[
        str, typer.Option(help="probability, margin, entropy or auto.")
    ] = "probability",
    out: Annotated[
        Path | None, typer.Option(help="A bundle of both models to write, .zip or a folder.")
    ] = None,
    label: Label = None,
    labels: Labels = None,
    size: Size = None,
) -> None:
    """Choose when to ask the teacher, so that a promise holds; a run folder gets cascade.json."""
    from attar.cli import show

    if keep is None and teacher_share is None:
        raise AttarError("attar cascade: name a goal, --keep 0.995 or --teacher-share 0.05.")
    words = [TeacherWord(word, "onnx", onnx_of(word)) for word in (student, teacher)]
    check_of_classes("attar cascade", words)
    data_form(validation, "the data")
    need("torch", extra="train", purpose="attar cascade")
    import attar

    reading = replace(recipe_of(words), label=label, size=size)
    rows = reading.read(validation, "validation", labels=labels)
    found = attar.cascade(
        words[0].path,
        words[1].path,
        validation=rows,
        keep=keep,
        teacher_share=teacher_share,
        confidence=confidence,
    )
    if Path(student).is_dir():
        found.save(student)
    show.show_values(_lines(found))
    if out is not None:
        found.export(out)


def _lines(found: Any) -> dict[str, Any]:
    choice, times = found.choice, found.latency
    return {
        "goal": choice.goal,
        "met": "yes" if choice.met else "no",
        "threshold": f"{choice.threshold:.6g} ({choice.confidence})",
        "teacher calls": f"{100 * choice.share:.2f} % (at most {100 * choice.share_high:.2f} %)",
        "accuracy": f"{100 * choice.accuracy:.2f} %",
        "student alone": f"{100 * choice.student_accuracy:.2f} %",
        "teacher": f"{100 * choice.teacher_accuracy:.2f} %",
        "time of a row, mean": f"{1e3 * times['cascade'].mean_ms:.1f} µs (teacher: "
        f"{1e3 * times['teacher'].mean_ms:.1f})",
        "99th percentile": f"{1e3 * times['cascade'].p99_ms:.1f} µs",
        "why": choice.reason,
    }
