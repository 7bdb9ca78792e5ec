"""Whether a probability can be believed: calibration, agreement, the cascade."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.report.figure import Figure, percent, whole
from attar.report.figures.accuracy import arm_label
from attar.report.parts import Node
from attar.report.run import as_run
from attar.report.soft import softmax

#: Bins of equal width, as in the ECE of the result.
BINS = 15


def reliability(source: Any) -> Figure | None:
    """Accuracy over confidence, in 15 bins, of the teacher and of each arm (shipped seed).

    None where the run does not keep the answers.
    """
    run = as_run(source)
    labels, teacher = run.labels, run.teacher_logits
    if labels is None or teacher is None:
        return None
    panels = [_panel("teacher", "teacher", teacher, labels)]
    for name in run.arms:
        logits = run.of_seed(name)
        if logits is not None:
            panels.append(_panel(name, arm_label(name), logits, labels))
    said = ", ".join(f"{p['label']} {percent(p['ece'])}" for p in panels)
    return Figure(
        name="reliability",
        kind="reliability",
        title="Does it know how sure it may be?",
        caption="Test rows sorted by how sure the model is of its answer. On the diagonal a model "
        "that says 80 % is right in 80 % of cases; below it, it is too sure of itself. The size "
        "of a dot is the share of the rows. ECE is the mean distance from the diagonal.",
        alt=f"Expected calibration error, 15 bins: {said}.",
        data={"panels": panels},
        head=["", "ECE", *(_bin(b) for b in range(BINS))],
        rows=[
            [
                p["label"],
                percent(p["ece"]),
                *(_cell(p, b) for b in range(BINS)),
            ]
            for p in panels
        ],
    )


def _bin(place: int) -> str:
    return f"{100 * place / BINS:.0f}–{100 * (place + 1) / BINS:.0f} %"


def _cell(panel: dict[str, Any], place: int) -> str:
    found = next((b for b in panel["bins"] if b["bin"] == place), None)
    return "" if found is None else f"{percent(found['accuracy'])} of {whole(found['rows'])}"


def _panel(key: str, label: str, logits: NDArray[Any], labels: NDArray[np.int64]) -> dict[str, Any]:
    probabilities = softmax(logits)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    which = _bins(confidence, BINS)
    bins = []
    for place in np.unique(which).tolist():
        inside = which == place
        bins.append(
            {
                "bin": place,
                "confidence": float(confidence[inside].mean()),
                "accuracy": float(right[inside].mean()),
                "rows": int(inside.sum()),
            }
        )
    ece = sum(b["rows"] * abs(b["accuracy"] - b["confidence"]) for b in bins) / len(labels)
    return {"key": key, "label": label, "bins": bins, "ece": ece, "rows": len(labels)}


def _bins(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Bins of equal width, closed on the right: an edge belongs to the bin below."""
    found: NDArray[np.int64] = np.searchsorted(
        np.linspace(0, 1, count + 1)[1:-1], values, side="left"
    )
    return found


def agreement_over_confidence(source: Any) -> Figure | None:
    """How often the shipped student agrees with its teacher, and is right, by its confidence."""
    run = as_run(source)
    labels, teacher, student = run.labels, run.teacher_logits, run.student_logits
    if labels is None or teacher is None or student is None:
        return None
    probabilities = softmax(student)
    confidence, said = probabilities.max(axis=1), probabilities.argmax(axis=1)
    order = np.argsort(confidence, kind="stable")
    points = []
    for part in np.array_split(order, min(10, len(order))):
        points.append(
            {
                "low": float(confidence[part[0]]),
                "high": float(confidence[part[-1]]),
                "confidence": float(confidence[part].mean()),
                "agrees": float((said == teacher.argmax(axis=1))[part].mean()),
                "right": float((said == labels)[part].mean()),
                "teacher": float((teacher.argmax(axis=1) == labels)[part].mean()),
                "rows": len(part),
            }
        )
    low, high = points[0], points[-1]
    return Figure(
        name="agreement",
        kind="agreement",
        title="Where it can stand in for the teacher",
        caption="The test rows in ten equal parts, from those on which the student is least sure "
        "to those on which it is most sure. Where it is sure, it says what the teacher says; "
        "where it is not, the teacher may be worth asking.",
        alt=f"On the tenth of the rows on which the student is least sure it agrees with the "
        f"teacher in {percent(low['agrees'])} of cases, on the surest tenth in "
        f"{percent(high['agrees'])}.",
        data={"points": points},
        head=["confidence of the student", "rows", "agrees", "student right", "teacher right"],
        rows=[
            [
                f"{percent(p['low'])} to {percent(p['high'])}",
                whole(p["rows"]),
                percent(p["agrees"]),
                percent(p["right"]),
                percent(p["teacher"]),
            ]
            for p in points
        ],
    )


def cascade(source: Any) -> Figure | None:
    """Accuracy of student and teacher together over the share of rows that the teacher is asked.

    None where the run folder holds no ``cascade.json``.
    """
    run = as_run(source)
    if "cascade.json" not in run.parts:
        return None
    node = Node(run.parts["cascade.json"], "cascade.json")
    curve = _curve(node)
    if not curve:
        return None
    chosen = node["chosen"]
    share, accuracy = chosen["share"].number(0, 1), chosen["accuracy"].number(0, 1)
    threshold, goal = chosen["threshold"].number(), (node["goal"].text() or "").rstrip(".")
    if goal:
        met = {True: ", met", False: ", not met", None: ""}[node["met"].flag()]
        goal = f"The goal{met}: {goal}."
    told = ""
    if share is not None and accuracy is not None:
        told = f"At the chosen threshold the teacher answers {percent(share)} of the rows and "
        told += f"{percent(accuracy)} of all answers are right. "
    return Figure(
        name="cascade",
        kind="cascade",
        title="Student first, teacher where it is unsure",
        caption="The student answers alone where it is sure enough, and the teacher is asked "
        f"about the rest: what more questions to the teacher buy. {goal}".strip(),
        alt=f"{told}Accuracy goes from {percent(curve[0][1])} without the teacher to "
        f"{percent(curve[-1][1])} where it answers {percent(curve[-1][0])} of the rows.",
        data={
            "points": [{"share": s, "accuracy": a} for s, a in curve],
            "chosen": None
            if share is None or accuracy is None
            else {"share": share, "accuracy": accuracy, "threshold": threshold},
            "goal": goal,
            # Of the rows of the curve, which are not the test rows.
            "teacher": node["teacher_accuracy"].number(0, 1),
        },
        head=["rows that the teacher answers", "accuracy"],
        rows=[[percent(s), percent(a, 2)] for s, a in _some(curve, 21)],
    )


def _curve(node: Node) -> list[tuple[float, float]]:
    shares = [n.needed(n.number(0, 1)) for n in node["curve"]["share"].list()]
    values = [n.needed(n.number(0, 1)) for n in node["curve"]["accuracy"].list()]
    if len(shares) != len(values):
        node["curve"].needed(None)
    return _some(sorted(zip(shares, values, strict=True)), 500)


def _some(curve: list[tuple[float, float]], count: int) -> list[tuple[float, float]]:
    """At most so many points of a curve, evenly taken, both ends among them."""
    if len(curve) <= count:
        return curve
    places = np.linspace(0, len(curve) - 1, count).round().astype(int)
    return [curve[place] for place in places]
