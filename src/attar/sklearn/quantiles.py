"""Quantiles out of regressors: those that give any, and those that are fitted for one at a time."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin

from attar.checks import AttarError
from attar.sklearn.estimators import with_weights
from attar.teachers.estimator import fresh


class ManyQuantiles(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # no stubs
    """Quantiles at several levels, of whatever regressor can say one.

    Args:
        estimator: One whose ``predict`` takes ``quantiles=`` (a quantile forest): it is fitted
            once. Or one that is fitted for a single level, in a parameter ``quantile`` (boosted
            trees of scikit-learn with ``loss="quantile"``), or ``alpha`` beside a loss or
            objective ``"quantile"``, or XGBoost with ``"reg:quantileerror"``, or CatBoost with
            ``loss_function="Quantile"``: a clone is fitted for each level.
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
        given = with_weights("fit", self.estimator, sample_weight)
        name = level_parameter(self.estimator)
        if name is None:
            self.estimators_ = [fresh(self.estimator).fit(X, y, **given)]
            return self
        catboost = name.rpartition("__")[2] == "loss_function"
        self.estimators_ = [
            fresh(self.estimator)
            .set_params(**{name: f"Quantile:alpha={level}" if catboost else level})
            .fit(X, y, **given)
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
        if last == "quantile_alpha" and "reg:quantileerror" in siblings:  # XGBoost
            return str(name)
        if last == "loss_function" and str(parameters[name]).startswith("Quantile"):  # CatBoost
            return str(name)
        if (last == "alpha" or (last == "quantile" and any(siblings))) and "quantile" in siblings:
            return str(name)
        if last == "quantile" and not any(siblings):
            return str(name)
    takes = getattr(estimator, "predict", None)
    if takes is not None and "quantiles" in inspect.signature(takes).parameters:
        return None
    raise AttarError(
        f"DistilledRegressor: with quantiles= the teacher must be one that can say quantiles: its "
        f"predict takes quantiles=, or it is made with loss='quantile' (XGBoost: "
        f"objective='reg:quantileerror', CatBoost: loss_function='Quantile'). "
        f"{type(estimator).__name__} is neither; take "
        "HistGradientBoostingRegressor(loss='quantile', quantile=0.5)."
    )
