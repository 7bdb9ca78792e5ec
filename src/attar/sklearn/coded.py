"""Classifiers that know classes by their codes alone, under the names that a table has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin


class Coded(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # no stubs
    """A classifier that is fitted on 0, 1, 2, ... and answers for the labels as they were given.

    XGBoost refuses any other labels, also codes of which one is missing in a fold.

    Args:
        estimator: With ``fit`` and ``predict_proba``.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any, **given: Any) -> Coded:
        """Fit the estimator on codes."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.estimator.fit(X, codes, **given)
        return self

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """``[N, C]`` in the order of :attr:`classes_`."""
        said: NDArray[Any] = self.estimator.predict_proba(X)
        return said

    def predict(self, X: Any) -> NDArray[Any]:
        """``[N]`` the likeliest label, as it was given."""
        likeliest: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return likeliest


def wants_codes(estimator: Any, labels: NDArray[Any]) -> bool:
    """Whether this classifier would refuse these labels, ``[N]``, though not their codes.

    >>> wants_codes(object(), np.array(["a", "b"]))
    False
    """
    steps = getattr(estimator, "steps", None)  # of a pipeline the last one counts
    module = type(steps[-1][1] if steps else estimator).__module__
    found = np.unique(labels)
    return module.startswith("xgboost") and not np.array_equal(found, np.arange(len(found)))
