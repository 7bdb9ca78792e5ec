"""What a bundle says of its student, out of what the experiment says of itself."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attar
from attar.checks import AttarError

if TYPE_CHECKING:
    from attar.export.runtime import Student

#: Scores of an arm that are told as mean and standard deviation over its seeds.
SCORES = {
    "multiclass": (
        *("accuracy", "nll", "brier", "ece"),
        *("worst_class_accuracy", "errors", "agreement"),
    ),
    "multilabel": ("accuracy", "exact", "nll", "macro_auc", "agreement"),
    "regression": ("mse", "mae", "r2", "mse_to_teacher", "pinball", "coverage_error"),
}


def about(
    result: Mapping[str, Any] | None, student: Student, *, weights: str | None, name: str | None
) -> dict[str, Any]:
    """Everything in ``bundle.json`` but the models, the files and the digest.

    Args:
        result: The content of a ``result.json``; None for a model without an experiment.
        student: The first model.
        weights: The path of the safetensors file, None where there is none.
        name: What to call it; the student's name by default.
    """
    told = result or {}
    made = told.get("student", {})
    inputs, _ = student.tensors()
    teacher = told.get("teacher")
    prints = dict(told.get("fingerprints", {}))
    asked, code = prints.pop("teacher", None) or {}, prints.pop("code", None)
    versions = told.get("versions", {})
    return {
        "name": name or made.get("name") or "student",
        "task": told.get("task", student.task),
        "created": told.get("finished"),
        "input": {
            **inputs[0],
            "columns": student.columns,
            "preprocessing": {
                "outside": [] if student.columns is None else ["encode_columns"],
                "inside": ["standardize"] if made.get("family") else None,
            },
        },
        "classes": list(student.classes),
        "student": {
            "name": made.get("name") or name or "student",
            **{key: made.get(key) for key in ("family", "width", "input_shape", "seed")},
            "weights": weights,
        },
        "teacher": None
        if teacher is None
        else {
            "name": teacher["name"],
            "fingerprint": asked.get("fingerprint"),
            **{k: asked[k] for k in ("verified", "parameters", "bytes") if k in asked},
        },
        "data": None if result is None else {"rows": told["rows"], "fingerprints": prints},
        "code": {
            "attar": versions.get("attar", attar.__version__),
            "fingerprint": code_fingerprint() if result is None else code,
            **{key: versions[key] for key in ("torch", "python") if key in versions},
        },
        "scores": None if result is None else _scores(told),
        "verdict": None if result is None else _verdict(told),
        "calibration": calibration_of(told),
    }


def result_of(run: Path) -> dict[str, Any]:
    """The ``result.json`` of a finished run.

    Raises:
        AttarError: If there is none.
    """
    note = run / "result.json"
    if not note.exists():
        raise AttarError(
            f"{run} has no result.json: the run is not finished. attar distill --resume"
        )
    result: dict[str, Any] = json.loads(note.read_text("utf-8"))
    return result


def chosen_run(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Of the distilled arm the run whose student was kept, as ``result.json`` has it."""
    runs = result.get("arms", {}).get("distilled", {}).get("runs", [])
    seed = result.get("student", {}).get("seed")
    return next((run for run in runs if run["seed"] == seed), None)


def calibration_of(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """The temperature that was fitted to the kept student, with what it changes."""
    found = (chosen_run(result) or {}).get("calibration")
    return None if found is None else dict(found)


@functools.cache
def code_fingerprint() -> str:
    """A hash of Attar's own source files as they are installed here."""
    root = Path(attar.__file__).parent
    total = hashlib.sha256()
    for file in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        total.update(file.relative_to(root).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def _scores(result: Mapping[str, Any]) -> dict[str, Any]:
    arms = {}
    names = SCORES[result.get("task", "multiclass")]
    for arm, told in result["arms"].items():
        tests = [run["test"] for run in told["runs"]]
        columns = {name: [test.get(name) for test in tests] for name in names}
        numbers = {name: some for name, some in columns.items() if None not in some}
        arms[arm] = {
            "seeds": len(tests),
            "setting": told.get("setting"),
            "mean": {name: sum(some) / len(some) for name, some in numbers.items()},
            "standard_deviation": {name: _deviation(some) for name, some in numbers.items()}
            if len(tests) > 1
            else None,
            "calibrated": _calibrated(told["runs"]),
        }
    kept = chosen_run(result)
    return {
        "teacher": result["teacher"].get("scores"),
        "student": None if kept is None else kept["test"],
        "arms": arms,
        "latency": result.get("latency"),
        "sizes": result.get("sizes"),
    }


def _calibrated(runs: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    """Mean NLL and ECE on test, each run at the temperature that was fitted to it."""
    after = [run["calibration"]["test"]["after"] for run in runs if "calibration" in run]
    if len(after) < len(runs):
        return None
    return {name: sum(one[name] for one in after) / len(after) for name in ("nll", "ece")}


def _deviation(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _verdict(result: Mapping[str, Any]) -> dict[str, Any]:
    comparison = {k: v for k, v in result["comparison"].items() if k not in ("verdict", "reason")}
    return {
        "verdict": result["verdict"],
        "sentence": result["sentence"],
        **comparison,
        "warnings": result.get("warnings", []),
    }
