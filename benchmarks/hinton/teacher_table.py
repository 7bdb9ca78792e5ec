"""The teachers: their own errors, and what a student learns from the paper's."""

from __future__ import annotations

from typing import Any

import numpy as np
import record
from lab import Lab
from measure import Asked, ask, choose, opened
from plain import RATE, STEPS, TEMPERATURES, TRIAL_STEPS
from students import Student, errors, mean_nll

from attar.evaluation import predict_logits

SEEDS = 3


def teachers(lab: Lab) -> dict[str, record.Part]:
    """The ensemble of convolutional networks, and each of them."""
    return {"teacher_conv": _itself(lab, ask(lab, "conv"))}


def paper(lab: Lab) -> dict[str, record.Part]:
    """The paper's teacher, 784-1200-1200-10, and its student on the images as they are."""
    asked = ask(lab, "paper")
    base = Student("distilled", 800, rows="train", teacher="paper", steps=lab.steps(TRIAL_STEPS))
    base = base.changed(learning_rate=RATE)
    trials = [base.changed(temperature=t) for t in TEMPERATURES]
    best, rows = choose(lab, trials, asked.train)
    arm = opened(lab, best.changed(rows="all", steps=lab.steps(STEPS)), asked.train, SEEDS)
    figures = arm.figures("distilled") | {"temperature": best.temperature}
    return {
        "teacher_paper": _itself(lab, asked),
        "mlp800_paperteacher": (rows + arm.rows, figures),
    }


def _itself(lab: Lab, asked: Asked) -> record.Part:
    rows: list[dict[str, Any]] = []
    for number, network in enumerate(asked.teacher.members):
        one: dict[str, Any] = {"member": number, "parameters": network.parameters}
        for where, data in (("validation", lab.validation), ("test", lab.test)):
            logits = predict_logits(network, data, batch_size=64)
            one[f"{where}_errors"] = errors(logits, data)
            one[f"{where}_nll"] = mean_nll(logits, data)
        rows.append(one)
    validation = asked.train.logits(lab.validation.rows)
    return rows, {
        "errors": float(errors(asked.test, lab.test)),
        "nll": mean_nll(asked.test, lab.test),
        "validation_errors": float(errors(validation, lab.validation)),
        "members": float(len(rows)),
        "member_errors_mean": float(np.mean([row["test_errors"] for row in rows])),
        "member_parameters": float(rows[0]["parameters"]),
        "epochs": float(asked.recipe.epochs),
    }
