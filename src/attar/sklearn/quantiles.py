"""Quantiles out of regressors: those that give any, and those that are fitted for one at a time."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils.validation import has_fit_parameter

from attar.checks import AttarError


class ManyQuantiles(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # no stubs
    """Quantiles at several levels, of whatever regressor can say one.

    Args:
        estimator: One whose ``predict`` takes ``quantiles=`` (a quantile forest): it is fitted
            once. Or one that is fitted for a single level, in a parameter ``quantile`` (boosted
            trees of scikit-learn with ``loss="quantile"``), or ``alpha`` beside a loss or
            objective ``"quantile"``: a clone is fitted for each level.
        levels: Numbers between 0 and 1.

    Attributes:
        estimators_: The fitted ones.

    Example:
        >>> from sklearn.ensemble import GradientBoostingRegressor
        >>> boosted = GradientBoostingRegressor(loss="quantile", n_estimators=20, random_state=0)
        >>> X = np.arange(20.0)[:, None]
        >>> said = ManyQuantiles(boosted, [0.1, 0.9]).fit(X, X[:, 0]).predict(X)
        >>> said.shape, bool((said[:, 0] <= said[:, 1]).all())
        ((20, 2), True)
    """

    def __init__(self, estimator: Any, levels: Sequence[float]) -> None:
        self.estimator = estimator
        self.levels = levels

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> ManyQuantiles:
        """Fit one for all levels, or one for each.

        Raises:
            AttarError: If the estimator can say no quantile, or takes no sample weights.
        """
        given = {} if sample_weight is None else {"sample_weight": sample_weight}
        if given and not has_fit_parameter(self.estimator, "sample_weight"):
            raise AttarError(
                f"the fit of {type(self.estimator).__name__} takes no sample_weight, which was "
                "given."
            )
        name = level_parameter(self.estimator)
        if name is None:
            self.estimators_ = [clone(self.estimator).fit(X, y, **given)]
            return self
        self.estimators_ = [
            clone(self.estimator).set_params(**{name: level}).fit(X, y, **given)
            for level in self.levels
        ]
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """``[N, levels]``, in rising order in each row: single fits may cross."""
        if level_parameter(self.estimator) is None:
            said = np.asarray(self.estimators_[0].predict(X, quantiles=list(self.levels)))
        else:
            said = np.stack([one.predict(X) for one in self.estimators_], axis=1)
        return np.sort(said.astype(np.float64), axis=1)


def level_parameter(estimator: Any) -> str | None:
    """The parameter that names the level; None where ``predict`` takes ``quantiles=``.

    Raises:
        AttarError: If the estimator has neither.

    Example:
        >>> from sklearn.linear_model import QuantileRegressor
        >>> level_parameter(QuantileRegressor())
        'quantile'
    """
    parameters = estimator.get_params()
    for name in parameters:
        last = name.rpartition("__")[2]
        siblings = [parameters.get(name[: -len(last)] + other) for other in ("loss", "objective")]
        if (last == "alpha" or (last == "quantile" and any(siblings))) and "quantile" in siblings:
            return str(name)
        if last == "quantile" and not any(siblings):
            return str(name)
    takes = getattr(estimator, "predict", None)
    if takes is not None and "quantiles" in inspect.signature(takes).parameters:
        return None
    raise AttarError(
        f"DistilledRegressor: with quantiles= the teacher must be one that can say quantiles: its "
        f"predict takes quantiles=, or it is made with loss='quantile'. {type(estimator).__name__} "
        "is neither; take HistGradientBoostingRegressor(loss='quantile', quantile=0.5)."
    )
