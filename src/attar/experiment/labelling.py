"""`attar.label`: any teacher, asked once about any data, out of fold where it must be."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from attar.checks import AttarError
from attar.data import as_data
from attar.evaluation import in_sample
from attar.experiment.crossfit import Fit, check_factory, cross_fit_networks
from attar.export.backend import BACKENDS
from attar.store import Store
from attar.store import label as label_store
from attar.teachers import CrossFitted, as_teacher, cross_fit
from attar.types import UNLABELLED, Data


def label(
    teacher: Any,
    data: Any,
    path: str | Path,
    *,
    folds: Any = None,
    groups: Any = None,
    fit: Fit | None = None,
    full: Any = None,
    keep: str | Path | None = None,
    held_out: Any = None,
    dtype: str | None = None,
    top_k: int | Literal["auto"] | None = None,
    sample: int | None = None,
    temperatures: Sequence[float] = (1.0,),
    max_kl: float | None = None,
    seed: int = 0,
    batch_size: int | Literal["auto"] = "auto",
    name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Ask a teacher about every row, once, and keep its logits in a folder.

    Called again, also after it was killed, it goes on with what is left to do; see
    :func:`attar.store.label`.

    Args:
        teacher: Whatever :func:`attar.teachers.as_teacher` takes; with ``fit``, a callable
            without arguments that makes a fresh network.
        data: ``(X, y)``, ``(X, None)`` or an object of :mod:`attar.data`; every view of every
            row is labelled.
        path: The folder of the store, or an address of fsspec.
        folds: For an estimator that was (or is to be) fitted on the labelled rows of ``data``,
            and for networks that ``fit`` trains on them: these rows are then answered by those
            who did not see their label. A forest or an over-fitted network that labels its own
            training rows says little more than the label. How many folds, or a splitter of
            scikit-learn. Rows that a splitter never holds out, such as the first ones of
            ``TimeSeriesSplit``, stay out of the store, with a warning; the manifest notes them,
            and reading one raises with the reason.
        groups: ``[N]``, one a row: rows of one group are never on both sides of a fold.
        fit: ``fit(network, rows)`` trains a fresh network on the rows of a fold.
        full: With ``folds``, the fitted teacher for the rows without a label, if there is one.
        keep: Where the networks of the folds are kept, so that a call that was killed goes on
            with the next fold; ``path`` with ``-folds`` behind it by default. It can be deleted
            when the store is finished.
        held_out: Labelled rows that the teacher has not been fitted on: whether it knows the
            rows that it labels by heart is then known better.
        dtype: ``"float32"`` (where nothing is said), ``"float16"`` or ``"int8"``.
        top_k: Keep so many of the best logits of each row, or ``"auto"``: the smallest record that
            holds ``max_kl``; None for all.
        sample: Keep so many classes, drawn from the teacher's distribution; None for none.
        temperatures: At which what is kept is to be used, where it is not all.
        max_kl: The bound of ``top_k="auto"``, in nats; 0.001 where nothing is said.
        seed: Of what ``sample`` draws.
        batch_size: Rows the teacher is asked about at once. ``"auto"``: a pass of more than 20
            seconds begins with a short measurement that chooses this number and, for a network,
            the way of asking it (as it is, channels last, ONNX Runtime, compiled; bfloat16 only
            with ``top_k="auto"``, within its bound); see :func:`attar.store.label`. What was found
            stands in ``store.manifest["pass"]``.
        name: What the store calls this teacher: several of one kind can then stand in it, and
            ``store.teacher(name)`` is the part of one. Its own name where nothing is said.
        progress: Called with the inputs done and their total.

    Returns:
        The store, opened.

    Raises:
        AttarError: If ``folds`` is given for something that cannot be fitted anew, or as in
            :func:`attar.store.label`.

    Warns:
        UserWarning: If the teacher seems to have been fitted on the rows that it labels
            (:func:`attar.evaluation.in_sample`), or rows are left out.

    Example:
        >>> import tempfile
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> tree = DecisionTreeClassifier(random_state=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = label(tree, (X, y), folder, folds=5)
        ...     right = (store.logits(store.ids).argmax(dim=1).numpy() == y).mean()
        >>> print(f"{right:.2f}")  # out of fold; in sample it would be 1.00
        0.93
    """
    rows = as_data(data)
    if folds is None:
        for name, value in (("groups", groups), ("fit", fit), ("full", full), ("keep", keep)):
            if value is not None:
                raise AttarError(f"label: {name}= goes with folds=. Give folds=5, or leave it out.")
        asked: Any = as_teacher(teacher, classes=rows.classes)
    else:
        asked = _out_of_fold(teacher, rows, Path(path), folds, groups, fit, full, keep)
        rows = _answered(asked, rows)
    store = label_store(
        asked,
        rows,
        path,
        dtype=dtype,
        top_k=top_k,
        sample=sample,
        temperatures=temperatures,
        max_kl=max_kl,
        seed=seed,
        batch_size=batch_size,
        name=name,
        backends=BACKENDS,
        progress=progress,
    )
    if folds is None and sample is None:  # a few drawn classes do not tell how unsure it is
        seen = seems_in_sample(asked, store, rows, held_out)
        if seen is not None:
            warnings.warn(f"label: {seen}", stacklevel=2)
    return store


