"""Transfer sets that lack classes, and the correction of the bias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import record
import torch
from lab import Lab
from measure import ask, best_of, setting_of, spread
from plain import RATE, TRIAL_STEPS, VIEWS
from students import (
    Student,
    chosen_rows,
    errors,
    mean_nll,
    told,
    train_all,
    train_one,
    trained,
)
from torch import Tensor, nn
from turns import share_out

from attar.evaluation import correct_bias, predict_logits
from attar.store import Store

SEEDS = 3
TEMPERATURES = (4.0, 20.0)
#: Of 512 rows: 36 and 110 passes over what is there.
STEPS = {"without 3": 3_600, "only 7 8": 2_400}
#: On stored views, which are not learnt by heart, more steps help: 90 and 200 passes.
VIEW_STEPS = {"without 3": 8_700, "only 7 8": 4_700}
#: How many views and of what kind, and the temperatures, that are tried. Two classes show little
#: of the other eight: there, images are also mixed with each other, and the teacher asked what it
#: sees in the mixture.
VIEW_TRIALS: dict[str, list[tuple[int, str, tuple[float, ...]]]] = {
    "without 3": [(VIEWS, "shift", (4.0, 20.0))],
    "only 7 8": [
        (32, "shift", (4.0, 20.0)),
        (32, "shift mixup", (4.0, 20.0)),
        (32, "shift cutmix", (4.0, 20.0)),
        (32, "shift mixup cutmix", (4.0, 20.0)),
    ],
}
#: How a student is corrected: not at all, on the labels of the validation rows by likelihood or
#: by errors, or without any label, by how frequent the classes are among the training rows.
CORRECTIONS = ("none", "labels", "errors", "priors")


def missing(lab: Lab) -> dict[str, record.Part]:
    """Transfer sets without threes, and with only sevens and eights; no augmentation."""
    asked = ask(lab, "conv")
    parts = {}
    for name, (rows, classes) in _sets(lab).items():
        base = Student("distilled", 800, rows=rows, teacher="conv", steps=lab.steps(STEPS[rows]))
        trials = [base.changed(temperature=t) for t in TEMPERATURES]
        parts[name] = _table(lab, trials, [asked.train] * len(trials), classes)
    return parts


def missing_views(lab: Lab) -> dict[str, record.Part]:
    """The same transfer sets on stored views."""
    asked = ask(lab, "conv", views=VIEWS)
    parts = {}
    for name, (rows, classes) in _sets(lab).items():
        base = Student("distilled", 800, rows=rows, teacher="conv")
        base = base.changed(steps=lab.steps(VIEW_STEPS[rows]))
        trials, stores = [], []
        for views, view, temperatures in VIEW_TRIALS[rows]:
            targets = asked.train
            if (views, view) != (VIEWS, "shift"):
                # Partners come from the transfer set alone, so these are views of that set.
                key = f"conv-{rows.replace(' ', '-')}"
                targets = lab.targets(asked.teacher, key, views, view, chosen_rows(lab, rows))
            for temperature in temperatures:
                trials.append(base.changed(views=views, view=view, temperature=temperature))
                stores.append(targets)
        parts[f"views_{name}"] = _table(lab, trials, stores, classes)
    return parts


def _sets(lab: Lab) -> dict[str, tuple[str, Sequence[str]]]:
    """The name of a part: the rows of its transfer set, and the classes that are corrected."""
    return {"without3": ("without 3", ["3"]), "only78": ("only 7 8", lab.test.classes)}


def _table(
    lab: Lab, trials: Sequence[Student], targets: Sequence[Store], classes: Sequence[str]
) -> record.Part:
    trials = [trial.changed(learning_rate=RATE) for trial in trials]
    short = [trial.changed(steps=lab.steps(TRIAL_STEPS)) for trial in trials]
    place, told_rows = _choose_corrected(lab, short, targets, classes)
    chosen = trials[place]
    labels = lab.test.labels
    assert labels is not None
    lacking = ~torch.isin(labels, _labels_of(lab, chosen))
    found: list[dict[str, Any]] = []
    seeded = [chosen.changed(seed=seed) for seed in range(lab.seeds(SEEDS))]
    train_all(lab, seeded, targets[place])
    for one in seeded:
        model = trained(lab, one, targets[place])
        for name, corrected in corrections(lab, model, classes).items():
            logits = predict_logits(corrected, lab.test)
            wrong = logits.argmax(dim=1) != labels
            found.append(
                {"correction": name, **setting_of(one)}
                | {"errors": int(wrong.sum()), "nll": mean_nll(logits, lab.test)}
                | {"errors_on_missing": int(wrong[lacking].sum())}
                | {"training_seconds": told(lab, one)["training_seconds"]}
            )
    figures = {"temperature": chosen.temperature, "views": float(chosen.views)}
    figures |= {"steps": float(chosen.steps), "rows_of_missing": float(lacking.sum())}
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
    lab: Lab, trials: Sequence[Student], targets: Sequence[Store], classes: Sequence[str]
) -> tuple[int, list[dict[str, Any]]]:
    """Which trial is best on validation once it is corrected by labels there."""
    work = list(zip(trials, targets, strict=True))
    share_out(work, lambda one, wait: train_one(lab, *one, wait=wait))
    scores = []
    for trial, store in work:
        model = corrections(lab, trained(lab, trial, store), classes)["labels"]
        logits = predict_logits(model, lab.validation)
        scores.append((errors(logits, lab.validation), mean_nll(logits, lab.validation)))
    best, rows = best_of(trials, scores)
    return trials.index(best), rows
