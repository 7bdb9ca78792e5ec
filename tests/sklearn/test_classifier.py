"""The distilled classifier is a classifier of scikit-learn, and learns out of fold."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import polars
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import (
    load_breast_cancer,
    load_iris,
    make_classification,
    make_multilabel_classification,
)
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator

from attar import AttarError
from attar.data import munge
from attar.export import runtime
from attar.sklearn import DistilledClassifier
from attar.sklearn.kinds import Multiclass

QUICK: dict[str, Any] = {
    "parameters": 600,
    "steps": 60,
    "batch_size": 64,
    "learning_rate": 1e-2,
    "folds": 2,
    "proof": False,
    "random_state": 0,
}


def quick(teacher: Any = None, **settings: Any) -> DistilledClassifier:
    teacher = RandomForestClassifier(5, random_state=0) if teacher is None else teacher
    return DistilledClassifier(teacher, **{**QUICK, **settings})


def people(rows: int = 300) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 90, rows),
            "city": random.choice(["Rome", "Oslo", "Bonn"], rows),
            "income": random.normal(size=rows),
        }
    )
    frame.loc[::9, "income"] = np.nan
    labels = np.where((frame["age"] > 50) ^ (frame["city"] == "Rome"), "yes", "no")
    return frame, labels


def boosted() -> Any:
    texts = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    encode = make_column_transformer((texts, ["city"]), remainder="passthrough")
    return make_pipeline(encode, HistGradientBoostingClassifier(max_iter=20, random_state=0))


class Remembers(ClassifierMixin, BaseEstimator):
    """Sure of every row that it was fitted on, unsure of all others."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.seen_ = {row.tobytes(): label for row, label in zip(np.asarray(X), y, strict=True)}
        return self

    def predict_proba(self, X):
        even = np.full(len(self.classes_), 1 / len(self.classes_))
        rows = [self.seen_.get(row.tobytes()) for row in np.asarray(X)]
        return np.array([even if r is None else (self.classes_ == r) * 1.0 for r in rows])


def test_it_passes_scikit_learns_own_checks():
    # Repeating a row moves it into other folds and batches: scikit-learn names this check as one
    # that estimators which draw rows at random cannot pass.
    allowed = {
        "check_sample_weight_equivalence_on_dense_data": "rows are drawn at random into batches",
    }
    model = quick(steps=40, batch_size=32, parameters=1500)
    results = check_estimator(model, expected_failed_checks=allowed, on_fail=None, on_skip=None)
    assert any("multilabel" in r["check_name"] for r in results)
    failed = [(r["check_name"], r["exception"]) for r in results if r["status"] == "failed"]
    assert not failed
    assert sum(r["status"] == "passed" for r in results) >= 55


def test_soft_targets_are_out_of_fold_unless_told_otherwise():
    X, y = make_classification(80, 6, random_state=0)
    X = X.astype(np.float32)
    codes, teacher = y.astype(int), Remembers().fit(X, y)
    model = quick(teacher, folds=4)
    model._kind = Multiclass(np.unique(y))
    np.testing.assert_allclose(model._soft_targets(X, codes, None, teacher, 0), 0.5)
    model.folds = None
    assert model._soft_targets(X, codes, None, teacher, 0).max(axis=1).min() == 1


def test_a_class_that_no_clone_has_seen_keeps_its_label():
    X = np.arange(20, dtype=np.float32).reshape(-1, 1)
    y = np.array([0] * 10 + [1] * 9 + [2])
    model = quick(Remembers(), folds=3)
    model._kind = Multiclass(np.unique(y))
    said = model._soft_targets(X, y, None, Remembers().fit(X, y), 0)
    np.testing.assert_allclose(said[-1], [0, 0, 1])
    np.testing.assert_allclose(said.sum(axis=1), 1)


def test_a_fitted_teacher_is_kept_and_not_changed():
    X, y = make_classification(100, 5, random_state=0)
    teacher = RandomForestClassifier(5, random_state=0).fit(X, y)
    before = teacher.predict_proba(X)
    model = quick(teacher).fit(X, y)
    assert model.teacher_ is teacher
    np.testing.assert_array_equal(teacher.predict_proba(X), before)
    unfitted = RandomForestClassifier(5, random_state=0)
    assert quick(unfitted).fit(X, y).teacher_ is not unfitted
    assert not hasattr(unfitted, "estimators_")


