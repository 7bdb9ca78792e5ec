"""`distill` for a regression, and for several labels a row."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from torch import nn

import attar
from attar import AttarError
from attar.evaluation import ValueComparison, value_scores
from attar.experiment import TaskExperiment
from attar.experiment.task_scores import row_scores
from attar.export import load_student, read_bundle, runtime
from attar.losses import bounded_squared_error

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(240, 4))
CLEAN = 1000 + 50 * (np.sin(2 * X[:, 0]) + X[:, 1])
Y = CLEAN + 60 * RANDOM.normal(size=240)
QUICK = {"parameters": 400, "steps": 40, "batch_size": 64, "learning_rate": 0.02, "seeds": 2}
QUICK["latency_seconds"] = 0


def regression(teacher=None, **settings) -> TaskExperiment:
    if teacher is None:
        teacher = ExtraTreesRegressor(20, min_samples_leaf=3, random_state=0)
    given = {"train": (X, Y), "task": "regression", **QUICK, **settings}
    return attar.distill(teacher, attar.students.mlp, **given)


def truth(rows):
    """What the labels are without their noise, as a function."""
    return 1000 + 50 * (np.sin(2 * rows[:, 0]) + rows[:, 1])


def test_a_regression_gives_values_in_the_unit_of_its_labels(tmp_path):
    experiment = regression(out=tmp_path / "run")
    assert isinstance(experiment.comparison, ValueComparison)
    assert sorted(experiment.arms) == ["distilled", "hard"]
    assert experiment.retention is None
    ratio = experiment.comparison.error["distilled"] / experiment.comparison.error["teacher"]
    assert experiment.one_minus_mse_ratio == pytest.approx(1 - ratio)
    labels = experiment.test.labels
    assert float(labels.mean()) == pytest.approx(Y.mean(), rel=0.05)
    answers = experiment.arms["distilled"].logits
    score = experiment.arms["distilled"].scores[0]
    assert score.mse == pytest.approx(float((answers[0] - labels).square().mean()), rel=1e-4)
    assert score.r2 > 0
    # What ships is the student of the best seed, with the scale inside.
    shipped = experiment.student(experiment.test.batch(torch.arange(5)).inputs)
    torch.testing.assert_close(shipped, answers[experiment.chosen, :5], atol=0.01, rtol=0)
    told = json.loads((tmp_path / "run" / "result.json").read_text())
    assert told["task"] == "regression"
    student = runtime.load(tmp_path / "run" / "student.onnx")
    rows = X[:7].astype(np.float32)
    np.testing.assert_allclose(
        student.predict(rows), experiment.student(torch.tensor(rows)).detach()[:, 0], rtol=1e-5
    )
    assert "R²" in experiment.summary()


def test_a_run_is_gone_on_with_and_another_one_refused(tmp_path):
    first = regression(out=tmp_path / "run")
    again = regression(out=tmp_path / "run", resume=True)
    assert again.table() == first.table()
    with pytest.raises(AttarError, match="another experiment"):
        regression(out=tmp_path / "run", resume=True, alpha=0.5)


def test_a_teacher_without_noise_helps_a_student_of_noisy_labels():
    random = np.random.default_rng(1)

    def rows(count):
        made = random.normal(size=(count, 4))
        return made, truth(made) + 60 * random.normal(size=count)

    experiment = regression(
        truth,
        train=rows(60),
        validation=rows(100),
        test=rows(1000),
        transfer=(rows(300)[0], None),
        alpha=1.0,
        seeds=3,
        steps=150,
    )
    assert experiment.verdict == "BEATS"
    assert experiment.gap_recovered.mean > 0.3


def test_the_unit_of_the_labels_changes_nothing_else():
    one, other = regression(truth), regression(lambda r: truth(r) / 1e3, train=(X, Y / 1e3))
    assert one.comparison.against_hard.mean == pytest.approx(
        other.comparison.against_hard.mean, abs=1e-3
    )


class Remembers(RegressorMixin, BaseEstimator):
    """Knows every row that it was fitted on, and says -1 of all others."""

    def fit(self, X, y):
        self.seen_ = {row.tobytes(): value for row, value in zip(np.asarray(X), y, strict=True)}
        return self

    def predict(self, X):
        return np.array([self.seen_.get(row.tobytes(), -1.0) for row in np.asarray(X)])


def test_labelled_rows_are_labelled_out_of_fold_and_held_out_ones_unseen():
    fitted = Remembers().fit(X.astype(np.float32), Y)
    experiment = regression(fitted, steps=5)
    # Test was cut from train: a clone answers, which has not seen it.
    torch.testing.assert_close(
        experiment.teacher_logits, torch.full((48, 1), -1.0), atol=1e-3, rtol=0
    )
    own_word = regression(fitted, steps=5, folds=None)
    torch.testing.assert_close(own_word.teacher_logits, own_word.test.labels)


@pytest.mark.parametrize(
    "teacher",
    [truth, nn.Sequential(nn.Linear(4, 1)), [truth, ExtraTreesRegressor(5)]],
    ids=["function", "module", "ensemble"],
)
def test_whatever_gives_values_teaches(teacher):
    assert regression(teacher, steps=5).verdict


def test_what_was_exported_is_a_teacher_again_and_of_another_task_refused(tmp_path):
    first = regression(truth, steps=20)
    first.export(tmp_path / "first.onnx")
    second = regression(tmp_path / "first.onnx", steps=5)
    assert second.teacher_name == "first.onnx"
    assert any("came ready-made" in text for text in second.warnings)
    said = first.student(second.test.batch(torch.arange(48)).inputs)
    torch.testing.assert_close(second.teacher_logits, said, rtol=1e-4, atol=1e-2)
    given = {"train": labels(), "task": "multilabel", "parameters": 200}
    with pytest.raises(AttarError, match="It is one of 'regression'"):
        attar.distill(tmp_path / "first.onnx", attar.students.mlp, **given)
    assert not regression(ExtraTreesRegressor(3), steps=5).warnings


def test_the_bounded_loss_and_rows_without_labels():
    unlabelled = RANDOM.normal(size=(60, 4))
    experiment = regression(
        loss=bounded_squared_error, alpha=0.5, transfer=(unlabelled, None), steps=20
    )
    assert experiment.facts["rows"]["unlabelled"] == 60
    assert experiment.facts["loss"] == "bounded_squared_error"


def test_several_values_a_row():
    both = np.stack([Y, -Y / 100], axis=1)
    experiment = regression(train=(X, both), steps=20)
    assert experiment.student(torch.zeros(3, 4)).shape == (3, 2)


def labels(rows: int = 240):
    return make_multilabel_classification(rows, 8, n_classes=3, random_state=0)


@pytest.mark.parametrize(
    "teacher",
    [RandomForestClassifier(10, random_state=0), OneVsRestClassifier(GaussianNB())],
    ids=["a list of [N, 2]", "[N, L]"],
)
def test_several_labels_a_row(teacher, tmp_path):
    inputs, applies = labels()
    experiment = attar.distill(
        teacher,
        attar.students.mlp,
        train=(inputs, applies),
        classes=["red", "round", "sour"],
        task="multilabel",
        out=tmp_path / "run",
        **QUICK,
    )
    assert sorted(experiment.arms) == ["distilled", "hard", "smoothed"]
    scores = experiment.arms["distilled"].scores[0]
    assert scores.accuracy > 0.6
    assert experiment.comparison.accuracy["distilled"] == pytest.approx(
        experiment.arms["distilled"].mean("accuracy")
    )
    assert experiment.retention == pytest.approx(
        experiment.comparison.accuracy["distilled"] / experiment.teacher.accuracy
    )
    student = runtime.load(tmp_path / "run" / "student.onnx")
    assert student.classes == ("red", "round", "sour")
    rows = inputs[:9].astype(np.float32)
    logits = experiment.student(torch.tensor(rows)).detach()
    np.testing.assert_allclose(student.predict_proba(rows), logits.sigmoid(), atol=1e-6)
    np.testing.assert_array_equal(student.predict(rows), (logits > 0).numpy())
    assert "accuracy a label" in experiment.summary()
    experiment.bundle(tmp_path / "bundle.zip")
    bundle = read_bundle(tmp_path / "bundle.zip")
    np.testing.assert_allclose(bundle.load().predict_proba(rows), logits.sigmoid(), atol=1e-6)
    assert (
        "of each of 3 labels how likely it applies: red, round, sour"
        in bundle.files["README.md"].decode()
    )
    torch.testing.assert_close(load_student(tmp_path / "run")(torch.tensor(rows)), logits)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "ranking"}, "'task' parameter of distill"),
        ({"calibrate": True}, "calibrate= is there for classes alone"),
        ({"teacher": RandomForestClassifier(5), "task": "multilabel"}, r"shape \[N, L\]"),
        ({"teacher": lambda rows: np.zeros((len(rows), 3))}, r"1 column, one a label. Got"),
        ({"teacher": "forest"}, "function from numpy inputs"),
        ({"student": attar.students.tree, "loss": bounded_squared_error}, "values by their sq"),
        ({"train": (X, np.full(240, np.nan))}, "no labelled row"),
    ],
)
def test_what_does_not_fit_is_said(settings, message):
    given = {"teacher": truth, "student": attar.students.mlp, "train": (X, Y)}
    given |= {"task": "regression", **QUICK, **settings}
    with pytest.raises(AttarError, match=message):
        attar.distill(**given)


@pytest.mark.parametrize("name", ["tree", "boosted"])
def test_trees_learn_values(name, tmp_path):
    settings = {"train": (X, Y), "task": "regression", **QUICK, "out": tmp_path / "run"}
    settings |= {"alpha": [0.5, 1.0], "parameters": 300 if name == "tree" else 1500}
    teacher = ExtraTreesRegressor(50, min_samples_leaf=3, random_state=0)
    experiment = attar.distill(teacher, attar.students.TREES[name], **settings)
    assert experiment.arms["distilled"].mean("r2") > 0
    assert experiment.arms["distilled"].spread("mse") == 0  # nothing is drawn
    rows = X[:40].astype(np.float32)
    answers = experiment.student(torch.tensor(rows)).detach()
    assert float(answers.mean()) == pytest.approx(1000, abs=60)
    student = runtime.load(tmp_path / "run" / "student.onnx")
    np.testing.assert_allclose(student.predict(rows), answers[:, 0], rtol=1e-6)
    torch.testing.assert_close(load_student(tmp_path / "run")(torch.tensor(rows)), answers)
    again = attar.distill(teacher, attar.students.TREES[name], **settings, resume=True)
    torch.testing.assert_close(again.student(torch.tensor(rows)), answers, atol=0, rtol=0)
    assert again.verdict == experiment.verdict


def test_trees_do_not_learn_several_labels():
    inputs, labels = make_multilabel_classification(100, 5, n_classes=3, random_state=0)
    given = {"train": (inputs, labels), "task": "multilabel", **QUICK}
    with pytest.raises(AttarError, match="trees learn one class a row"):
        attar.distill(RandomForestClassifier(5), attar.students.boosted, **given)


def test_a_regression_is_bundled_and_built_again_with_its_scale(tmp_path):
    experiment = regression(out=tmp_path / "run", classes=["price"])
    experiment.bundle(tmp_path / "bundle.zip")
    bundle = read_bundle(tmp_path / "bundle.zip")
    told = bundle.manifest
    assert (told["task"], told["classes"]) == ("regression", ["price"])
    assert told["scores"]["arms"]["hard"]["mean"]["r2"] == pytest.approx(
        experiment.arms["hard"].mean("r2")
    )
    card = bundle.files["README.md"].decode()
    assert "pipeline_tag: tabular-regression" in card
    assert "| on the test rows | R² | MSE | MAE | seeds |" in card
    assert "predict_proba" not in card
    rows = X[:7].astype(np.float32)
    said = experiment.student(torch.tensor(rows)).detach()
    np.testing.assert_allclose(bundle.load().predict(rows), said[:, 0], rtol=1e-5)
    for place in (tmp_path / "bundle.zip", tmp_path / "run"):
        torch.testing.assert_close(load_student(place)(torch.tensor(rows)), said)


def test_teacher_and_student_are_timed_where_the_teacher_can_be_asked(tmp_path):
    experiment = regression(steps=5, latency_seconds=0.01, out=tmp_path / "run")
    told = json.loads((tmp_path / "run" / "result.json").read_text())
    assert {*told["latency"]} == {"student", "teacher"}
    assert told["latency"]["student"]["64"]["p50_ms"] > 0
    assert told["teacher_runtime"] == "as called"
    assert "latency p50 ms" in experiment.table()
    assert told["export"]["rows_checked"] == told["rows"]["labelled"]


def test_what_is_drawn_of_a_row_adds_up_to_the_score():
    answers, labels = torch.randn(2, 50, 1), torch.randn(50, 1)
    scores = row_scores(answers, labels, task="regression")
    for one, said in zip(scores, answers, strict=True):
        assert float(one.mean()) == pytest.approx(value_scores(said, labels).r2)
    levels = (0.1, 0.5)
    own = torch.quantile(labels[:, 0], torch.tensor(levels)).expand(50, -1)
    nothing = row_scores(own[None], labels, task="regression", levels=levels)
    assert float(nothing.mean()) == pytest.approx(0, abs=1e-6)
    gaps = labels.clone()
    gaps[:10] = torch.nan
    known = row_scores(answers, gaps, task="regression")[:, 10:]
    assert torch.isfinite(known).all()