def _out_of_fold(
    teacher: Any, rows: Data, path: Path, folds: Any, groups: Any, fit: Any, full: Any, keep: Any
) -> CrossFitted:
    if fit is not None:
        check_factory("label", teacher)
        kept = path.with_name(f"{path.name}-folds") if keep is None else keep
        return cross_fit_networks(
            teacher, fit, rows, folds=folds, groups=groups, full=full, keep=kept
        )
    if hasattr(teacher, "predict_proba"):
        return cross_fit(teacher, rows, folds=folds, groups=groups, full=full)
    raise AttarError(
        "label: folds= makes clones of an estimator with predict_proba, and "
        f"{type(teacher).__name__} is none. For a network, give a function that makes one and "
        "fit=, a function (network, rows) that trains it; or use attar.train_ensemble."
    )


def _answered(teacher: CrossFitted, rows: Data) -> Data:
    """The rows that someone can answer who has not seen their label."""
    if not len(teacher.left_out):
        return rows
    warnings.warn(
        f"label: no fold holds out {len(teacher.left_out)} of {len(rows)} rows (the first is row "
        f"{int(teacher.left_out[0])}), so nobody can label them who has not seen their label. "
        "They stay out of the store: train on the others, "
        "data.take(torch.isin(data.rows, store.ids)).",
        stacklevel=3,
    )
    return rows.take((~torch.isin(rows.rows.cpu(), teacher.left_out)).nonzero()[:, 0])


def seems_in_sample(teacher: Any, store: Store, rows: Data, held_out: Any = None) -> str | None:
    """:func:`attar.evaluation.in_sample` on what a store holds about these rows.

    Rows that nobody labelled are rows that the teacher was not fitted on.
    """
    labels = rows.labels
    if labels is None or isinstance(teacher, CrossFitted):
        return None
    known = (labels.cpu() != UNLABELLED).nonzero()[:, 0]
    if not len(known):
        return None
    said = store.logits(rows.rows.cpu()[known[:_ENOUGH]])
    ours = labels.cpu()[known[:_ENOUGH]]
    if held_out is not None:
        others = as_data(held_out, classes=rows.classes)
        with torch.no_grad():
            answer = teacher(others.batch(torch.arange(min(len(others), _ENOUGH)))).logits
        there = None if others.labels is None else others.labels[:_ENOUGH]
        return in_sample(said, ours, answer, there)
    unknown = (labels.cpu() == UNLABELLED).nonzero()[:, 0][:_ENOUGH]
    return in_sample(said, ours, store.logits(rows.rows.cpu()[unknown]) if len(unknown) else None)


#: So many rows tell as well as all.
_ENOUGH = 4096
