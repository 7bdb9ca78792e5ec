"""The distilled regressor is a regressor of scikit-learn, and learns out of fold."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_friedman1
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import check_estimator

from attar import AttarError
from attar.export import runtime
from attar.sklearn import DistilledRegressor
from attar.sklearn.kinds import Values

QUICK: dict[str, Any] = {
    "parameters": 600,
    "steps": 60,
    "batch_size": 64,
    "learning_rate": 2e-2,
    "folds": 2,
    "proof": False,
    "random_state": 0,
}
X, Y = make_friedman1(200, noise=1.0, random_state=0)


def quick(teacher: Any = None, **settings: Any) -> DistilledRegressor:
    teacher = ExtraTreesRegressor(5, random_state=0) if teacher is None else teacher
    return DistilledRegressor(teacher, **{**QUICK, **settings})


class Remembers(RegressorMixin, BaseEstimator):
    """Knows every row that it was fitted on, and says 0 of all others."""

    def fit(self, X, y):
        self.seen_ = {row.tobytes(): value for row, value in zip(np.asarray(X), y, strict=True)}
        return self

    def predict(self, X):
        return np.array([self.seen_.get(row.tobytes(), 0.0) for row in np.asarray(X)])


def test_it_passes_scikit_learns_own_checks():
    # As for the classifier: a repeated row moves into other folds and batches.
    allowed = {
        "check_sample_weight_equivalence_on_dense_data": "rows are drawn at random into batches",
    }
    model = quick(steps=40, batch_size=32)
    results = check_estimator(model, expected_failed_checks=allowed, on_fail=None, on_skip=None)
    failed = [(r["check_name"], r["exception"]) for r in results if r["status"] == "failed"]
    assert not failed
    assert sum(r["status"] == "passed" for r in results) >= 45


def test_values_are_in_the_unit_of_y_whatever_it_is():
    model = quick(steps=300).fit(X, Y)
    assert model.score(X, Y) > 0.6
    far = quick(steps=300).fit(X, 1e6 + 1e3 * Y)
    assert far.score(X, 1e6 + 1e3 * Y) == pytest.approx(model.score(X, Y), abs=0.02)


def test_soft_targets_are_out_of_fold_unless_told_otherwise():
    teacher = Remembers().fit(X, Y)
    model = quick(teacher, folds=4)
    model._kind = Values(1)
    assert not model._soft_targets(X, Y[:, None], None, teacher, 0).any()
    model.folds = None
    np.testing.assert_allclose(model._soft_targets(X, Y[:, None], None, teacher, 0)[:, 0], Y)


def test_the_experiment_tells_whether_the_teacher_helped():
    model = quick(proof=True, seeds=2, alpha=[0.5, 0.9]).fit(X, Y)
    experiment = model.experiment_
    assert experiment.verdict in ("BEATS", "NO GAIN", "WORSE", "INCONCLUSIVE")
    assert sorted(experiment.arms) == ["distilled", "hard"]
    assert experiment.retention is None
    assert experiment.one_minus_mse_ratio < 1
    assert model.alpha_ == experiment.arms["distilled"].setting.alpha
    rows = experiment.facts["rows"]
    assert (rows["test"], rows["validation"], rows["labelled"]) == (40, 32, 128)
    assert rows["unlabelled"] == 128  # the synthetic ones


def test_with_few_rows_there_is_no_proof_and_the_reason_is_said():
    model = quick(proof=True).fit(X[:20], Y[:20])
    assert model.experiment_ is None
    assert "a proof needs 30" in model.experiment_reason_


@pytest.mark.parametrize("loss", ["squared", "bounded"])
def test_frames_with_texts_gaps_and_new_categories(loss, tmp_path):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"size": random.normal(size=240), "city": random.choice(["Rome", "Oslo"], 240)}
    )
    prices = 100 * frame["size"] + np.where(frame["city"] == "Rome", 150, 0)
    frame.loc[::9, "size"] = np.nan
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    teacher = make_pipeline(
        make_column_transformer((encode, ["city"]), remainder="passthrough"),
        HistGradientBoostingRegressor(max_iter=20, random_state=0),
    )
    model = quick(teacher, loss=loss, steps=200, alpha=0.5).fit(frame[:200], prices[:200])
    assert model.score(frame[200:], prices[200:]) > 0.5
    strange = frame[200:203].assign(city=["Lima", None, "Rome"], size=np.nan)
    written = model.to_onnx(tmp_path / "student.onnx")
    assert written.max_probability_difference < 1e-4
    student = runtime.load(tmp_path / "student.onnx")
    assert student.task == "regression"
    for rows in (frame[200:], strange):
        np.testing.assert_allclose(student.predict(rows), model.predict(rows), rtol=1e-4, atol=0.01)


def test_several_targets(tmp_path):
    both = np.stack([Y, -Y], axis=1)
    model = quick(proof=True, seeds=2).fit(X, both)
    assert model.predict(X).shape == (200, 2)
    model.to_onnx(tmp_path / "student.onnx")
    found = runtime.load(tmp_path / "student.onnx").predict(X.astype(np.float32))
    np.testing.assert_allclose(found, model.predict(X), rtol=1e-3, atol=1e-3)


def test_the_same_random_state_gives_the_same_bits_also_pickled():
    first = quick().fit(X, Y)
    np.testing.assert_array_equal(first.predict(X), quick().fit(X, Y).predict(X))
    again = pickle.loads(pickle.dumps(first))  # noqa: S301  # our own bytes
    np.testing.assert_array_equal(again.predict(X), first.predict(X))
    assert len(cross_val_score(quick(steps=10), X, Y, cv=2)) == 2


@pytest.mark.parametrize("student", ["tree", "boosted"])
@pytest.mark.parametrize("proof", [False, True])
def test_trees_as_students(student, proof, tmp_path):
    teacher = ExtraTreesRegressor(50, random_state=0)
    model = quick(teacher=teacher, student=student, parameters=1500, proof=proof, seeds=2).fit(X, Y)
    assert model.score(X, Y) > 0.5
    assert (model.experiment_ is not None) == proof
    model.to_onnx(tmp_path / "student.onnx")
    rows = X[:30].astype(np.float32)
    said = runtime.load(tmp_path / "student.onnx").predict(rows)
    np.testing.assert_allclose(said, model.predict(rows), rtol=1e-5, atol=1e-5)
    if student == "tree":
        assert " -> " in model.student_.rules(values=True)


def test_sample_weights_count():
    level = np.repeat([0.0, 1.0], 100)
    heavy = np.where(level == 1, 20.0, 0.1)
    model = quick(alpha=0.1).fit(X, level, sample_weight=heavy)
    assert model.predict(X).mean() > 0.8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"student": "forest"}, "'student' parameter of DistilledRegressor"),
        ({"loss": "huber"}, "'loss' parameter.*bounded.*Got 'huber'"),
        ({"folds": 1}, "folds"),
        ({"teacher": OneHotEncoder()}, "must have predict"),
        ({"student": "tree", "loss": "bounded"}, "learns the mean by its squared error"),
        ({"student": "boosted", "quantiles": [0.5]}, "learns the mean by its squared error"),
    ],
)
def test_wrong_parameters_are_named(settings, message):
    with pytest.raises(AttarError, match=message):
        quick(**settings).fit(X, Y)


def test_rows_that_do_not_fit_are_named():
    with pytest.raises(AttarError, match=r"200 rows of X. Got \(3,\)"):
        quick().fit(X, Y[:3])
