"""Which rows a model learns from and which it then labels: folds, groups, time order."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.checks import AttarError, check_number, need
from attar.teachers.ensemble import EnsembleTeacher
from attar.types import UNLABELLED, VIEW, Batch, Data, Outputs


class Fold(NamedTuple):
    """Positions in the data, int64: learnt from, and then labelled."""

    seen: Tensor
    held_out: Tensor


class CrossFitted(EnsembleTeacher):
    """Member 0 was fitted on all labelled rows, member k on all but those that it labels.

    Args:
        members: One for the rows without a label, then one a fold.
        folds: As many, less one.
        data: What their positions are of.
        name: What to call it.

    Attributes:
        left_out: ``[R]`` int64, the labelled rows that no fold holds out (the first ones of a
            time order). Whoever could answer about them has seen their labels: nobody is asked.
    """

    def __init__(
        self, members: Sequence[Any], folds: Sequence[Fold], data: Data, *, name: str
    ) -> None:
        held = torch.zeros(len(data), len(folds) + 1)
        for member, fold in enumerate(folds, start=1):
            held[fold.held_out, member] = 1
        answered = held.any(dim=1)
        super().__init__(
            members,
            weights=[1.0] + [0.0] * len(folds),
            row_weights=(data.rows.cpu()[answered], held[answered]),
            name=name,
        )
        assert data.labels is not None
        labelled = data.labels.cpu() != UNLABELLED
        self.left_out: Tensor = data.rows.cpu()[labelled & ~answered]

    def __call__(self, batch: Batch) -> Outputs:
        """Logits ``[N, C]``.

        Raises:
            AttarError: If the batch holds a row of ``left_out``.
        """
        if len(self.left_out):
            asked = torch.isin(batch.ids.cpu() % VIEW, self.left_out)
            if bool(asked.any()):
                raise AttarError(
                    f"the teacher {self.name!r}: no fold holds out row "
                    f"{int(batch.ids.cpu()[asked][0]) % VIEW} ({len(self.left_out)} rows in all), "
                    "so every member that could label it has seen its label. Leave these rows "
                    "out (teacher.left_out), or use folds that hold out every row."
                )
        return super().__call__(batch)


def cut(
    owner: str, data: Data, folds: Any, *, groups: Any = None, seed: int = 0
) -> tuple[Fold, ...]:
    """Cut the labelled rows of data into what is learnt from and what is then labelled.

    Args:
        owner: Who asks, for the messages.
        data: Rows with labels, :data:`attar.UNLABELLED` where not known.
        folds: A number, 2 or more: folds with the classes evenly spread. Or a splitter of
            scikit-learn (anything with ``split(X, y, groups)``): ``GroupKFold``,
            ``TimeSeriesSplit``, ... A row that it holds out more than once is labelled by the
            mean of those who did not see it.
        groups: ``[N]``, one a row of data: rows of one group (one patient, one photograph) are
            never on both sides.
        seed: Of the shuffle, where ``folds`` is a number.

    Raises:
        AttarError: If the rows cannot be cut like that.
    """
    need("sklearn", extra="train", purpose="Labelling out of fold")
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, check_cv

    positions, codes = _labelled(owner, data)
    whose = None if groups is None else check_groups(owner, groups, len(data))[positions.numpy()]
    if hasattr(folds, "split"):
        splitter = check_cv(folds)
    else:
        check_number(owner, "folds", folds, low=2, whole=True)
        _check_counts(owner, codes, data, folds)
        kind = StratifiedKFold if whose is None else StratifiedGroupKFold
        splitter = kind(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer rows than folds is missing from some folds, and in all the others
        # its rows are still labelled out of fold.
        warnings.filterwarnings("ignore", message="The least populated class")
        try:
            pairs = [
                (np.asarray(seen), np.asarray(held))
                for seen, held in splitter.split(np.zeros((len(codes), 1)), codes, whose)
            ]
        except (TypeError, ValueError) as error:
            raise AttarError(f"{owner}: {splitter} cannot cut these rows: {error}") from error
    for number, (seen, held) in enumerate(pairs):
        _check_fold(owner, number, codes, seen, held)
    return tuple(
        Fold(positions[torch.from_numpy(seen)], positions[torch.from_numpy(held)])
        for seen, held in pairs
    )


def folds_digest(folds: Sequence[Fold], data: Data) -> str:
    """A hash of who learns from what: rows, labels and folds."""
    assert data.labels is not None
    digest = hashlib.blake2b(digest_size=16)
    digest.update(data.rows.cpu().numpy().tobytes() + data.labels.cpu().numpy().tobytes())
    for fold in folds:
        digest.update(fold.seen.numpy().tobytes() + b"/" + fold.held_out.numpy().tobytes() + b";")
    return digest.hexdigest()


def _labelled(owner: str, data: Data) -> tuple[Tensor, NDArray[Any]]:
    labels = data.labels
    if labels is None or labels.ndim != 1:
        raise AttarError(f"{owner}: the data has no class labels, so there is nothing to fit on.")
    positions = (labels.cpu() != UNLABELLED).nonzero().reshape(-1)
    codes: NDArray[Any] = labels.cpu()[positions].numpy()
    if len(np.unique(codes)) < 2:
        raise AttarError(
            f"{owner}: at least two classes need labelled rows. Got {len(np.unique(codes))}."
        )
    return positions, codes


def check_groups(owner: str, groups: Any, count: int) -> NDArray[Any]:
    """``[N]``: the group of each of so many rows; raises where there is not one for each."""
    whose = np.asarray(groups)
    if whose.shape != (count,):
        raise AttarError(
            f"The 'groups' parameter of {owner} must name the group of each of the {count} rows. "
            f"Got the shape {whose.shape}."
        )
    return whose


def _check_counts(owner: str, codes: NDArray[Any], data: Data, folds: int) -> None:
    present, counts = np.unique(codes, return_counts=True)
    if counts.min() < 2:
        code = int(present[counts.argmin()])
        name = data.classes[code] if data.classes else str(code)
        raise AttarError(
            f"{owner}: every class needs two labelled rows or none, and class {name!r} has one. "
            f"Whoever labels that row out of fold would never have seen its class: label another "
            f"row of it, or set its label to {UNLABELLED}."
        )
    if counts.max() < folds:
        raise AttarError(
            f"{owner}: no class has as many labelled rows as there are folds ({folds}); the "
            f"largest has {counts.max()}. Use folds={counts.max()}."
        )


def _check_fold(
    owner: str, number: int, codes: NDArray[Any], seen: NDArray[Any], held: NDArray[Any]
) -> None:
    if np.intersect1d(seen, held).size:
        raise AttarError(f"{owner}: fold {number} labels rows that it has learnt from.")
    if not held.size or len(np.unique(codes[seen])) < 2:
        raise AttarError(
            f"{owner}: fold {number} learns from {len(seen)} rows of "
            f"{len(np.unique(codes[seen]))} classes and labels {len(held)} rows; it needs two "
            "classes to learn from and a row to label. Use fewer folds, or larger ones."
        )
