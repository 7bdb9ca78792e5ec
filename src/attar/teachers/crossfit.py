"""Out-of-fold soft targets: no row is labelled by an estimator that saw its label."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from attar.checks import need
from attar.teachers.estimator import (
    EstimatorTeacher,
    LabelsAre,
    flat_rows,
    fresh,
    is_fitted,
    seeded,
)
from attar.teachers.folds import CrossFitted, cut
from attar.types import Data


def cross_fit(
    estimator: Any,
    data: Data,
    *,
    folds: Any = 5,
    groups: Any = None,
    seed: int = 0,
    full: Any = None,
    floor: float = 1e-6,
) -> CrossFitted:
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
        folds: How many clones, at least 2; or a splitter of scikit-learn, ``TimeSeriesSplit()``
            say, for which the rows are in the order of ``data``. Labelled rows that it never
            holds out (the first of a time order) are in ``left_out`` of the teacher, which
            refuses to answer about them.
        groups: ``[N]``, one a row of data; rows of one group are never on both sides.
        seed: Seeds the folds, and the clones where their ``random_state`` is None.
        full: The fitted estimator for the other rows; ``estimator`` itself where that is fitted,
            else a clone fitted here.
        floor: The least probability, as in :class:`EstimatorTeacher`.

    Raises:
        AttarError: If fewer rows are labelled than there are folds, if a class has a single
            labelled row (the clone that labels it would never have seen its class), or if a
            splitter cannot cut these rows.
    """
    need("sklearn", extra="train", purpose="cross-fitting")
    parts = cut("cross_fit", data, folds, groups=groups, seed=seed)
    assert data.labels is not None
    codes = data.labels.cpu()
    everything = (codes >= 0).nonzero().reshape(-1)
    matching: LabelsAre = "auto"
    if full is None and is_fitted(estimator):
        full = estimator
    elif full is None:
        inputs = flat_rows("cross_fit", data.batch(everything).inputs)
        full, matching = _fit(estimator, inputs, codes[everything].numpy(), seed), "codes"
    classes = data.classes or tuple(str(code) for code in range(int(codes.max()) + 1))
    members = [EstimatorTeacher(full, classes=classes, floor=floor, labels_are=matching)]
    for fold in parts:
        inputs = flat_rows("cross_fit", data.batch(fold.seen).inputs)
        clone = _fit(estimator, inputs, codes[fold.seen].numpy(), seed)
        members.append(EstimatorTeacher(clone, classes=classes, floor=floor, labels_are="codes"))
    return CrossFitted(members, parts, data, name=f"cross-fitted {members[0].name}")


def _fit(estimator: Any, inputs: NDArray[Any], labels: NDArray[Any], seed: int) -> Any:
    """A fitted clone, seeded where the estimator left its randomness open."""
    return seeded(fresh(estimator), seed).fit(inputs, labels)
