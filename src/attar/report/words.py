"""The words and tables of a run's page, from its numbers."""

from __future__ import annotations

import json
import statistics
from typing import Any

from attar.report.figure import percent, whole
from attar.report.parts import Node
from attar.report.run import ARMS, Model, Run
from attar.report.shipped import calibration, smaller

#: What a verdict means, for someone who reads the word for the first time.
MEANS = {
    "BEATS": "The teacher helped: the distilled student is better than the same student trained "
    "without it, beyond what chance explains.",
    "NO GAIN": "The teacher did not help: with it or without it, the student is as good.",
    "WORSE": "The teacher did harm: the same student trained on the labels alone is better.",
    "INCONCLUSIVE": "This experiment cannot tell whether the teacher helped: the difference is "
    "within what chance explains. More test rows or more seeds would tell.",
}
_SIGNS = {"BEATS": "▲", "NO GAIN": "=", "WORSE": "▼", "INCONCLUSIVE": "?"}


def about(run: Run) -> dict[str, Any]:
    """All that the template is filled with, beside the figures."""
    return {
        **shared(run),
        "numbers": headline(run),
        "learnt": learnt(run),
        "table": table(run),
        "goal": run.told["comparison"]["goal_met"].flag(),
        "calibration": calibration(run),
        "smaller": smaller(run),
        "code": code(run),
    }


def shared(run: Run) -> dict[str, Any]:
    """What the page of any run is filled with, whatever its answers are."""
    return {
        "title": f"{run.verdict}: {run.name}",
        "means": MEANS[run.verdict],
        "sign": _SIGNS[run.verdict],
        "rows": {key: run.told["rows"][key].count() for key in ("labelled", "unlabelled", "test")},
        "warnings": [n.text() for n in run.told["warnings"].list()[:50]],
        "latency": latency(run),
        "parity": parity(run),
        "repeat": repeat(run),
        "finished": run.told["finished"].text() or "",
        "setting": setting(run),
    }


def headline(run: Run) -> list[dict[str, str]]:
    """The four figures that matter: what it is, its number, what that means."""
    return [_kept(run), _gap(run), _smaller(run, run.told["sizes"]), _faster(run)]


def _kept(run: Run) -> dict[str, str]:
    told, teacher = run.told["comparison"], run.teacher.score
    mine = run.arms["distilled"].score
    if run.task == "multiclass":
        says = f"right on {percent(mine.mean)} of the test rows"
        says += "" if teacher is None else f"; the teacher on {percent(teacher.mean)}"
    else:
        says = f"{run.measure.name} {percent(mine.mean)}"
        says += "" if teacher is None else f"; the teacher's {percent(teacher.mean)}"
    if run.task in ("multiclass", "multilabel"):
        return {"name": "accuracy kept", "value": percent(told["retention"].number()), "says": says}
    ratio = told["one_minus_mse_ratio"].number()
    error = "pinball loss" if run.task == "quantiles" else "squared error"
    value = "–" if ratio is None else f"{1 - ratio:.2f}×"
    return {"name": f"{error}, over the teacher's", "value": value, "says": says}


def _gap(run: Run) -> dict[str, str]:
    told = run.told["comparison"]
    gap, hard = told["gap_recovered"], run.arms["hard"].score.mean
    name = "gap recovered"
    mean, low, high = (gap[key].number() for key in ("mean", "low", "high"))
    if mean is None:
        return {"name": name, "value": "–", "says": told["gap_reason"].text() or "not known"}
    says = "of what the student alone lacks against the teacher"
    if run.teacher.score is not None:
        points = 100 * (run.teacher.score.mean - hard)
        says = f"of the {points:.1f} points between the student alone and the teacher"
    if low is not None and high is not None:
        says += f" (95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
    return {"name": name, "value": f"{100 * mean:.0f} %", "says": says}


def _smaller(run: Run, sizes: Node) -> dict[str, str]:
    ratio, smallest = (
        sizes[key].number(0) for key in ("compression", "compression_smallest_member")
    )
    unit = sizes["compression_of"].text() or "parameters"
    teacher, mine = run.teacher.parameters, run.student.parameters
    if unit != "parameters":
        teacher, mine = run.teacher.bytes, sizes["student_bytes"].count()
    if ratio is None:
        return {
            "name": "times smaller",
            "value": "–",
            "says": f"{whole(mine)} {unit}; the teacher's size is not known",
        }
    says = f"{whole(mine)} {unit}; the teacher has {whole(teacher)}"
    if smallest is not None and abs(smallest - ratio) > 0.05:
        says += f", its smallest member {smallest:.1f}× the student's"
    return {"name": "times smaller", "value": times(ratio), "says": says}


