"""`attar evaluate`: the scores of a model on labelled rows."""

from __future__ import annotations

import json as json_
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attar.checks import AttarError, need
from attar.cli.inputs import Reading, data_form
from attar.cli.options import DataWord, Label, Labels, Size, Teachers, Trust
from attar.cli.teachers import TeacherWord, as_one, recipe_of, student_of_a_task

if TYPE_CHECKING:
    from attar.evaluation import Scores


def evaluate(
    model: Annotated[str, typer.Argument(help="An .onnx file, a bundle or a run folder.")],
    data: DataWord,
    label: Label = None,
    labels: Labels = None,
    size: Size = None,
    teacher: Teachers = None,
    trust: Trust = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a model on labelled rows; with --teacher also how closely it follows it.

    A student of a regression or of several labels knows the names of their columns.
    """
    from attar.cli import show
    from attar.cli.files import onnx_of

    own = TeacherWord(model, "onnx", onnx_of(model))
    data_form(data, "the data")
    words = [TeacherWord.of(word) for word in teacher or ()]
    need("torch", extra="train", purpose="attar evaluate")
    student = student_of_a_task(own)
    if student is not None:
        if words:
            raise AttarError(
                f"--teacher is there for classes alone. {model} is of the task {student.task}."
            )
        told, lines = _task_scores(student, data, label)
        if json:
            print(json_.dumps(told, indent=1, allow_nan=False))
        else:
            show.show_values({**lines, "bytes": own.path.stat().st_size})
        return
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


def _task_scores(student: Any, data: str, label: str | None) -> tuple[dict[str, Any], Any]:
    """The scores of such a student, for programs and for people."""
    import torch

    from attar.evaluation import label_scores, quantile_scores, value_scores

    quantiles = "pinball" in student.metadata
    if quantiles and label is None and data_form(data, "the data") == "table":
        raise AttarError(
            "a student of quantiles needs --label COLUMN, the values that it foretells."
        )
    names = ",".join(student.classes) if label is None else label
    rows = Reading(names, columns=student.columns, task=student.task).read(data, "the data")
    if rows.labels is None:
        raise AttarError("the data has no labels to score against.")
    width = 1 if quantiles else len(student.classes)
    if rows.labels.shape[1] != width:
        raise AttarError(
            f"the student answers with {', '.join(student.classes)}, so the data needs {width} "
            f"column{'s' if width > 1 else ''} of labels. Got {rows.labels.shape[1]}."
        )
    inputs: Any = rows.inputs
    inputs = inputs.numpy()
    if student.task == "multilabel":
        found = label_scores(torch.from_numpy(student.logits(inputs)), rows.labels)
        auc = found.macro_auc
        return found.to_dict(), {
            "rows": found.rows,
            "accuracy a label": f"{100 * found.accuracy:.2f} %",
            "all right": f"{100 * found.exact:.2f} %",
            "macro AUC": "not known" if auc is None else f"{auc:.4f}",
            "NLL": f"{found.nll:.4f} nats",
        }
    values = torch.from_numpy(student.values(inputs))
    if quantiles:
        levels = [float(name) for name in student.classes]
        told = quantile_scores(values, rows.labels, levels)
        return told.to_dict(), {
            "rows": told.rows,
            "pinball loss": f"{told.pinball:.6g}",
            "coverage error": f"{100 * told.coverage_error:.1f} %",
        }
    score = value_scores(values, rows.labels)
    return score.to_dict(), {
        "rows": score.rows,
        "R²": "not known" if score.r2 is None else f"{score.r2:.4f}",
        "MSE": f"{score.mse:.6g}",
        "MAE": f"{score.mae:.6g}",
    }


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
