"""Convolutional students: 10, 50 and 200 times smaller than one network of the teacher."""

from __future__ import annotations

import tempfile
from pathlib import Path

import record
import torch
from lab import Lab
from measure import Asked, ask, compared, opened, size_of, validation_gap
from plain import VIEWS
from students import FAMILIES, Student, trained

from attar.evaluation import latencies
from attar.export import to_onnx
from attar.export.runtime import load
from attar.students import fit_to

SHRINK = (10, 50, 200)
SEEDS, TEMPERATURE, SMOOTHING = 3, 4.0, 0.1
#: Of 256 rows: 6 passes over 60,000, each in another view.
STEPS, BATCH, RATE = 1_400, 256, 4e-3


def convolutional(lab: Lab) -> dict[str, record.Part]:
    """Separable convolutions on stored views, with latency through ONNX Runtime."""
    asked = ask(lab, "conv", views=VIEWS)
    return {f"conv{times}x": _table(lab, asked, times) for times in SHRINK}


def _table(lab: Lab, asked: Asked, times: int) -> record.Part:
    network = asked.teacher.members[0]
    shape = tuple(lab.train.inputs.shape[1:])
    # The miniature's teacher is so small that nothing is 200 times smaller.
    budget = max(network.parameters // times, 300)
    width = fit_to(FAMILIES["convnet"], parameters=budget, input_shape=shape, classes=10)
    base = Student("hard", width, family="convnet", views=VIEWS, steps=lab.steps(STEPS))
    base = base.changed(batch_size=BATCH, learning_rate=RATE)
    settings = {
        "hard": base,
        "smoothed": base.changed(arm="smoothed", smoothing=SMOOTHING),
        "distilled": base.changed(arm="distilled", teacher="conv", temperature=TEMPERATURE),
    }
    gap = validation_gap(lab, asked, base)
    arms = {name: opened(lab, one, asked.train, SEEDS) for name, one in settings.items()}
    rows, figures = compared(lab, arms, asked.test, gap)
    figures |= size_of(lab, base) | _latency(lab, asked, settings["distilled"])
    figures["parameters_teacher_network_over_student"] = network.parameters / figures["parameters"]
    return rows, figures


def _latency(lab: Lab, asked: Asked, student: Student) -> dict[str, float]:
    """Of the student and of one network of the teacher, in turn, at batch 1."""
    models = {
        "student": trained(lab, student.changed(seed=0), asked.train),
        "teacher_network": asked.teacher.members[0].module,
    }
    example = lab.validation.inputs[:64]
    with tempfile.TemporaryDirectory() as scratch:
        calls = {}
        for name, model in models.items():
            path = Path(scratch) / f"{name}.onnx"
            to_onnx(model, path, example=example, classes=lab.train.classes)
            session = load(path, threads=1)
            calls[name] = lambda batch, session=session: session.predict_proba(batch.inputs.numpy())
        one = lab.validation.batch(torch.arange(1))
        timed = latencies(calls, {1: one}, seconds=1.0)
    return {
        f"{name}_latency_{which}_ms": getattr(found.batches[1], f"{which}_ms")
        for name, found in timed.items()
        for which in ("p50", "p99")
    }