def test_frames_with_texts_gaps_and_new_categories(tmp_path):
    frame, labels = people()
    model = quick(boosted(), steps=300, parameters=2000).fit(frame[:200], labels[:200])
    assert model.score(frame[200:], labels[200:]) > 0.8
    strange = frame[200:204].assign(city=["Lima", None, "Rome", "Oslo"], income=np.nan)
    assert model.predict_proba(strange).shape == (4, 2)
    model.to_onnx(tmp_path / "student.onnx")
    student = runtime.load(tmp_path / "student.onnx")
    assert student.classes == ["no", "yes"] or tuple(student.classes) == ("no", "yes")
    for rows in (frame[200:], strange):
        np.testing.assert_allclose(
            student.predict_proba(rows), model.predict_proba(rows), atol=1e-5
        )


def test_the_file_needs_numpy_and_onnxruntime_alone(tmp_path):
    frame, labels = people(100)
    model = quick(boosted()).fit(frame, labels)
    model.to_onnx(tmp_path / "student.onnx")
    row = {"age": [40], "city": ["Rome"], "income": [None]}
    script = (
        "import sys, json\n"
        "for name in ('torch', 'sklearn', 'pandas', 'polars'): sys.modules[name] = None\n"
        "from attar.export.runtime import load\n"
        f"print(load({str(tmp_path / 'student.onnx')!r}).predict_proba(json.loads('''"
        f"{json.dumps(row)}''')).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = model.predict_proba(pd.DataFrame(row).astype({"income": float}))
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-5)


def test_polars_gives_what_pandas_gives():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X, y = X.iloc[:200, :4], y[:200]
    first = quick().fit(X, y)
    second = quick().fit(polars.from_pandas(X), y)
    np.testing.assert_array_equal(
        first.predict_proba(X), second.predict_proba(polars.from_pandas(X))
    )


def test_the_same_random_state_gives_the_same_bits_and_leaves_torch_alone():
    X, y = make_classification(100, 5, random_state=0)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = quick().fit(X, y).predict_proba(X)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(first, quick().fit(X, y).predict_proba(X))
    assert not np.array_equal(first, quick(random_state=1).fit(X, y).predict_proba(X))


def test_in_a_pipeline_and_a_grid_search_and_pickled():
    X, y = make_classification(120, 5, random_state=0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), quick()),
        {"distilledclassifier__temperature": [1.0, 4.0]},
        cv=2,
    ).fit(X, y)
    assert search.best_estimator_[-1].temperature_ in (1.0, 4.0)
    again = pickle.loads(pickle.dumps(search))  # noqa: S301  # our own bytes
    np.testing.assert_array_equal(again.predict_proba(X), search.predict_proba(X))
    assert clone(quick()).get_params()["folds"] == 2


def test_the_experiment_tells_whether_the_teacher_helped():
    X, y = make_classification(200, 6, random_state=0)
    model = quick(proof=True, seeds=2, temperature=[1.0, 4.0], alpha=0.9).fit(X, y)
    assert model.experiment_.verdict in ("BEATS", "NO GAIN", "WORSE", "INCONCLUSIVE")
    setting = model.experiment_.arms["distilled"].setting
    assert (model.temperature_, model.alpha_) == (setting.temperature, 0.9)
    rows = model.experiment_.facts["rows"]
    assert (rows["test"], rows["validation"], rows["labelled"]) == (40, 32, 128)
    assert rows["unlabelled"] == 128  # the synthetic ones


def test_no_synthetic_row_is_a_row_of_validation_or_test(monkeypatch):
    X, y = make_classification(100, 3, n_informative=3, n_redundant=0, random_state=0)
    X = np.tile(X.round(), (2, 1))  # every row stands twice
    made = []
    from attar.sklearn import distilled

    def copies(table, *, count, seed):
        made.append(len(table))
        return munge(table, count=count, probability=0, seed=seed)  # the rows themselves

    monkeypatch.setitem(distilled.SAMPLERS, "munge", copies)
    model = quick(proof=True, seeds=2).fit(X, np.tile(y, 2))
    rows = model.experiment_.facts["rows"]
    assert rows["unlabelled"] < rows["labelled"]


