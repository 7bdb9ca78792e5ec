"""The dark knowledge: what the teacher thinks of the classes that it does not choose."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.report import soft
from attar.report.figure import Figure, packed, percent
from attar.report.run import Floats, Run, as_run

#: A heat map shows at most so many classes; of more, those that are confused most.
MOST_CLASSES = 32
#: Neighbours that are kept for each class where the map does not show all of them.
NEIGHBOURS = 8
#: Beyond this many classes no means are taken: a table of them all would fill the memory.
MOST_MEANS = 4_096


def dark_knowledge(source: Any) -> Figure | None:
    """The mean soft target of each true class at every T from 1 to 20, teacher and student.

    Classes are put in order of likeness at the T of the run, with their dendrogram. Of many
    classes the map shows the most confused, and keeps for each of the others what it is taken
    for. Means are taken in float64 and embedded as float32.

    Args:
        source: What :func:`attar.report.as_run` takes.

    Returns:
        The figure; None where the run does not keep the teacher's answers, or has more than
        4,096 classes.
    """
    run = as_run(source)
    teacher, student, labels = run.teacher_logits, run.student_logits, run.labels
    if teacher is None or student is None or labels is None or len(run.classes) > MOST_MEANS:
        return None
    every = soft.thinned(*teacher.shape)
    teacher, student, labels = teacher[every], student[every], labels[every]
    temperatures = sorted({*soft.TEMPERATURES, run.temperature or 4.0})
    own = temperatures.index(run.temperature or 4.0)
    reference = soft.mean_soft_targets(teacher, labels, temperatures[own])
    present = np.flatnonzero(~np.isnan(reference[:, 0]))
    shown = present
    if len(present) > MOST_CLASSES:
        shown = soft.most_confused(reference, present, MOST_CLASSES)
    order = soft.order_by_likeness(reference, shown)
    grid = np.ix_(order.classes, order.classes)
    near = _neighbours(reference, present) if len(shown) < len(present) else None
    maps: dict[str, list[Floats]] = {"teacher": [], "student": []}
    lists: dict[str, list[Floats]] = {"teacher": [], "student": []}
    for temperature in temperatures:
        for who, logits in (("teacher", teacher), ("student", student)):
            means = soft.mean_soft_targets(logits, labels, temperature)
            maps[who].append(means[grid])
            if near is not None:
                lists[who].append(np.take_along_axis(means[present], near, axis=1))
    data: dict[str, Any] = {
        "names": run.names,
        "order": order.classes,
        "joins": [list(join) for join in order.joins],
        "temperatures": temperatures,
        "own": own,
        "has_own": run.temperature is not None,
        "rows": len(labels),
        "maps": {who: packed(np.stack(found)) for who, found in maps.items()},
        "classes": len(run.classes),
    }
    if near is not None:
        data["near"] = {
            "present": present.tolist(),
            "classes": near.tolist(),
            **{who: packed(np.stack(found)) for who, found in lists.items()},
        }
    return Figure(
        name="dark-knowledge",
        kind="heat",
        title="The mean soft target of each class",
        caption=_caption(run, len(labels), len(order.classes)),
        alt=_in_words(run, reference, shown, temperatures[own]),
        data=data,
    )


def _caption(run: Run, rows: int, shown: int) -> str:
    told = (
        "Each row is a true class; each cell is the mean probability, over the test rows of that "
        "class, of the class named above. Move the temperature T: at T = 1 little is seen beside "
        "the answer; a higher T brings out which wrong classes are less wrong than others. Like "
        "classes stand together; the tree joins those that are taken for one another."
    )
    if shown < len(run.classes):
        told += (
            f" Of {len(run.classes):,} classes the map shows the {shown} that are confused most; "
            "any other can be looked up below."
        )
    if run.labels is not None and rows < len(run.labels):
        told += f" Means over {rows:,} of the {len(run.labels):,} test rows, evenly taken."
    return told


def _in_words(run: Run, means: Floats, among: NDArray[np.int64], temperature: float) -> str:
    """The pairs that the teacher finds most alike."""
    off = means[np.ix_(among, among)].copy()
    np.fill_diagonal(off, -1.0)
    told = []
    for flat in np.argsort(-off, axis=None, kind="stable")[:3]:
        row, column = np.unravel_index(flat, off.shape)
        true, other = run.classes[among[row]], run.classes[among[column]]
        told.append(
            f"{short(other)} for rows of {short(true)} ({percent(float(off[row, column]))})"
        )
    return (
        f"Heat map of mean soft targets, teacher and student. At T = {temperature:g} the teacher's "
        f"largest probabilities beside the true class are: {'; '.join(told)}."
    )


def _neighbours(means: Floats, present: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each present class itself, then the classes of the largest mean probability."""
    ranked = means[present].copy()
    ranked[np.arange(len(present)), present] = 2.0
    count = 1 + max(2, min(NEIGHBOURS, 9_000 // len(present)))  # some 2 MB of numbers at most
    found: NDArray[np.int64] = np.argsort(-ranked, axis=1, kind="stable")[:, :count]
    return found


def short(name: str, limit: int = 40) -> str:
    """A name that fits into a sentence."""
    name = " ".join(name.split())
    return name if len(name) <= limit else name[: limit - 1] + "…"


def temperature_effect(source: Any) -> Figure | None:
    """How the temperature spreads the soft targets: top probability, classes in play, over T."""
    run = as_run(source)
    logits = run.teacher_logits
    if logits is None:
        return None
    logits = logits[soft.thinned(*logits.shape)]
    points = []
    for temperature in soft.TEMPERATURES:
        p = soft.softmax(logits, temperature)
        entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1)
        points.append(
            {
                "t": temperature,
                "top": float(p.max(axis=1).mean()),
                "classes": float(np.exp(entropy).mean()),
            }
        )
    own = run.temperature
    first, last = points[0], points[-1]
    return Figure(
        name="temperature",
        kind="temperature",
        title="What the temperature does to the soft targets",
        caption="At T = 1 the teacher speaks as it does in use. A higher T divides its logits "
        "first, so probability flows from the likeliest class to the others: how many classes "
        "share it (the exponential of the entropy), and what is left for the first.",
        alt=f"From T = 1 to T = 20 the mean probability of the likeliest class goes from "
        f"{percent(first['top'])} to {percent(last['top'])}, and the number of classes in play "
        f"from {first['classes']:.2f} to {last['classes']:.2f} of {len(run.classes)}.",
        data={"points": points, "own": own, "classes": len(run.classes)},
        head=["T", "probability of the likeliest class", "classes in play"],
        rows=[[f"{p['t']:g}", percent(p["top"]), f"{p['classes']:.2f}"] for p in points],
    )
