"""Calibration and smaller files on a run's page, from what the folder keeps of them."""

from __future__ import annotations

from typing import Any

from attar.report.figure import percent, whole
from attar.report.parts import Node
from attar.report.run import ARMS, Run

#: The file of a run folder that keeps what smaller files cost, one entry a method.
QUANTIZED = "quantized.json"

_METHODS = {
    "static": "int8, ranges from training rows",
    "dynamic": "int8, ranges found in each call",
    "qat": "int8, trained with rounding",
    "float16": "float16 weights",
    "bfloat16": "bfloat16 weights",
}
_FLOAT = {"first": "; first layer float32", "ends": "; first and last layer float32"}


def calibration(run: Run) -> dict[str, Any] | None:
    """The temperature of each arm's student under the shipped seed: NLL and ECE on test."""
    rows, note = [], None
    for name in run.arms:
        for one in run.told["arms"][name]["runs"].list():
            found = one["calibration"]
            if not found or one["seed"].count() != run.student_seed:
                continue
            before, after = found["test"]["before"], found["test"]["after"]
            temperature = found["temperature"].number(0)
            rows.append(
                [
                    ARMS[name],
                    "–" if temperature is None else f"{temperature:.3f}",
                    *(percent(side["ece"].number(0, 1)) for side in (before, after)),
                    *(_number(side["nll"].number(0)) for side in (before, after)),
                ]
            )
            if name == "distilled":
                note = found["note"].text()
    if not rows:
        return None
    inside = run.told["export"]["temperature"].number(0) or 1.0
    return {
        "head": ["", "temperature", "ECE before", "ECE after", "NLL before", "NLL after"],
        "rows": rows,
        "note": note,
        "inside": None if inside == 1.0 else f"{inside:.3f}",
    }


def smaller(run: Run) -> dict[str, Any] | None:
    """What each smaller file costs beside the float student, on validation."""
    if QUANTIZED not in run.parts:
        return None
    files = Node(run.parts[QUANTIZED], QUANTIZED)["files"].list()[:20]
    rows = [_file(one) for one in files]
    if not rows:
        return None
    return {
        "head": [
            "",
            "bytes (before)",
            "accuracy",
            "points lost",
            "on test",
            "agrees",
            "ECE (before)",
            "worst class",
            "time, 1 row",
            "64 rows",
        ],
        "rows": rows,
        "checked": whole(files[0]["validation"]["rows"].count()),
    }


def _file(one: Node) -> list[str]:
    cost, test, ratio = one["validation"], one["test"], one["latency_ratio"]
    method = one["method"].needed(one["method"].text())
    kept = _FLOAT.get(one["float_layers"].text() or "", "")
    return [
        f"{_METHODS.get(method, method)}{kept}",
        f"{whole(one['bytes'].count())} ({whole(one['bytes_before'].count())})",
        percent(cost["accuracy"].number(0, 1), 2),
        _number(cost["drop"].number(-100, 100), 2),
        _number(test["drop"].number(-100, 100), 2),
        percent(cost["agreement"].number(0, 1), 2),
        f"{percent(cost['ece'].number(0, 1))} ({percent(cost['ece_before'].number(0, 1))})",
        percent(cost["worst_class_accuracy"].number(0, 1)),
        *(_number(ratio[rows].number(0), 2) for rows in ("1", "64")),
    ]


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
