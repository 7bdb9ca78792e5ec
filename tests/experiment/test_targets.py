"""Who labels which rows in an experiment: splitters, groups, networks of each fold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.model_selection import GroupKFold, TimeSeriesSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

import attar
from attar.experiment.distill import READY_MADE

QUICK: dict[str, Any] = {
    "parameters": 100,
    "seeds": 1,
    "steps": 4,
    "smoothing": [0.1],
    "latency_seconds": 0,
}
#: Twelve patients with ten like rows each; what ails a patient is chance.
GROUPS = np.repeat(np.arange(12), 10)
RANDOM = np.random.default_rng(0)
INPUTS = (RANDOM.normal(size=(12, 4))[GROUPS] + 0.01 * RANDOM.normal(size=(120, 4))).astype("f4")
LABELS = RANDOM.permutation(np.arange(12) % 2)[GROUPS]


def right(store: attar.Store) -> float:
    said = store.logits(store.ids).argmax(dim=1).numpy()
    return float((said == LABELS[store.ids.numpy()]).mean())


@pytest.mark.parametrize("folds", [4, GroupKFold(4)])
def test_nobody_labels_a_row_of_a_group_that_he_has_seen(folds: Any, tmp_path: Path) -> None:
    teacher = KNeighborsClassifier(1)
    rows = (INPUTS, LABELS)
    attar.distill(teacher, attar.students.mlp, train=rows, out=tmp_path / "rows", **QUICK)
    grouped = {"folds": folds, "groups": GROUPS, "out": tmp_path / "groups"}
    attar.distill(teacher, attar.students.mlp, train=rows, **grouped, **QUICK)
    assert right(attar.Store.open(tmp_path / "rows" / "targets" / "train")) == 1.0
    assert right(attar.Store.open(tmp_path / "groups" / "targets" / "train")) < 0.8
    sides = [
        set(GROUPS[attar.Store.open(tmp_path / "groups" / "targets" / name).ids.numpy()])
        for name in ("train", "validation", "test")
    ]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 12


@pytest.mark.parametrize("teacher", [GaussianNB(), [GaussianNB(), KNeighborsClassifier(3)]])
def test_in_time_order_no_arm_learns_from_the_first_rows(teacher: Any, tmp_path: Path) -> None:
    mixed = RANDOM.permutation(120)
    X, y = INPUTS[mixed], LABELS[mixed]
    experiment = attar.distill(
        teacher,
        attar.students.mlp,
        train=(X[:80], y[:80]),
        validation=(X[80:100], y[80:100]),
        test=(X[100:], y[100:]),
        folds=TimeSeriesSplit(4),
        out=tmp_path / "run",
        **QUICK,
    )
    store = attar.Store.open(tmp_path / "run" / "targets" / "train")
    assert store.ids.tolist() == list(range(16, 80))
    assert any("no fold held out 16 of the training" in one for one in experiment.warnings)


def fit(network: nn.Module, rows: Any) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(rows.inputs), rows.labels).backward()
        optimizer.step()


def make() -> nn.Module:
    return nn.Linear(4, 2)


def test_networks_are_trained_fold_by_fold_on_the_training_rows(tmp_path: Path) -> None:
    seen: list[int] = []

    def watched(network: nn.Module, rows: Any) -> None:
        seen.append(len(rows))
        fit(network, rows)

    out = tmp_path / "run"
    options = {"train": (INPUTS, LABELS), "folds": 2, "fit": watched, "out": out, **QUICK}
    experiment = attar.distill(make, attar.students.mlp, **options)
    rows = len(attar.Store.open(out / "targets" / "train"))
    assert seen[0] == rows < 80  # validation and test were cut first
    assert sum(seen[1:]) == rows
    assert READY_MADE not in experiment.warnings
    assert experiment.teacher_name == "cross-fitted Linear"
    attar.distill(make, attar.students.mlp, **options, resume=True)
    assert len(seen) == 3  # nothing is trained twice


@pytest.mark.parametrize(
    ("teacher", "more", "message"),
    [
        (make, {"fit": fit, "folds": None}, "distill: fit= goes with folds="),
        (make(), {"fit": fit}, "distill: with fit= and folds= a fresh network .* Got Linear"),
        (GaussianNB(), {"folds": GroupKFold(3)}, "'groups' parameter"),
        (GaussianNB(), {"task": "regression", "groups": GROUPS}, "groups= is there for classes"),
        (
            GaussianNB(),
            {"task": "regression", "folds": GroupKFold(3)},
            "'folds' parameter of distill must be an integer",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(
    teacher: Any, more: dict[str, Any], message: str
) -> None:
    labels = LABELS if "task" not in more else LABELS.astype("f4")
    with pytest.raises(attar.AttarError, match=message):
        attar.distill(teacher, attar.students.mlp, train=(INPUTS, labels), **more, **QUICK)
