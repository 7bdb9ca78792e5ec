"""cross_fit: no labelled row is answered by a clone that saw its label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from attar.checks import AttarError
from attar.data import ArrayData, Views, flip
from attar.store import label
from attar.teachers import EstimatorTeacher, cross_fit


def noise(count: int = 400, *, classes: int = 4, unlabelled: int = 0) -> ArrayData:
    """Labels that the inputs say nothing about: whoever is right has seen them."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    labels = labels[torch.randperm(count, generator=generator)]
    labels[:unlabelled] = -100
    inputs = torch.rand(count, 1, 2, 2, generator=generator)
    return ArrayData(inputs, labels, rows=torch.randperm(5 * count, generator=generator)[:count],
                     classes=[f"class {c}" for c in range(classes)])  # fmt: skip


def right(teacher: object, data: ArrayData, views: int = 0) -> float:
    assert callable(teacher)
    said = teacher(data.batch(torch.arange(len(data)), views)).logits.argmax(dim=1)
    return float((said == data.labels).float().mean())


def test_the_nearest_neighbour_no_longer_sees_itself() -> None:
    data = noise()
    fitted = KNeighborsClassifier(1).fit(data.inputs.reshape(400, -1).numpy(), data.labels.numpy())
    assert right(EstimatorTeacher(fitted, classes=data.classes), data) == 1.0
    # Chance is 1/4; four standard deviations around it are 0.087.
    assert abs(right(cross_fit(fitted, data), data) - 0.25) < 0.087
    assert abs(right(cross_fit(KNeighborsClassifier(1), data), data) - 0.25) < 0.087


def test_every_row_is_held_out_of_exactly_the_clone_that_labels_it() -> None:
    data = noise(40)

    class Remembers(KNeighborsClassifier):
        def fit(self, X: np.ndarray, y: np.ndarray) -> Remembers:
            self.seen_ = {row.tobytes() for row in X}
            return super().fit(X, y)

    teacher = cross_fit(Remembers(1), data, folds=4)
    rows, weights = teacher._rows, teacher._row_weights
    assert rows is not None
    assert sorted(rows.tolist()) == sorted(data.rows.tolist())
    flat = data.inputs.reshape(40, -1).numpy()
    for row, weight in zip(rows.tolist(), weights, strict=True):
        (place,) = (data.rows == row).nonzero()[:, 0].tolist()
        (member,) = weight.nonzero()[:, 0].tolist()
        for index, teaching in enumerate(teacher.members):
            assert isinstance(teaching, EstimatorTeacher)
            assert (flat[place].tobytes() in teaching.estimator.seen_) == (index != member)


def test_unlabelled_rows_are_answered_by_the_one_that_saw_all_labels(tmp_path: Path) -> None:
    data = noise(100, unlabelled=20)
    known = data.take(torch.arange(20, 100))
    fitted = RandomForestClassifier(5, random_state=3).fit(
        known.inputs.reshape(80, -1).numpy(), known.labels.numpy()
    )
    teacher = cross_fit(fitted, data, folds=3)
    unknown = data.batch(torch.arange(20))
    expected = EstimatorTeacher(fitted, classes=data.classes)(unknown).logits
    torch.testing.assert_close(teacher(unknown).logits, expected)
    whole = EstimatorTeacher(fitted, classes=data.classes)
    assert teacher.bytes == whole.bytes  # the clones only label
    assert teacher.active == (teacher.members[0],)
    store = label(teacher, data, tmp_path / "s", batch_size=32)
    torch.testing.assert_close(store.logits(unknown.ids), expected)
    # An unfitted one is fitted on all labelled rows for them.
    again = cross_fit(RandomForestClassifier(5, random_state=3), data, folds=3)
    torch.testing.assert_close(again(unknown).logits, expected)


def test_views_of_a_labelled_row_are_held_out_with_it() -> None:
    data = noise().with_views(Views([flip()], 3))
    teacher = cross_fit(KNeighborsClassifier(1), data)
    for view in range(3):
        assert abs(right(teacher, data, view) - 0.25) < 0.087


def test_one_seed_gives_one_teacher() -> None:
    data = noise(60)
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(3))  # its seed is left open
    first = cross_fit(forest, data, folds=3, seed=1).fingerprint()
    assert cross_fit(forest, data, folds=3, seed=1).fingerprint() == first
    assert cross_fit(forest, data, folds=3, seed=2).fingerprint() != first
    assert forest.get_params()["randomforestclassifier__random_state"] is None  # not touched


def test_an_estimator_fitted_on_names_is_matched_by_them() -> None:
    data = noise(80, classes=2)
    names = np.array(data.classes)[data.labels.numpy()]
    fitted = KNeighborsClassifier(1).fit(data.inputs.reshape(80, -1).numpy(), names)
    teacher = cross_fit(fitted, data, folds=4)
    assert teacher.members[0](data.batch(torch.arange(80))).logits.argmax(1).equal(data.labels)
    assert right(teacher, data) < 0.8


def test_class_names_that_are_numbers_do_not_confuse_the_clones() -> None:
    X = torch.arange(12.0)[:, None]
    data = ArrayData(X, torch.arange(12) // 6 + 1, classes=["1", "2", "3"])  # no row of "1"
    teacher = cross_fit(LogisticRegression(), data, folds=3)
    assert right(teacher, data) > 0.8


def test_small_classes() -> None:
    X = torch.arange(24.0)[:, None]
    X[22:] += 100
    labels = torch.tensor([0] * 12 + [1] * 10 + [2] * 2)
    data = ArrayData(X, labels, classes=["a", "b", "c"])
    teacher = cross_fit(KNeighborsClassifier(1), data, folds=5)  # without a warning
    # Each row of the rare class is labelled by a clone that knows the other one.
    assert teacher(data.batch(torch.tensor([22, 23]))).logits.argmax(dim=1).tolist() == [2, 2]
    single = ArrayData(X[:23], labels[:23], classes=["a", "b", "c"])
    with pytest.raises(AttarError, match=r"two labelled rows or none, and class 'c' has one"):
        cross_fit(KNeighborsClassifier(1), single)
    with pytest.raises(AttarError, match=r"as there are folds \(13\).*Use folds=12"):
        cross_fit(KNeighborsClassifier(1), data, folds=13)
    with pytest.raises(AttarError, match=r"at least two classes"):
        cross_fit(KNeighborsClassifier(1), data.take(torch.arange(12)))
    with pytest.raises(AttarError, match=r"no class labels"):
        cross_fit(KNeighborsClassifier(1), ArrayData(X))
    with pytest.raises(AttarError, match=r"'folds' parameter of cross_fit"):
        cross_fit(KNeighborsClassifier(1), data, folds=1)
