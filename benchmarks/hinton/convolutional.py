"""Convolutional students: 10, 50 and 200 times smaller than their teacher, which is one network."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import record
import torch
from lab import Lab
from measure import Asked, ask, choose, compared, opened, size_of, spread, validation_gap
from plain import VIEWS
from students import FAMILIES, Student, fresh
from teachers import CONVOLUTIONAL

from attar.evaluation import latencies
from attar.export import to_onnx
from attar.export.runtime import load
from attar.students import Standardize, count_parameters, fit_to

SHRINK = (10, 50, 200)
SEEDS, TEMPERATURES, SMOOTHING = 3, (2.0, 4.0), 0.1
#: Of 256 rows: 8 passes over 60,000, each in another view.
STEPS, BATCH, RATE = 2_000, 256, 4e-3
LATENCY_ROUNDS = 5


def convolutional(lab: Lab) -> dict[str, record.Part]:
    """Fewer channels of the teacher's own kind, on stored views."""
    asked = ask(lab, "conv1", views=VIEWS)
    return {f"conv{times}x": _table(lab, asked, times) for times in SHRINK}


def _table(lab: Lab, asked: Asked, times: int) -> record.Part:
    network = asked.teacher.members[0]
    base = _base(lab, network.parameters, times)
    soft = base.changed(arm="distilled", teacher="conv1")
    trials = [soft.changed(rows="train", temperature=temperature) for temperature in TEMPERATURES]
    best, tried = choose(lab, trials, asked.train)
    settings = {
        "hard": base,
        "smoothed": base.changed(arm="smoothed", smoothing=SMOOTHING),
        "distilled": best.changed(rows=base.rows),
    }
    gap = validation_gap(lab, asked, base)
    arms = {name: opened(lab, one, asked.train, SEEDS) for name, one in settings.items()}
    rows, figures = compared(lab, arms, asked.test, gap)
    figures |= size_of(lab, base) | {"temperature": best.temperature}
    figures["parameters_teacher_network_over_student"] = network.parameters / figures["parameters"]
    return tried + rows, figures


def _base(lab: Lab, parameters: int, times: int) -> Student:
    """The student that is so many times smaller than a network of so many parameters."""
    # The miniature's teacher is so small that nothing is 200 times smaller.
    budget = max(parameters // times, 300)
    shape = tuple(lab.train.inputs.shape[1:])
    width = fit_to(FAMILIES["plain_convnet"], parameters=budget, input_shape=shape, classes=10)
    base = Student("hard", width, family="plain_convnet", views=VIEWS, steps=lab.steps(STEPS))
    return base.changed(batch_size=BATCH, learning_rate=RATE)


def latency(lab: Lab) -> dict[str, record.Part]:
    """Of students and one network of the teacher in turn, at batch 1 through ONNX Runtime.

    What the weights are does not matter to it, so no network is trained for this.
    """
    recipe = replace(CONVOLUTIONAL, width=8) if lab.quick else CONVOLUTIONAL
    big = recipe.family.model(
        recipe.width,
        input_shape=tuple(lab.train.inputs.shape[1:]),
        classes=len(lab.train.classes),
        scaler=Standardize.fit(lab.train.inputs),
    )
    size = count_parameters(big)
    models = {f"{times}x": fresh(lab, _base(lab, size, times)) for times in SHRINK}
    figures: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    example = lab.validation.inputs[:64]
    one = lab.validation.batch(torch.arange(1))
    with tempfile.TemporaryDirectory() as scratch:
        calls = {}
        for name, model in {"teacher_network": big, **models}.items():
            path = Path(scratch) / f"{name}.onnx"
            to_onnx(model.eval(), path, example=example, classes=lab.train.classes)
            session = load(path, threads=1)
            calls[name] = lambda batch, session=session: session.predict_proba(batch.inputs.numpy())
        for number in range(1 if lab.quick else LATENCY_ROUNDS):
            timed = latencies(calls, {1: one}, seconds=1.0)
            for name, found in timed.items():
                row = {which: getattr(found.batches[1], f"{which}_ms") for which in ("p50", "p99")}
                rows.append({"model": name, "round": number, **row})
    for name in calls:
        some = [row for row in rows if row["model"] == name]
        for which in ("p50", "p99"):
            figures |= spread([row[which] for row in some], f"{name}_{which}_ms")
    return {"latency": (rows, figures)}
