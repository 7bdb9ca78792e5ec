"""What estimators say where the answer is no class: values, or several labels a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attar.checks import AttarError

#: The least probability of a label: a logit cannot say 0 or 1.
FLOOR = 1e-6


def values_of(estimator: Any, X: Any) -> NDArray[np.float64]:
    """``[N, D]`` the values that a fitted regressor predicts.

    Raises:
        AttarError: If they are no numbers, or not finite.

    Example:
        >>> from sklearn.linear_model import LinearRegression
        >>> values_of(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), [[3.0]])
        array([[6.]])
    """
    said = np.asarray(estimator.predict(X), dtype=np.float64)
    said = said[:, None] if said.ndim == 1 else said
    _check_finite(estimator, said)
    return said


def label_probabilities(estimator: Any, X: Any) -> NDArray[np.float64]:
    """``[N, L]`` how likely a fitted classifier of several labels a row takes each to apply.

    Args:
        estimator: With ``predict_proba``, which gives ``[N, L]`` (a perceptron, one-vs-rest, a
            chain), or for each label ``[N, 2]`` (a forest, ``MultiOutputClassifier``).
        X: As the estimator takes it.

    Raises:
        AttarError: If it gives neither.

    Example:
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> tree = DecisionTreeClassifier().fit([[0.0], [1.0]], [[1, 0], [1, 1]])
        >>> label_probabilities(tree, [[1.0]])  # it has seen no row without the first
        array([[1., 1.]])
    """
    said = estimator.predict_proba(X)
    if isinstance(said, list):
        known = getattr(estimator, "classes_", [np.arange(2)] * len(said))
        columns = [_of_one(np.asarray(part), seen) for part, seen in zip(said, known, strict=True)]
        answers = np.stack(columns, axis=1)
    else:
        answers = np.asarray(said, dtype=np.float64)
    if answers.ndim != 2:
        raise AttarError(
            f"{type(estimator).__name__}: predict_proba must give [N, L], or for each label [N, 2]."
            f" Got {answers.shape}."
        )
    _check_finite(estimator, answers)
    return answers


def log_odds(probabilities: Any) -> NDArray[np.float64]:
    """The logits of probabilities ``[N, L]``, each label its own; kept off 0 and 1.

    >>> log_odds([[0.5, 1.0]]).round(2)
    array([[ 0.  , 13.82]])
    """
    kept = torch.as_tensor(np.asarray(probabilities, dtype=np.float64))
    logits: NDArray[np.float64] = kept.logit(eps=FLOOR).numpy()
    return logits


def _of_one(part: NDArray[Any], seen: Any) -> NDArray[np.float64]:
    """``[N]``: the column of 1; a label that was always the same has one column."""
    where = [place for place, value in enumerate(seen) if int(value) == 1]
    return part[:, where[0]].astype(np.float64) if where else np.zeros(len(part))


def _check_finite(estimator: Any, answers: NDArray[np.float64]) -> None:
    if not np.isfinite(answers).all():
        row = int((~np.isfinite(answers)).any(axis=1).argmax())
        raise AttarError(
            f"the teacher {type(estimator).__name__!r} gives NaN or infinity, first for row {row}."
        )
