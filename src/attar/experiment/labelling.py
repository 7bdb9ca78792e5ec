"""`attar.label`: any teacher, asked once about any data, out of fold where it must be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from attar.checks import AttarError
from attar.data import as_data
from attar.store import Store
from attar.store import label as label_store
from attar.teachers import as_teacher, cross_fit


def label(
    teacher: Any,
    data: Any,
    path: str | Path,
    *,
    folds: int | None = None,
    dtype: str | None = None,
    top_k: int | Literal["auto"] | None = None,
    sample: int | None = None,
    temperatures: Sequence[float] = (1.0,),
    max_kl: float | None = None,
    seed: int = 0,
    batch_size: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Ask a teacher about every row, once, and keep its logits in a folder.

    Called again, also after it was killed, it goes on with what is left to do; see
    :func:`attar.store.label`.

    Args:
        teacher: Whatever :func:`attar.teachers.as_teacher` takes.
        data: ``(X, y)``, ``(X, None)`` or an object of :mod:`attar.data`; every view of every
            row is labelled.
        path: The folder of the store.
        folds: For an estimator that was (or is to be) fitted on the labelled rows of ``data``:
            these rows are then answered by clones that did not see their label. A forest or
            boosted trees that label their own training rows say little more than the label.
        dtype: ``"float32"`` (where nothing is said), ``"float16"`` or ``"int8"``.
        top_k: Keep so many of the best logits of each row, or ``"auto"``: the smallest record that
            holds ``max_kl``; None for all.
        sample: Keep so many classes, drawn from the teacher's distribution; None for none.
        temperatures: At which what is kept is to be used, where it is not all.
        max_kl: The bound of ``top_k="auto"``, in nats; 0.001 where nothing is said.
        seed: Of what ``sample`` draws.
        batch_size: Rows the teacher is asked about at once.
        progress: Called with the inputs done and their total.

    Returns:
        The store, opened.

    Raises:
        AttarError: If ``folds`` is given for something that is no estimator, or as in
            :func:`attar.store.label`.

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
        asked: Any = as_teacher(teacher, classes=rows.classes)
    elif hasattr(teacher, "predict_proba"):
        asked = cross_fit(teacher, rows, folds=folds)
    else:
        raise AttarError(
            "label: folds= makes clones of an estimator with predict_proba, and "
            f"{type(teacher).__name__} is none. Networks are cross-fitted while they are trained: "
            "attar.train_ensemble."
        )
    return label_store(
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
        progress=progress,
    )
