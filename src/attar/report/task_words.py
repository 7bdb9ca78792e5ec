"""The words and tables of the page of a regression, or of several labels a row."""

from __future__ import annotations

import statistics
from typing import Any

from attar.report import words
from attar.report.figure import whole
from attar.report.figures.values import errors_by_range
from attar.report.run import ARMS, Run

#: By task: the head of a score, its name in result.json, its factor, and how it is written.
_COLUMNS: dict[str, list[tuple[str, str, float, str]]] = {
    "regression": [
        ("R²", "r2", 1, ".3f"),
        ("MSE", "mse", 1, ".4g"),
        ("MAE", "mae", 1, ".4g"),
        ("squared distance from the teacher", "mse_to_teacher", 1, ".4g"),
    ],
    "quantiles": [
        ("pinball loss", "pinball", 1, ".4g"),
        ("coverage error", "coverage_error", 100, ".1f"),
    ],
    "multilabel": [
        ("accuracy a label", "accuracy", 100, ".2f"),
        ("all right", "exact", 100, ".2f"),
        ("macro AUC", "macro_auc", 1, ".3f"),
        ("NLL", "nll", 1, ".3f"),
        ("agrees", "agreement", 100, ".1f"),
    ],
}
_LEARNT = {
    "hard": "the labels alone, without a teacher",
    "smoothed": "the same labels, made a little less sure of themselves: shows what plain "
    "regularisation gives",
    "distilled": "what the teacher says of each row, beside the labels",
}
_TAUGHT = {
    "regression": "to give the values that the teacher gives",
    "quantiles": "to give the quantiles that the teacher gives",
    "multilabel": "to find every label as likely as the teacher finds it",
}


def about_task(run: Run) -> dict[str, Any]:
    """All that the template is filled with, beside the figures."""
    return {
        **words.shared(run),
        "numbers": words.headline(run),
        "learnt": [{"key": k, "name": ARMS[k], "says": _LEARNT[k]} for k in run.arms],
        "taught": _TAUGHT[run.task],
        "table": table(run),
        "of_values": run.task != "multilabel",
        "code": _code(run),
        "ranges": errors_by_range(run),
    }


def table(run: Run) -> dict[str, Any]:
    """Every score of teacher and arms, mean ± standard deviation over the seeds."""
    columns = _COLUMNS[run.task]
    head = ["", *[title for title, *_ in columns], "parameters", "ms"]
    scores = run.told["teacher"]["scores"]
    cells = [_cell([scores[key].number()], factor, form) for _, key, factor, form in columns]
    rows = [[f"teacher: {run.teacher.name}", *cells, *_size(run.teacher)]]
    for name in run.arms:
        seeds = [one["test"] for one in run.told["arms"][name]["runs"].list()]
        cells = [
            _cell([seed[key].number() for seed in seeds], factor, form)
            for _, key, factor, form in columns
        ]
        rows.append([f"student: {ARMS[name]}", *cells, *_size(run.student)])
    return {"head": head, "rows": rows}


def _cell(values: list[float | None], factor: float, form: str) -> str:
    known = [factor * value for value in values if value is not None]
    if not known or len(known) < len(values):
        return "–"
    mean = sum(known) / len(known)
    if len(known) == 1:
        return f"{mean:{form}}{' %' if factor == 100 else ''}"
    spread = statistics.stdev(known)
    return f"{mean:{form}} ± {spread:{form}}{' %' if factor == 100 else ''}"


def _size(model: Any) -> list[str]:
    time = None if not model.latency or 1 not in model.latency else model.latency[1][0]
    return [whole(model.parameters), "–" if time is None else f"{time:.3f}"]


def _code(run: Run) -> list[dict[str, str]]:
    """Code that works as it stands in the run folder; none where nothing was exported."""
    if not run.told["export"]:
        return []
    call = "student.predict(rows)"
    if run.task == "multilabel":
        call = "student.predict_proba(rows).round(3)"
    python = f"""import numpy as np
from attar.export import runtime

student = runtime.load("student.onnx")
rows = np.load("example.npy")[:5]  # rows of the training set
print(student.classes)
print({call})"""
    return [
        {"name": "Python: numpy and onnxruntime alone", "language": "python", "text": python},
        {"name": "Shell", "language": "shell", "text": "attar predict . example.npy"},
        {
            "name": "All of it to ship",
            "language": "shell",
            "text": "attar bundle . --out student.zip",
        },
    ]
