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
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
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


@pytest.mark.parametrize("student", ["mlp", "table_mlp", "tree", "boosted"])
def test_what_is_said_of_a_row_does_not_hang_on_the_rows_beside_it(student):
    X, y = make_classification(60, 6, random_state=0)
    model = quick(student=student, parameters=20_000, steps=5).fit(X, y)
    alone = np.concatenate([model.predict_proba(X[row : row + 1]) for row in range(60)])
    np.testing.assert_allclose(alone, model.predict_proba(X), atol=1e-12)


@pytest.mark.parametrize("fitted", [False, True])
def test_a_stack_without_a_final_estimator_teaches(fitted):
    X, y = make_classification(80, 6, random_state=0)
    stack = StackingClassifier([("forest", RandomForestClassifier(5))], cv=2)
    piped = make_pipeline(StandardScaler(), stack)
    for teacher in (stack, piped):
        model = quick(teacher.fit(X, y) if fitted else teacher).fit(X, y)
        assert model.predict_proba(X).shape == (80, 2)


@pytest.mark.parametrize(
    "teacher",
    [
        make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)),
        VotingClassifier([("forest", RandomForestClassifier(5, random_state=0))], voting="soft"),
        StackingClassifier([("forest", RandomForestClassifier(5, random_state=0))], cv=2),
        GridSearchCV(RandomForestClassifier(5, random_state=0), {"max_depth": [2, 3]}, cv=2),
    ],
    ids=["pipeline", "vote", "stack", "search"],
)
def test_weights_reach_the_model_within(teacher):
    X, y = make_classification(100, 6, flip_y=0.3, random_state=0)
    heavy = np.where(y == 1, 100.0, 0.01)
    assert quick(teacher).fit(X, y, heavy).teacher_.predict(X).mean() > 0.95


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


def test_random_state_seeds_a_teacher_that_has_no_seed_of_its_own():
    X, y = make_classification(60, 5, random_state=0)
    one, other = (quick(RandomForestClassifier(5), steps=5).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


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
        ({"alpha": 0}, "'alpha' parameter of DistilledClassifier"),
        ({"alpha": 1.5, "student": "tree"}, "'alpha' parameter of DistilledClassifier"),
        ({"temperature": "warm"}, "'temperature' parameter.*'auto'. Got 'warm'"),
        ({"temperature": -1, "student": "tree"}, "'temperature' parameter"),
        ({"learning_rate": -1}, "'learning_rate' parameter"),
        ({"proof": "no"}, "'proof' parameter.*Got 'no'"),
        ({"teacher": VotingClassifier([("forest", RandomForestClassifier())])}, "voting='soft'"),
        ({"teacher": LinearSVC()}, "CalibratedClassifierCV"),
    ],
)
def test_wrong_parameters_are_named(settings, message):
    X, y = make_classification(40, 5, random_state=0)
    with pytest.raises(AttarError, match=message):
        quick(**settings).fit(X, y)


def test_labels_and_rows_that_do_not_fit_are_named():
    X, y = make_classification(40, 5, random_state=0)
    texts = np.array(["no", "yes"], dtype=object)[y]
    texts[3] = None
    for labels in (texts, list(texts), pd.Series(texts, dtype="string"), polars.Series(texts)):
        with pytest.raises(AttarError, match=r"row 3 .*is missing; 1 of 40"):
            quick().fit(X, labels)
    frame = pd.DataFrame(X)
    with pytest.raises(AttarError, match=r"one row or more\. Got none"):
        quick().fit(frame.iloc[:0], y[:0])
    frame.columns = ["a", "b", "a", "c", "d"]
    with pytest.raises(AttarError, match="more than one column of the name 'a'"):
        quick().fit(frame, y)
    with pytest.raises(AttarError, match="no class has two rows"):
        quick().fit(X[:2], [0, 1])
    with pytest.raises(AttarError, match=r"sample_weight must be 0 or more. Got -1.0 in row 0"):
        quick().fit(X, y, np.full(40, -1.0))
    with pytest.raises(AttarError, match="MultiOutputClassifier"):
        quick(HistGradientBoostingClassifier()).fit(X, np.stack([y, 1 - y], axis=1))


def test_a_teacher_of_other_labels_is_refused():
    X, y = make_classification(60, 8, n_informative=4, n_classes=3, random_state=0)
    names = np.array(["a", "b", "c"])[y]
    for known in (np.array(["x", "y", "z"])[y], y, y + 1):
        teacher = RandomForestClassifier(5, random_state=0).fit(X, known)
        with pytest.raises(AttarError, match=r"labels of y, 'a', 'b', 'c'\. It knows"):
            quick(teacher).fit(X, names)
    teacher = RandomForestClassifier(5, random_state=0).fit(X, y)
    with pytest.raises(AttarError, match=r"labels of y, 0, 1\. It knows 0, 1, 2"):
        quick(teacher).fit(X[y < 2], y[y < 2])


@pytest.mark.parametrize("transfer", ["munge", "mix_neighbours", "resample"])
@pytest.mark.parametrize("library", [pd, polars])
def test_whole_numbers_with_gaps(library, transfer):
    values = [None if row % 7 == 0 else row % 50 for row in range(80)]
    y = np.arange(80) % 2
    own = (
        pd.array(values, dtype="Int8")
        if library is pd
        else polars.Series(values, dtype=polars.Int8)
    )
    frame = library.DataFrame({"whole": own, "other": y + np.linspace(0, 0.1, 80)})
    model = quick(HistGradientBoostingClassifier(max_iter=5), transfer=transfer).fit(frame, y)
    assert model.columns_[0] == {"name": "whole", "kind": "number", "fill": 19.0, "mark": True}
    assert model.score(frame, y) == 1


def test_numbers_that_pandas_holds_for_categories_are_names(tmp_path):
    random = np.random.default_rng(0)
    place = random.integers(0, 4, 200)
    y = (place % 2).astype(int)
    frame = pd.DataFrame({"place": pd.Categorical(place), "noise": random.normal(size=200)})
    model = quick(RandomForestClassifier(10, random_state=0), steps=200).fit(frame, y)
    assert model.columns_[0]["categories"] == ["0", "1", "2", "3"]
    assert model.score(frame, y) == 1
    model.to_onnx(tmp_path / "student.onnx")
    student = runtime.load(tmp_path / "student.onnx")
    said = student.predict({"place": place[:9], "noise": frame["noise"].to_numpy()[:9]})
    np.testing.assert_array_equal(said, [str(label) for label in y[:9]])


def test_weights_for_a_teacher_that_takes_none_are_refused():
    X, y = make_classification(40, 5, random_state=0)
    vote = VotingClassifier([("one", Remembers())], voting="soft")
    with pytest.raises(AttarError, match="'one' in VotingClassifier, a Remembers, takes none"):
        quick(vote).fit(X, y, sample_weight=np.ones(40))
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
