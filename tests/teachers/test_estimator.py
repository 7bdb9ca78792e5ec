"""EstimatorTeacher: its columns become the data's classes, its zeros stay defined."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from attar.checks import AttarError
from attar.teachers import EstimatorTeacher, is_fitted
from attar.teachers.estimator import _count_parameters
from attar.types import Batch


def nearest(labels: Any) -> KNeighborsClassifier:
    """Each of the points 0, 1, 2, ... carries its label with probability 1."""
    return KNeighborsClassifier(1).fit(np.arange(float(len(labels)))[:, None], labels)


def answer(teacher: EstimatorTeacher, points: list[float]) -> torch.Tensor:
    inputs = torch.tensor(points)[:, None]
    return teacher(Batch(inputs, torch.arange(len(points)))).logits


def test_zero_probabilities_are_floored() -> None:
    logits = answer(EstimatorTeacher(nearest([0, 1, 2])), [0.0, 2.0])
    floored = 1e-6 / (1 + 2e-6)
    expected = torch.tensor(
        [[1 / (1 + 2e-6), floored, floored], [floored, floored, 1 - 2e-6]]
    ).log()
    torch.testing.assert_close(logits, expected)
    wide = answer(EstimatorTeacher(nearest([0, 1, 2]), floor=0.1), [0.0])
    torch.testing.assert_close(wide.exp(), torch.tensor([[1.0, 0.1, 0.1]]) / 1.2)


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        ([0, 1, 2], ["a", "b", "c"], [0, 1, 2]),
        (["c", "a", "b"], ["a", "b", "c"], [2, 0, 1]),
        (["x", "y", "z"], ["z", "x", "y"], [1, 2, 0]),  # classes_ are sorted, the data's are not
        ([0, 2], ["a", "b", "c"], [0, 2]),  # class 1 was never seen
        (["c", "a"], ["a", "b", "c"], [2, 0]),
        ([3, 5, 7], ["3", "5", "7"], [0, 1, 2]),  # names that are numbers
        ([7, 3, 5], ["7", "5", "3"], [0, 2, 1]),
        ([1.0, 0.0], ["a", "b"], [1, 0]),
        ([True, False], ["False", "True"], [1, 0]),
        (list(range(10)), [str(digit) for digit in range(10)], list(range(10))),
    ],
)
def test_classes_are_matched_to_the_labels_of_the_data(
    labels: list[Any], classes: list[str], expected: list[int]
) -> None:
    logits = answer(EstimatorTeacher(nearest(labels), classes=classes), list(range(len(labels))))
    assert logits.shape == (len(labels), len(classes))
    assert logits.argmax(dim=1).tolist() == expected
    never = sorted(set(range(len(classes))) - set(expected))
    assert bool((logits[:, never] < math.log(2e-6)).all())
    torch.testing.assert_close(logits.exp().sum(dim=1), torch.ones(len(labels)))


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (["a", "b", "zebra"], ["a", "b", "c"], "does not have: \\['zebra'\\]"),
        ([0, 1, 3], ["a", "b", "c"], "does not have: \\[3\\]"),
        ([-1, 1], ["a", "b"], "does not have: \\[-1\\]"),
        ([0, "a"], ["a", "b"], "does not have"),
        ([1, 2], ["1", "2", "3"], "codes or the class names.*labels_are='codes'"),
        ([1, 2], None, r"fitted on the labels \[1, 2\]. Give classes="),
        (["a", "b"], None, "Give classes="),
    ],
)
def test_classes_that_cannot_be_matched_are_refused(
    labels: list[Any], classes: list[str] | None, message: str
) -> None:
    with pytest.raises(AttarError, match=message):
        EstimatorTeacher(nearest(np.array(labels)), classes=classes)


def test_the_user_can_say_which_labels_are_meant() -> None:
    names = ("1", "2", "3")
    by_code = EstimatorTeacher(nearest([1, 2]), classes=names, labels_are="codes")
    assert answer(by_code, [0.0, 1.0]).argmax(dim=1).tolist() == [1, 2]
    by_name = EstimatorTeacher(nearest([1, 2]), classes=names, labels_are="names")
    assert answer(by_name, [0.0, 1.0]).argmax(dim=1).tolist() == [0, 1]
    with pytest.raises(AttarError, match=r"'labels_are'"):
        EstimatorTeacher(nearest([0, 1]), labels_are="both")  # type: ignore[arg-type]


def test_images_are_flattened() -> None:
    X = np.random.default_rng(0).random((20, 2, 3))
    model = LogisticRegression().fit(X.reshape(20, 6), np.arange(20) % 2)
    logits = EstimatorTeacher(model)(Batch(torch.from_numpy(X), torch.arange(20))).logits
    expected = np.log(model.predict_proba(X.reshape(20, 6)))
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-5)
    with pytest.raises(AttarError, match=r"mapping with tokens"):
        EstimatorTeacher(model)(Batch({"tokens": torch.ones(1, 2)}, torch.arange(1)))


def test_columns_come_in_the_order_of_the_fit() -> None:
    table = pd.DataFrame({"width": [0.0, 1.0, 2.0, 3.0], "height": [5.0, 5.0, 9.0, 9.0]})
    model = LogisticRegression().fit(table, [0, 0, 1, 1])
    swapped = torch.tensor(table[["height", "width"]].to_numpy(copy=True))
    teacher = EstimatorTeacher(model, columns=["height", "width"])
    logits = teacher(Batch(swapped, torch.arange(4))).logits
    np.testing.assert_allclose(logits.exp().numpy(), model.predict_proba(table), rtol=1e-5)
    with pytest.raises(AttarError, match=r"columns that the data lacks: width"):
        EstimatorTeacher(model, columns=["height", "depth"])(Batch(swapped, torch.arange(4)))


def test_not_fitted_says_what_to_do() -> None:
    for estimator in (
        KNeighborsClassifier(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        RandomForestClassifier(),
    ):
        assert not is_fitted(estimator)
        with pytest.raises(AttarError, match=r"not fitted. Fit it first.*folds=5"):
            EstimatorTeacher(estimator)
    assert is_fitted(make_pipeline(StandardScaler(), LogisticRegression()).fit([[0], [1]], [0, 1]))
    with pytest.raises(AttarError, match=r"instance with predict_proba"):
        EstimatorTeacher(RandomForestClassifier)
    with pytest.raises(AttarError, match=r"CalibratedClassifierCV"):
        EstimatorTeacher(LinearSVC())


def test_other_libraries_without_classes_are_taken_in_the_data_order() -> None:
    class Booster:
        def predict_proba(self, X: np.ndarray) -> np.ndarray:
            return np.tile([0.25, 0.75], (len(X), 1))

    teacher = EstimatorTeacher(Booster(), classes=["a", "b"])
    torch.testing.assert_close(answer(teacher, [0.0]).exp(), torch.tensor([[0.25, 0.75]]))
    with pytest.raises(AttarError, match=r"give classes="):
        EstimatorTeacher(Booster())
    with pytest.raises(AttarError, match=r"one column for each of its 3 classes. Got 2"):
        answer(EstimatorTeacher(Booster(), classes=["a", "b", "c"]), [0.0])


FITS = """
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from attar.teachers import EstimatorTeacher
X, y = load_iris(return_X_y=True)
for model in (
    RandomForestClassifier(8, random_state=0),
    HistGradientBoostingClassifier(max_iter=5, random_state=0),
    make_pipeline(StandardScaler(), LogisticRegression()),
    KNeighborsClassifier(algorithm="kd_tree"),
    KNeighborsClassifier(algorithm="ball_tree"),
    MLPClassifier((4,), max_iter=3, random_state=0),
):
    teacher = EstimatorTeacher(model.fit(X, y))
    assert teacher.verified
    print(teacher.fingerprint())
