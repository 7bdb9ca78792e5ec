"""The stack of trees, and boosted libraries as teachers."""

from __future__ import annotations

import importlib.machinery
import sys
import types

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from attar import AttarError
from attar.data import as_data
from attar.sklearn import DistilledClassifier, DistilledRegressor
from attar.teachers import boosted_stack, cross_fit

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 3)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int)

#: The libraries that the stack looks for, and what each of them calls its estimators.
LIBRARIES = {"lightgbm": "LGBM", "xgboost": "XGB", "catboost": "CatBoost"}


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
def installed(monkeypatch):
    """A way to install exactly one of the libraries, as far as an import can tell."""

    def install(name):
        for other in LIBRARIES:
            monkeypatch.delitem(sys.modules, other, raising=False)
        real = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda asked, *rest: (
                (object() if asked == name else None) if asked in LIBRARIES else real(asked, *rest)
            ),
        )
        if name is not None:
            module = types.ModuleType(name)
            module.__spec__ = importlib.machinery.ModuleSpec(name, None)
            setattr(module, f"{LIBRARIES[name]}Classifier", Classifier)
            setattr(module, f"{LIBRARIES[name]}Regressor", Regressor)
            monkeypatch.setitem(sys.modules, name, module)

    return install


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_the_stack_has_three_members_of_different_kinds(task, installed):
    installed(None)
    names = [type(one).__name__ for one in boosted_stack(task)]
    assert len(names) == 3
    assert names[0].startswith("ExtraTrees")
    first, second = boosted_stack(task)[1:]
    assert first.get_params() != second.get_params()
    assert all(one.random_state == 7 for one in boosted_stack(task, seed=7))


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_boosted_library_that_is_installed_is_in_it_and_teaches(name, installed):
    installed(name)
    last = boosted_stack()[-1]
    assert isinstance(last, Classifier)
    data = as_data((X, Y))
    teacher = cross_fit(last, data, folds=3)
    logits = teacher(data.batch(data.rows)).logits
    assert (logits.argmax(dim=1).numpy() == Y).mean() > 0.7
    assert isinstance(boosted_stack("regression")[-1], Regressor)


def test_estimators_without_scikit_learns_base_class_teach_in_its_own():
    quick = {"parameters": 300, "steps": 60, "folds": 2, "proof": False, "random_state": 0}
    quick["learning_rate"] = 0.02
    assert DistilledClassifier(Classifier(), **quick).fit(X, Y).score(X, Y) > 0.8
    values = X[:, 0] * 10
    assert DistilledRegressor(Regressor(), **quick).fit(X, values).score(X, values) > 0.7


def test_there_is_no_stack_of_several_labels():
    with pytest.raises(AttarError, match="take a forest"):
        boosted_stack("multilabel")
