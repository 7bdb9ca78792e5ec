"""Single rows, as people see them, beside what teacher and student say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError
from attar.report.figure import Figure, packed, percent, picture
from attar.report.figures.dark import short
from attar.report.parts import Node, check_array
from attar.report.run import Run, as_run
from attar.report.soft import softmax

#: At most so many samples, and so many logits of each kind, go into a page.
SAMPLES, LOGITS = 160, 60_000
#: Rows on which student and teacher differ most.
CARDS = 12
#: Tags, in the order of the choice, and what they are called.
TAGS = {
    "doubt": "the teacher is torn",
    "apart": "student and teacher differ",
    "own": "the student's own errors",
    "inherited": "errors inherited from the teacher",
}


def samples(source: Any) -> Figure | None:
    """Test rows with the soft targets of teacher and student, at any T.

    None where the run keeps no samples, or not the answers that belong to them.

    Args:
        source: What :func:`attar.report.as_run` takes.
    """
    run = as_run(source)
    teacher, student, labels = run.teacher_logits, run.student_logits, run.labels
    if teacher is None or student is None or labels is None or "samples.json" not in run.parts:
        return None
    node = Node(run.parts["samples.json"], "samples.json")
    limit = min(SAMPLES, max(1, LOGITS // len(run.classes)))
    places = _places(node, len(labels))[:limit]
    if not len(places):
        return None
    p, q = softmax(teacher[places]), softmax(student[places])
    apart = (p * (np.log(np.maximum(p, 1e-12)) - np.log(np.maximum(q, 1e-12)))).sum(axis=1)
    doubt = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1)
    wrong = q.argmax(axis=1) != labels[places]
    same = p.argmax(axis=1) == q.argmax(axis=1)
    shown = _shown(run, node, limit)
    rows = run.rows
    items = [
        {
            "row": int(rows[place]) if rows is not None else int(place),
            "label": int(labels[place]),
            "apart": float(apart[i]),
            "doubt": float(doubt[i]),
            "own": bool(wrong[i] and not same[i]),
            "inherited": bool(wrong[i] and same[i]),
            **shown[i],
        }
        for i, place in enumerate(places.tolist())
    ]
    first = int(np.argmax(doubt))
    return Figure(
        name="samples",
        kind="samples",
        title="Single rows and their soft targets",
        caption="Pick a test row: what it is, and how probable teacher and student find each "
        "class at the temperature T above. The student learns from all of these numbers, not from "
        "the answer alone.",
        alt=f"{len(items)} test rows to choose from. Of these the teacher is most torn about row "
        f"{items[first]['row']}, a {short(run.classes[labels[places[first]]])}: "
        + ", ".join(
            f"{short(run.classes[c])} {percent(p[first, c])}" for c in np.argsort(-p[first])[:3]
        )
        + ".",
        data={
            "names": run.names,
            "kind": node["kind"].text(),
            "items": items,
            "tags": TAGS,
            "teacher": packed(teacher[places]),
            "student": packed(student[places]),
        },
    )


def disagreements(source: Any) -> Figure | None:
    """The kept test rows on which student and teacher differ most (KL at T = 1)."""
    run = as_run(source)
    every = samples(run)
    if every is None:
        return None
    teacher, student = _answers(run), _answers(run, student=True)
    items = sorted(enumerate(every.data["items"]), key=lambda pair: -pair[1]["apart"])[:CARDS]
    cards = []
    for place, item in items:
        says = {
            who: {"class": int(p[place].argmax()), "probability": float(p[place].max())}
            for who, p in (("teacher", teacher), ("distilled", student))
        }
        cards.append(item | says)
    names = run.classes
    return Figure(
        name="disagreements",
        kind="cards",
        title="Where student and teacher differ most",
        caption="The test rows with the largest divergence between what the two say. A mark shows "
        "who is right.",
        alt="; ".join(
            f"row {c['row']}, a {short(names[c['label']])}: teacher "
            f"{short(names[c['teacher']['class']])} {percent(c['teacher']['probability'])}, "
            f"student {short(names[c['distilled']['class']])} "
            f"{percent(c['distilled']['probability'])}"
            for c in cards[:4]
        )
        + ".",
        data={"names": run.names, "kind": every.data["kind"], "items": cards},
        head=["test row", "true class", "teacher says", "student says", "divergence, nats"],
        rows=[
            [
                str(c["row"]),
                names[c["label"]],
                f"{names[c['teacher']['class']]} ({percent(c['teacher']['probability'])})",
                f"{names[c['distilled']['class']]} ({percent(c['distilled']['probability'])})",
                f"{c['apart']:.2f}",
            ]
            for c in cards
        ],
    )


def _answers(run: Run, *, student: bool = False) -> NDArray[np.float64]:
    """Probabilities at T = 1 of the kept samples, in their order."""
    logits, labels = run.student_logits if student else run.teacher_logits, run.labels
    assert logits is not None
    assert labels is not None
    places = _places(Node(run.parts["samples.json"], "samples.json"), len(labels))
    return softmax(logits[places])


def _places(node: Node, rows: int) -> NDArray[np.int64]:
    found = [n.needed(n.count()) for n in node["positions"].list()]
    if any(place >= rows for place in found):
        raise AttarError(
            f"report: samples.json: positions must lie below {rows}, the number of test rows. "
            f"Got {max(found)}."
        )
    return np.asarray(found, dtype=np.int64)


def _shown(run: Run, node: Node, limit: int) -> list[dict[str, Any]]:
    """For each sample a picture, named values or a text, whichever the run kept."""
    kind, count = node["kind"].text(), min(limit, len(node["positions"].list()))
    if kind == "picture" and "samples.npy" in run.parts:
        pixels = check_array(
            run.parts["samples.npy"], "samples.npy", kinds="u", shape=(None, None, None, None)
        )
        good = pixels.dtype == np.uint8 and pixels.shape[1] in (1, 3) and len(pixels) >= count
        if not good or max(pixels.shape[2:]) > 256:
            raise AttarError(
                "report: samples.npy must be uint8 of shape [K, 1 or 3, H, W], H and W of at most "
                f"256, a picture a position. Got {pixels.shape}, {pixels.dtype}."
            )
        return [{"picture": picture(np.ascontiguousarray(one))} for one in pixels[:count]]
    if kind == "text":
        texts = [n.text() or "" for n in node["texts"].list()]
        return [{"text": text[:2000]} for text in _as_many(node, texts, count)]
    if kind == "row":
        names = [n.text() or "" for n in node["names"].list()]
        rows = [[_value(cell) for cell in row.list()] for row in node["values"].list()]
        left = node["left_out"].count() or 0
        return [
            {"values": [list(pair) for pair in zip(names, row, strict=False)][:60], "left": left}
            for row in _as_many(node, rows, count)
        ]
    return [{} for _ in range(count)]


def _as_many(node: Node, found: list[Any], count: int) -> list[Any]:
    if len(found) < count:
        raise AttarError(
            f"report: samples.json must hold a text or a row for each of its positions. Got "
            f"{len(found)} for {len(node['positions'].list())}."
        )
    return found[:count]


def _value(cell: Node) -> str:
    if isinstance(cell.value, str):
        return (cell.text() or "")[:500]
    number = cell.number()
    return "" if number is None else f"{number:.6g}"