def test_without_enough_rows_there_is_no_proof_and_the_reason_is_said():
    X, y = make_classification(40, 5, weights=[0.85], random_state=0)
    model = quick(proof=True).fit(X, y)
    assert model.experiment_ is None
    assert "a proof needs 10" in model.experiment_reason_


def test_sample_weights_count():
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 2))
    y = (random.random(200) < 0.5).astype(int)
    heavy = np.where(y == 1, 20.0, 0.1)
    model = quick(alpha=0.1).fit(X, y, sample_weight=heavy)
    assert model.predict_proba(X)[:, 1].mean() > 0.8


def test_imbalanced_classes_are_all_answered():
    X, y = make_classification(
        300, 6, n_informative=4, n_classes=3, weights=[0.9, 0.08, 0.02], random_state=0
    )
    model = quick().fit(X, y)
    assert model.predict_proba(X).shape == (300, 3)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"student": "forest"}, "'student' parameter.*mlp.*Got 'forest'"),
        ({"transfer": "gan"}, "'transfer' parameter.*munge.*Got 'gan'"),
        ({"folds": 1}, "folds"),
        ({"transfer_rows": 0}, "transfer_rows"),
        ({"steps": 0}, "steps"),
        ({"teacher": LinearSVC()}, "CalibratedClassifierCV"),
    ],
)
def test_wrong_parameters_are_named(settings, message):
    X, y = make_classification(40, 5, random_state=0)
    with pytest.raises(AttarError, match=message):
        quick(**settings).fit(X, y)


def test_weights_for_a_teacher_that_takes_none_are_refused():
    X, y = make_classification(40, 5, random_state=0)
    with pytest.raises(AttarError, match="Remembers takes none"):
        quick(Remembers()).fit(X, y, sample_weight=np.ones(40))


@pytest.mark.parametrize(
    "teacher",
    [
        RandomForestClassifier(10, random_state=0),
        MultiOutputClassifier(HistGradientBoostingClassifier(max_iter=10, random_state=0)),
    ],
    ids=["forest", "boosted, a label each"],
)
def test_a_row_may_have_several_labels(teacher, tmp_path):
    X, several = make_multilabel_classification(200, 8, n_classes=3, random_state=0)
    model = quick(teacher, steps=150, proof=True, seeds=2, temperature=2.0).fit(X, several)
    assert model.predict_proba(X).shape == (200, 3)
    np.testing.assert_array_equal(model.predict(X), model.predict_proba(X) > 0.5)
    assert (model.predict(X) == several).mean() > 0.75
    assert sorted(model.experiment_.arms) == ["distilled", "hard", "smoothed"]
    assert model.experiment_.task == "multilabel"
    model.to_onnx(tmp_path / "student.onnx")
    student = runtime.load(tmp_path / "student.onnx")
    rows = X[:20].astype(np.float32)
    np.testing.assert_allclose(student.predict_proba(rows), model.predict_proba(rows), atol=1e-5)
    np.testing.assert_array_equal(student.predict(rows), model.predict(rows).astype(bool))


def test_a_label_that_never_applies_is_answered_as_such():
    X, several = make_multilabel_classification(100, 8, n_classes=3, random_state=0)
    several[:, 1] = 0
    model = quick(steps=100).fit(X, several)
    assert model.predict_proba(X)[:, 1].max() < 0.2


@pytest.mark.parametrize("student", ["table_mlp", "tree", "boosted"])
@pytest.mark.parametrize("proof", [False, True])
def test_students_for_tables(student, proof, tmp_path):
    X, y = load_iris(return_X_y=True, as_frame=True)
    model = DistilledClassifier(
        RandomForestClassifier(10, max_depth=4, random_state=0),
        student=student,
        parameters=900,
        steps=60,
        folds=3,
        temperature=2.0,
        alpha=0.9,
        seeds=2,
        proof=proof,
        random_state=0,
    ).fit(X, y)
    assert model.score(X, y) > 0.85
    assert model.temperature_ == (2.0 if student == "table_mlp" else 1.0)
    model.to_onnx(tmp_path / "student.onnx")
    said = runtime.load(tmp_path / "student.onnx").predict_proba(X)
    np.testing.assert_allclose(said, model.predict_proba(X), atol=1e-5)


def test_trees_take_one_label_a_row():
    with pytest.raises(AttarError, match="'tree' learns one label a row"):
        DistilledClassifier(student="tree").fit(np.zeros((4, 2)), np.eye(4, 3)[:, :3])