"""


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fingerprint_is_the_same_in_another_process() -> None:
    X, y = load_iris(return_X_y=True)
    here = []
    for model in (
        RandomForestClassifier(8, random_state=0),
        HistGradientBoostingClassifier(max_iter=5, random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression()),
        KNeighborsClassifier(algorithm="kd_tree"),
        KNeighborsClassifier(algorithm="ball_tree"),
        MLPClassifier((4,), max_iter=3, random_state=0),
    ):
        teacher = EstimatorTeacher(model.fit(X, y))
        teacher(Batch(torch.from_numpy(X), torch.arange(len(X))))  # asking changes nothing
        here.append(teacher.fingerprint())
    there = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FITS], capture_output=True, text=True, check=True
    )
    assert there.stdout.split() == here
    assert len(set(here)) == 6


def test_fingerprint_follows_what_was_learned() -> None:
    X, y = load_iris(return_X_y=True)

    def forest(**settings: Any) -> RandomForestClassifier:
        return RandomForestClassifier(4, random_state=0).set_params(**settings).fit(X, y)

    first = EstimatorTeacher(forest()).fingerprint()
    assert EstimatorTeacher(forest()).fingerprint() == first
    assert EstimatorTeacher(forest(random_state=1)).fingerprint() != first
    assert EstimatorTeacher(forest(), floor=1e-4).fingerprint() != first
    assert EstimatorTeacher(forest(), classes=["a", "b", "c", "d"]).fingerprint() != first
    touched = forest()
    touched.estimators_[2].tree_.value[0, 0, 0] += 1e-9  # a single number, deep inside
    assert EstimatorTeacher(touched).fingerprint() != first


def test_what_cannot_be_read_makes_it_unverified() -> None:
    model = nearest([0, 1])
    read = EstimatorTeacher(model)
    before = read.fingerprint()
    assert read.verified
    assert (read.bytes or 0) > 0
    model.lock_ = threading.Lock()
    teacher = EstimatorTeacher(model)
    assert not teacher.verified
    assert teacher.bytes is None
    assert teacher.fingerprint() == EstimatorTeacher(model).fingerprint()
    assert teacher.fingerprint() != before


def test_parameters_are_counted_where_they_mean_something() -> None:
    X, y = load_iris(return_X_y=True)
    linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    assert EstimatorTeacher(linear).parameters == 3 * 4 + 3
    assert EstimatorTeacher(linear).name == "LogisticRegression"
    with pytest.warns(UserWarning, match=r"Maximum iterations"):
        perceptron = MLPClassifier((5,), max_iter=1).fit(X, y)
    assert EstimatorTeacher(perceptron).parameters == 4 * 5 + 5 + 5 * 3 + 3
    assert EstimatorTeacher(RandomForestClassifier(2).fit(X, y)).parameters is None
    # The intercept of a machine with a kernel is not all that it knows.
    assert _count_parameters(SVC().fit(X, y)) is None


def test_boosting_is_close_to_its_own_probabilities() -> None:
    X, y = load_iris(return_X_y=True)
    model = HistGradientBoostingClassifier(max_iter=5).fit(X, y)
    logits = EstimatorTeacher(model)(Batch(torch.from_numpy(X), torch.arange(len(X)))).logits
    np.testing.assert_allclose(logits.exp().numpy(), model.predict_proba(X), atol=1e-6)
