"""`attar evaluate`: the scores of a model on labelled rows."""

from __future__ import annotations

import json as json_
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attar.checks import AttarError, need
from attar.cli.inputs import data_form
from attar.cli.options import DataWord, Label, Labels, Size, Teachers, Trust
from attar.cli.teachers import TeacherWord, as_one, recipe_of

if TYPE_CHECKING:
    from attar.evaluation import Scores


def evaluate(
    model: Annotated[str, typer.Argument(help="An .onnx file or a run folder.")],
    data: DataWord,
    label: Label = None,
    labels: Labels = None,
    size: Size = None,
    teacher: Teachers = None,
    trust: Trust = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a model on labelled rows; with --teacher also how closely it follows it."""
    from attar.cli import show
    from attar.cli.files import onnx_of

    own = TeacherWord(model, "onnx", onnx_of(model))
    data_form(data, "the data")
    words = [TeacherWord.of(word) for word in teacher or ()]
    need("torch", extra="train", purpose="attar evaluate")
    from attar import evaluation

    reading = replace(recipe_of([own, *words]), label=label, size=size)
    rows = reading.read(data, "the data", labels=labels)
    if rows.labels is None:
        raise AttarError(
            "the data has no labels to score against: name them, with --label COLUMN for a table "
            "or --labels FILE for an idx file."
        )
    answers = None
    if words:
        answers = evaluation.predict_logits(as_one(words, trust or [], rows), rows)
    scores = evaluation.evaluate(as_one([own], [], rows), rows, teacher_logits=answers)
    if json:
        print(json_.dumps(scores.to_dict(), indent=1, allow_nan=False))
    else:
        show.show_values(_lines(scores))


def _lines(scores: Scores) -> dict[str, Any]:
    """The scores as a person reads them."""
    lines: dict[str, Any] = {
        "rows": scores.rows,
        "accuracy": f"{100 * scores.accuracy:.2f} %",
        "NLL": f"{scores.nll:.4f} nats",
        "Brier": f"{scores.brier:.4f}",
        "ECE": f"{100 * scores.ece:.2f} %",
        f"worst class ({scores.worst_class})": f"{100 * scores.worst_class_accuracy:.2f} %",
        "errors": scores.errors,
    }
    if scores.agreement is not None:
        lines["agrees with the teacher"] = f"{100 * scores.agreement:.2f} %"
        lines["KL to the teacher"] = f"{scores.kl_to_teacher:.4f} nats"
        lines["errors inherited from it"] = scores.errors_inherited
        lines["errors of its own"] = scores.errors_own
    if scores.parameters is not None:  # an ONNX file's scaling is among its numbers
        lines["numbers in the file"] = scores.parameters
    if scores.bytes is not None:
        lines["bytes"] = scores.bytes
    return lines
