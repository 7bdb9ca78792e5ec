"""The stack of trees, and estimators that have no base class of scikit-learn's."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from attar import AttarError
from attar.sklearn import DistilledClassifier, DistilledRegressor
from attar.teachers import boosted_stack
from attar.teachers.columns import label_probabilities

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 3)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int)

#: The libraries that the stack looks for; test_boosted_libraries.py has them themselves.
LIBRARIES = ("lightgbm", "xgboost", "catboost")


class Booster:
    """What boosted libraries offer: scikit-learn's methods without its base class."""

    kind: type = HistGradientBoostingClassifier

    def __init__(self, **settings):
        self.settings = settings

    def get_params(self, deep=True):
        return dict(self.settings)

    def set_params(self, **settings):
        self.settings.update(settings)
        return self

    def fit(self, X, y):
        self.inner_ = self.kind(max_iter=10, random_state=0).fit(X, y)
        if hasattr(self.inner_, "classes_"):
            self.classes_ = self.inner_.classes_
        return self

    def __getattr__(self, name):
        if name in ("predict", "predict_proba") and "inner_" in vars(self):
            return getattr(self.inner_, name)
        raise AttributeError(name)


class Classifier(Booster):
    def predict_proba(self, X):
        return self.inner_.predict_proba(X)


class Regressor(Booster):
    kind = HistGradientBoostingRegressor

    def predict(self, X):
        return self.inner_.predict(X)


@pytest.fixture
def alone(monkeypatch):
    """Scikit-learn without any of the libraries beside it, as far as an import can tell."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda asked, *rest: None if asked in LIBRARIES else real(asked, *rest),
    )


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_the_stack_has_three_members_of_different_kinds(task, alone):
    names = [type(one).__name__ for one in boosted_stack(task)]
    assert len(names) == 3
    assert names[0].startswith("ExtraTrees")
    first, second = boosted_stack(task)[1:]
    assert first.get_params() != second.get_params()
    assert all(one.random_state == 7 for one in boosted_stack(task, seed=7))


def test_estimators_without_scikit_learns_base_class_teach_in_its_own():
    quick = {"parameters": 300, "steps": 60, "folds": 2, "proof": False, "random_state": 0}
    quick["learning_rate"] = 0.02
    assert DistilledClassifier(Classifier(), **quick).fit(X, Y).score(X, Y) > 0.8
    values = X[:, 0] * 10
    assert DistilledRegressor(Regressor(), **quick).fit(X, values).score(X, values) > 0.7


def test_of_several_labels_each_member_learns_all_also_one_that_never_applies():
    several = np.stack([Y, np.zeros_like(Y)], axis=1)
    stack = boosted_stack("multilabel")
    stack[0].set_params(n_estimators=10)
    stack[1].estimator.set_params(max_iter=5)
    stack[2].estimator.set_params(n_estimators=5)
    for member in stack:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that the second is in no row
            said = label_probabilities(member.fit(X, several), X)
        assert said.shape == (90, 2)
        assert ((said[:, 0] > 0.5) == Y).mean() > 0.8
        assert said[:, 1].max() < 0.5


def test_a_task_that_there_is_not_is_refused():
    with pytest.raises(AttarError, match="Got 'ranking'"):
        boosted_stack("ranking")