def _faster(run: Run) -> dict[str, str]:
    fast, slow = _p50(run.student), _p50(run.teacher)
    if fast is None or slow is None or fast <= 0:
        mine = "" if fast is None else f"{fast:.3g} ms an answer; "
        return {"name": "times faster", "value": "–", "says": f"{mine}the teacher was not timed"}
    return {
        "name": "times faster",
        "value": times(slow / fast),
        "says": f"{fast:.3g} ms an answer; the teacher takes {slow:.3g} ms (median, one row at a "
        "time, one thread)",
    }


def times(ratio: float) -> str:
    """A ratio as people read it.

    >>> times(50.51), times(3.46), times(0.8)
    ('51×', '3.5×', '0.80×')
    """
    return f"{ratio:.0f}×" if ratio >= 10 else f"{ratio:.1f}×" if ratio >= 1 else f"{ratio:.2f}×"


def _p50(model: Model) -> float | None:
    return None if not model.latency or 1 not in model.latency else model.latency[1][0]


def unlabelled(run: Run, arm: str) -> int:
    """How many rows without a label an arm learnt from; it may have done without further ones."""
    rows = run.told["rows"]
    count = rows["unlabelled"].count() or 0
    if arm in run.arms and Node(dict(run.arms[arm].setting), "")["further"].flag() is False:
        count -= sum(rows[key].count() or 0 for key in ("drawn", "further"))
    return max(0, count)


def learnt(run: Run) -> list[dict[str, str]]:
    """What each arm learnt from, in a sentence."""
    count = run.told["rows"]["labelled"].count()
    labelled = "" if count is None else f"{count:,} "
    says = {
        "hard": f"the {labelled}labels alone, without a teacher",
        "smoothed": "the same labels, made a little less sure of themselves: shows what plain "
        "regularisation gives",
        "pseudo": "the teacher's best guess as the label, also of the "
        f"{whole(unlabelled(run, 'pseudo'))} rows "
        "that have none: shows what more rows give",
        "distilled": "the teacher's soft targets: how probable it finds every class, for each row",
    }
    return [{"key": name, "name": ARMS[name], "says": says[name]} for name in run.arms]


def setting(run: Run) -> str:
    """T, alpha, what was done without, steps and seeds, in one line."""
    arm, told = Node(dict(run.arms["distilled"].setting), "result.json"), run.told
    words = [
        f"{sign} = {value:g}"
        for key, sign in (("temperature", "T"), ("alpha", "alpha"), ("learning_rate", "peak rate"))
        if (value := arm[key].number()) is not None
        and not (key == "temperature" and run.task in ("regression", "quantiles"))  # there is none
    ]
    for key, called in (("views", "without views"), ("further", "without the further rows")):
        if arm[key].flag() is False:
            words.append(called)
    if arm["pseudo_labels"].flag():
        words.append("with pseudo-labels")
    for key, called in (("steps", "steps"), ("batch_size", "rows a step")):
        count = told[key].count()
        if count is not None:
            words.append(f"{count:,} {called}")
    seeds = len(run.arms["distilled"].seeds)
    return " · ".join([*words, "1 seed" if seeds == 1 else f"{seeds} seeds"])


def table(run: Run) -> dict[str, Any]:
    """Every score of everybody, as the table of the summary."""
    head = ["", "accuracy", "NLL", "ECE", "errors", "inherited", "own", "parameters", "ms"]
    rows = [_row("teacher", f"teacher: {run.teacher.name}", run.teacher)]
    for member in run.members:
        rows.append(_row("member", member.name, member))
    for name, arm in run.arms.items():
        spread = "" if len(arm.seeds) < 2 else f" ± {100 * _deviation(arm.seeds):.2f}"
        rows.append(
            {
                "key": name,
                "cells": [
                    f"student: {ARMS[name]}",
                    f"{100 * arm.score.mean:.2f}{spread} %",
                    _number(arm.mean("nll"), 3),
                    percent(arm.mean("ece")),
                    _number(arm.mean("errors"), 1),
                    _number(arm.mean("inherited"), 1),
                    _number(arm.mean("own"), 1),
                    whole(run.student.parameters),
                    _number(_p50(run.student), 3),
                ],
            }
        )
    return {"head": head, "rows": rows}


