"""Quantiles of teachers, and students that learn them."""

from __future__ import annotations

import numpy as np
import pytest
from catboost import CatBoostRegressor
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import QuantileRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBRegressor

from attar import AttarError
from attar.export import runtime
from attar.sklearn import DistilledRegressor
from attar.sklearn.quantiles import ManyQuantiles, level_parameter

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-1, 1, size=(400, 2))
Y = 10 * X[:, 0] + (1 + X[:, 1]) * RANDOM.normal(size=400)  # the noise grows with the second

QUICK = {
    "parameters": 600,
    "steps": 250,
    "batch_size": 64,
    "learning_rate": 2e-2,
    "folds": 2,
    "proof": False,
    "random_state": 0,
}


class Asked(RegressorMixin, BaseEstimator):
    """Says any quantile when asked: the known noise around the known mean."""

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X, quantiles=(0.5,)):
        from scipy.stats import norm

        X = np.asarray(X)
        return 10 * X[:, :1] + (1 + X[:, 1:2]) * norm.ppf(quantiles)


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (HistGradientBoostingRegressor(loss="quantile", quantile=0.5), "quantile"),
        (GradientBoostingRegressor(loss="quantile"), "alpha"),
        (QuantileRegressor(), "quantile"),
        (make_pipeline(StandardScaler(), QuantileRegressor()), "quantileregressor__quantile"),
        (Asked(), None),
        (XGBRegressor(objective="reg:quantileerror", quantile_alpha=0.5), "quantile_alpha"),
        (CatBoostRegressor(loss_function="Quantile:alpha=0.5"), "loss_function"),
    ],
    ids=["histogram", "boosted", "linear", "pipeline", "asked", "xgboost", "catboost"],
)
def test_where_the_level_stands(estimator, name):
    assert level_parameter(estimator) == name


@pytest.mark.parametrize(
    "estimator",
    [
        XGBRegressor(objective="reg:quantileerror", quantile_alpha=0.5, n_estimators=20),
        CatBoostRegressor(loss_function="Quantile", iterations=50, verbose=False),
    ],
    ids=["xgboost", "catboost"],
)
def test_boosted_trees_of_other_libraries_say_their_quantiles(estimator):
    said = ManyQuantiles(estimator, [0.1, 0.9]).fit(X, Y).predict(X)
    covered = ((said[:, 0] <= Y) & (said[:, 1] >= Y)).mean()
    assert 0.6 < covered < 1


@pytest.mark.parametrize(
    "estimator",
    [ExtraTreesRegressor(), HistGradientBoostingRegressor(), GradientBoostingRegressor()],
)
def test_one_that_says_no_quantile_is_refused(estimator):
    with pytest.raises(AttarError, match="loss='quantile'"):
        level_parameter(estimator)
    with pytest.raises(AttarError, match="is neither"):
        DistilledRegressor(estimator, quantiles=[0.5], **QUICK).fit(X, Y)


def test_quantiles_do_not_cross_and_cover_their_share():
    teacher = ManyQuantiles(
        GradientBoostingRegressor(loss="quantile", n_estimators=50, random_state=0), [0.1, 0.9]
    ).fit(X, Y)
    said = teacher.predict(X)
    assert (said[:, 0] <= said[:, 1]).all()
    assert ((said >= Y[:, None]) * 1.0).mean(axis=0) == pytest.approx([0.1, 0.9], abs=0.05)


def test_a_student_learns_the_quantiles_of_its_teacher(tmp_path):
    levels = [0.9, 0.1, 0.5]  # in any order
    model = DistilledRegressor(Asked(), quantiles=levels, alpha=0.9, **QUICK).fit(X, Y)
    said, told = model.predict_quantiles(X), Asked().predict(X, levels)
    assert np.abs(said - told).mean() < 0.7
    assert ((Y[:, None] <= said) * 1.0).mean(axis=0) == pytest.approx(levels, abs=0.08)
    wide = (said[:, 0] - said[:, 1])[X[:, 1] > 0.5].mean()
    assert wide > 1.5 * (said[:, 0] - said[:, 1])[X[:, 1] < -0.5].mean()
    np.testing.assert_array_equal(model.predict(X), said[:, 2])
    model.to_onnx(tmp_path / "student.onnx")
    student = runtime.load(tmp_path / "student.onnx")
    assert student.classes == ("0.9", "0.1", "0.5")
    np.testing.assert_allclose(
        np.sort(student.predict(X.astype(np.float32))), np.sort(said), atol=1e-3
    )


def test_the_verdict_is_one_in_pinball_losses():
    quick = {**QUICK, "proof": True, "seeds": 2, "steps": 60, "alpha": 0.9}
    experiment = DistilledRegressor(Asked(), quantiles=[0.1, 0.9], **quick).fit(X, Y).experiment_
    assert experiment.levels == (0.1, 0.9)
    assert "pinball loss" in experiment.comparison.reason
    assert "coverage error" in experiment.table()
    # The teacher knows the truth: nobody's loss is clearly below its.
    assert experiment.teacher.pinball < 1.02 * experiment.arms["distilled"].mean("pinball")
    assert experiment.teacher.coverage_error < 0.1


@pytest.mark.parametrize(
    ("quantiles", "y", "message"),
    [
        ([0.5, 1.0], Y, "quantiles"),
        ([], Y, r"different levels between 0 and 1.*Got \[\]"),
        (0.5, Y, "different levels between 0 and 1.*Got 0.5"),
        ([0.5, 0.5], Y, r"different levels. Got \[0.5, 0.5\]"),
        ([0.5], np.stack([Y, Y], axis=1), "one target"),
    ],
)
def test_what_does_not_fit_is_said(quantiles, y, message):
    with pytest.raises(AttarError, match=message):
        DistilledRegressor(Asked(), quantiles=quantiles, **QUICK).fit(X, y)


def test_without_quantiles_there_are_none():
    model = DistilledRegressor(ExtraTreesRegressor(5), **{**QUICK, "steps": 5}).fit(X, Y)
    with pytest.raises(AttarError, match="learned the mean"):
        model.predict_quantiles(X)
