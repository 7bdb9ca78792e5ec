"""Transfer sets that lack classes, and the correction of the bias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import record
import torch
from lab import Lab
from measure import Asked, ask, best_of, setting_of, spread
from plain import RATE, TRIAL_STEPS
from students import Student, errors, mean_nll, told, trained
from torch import Tensor, nn

from attar.evaluation import correct_bias, predict_logits
from attar.store import Store

SEEDS = 3
TEMPERATURES = (4.0, 20.0)
#: Of 512 rows: 36 and 110 passes over what is there.
STEPS = {"without 3": 3_600, "only 7 8": 2_400}
#: How a student is corrected: not at all, on the labels of the validation rows by likelihood or
#: by errors, or without any label, by how frequent the classes are among the training rows.
CORRECTIONS = ("none", "labels", "errors", "priors")


def missing(lab: Lab) -> dict[str, record.Part]:
    """Transfer sets without threes, and with only sevens and eights."""
    asked = ask(lab, "conv")
    return {
        "without3": _table(lab, asked, "without 3", ["3"]),
        "only78": _table(lab, asked, "only 7 8", lab.test.classes),
    }


def _table(lab: Lab, asked: Asked, rows: str, classes: Sequence[str]) -> record.Part:
    base = Student("distilled", 800, rows=rows, teacher="conv", steps=lab.steps(STEPS[rows]))
    base = base.changed(learning_rate=RATE)
    short = base.changed(steps=lab.steps(TRIAL_STEPS))
    trials = [short.changed(temperature=t) for t in TEMPERATURES]
    best, told_rows = _choose_corrected(lab, trials, asked.train, classes)
    chosen = base.changed(temperature=best.temperature)
    labels = lab.test.labels
    assert labels is not None
    lacking = ~torch.isin(labels, _labels_of(lab, chosen))
    found: list[dict[str, Any]] = []
    for seed in range(lab.seeds(SEEDS)):
        one = chosen.changed(seed=seed)
        model = trained(lab, one, asked.train)
        for name, corrected in corrections(lab, model, classes).items():
            logits = predict_logits(corrected, lab.test)
            wrong = logits.argmax(dim=1) != labels
            found.append(
                {"correction": name, **setting_of(one)}
                | {"errors": int(wrong.sum()), "nll": mean_nll(logits, lab.test)}
                | {"errors_on_missing": int(wrong[lacking].sum())}
                | {"training_seconds": told(lab, one)["training_seconds"]}
            )
    figures = {"temperature": chosen.temperature, "rows_of_missing": float(lacking.sum())}
    for name in CORRECTIONS:
        some = [row for row in found if row["correction"] == name]
        for score in ("errors", "errors_on_missing", "nll"):
            figures |= spread([row[score] for row in some], f"{name}_{score}")
        of_missing = figures[f"{name}_errors_on_missing_mean"] / figures["rows_of_missing"]
        figures[f"{name}_missing_right"] = 1 - of_missing
    return told_rows + found, figures


def corrections(lab: Lab, model: nn.Module, classes: Sequence[str]) -> dict[str, nn.Module]:
    """The student as it is, and corrected in three ways."""
    counts = lab.train.class_counts.double()
    shares = zip(lab.train.classes, (counts / counts.sum()).tolist(), strict=True)
    priors: dict[int | str, float] = {name: share for name, share in shares if name in classes}
    nameless = lab.validation.with_labels(None)
    return {
        "none": model,
        "labels": correct_bias(model, lab.validation, classes=classes).student,
        "errors": correct_bias(model, lab.validation, classes=classes, by="errors").student,
        "priors": correct_bias(model, nameless, priors=priors).student,
    }


def _labels_of(lab: Lab, student: Student) -> Tensor:
    labels = student.data(lab).labels
    assert labels is not None
    return labels.unique()


def _choose_corrected(
    lab: Lab, trials: Sequence[Student], targets: Store, classes: Sequence[str]
) -> tuple[Student, list[dict[str, Any]]]:
    """The trial that is best on validation once it is corrected by labels there."""
    scores = []
    for trial in trials:
        model = corrections(lab, trained(lab, trial, targets), classes)["labels"]
        logits = predict_logits(model, lab.validation)
        scores.append((errors(logits, lab.validation), mean_nll(logits, lab.validation)))
    return best_of(trials, scores)
