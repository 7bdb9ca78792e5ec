"""XGBoost, LightGBM and CatBoost themselves: as teachers, and in the stack."""

from __future__ import annotations

import importlib
import importlib.util

import numpy as np
import pandas as pd
import pytest
from sklearn.multiclass import OneVsRestClassifier

import attar
from attar.data import as_data
from attar.sklearn import DistilledClassifier, DistilledRegressor
from attar.teachers import boosted_stack, cross_fit

#: What each library calls its estimators, and settings that make one in a moment.
LIBRARIES = {
    "lightgbm": ("LGBM", {"n_estimators": 15, "verbose": -1, "n_jobs": 1}),
    "xgboost": ("XGB", {"n_estimators": 15, "n_jobs": 1}),
    "catboost": (
        "CatBoost",
        {"iterations": 15, "verbose": False, "allow_writing_files": False, "thread_count": 1},
    ),
}
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 3)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
QUICK = {"parameters": 200, "steps": 40, "folds": 2, "learning_rate": 0.02, "random_state": 0}

every_library = pytest.mark.parametrize("library", LIBRARIES)


def booster(library: str, kind: str = "Classifier", **more):
    prefix, settings = LIBRARIES[library]
    return getattr(importlib.import_module(library), prefix + kind)(**settings, **more)


@every_library
def test_it_labels_rows_that_it_has_not_seen(library):
    coins = RANDOM.integers(0, 2, size=len(X))  # nothing can be learnt of them but by heart
    data = as_data((X, coins))
    own_word = booster(library, random_state=0).fit(X, coins)
    assert own_word.score(X, coins) > 0.7
    teacher = cross_fit(booster(library, random_state=0), data, folds=4)
    answers = teacher(data.batch(data.rows)).logits.argmax(dim=1).numpy()
    assert (answers == coins).mean() < 0.62
    # Made again it is the same teacher, so a run is gone on with; and its size is told.
    again = cross_fit(booster(library, random_state=0), data, folds=4)
    assert again.fingerprint() == teacher.fingerprint()
    other = cross_fit(booster(library, random_state=0), as_data((X, Y)), folds=4)
    assert other.fingerprint() != teacher.fingerprint()
    assert teacher.bytes > 5_000


@pytest.mark.parametrize("fitted", [False, True])
def test_catboost_with_its_own_categories_is_cloned(fitted):
    frame = pd.DataFrame({"place": np.where(Y > 0, "Rome", "Oslo"), "noise": X[:, 2]})
    teacher = booster("catboost", cat_features=["place"])
    teacher = teacher.fit(frame, Y) if fitted else teacher
    assert DistilledClassifier(teacher, proof=False, **QUICK).fit(frame, Y).score(frame, Y) == 1


@every_library
def test_it_teaches_a_classifier_of_named_classes(library):
    names = np.array(["no", "yes"])[Y]
    student = DistilledClassifier(booster(library), proof=False, **QUICK).fit(X, names)
    assert student.score(X, names) > 0.85
    np.testing.assert_array_equal(np.unique(student.predict(X)), ["no", "yes"])


@every_library
def test_it_teaches_a_regressor(library):
    values = 10 * X[:, 0]
    teacher = booster(library, "Regressor")
    student = DistilledRegressor(teacher, proof=False, **QUICK).fit(X, values)
    assert student.score(X, values) > 0.7


@every_library
def test_it_teaches_several_labels_a_row(library):
    several = np.stack([Y, X[:, 2] > 0], axis=1).astype(int)
    experiment = attar.distill(
        OneVsRestClassifier(booster(library)),
        attar.students.mlp,
        train=(X, several),
        task="multilabel",
        folds=2,
        parameters=100,
        steps=5,
        seeds=1,
        smoothing=[0.1],
        latency_seconds=0,
    )
    assert experiment.teacher.accuracy > 0.8
    assert experiment.facts["sizes"]["teacher_bytes"] > 5_000


@every_library
def test_the_stack_takes_the_one_that_is_installed(library, monkeypatch):
    real = importlib.util.find_spec
    others = {*LIBRARIES} - {library}
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in others else real(name, *rest),
    )
    prefix = LIBRARIES[library][0]
    for task, kind in (("multiclass", "Classifier"), ("regression", "Regressor")):
        assert type(boosted_stack(task)[-1]).__name__ == prefix + kind
    last = boosted_stack()[-1]
    assert last.fit(X[:60], Y[:60]).score(X[60:], Y[60:]) > 0.8  # as it comes, and without a word


def test_with_all_of_them_lightgbm_is_taken():
    assert type(boosted_stack()[-1]).__name__ == "LGBMClassifier"
