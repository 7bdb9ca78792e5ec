"""The soft targets of an experiment: the teacher is asked once, about the rows of every split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attar.checks import AttarError
from attar.engine.processes import Processes
from attar.experiment.crossfit import Fit, check_factory, cross_fit_networks
from attar.experiment.inputs import Splits
from attar.experiment.progress import OnProgress, Progress
from attar.export.backend import BACKENDS
from attar.store import Store, label
from attar.teachers import (
    CrossFitted,
    EnsembleTeacher,
    GivenTeacher,
    StoredTeacher,
    as_teacher,
    cross_fit,
    weigh,
)
from attar.teachers.estimator import fresh
from attar.types import VIEW, Data


def teacher_of(
    teacher: Any,
    splits: Splits,
    folds: Any,
    *,
    refit: bool,
    fit: Fit | None = None,
    keep: Path | None = None,
) -> Any:
    """Anything as a teacher; estimators, alone or in a list, label out of fold.

    Estimators in a list get the weights that are best for what they say out of fold.

    Args:
        teacher: What the user gave; with ``fit``, what makes a fresh network.
        splits: The rows.
        folds: How many, or a splitter; None takes a teacher's own word.
        refit: Test or validation was cut here, from rows that a fitted estimator may have seen;
            a clone fitted on the training rows answers in its place.
        fit: Trains a network of a fold.
        keep: Where these networks are kept.
    """
    if isinstance(teacher, list | tuple) and folds is not None and fit is None:
        members = [teacher_of(member, splits, folds, refit=refit) for member in teacher]
        together = as_teacher(members, classes=splits.train.classes)
        fair = len(members) > 1 and all(isinstance(one, CrossFitted) for one in members)
        if fair and isinstance(together, EnsembleTeacher):
            return weigh(together, splits.without(left_out_of(together)).train)
        return together
    train = splits.train
    groups = None if splits.groups is None else splits.groups.of(train)
    if fit is not None:
        check_factory("distill", teacher)
        return cross_fit_networks(teacher, fit, train, folds=folds, groups=groups, keep=keep)
    if hasattr(teacher, "predict_proba") and folds is not None:
        asked = fresh(teacher) if refit else teacher
        return cross_fit(asked, train, folds=folds, groups=groups)
    return as_teacher(teacher, classes=train.classes)


def left_out_of(teacher: Any) -> Tensor:
    """The row numbers that no fold of a teacher, or of one of its members, holds out."""
    own = getattr(teacher, "left_out", None)
    if isinstance(own, Tensor):
        return own
    parts = [left_out_of(member) for member in getattr(teacher, "members", ())]
    found: Tensor = torch.unique(torch.cat([torch.empty(0, dtype=torch.int64), *parts]))
    return found


def answers_anything(teacher: Any) -> bool:
    """Whether a teacher can be asked about inputs that nobody has seen before.

    >>> answers_anything([lambda batch: None, GivenTeacher([[0.1, 0.9]])])
    False
    >>> answers_anything("teacher.onnx"), answers_anything("soft-targets")
    (True, False)
    """
    if isinstance(teacher, EnsembleTeacher):
        return answers_anything(teacher.members)
    if isinstance(teacher, list | tuple):
        return all(answers_anything(member) for member in teacher)
    if isinstance(teacher, str | Path):  # a file of a model; else a store's folder or address
        return Path(teacher).suffix.lower() == ".onnx"
    return not isinstance(teacher, Store | StoredTeacher | GivenTeacher)


def may_have_seen(teacher: Any) -> bool:
    """Whether a teacher came ready-made, with rows of its own that nobody here knows."""
    if isinstance(teacher, list | tuple):
        return any(may_have_seen(member) for member in teacher)
    return not hasattr(teacher, "predict_proba")


def targets_of(
    teacher: Any, splits: Splits, folder: Path, tell: OnProgress, processes: Processes
) -> dict[str, Store]:
    """The soft targets of each split: the main process asks for them, the others read them."""
    stores = processes.first(lambda: _label_all(teacher, splits, folder, tell))
    there = None if stores is None else {name: store.path for name, store in stores.items()}
    paths = processes.from_main(there)
    assert paths is not None  # where the teacher could not be asked, all have stopped
    return stores or {name: Store.open(path) for name, path in paths.items()}


def _label_all(teacher: Any, splits: Splits, folder: Path, tell: OnProgress) -> dict[str, Store]:
    if isinstance(teacher, StoredTeacher):
        _check_store(teacher.store, splits)
        return dict.fromkeys(("train", "validation", "test"), teacher.store)
    stores = {}
    for name in ("train", "validation", "test"):
        data: Data = getattr(splits, name)

        def report(done: int, total: int, name: str = name) -> None:
            tell(Progress("label", f"The teacher answers the {name} rows", done, total))

        stores[name] = label(teacher, data, folder / name, backends=BACKENDS, progress=report)
    return stores


def _check_store(store: Store, splits: Splits) -> None:
    """A store that is the teacher must know every row, before anything is trained."""
    classes = splits.train.classes
    if store.classes and tuple(store.classes) != classes:
        raise AttarError(
            f"distill: the store has the classes {tuple(store.classes)}, the data has {classes}. "
            "Label this data again, or give classes=[...] in the store's order."
        )
    for view in range(splits.train.view_count):
        store.logits(splits.train.rows + view * VIEW)  # raises, and names what is missing
    for part in (splits.validation, splits.test):
        store.logits(part.rows)