def _row(key: str, name: str, model: Model) -> dict[str, Any]:
    return {
        "key": key,
        "cells": [
            name,
            percent(model.score.mean if model.score else None, 2),
            _number(model.nll, 3),
            percent(model.ece),
            _number(model.errors, 0),
            "",
            "",
            whole(model.parameters),
            _number(_p50(model), 3),
        ],
    }


def _deviation(seeds: Any) -> float:
    return statistics.stdev([float(seed.score) for seed in seeds])


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def latency(run: Run) -> dict[str, Any] | None:
    """The times of student and teacher at each batch size."""
    sizes = sorted({*(run.student.latency or {}), *(run.teacher.latency or {})})[:20]
    if not sizes:
        return None
    runtime = run.told["teacher_runtime"].text()
    rows = []
    for size in sizes:
        for who, model in (("student", run.student), ("teacher", run.teacher)):
            timing = (model.latency or {}).get(size)
            if timing is not None:
                through = "onnxruntime" if who == "student" else runtime
                one = 1000 * size / timing[0] if timing[0] else None
                rows.append(
                    [
                        who if through is None else f"{who}, {through}",
                        whole(size),
                        f"{timing[0]:.3f}",
                        f"{timing[1]:.3f}",
                        whole(one),
                    ]
                )
    return {
        "head": ["", "rows a call", "p50 ms", "p99 ms", "rows a second"],
        "rows": rows,
    }


def parity(run: Run) -> dict[str, str] | None:
    """What the export was proven to be."""
    node = run.told["export"]
    if not node:
        return None
    differs = node["max_probability_difference"].number(0)
    return {
        "file": "student.onnx",
        "bytes": whole(node["bytes"].count()),
        "teacher_bytes": whole(run.teacher.bytes),
        "difference": "–" if differs is None else f"{differs:.1e}",
        "rows": whole(node["rows_checked"].count()),
        "argmax": whole(node["argmax_differences"].count()),
        "opset": whole(node["opset"].count()),
    }


def code(run: Run) -> list[dict[str, str]]:
    """Code that works as it stands in the run folder; none where nothing was exported."""
    if not run.told["export"]:
        return []
    python = """import numpy as np
from attar.export import runtime

student = runtime.load("student.onnx")
rows = np.load("example.npy")[:5]  # rows of the training set
print(student.predict(rows))
print(student.predict_proba(rows).round(3))"""
    blocks = [{"name": "Python: numpy and onnxruntime alone", "language": "python", "text": python}]
    named = _named_row(run)
    if named is not None:
        text = f"""from attar.export import runtime

student = runtime.load("student.onnx")
row = {named}
print(student.predict([row]), student.predict_proba([row]).round(3))"""
        blocks.append({"name": "Python: with named columns", "language": "python", "text": text})
    shell = "attar predict . example.npy"
    blocks.append({"name": "Shell", "language": "shell", "text": shell})
    return blocks


def _named_row(run: Run) -> str | None:
    """The first kept sample of a table as a Python dict, where all its columns are kept."""
    if not run.told["columns"] or "samples.json" not in run.parts:
        return None
    node = Node(run.parts["samples.json"], "samples.json")
    names, rows = node["names"].list(), node["values"].list()
    if node["kind"].text() != "row" or not rows or node["left_out"].count():
        return None
    values = rows[0].list()
    row = {
        str(name.text()): value.text() if isinstance(value.value, str) else value.number()
        for name, value in zip(names, values, strict=False)
    }
    return None if None in row.values() else json.dumps(row, indent=4)


def repeat(run: Run) -> dict[str, Any]:
    """Command, seeds, versions, machine, fingerprints."""
    told = run.told
    teacher = told["fingerprints"]["teacher"]
    facts = [
        ("seeds", ", ".join(str(seed.seed) for seed in run.arms["distilled"].seeds)),
        ("seed of the shipped student", str(run.student_seed)),
        *(
            (f"version of {name}", value.text() or "")
            for name, value in told["versions"].items()[:20]
            if isinstance(value.value, str)
        ),
        ("processor", told["machine"]["processor"].text() or ""),
        ("threads", whole(told["machine"]["threads"].count())),
        ("finished", told["finished"].text() or ""),
        ("fingerprint of the teacher", teacher["fingerprint"].text() or ""),
        ("fingerprint of the training rows", told["fingerprints"]["train"].text() or ""),
        ("fingerprint of the test rows", told["fingerprints"]["test"].text() or ""),
    ]
    return {
        "command": told["command"].text(),
        "verified": teacher["verified"].flag(),
        "facts": [(name, value) for name, value in facts if value not in ("", "–")],
    }
