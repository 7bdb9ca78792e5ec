"""Out-of-fold soft targets: no row is labelled by an estimator that saw its label."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.checks import AttarError, check_number, need
from attar.teachers.ensemble import EnsembleTeacher
from attar.teachers.estimator import EstimatorTeacher, LabelsAre, flat_rows, is_fitted
from attar.types import UNLABELLED, Data


def cross_fit(
    estimator: Any,
    data: Data,
    *,
    folds: int = 5,
    seed: int = 0,
    full: Any = None,
    floor: float = 1e-6,
) -> EnsembleTeacher:
    """A teacher that labels each labelled row with a clone that did not see it.

    A forest, boosted trees or nearest neighbours know the rows that they were fitted on by
    heart: their soft targets there are the hard labels over again. So the labelled rows are cut
    into stratified folds, and a clone is fitted on all folds but one and asked about that one.
    Every other row, and every view of it, is answered by the estimator fitted on all labelled
    rows, which is also the one whose size the teacher reports.

    Args:
        estimator: A scikit-learn style classifier, fitted or not.
        data: Rows with labels, :data:`attar.UNLABELLED` where not known. The labelled ones are
            held in memory at once. Clones are fitted on view 0.
        folds: How many clones; at least 2.
        seed: Seeds the folds, and the clones where their ``random_state`` is None.
        full: The fitted estimator for the other rows; ``estimator`` itself where that is fitted,
            else a clone fitted here.
        floor: The least probability, as in :class:`EstimatorTeacher`.

    Raises:
        AttarError: If fewer rows are labelled than there are folds, or if a class has a single
            labelled row: the clone that labels it would never have seen its class.
    """
    check_number("cross_fit", "folds", folds, low=2, whole=True)
    need("sklearn", extra="train", purpose="cross-fitting")
    from sklearn.model_selection import StratifiedKFold

    positions, codes = _labelled(data)
    _check_counts(codes, data, folds)
    inputs = flat_rows("cross_fit", data.batch(positions).inputs)
    matching: LabelsAre = "auto"
    if full is None and is_fitted(estimator):
        full = estimator
    elif full is None:
        full, matching = _fit(estimator, inputs, codes, seed), "codes"
    classes = data.classes or tuple(str(code) for code in range(int(codes.max()) + 1))
    members = [EstimatorTeacher(full, classes=classes, floor=floor, labels_are=matching)]
    columns = torch.zeros(len(codes), dtype=torch.int64)
    with warnings.catch_warnings():
        # A class with fewer rows than folds is missing from some folds, and in all the others
        # its rows are still labelled out of fold.
        warnings.filterwarnings("ignore", message="The least populated class")
        cut = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(inputs, codes))
    for fold, (seen, held_out) in enumerate(cut, start=1):
        clone = _fit(estimator, inputs[seen], codes[seen], seed)
        members.append(EstimatorTeacher(clone, classes=classes, floor=floor, labels_are="codes"))
        columns[torch.from_numpy(held_out)] = fold
    return EnsembleTeacher(
        members,
        weights=[1.0] + [0.0] * folds,
        row_weights=(
            data.rows[positions],
            torch.nn.functional.one_hot(columns, folds + 1).float(),
        ),
        name=f"cross-fitted {members[0].name}",
    )


def _labelled(data: Data) -> tuple[Tensor, NDArray[Any]]:
    labels = data.labels
    if labels is None or labels.ndim != 1:
        raise AttarError("cross_fit: the data has no class labels, so there is nothing to fit on.")
    positions = (labels != UNLABELLED).nonzero().reshape(-1)
    return positions, labels[positions].cpu().numpy()


def _check_counts(codes: NDArray[Any], data: Data, folds: int) -> None:
    present, counts = np.unique(codes, return_counts=True)
    if len(present) < 2:
        raise AttarError(f"cross_fit: at least two classes need labelled rows. Got {len(present)}.")
    if counts.min() < 2:
        code = int(present[counts.argmin()])
        name = data.classes[code] if data.classes else str(code)
        raise AttarError(
            f"cross_fit: every class needs two labelled rows or none, and class {name!r} has one. "
            f"Whoever labels that row out of fold would never have seen its class: label another "
            f"row of it, or set its label to {UNLABELLED}."
        )
    if counts.max() < folds:
        raise AttarError(
            f"cross_fit: no class has as many labelled rows as there are folds ({folds}); the "
            f"largest has {counts.max()}. Use folds={counts.max()}."
        )


def _fit(estimator: Any, inputs: NDArray[Any], labels: NDArray[Any], seed: int) -> Any:
    """A fitted clone, seeded where the estimator left its randomness open."""
    from sklearn.base import clone

    fresh = clone(estimator)
    seeds = {
        name: seed
        for name, value in fresh.get_params().items()
        if value is None and (name == "random_state" or name.endswith("__random_state"))
    }
    return fresh.set_params(**seeds).fit(inputs, labels)
