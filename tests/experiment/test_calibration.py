"""Temperature scaling in an experiment: fitted on validation, told on test, shipped if asked."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression

import attar
from attar.data import ArrayData, split
from attar.evaluation import ece, fit_temperature, nll, predict_logits
from attar.export import quantize, read_bundle, runtime
from attar.students import mlp


def data(noise=0.2):
    X, y = make_classification(
        600, 8, n_informative=5, n_classes=3, flip_y=noise, class_sep=1.5, random_state=0
    )
    rows = ArrayData(torch.from_numpy(X).float(), torch.from_numpy(y), classes=("a", "b", "c"))
    return split(rows, (0.5, 0.2, 0.3), seed=0)


def run(parts, **changes):
    train, validation, test = parts
    settings = {"parameters": 900, "seeds": 2, "steps": 600, "batch_size": 64, **changes}
    return attar.distill(
        LogisticRegression(),
        mlp,
        train=train,
        validation=validation,
        test=test,
        learning_rate=0.01,
        alpha=0.1,
        temperature=1.0,
        smoothing=[0.1],
        folds=2,
        latency_seconds=0,
        **settings,
    )


@pytest.fixture(scope="module")
def parts():
    return data()


@pytest.fixture(scope="module")
def calibrated(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    return run(parts, calibrate=True, out=folder), folder


def test_the_temperature_is_fitted_on_validation_and_told_on_test(parts, calibrated):
    experiment, folder = calibrated
    _, validation, test = parts
    for arm in experiment.arms.values():
        for one, logits, found in zip(arm.runs, arm.logits, arm.calibrations, strict=True):
            said = predict_logits(one.model, validation)
            temperature = fit_temperature(said, validation.labels)
            assert found.temperature == temperature
            assert found.validation["after"]["nll"] <= found.validation["before"]["nll"]
            assert found.test["before"]["ece"] == ece(logits, test.labels)
            scaled = logits.double() / temperature
            assert found.test["after"] == {
                "nll": nll(scaled, test.labels),
                "ece": ece(scaled, test.labels),
            }
            assert torch.equal(scaled.argmax(dim=1), logits.argmax(dim=1))
    # These students have fitted noisy labels: it is worth it.
    assert experiment.calibration.temperature > 1.2
    assert (
        experiment.calibration.test["after"]["nll"] < experiment.calibration.test["before"]["nll"]
    )
    told = json.loads((folder / "result.json").read_text())
    kept = next(
        r for r in told["arms"]["distilled"]["runs"] if r["seed"] == experiment.student_seed
    )
    assert kept["calibration"] == experiment.calibration.to_dict()
    assert told["export"]["temperature"] == experiment.calibration.temperature


def test_the_shipped_file_is_calibrated_and_predicts_the_same_classes(parts, calibrated, tmp_path):
    experiment, folder = calibrated
    rows = parts[2].inputs
    temperature = experiment.calibration.temperature
    shipped = runtime.load(folder / "student.onnx")
    plain = runtime.load(experiment.export(tmp_path / "plain.onnx", calibrate=False).path)
    with torch.no_grad():
        logits = experiment.student(rows)
    np.testing.assert_allclose(shipped.logits(rows), logits / temperature, atol=1e-5)
    np.testing.assert_allclose(
        shipped.predict_proba(rows), (logits / temperature).softmax(dim=1), atol=1e-6
    )
    np.testing.assert_allclose(plain.logits(rows), logits, atol=1e-5)
    np.testing.assert_array_equal(shipped.predict(rows), plain.predict(rows))
    assert (shipped.temperature, plain.temperature) == (temperature, 1)
    # In every file the probabilities are the softmax of the logits.
    for student in (shipped, plain):
        again = torch.from_numpy(student.logits(rows)).softmax(dim=1)
        np.testing.assert_allclose(student.predict_proba(rows), again, atol=1e-6)
    assert shipped.metadata["nll"] == experiment.calibration.test["after"]["nll"]
    bundled = runtime.load(experiment.bundle(tmp_path / "x.zip"))
    assert bundled.temperature == temperature
    assert bundled.bundle["calibration"]["temperature"] == temperature


def test_the_summary_says_what_it_changes_and_what_each_arm_is_worth_then(calibrated):
    text = calibrated[0].summary()
    found = calibrated[0].calibration
    assert f"T = {found.temperature:.3f}, fitted on validation, inside the exported graph" in text
    assert f"from {found.test['before']['nll']:.3f} to {found.test['after']['nll']:.3f}" in text
    for name in ("hard labels", "smoothed labels", "distilled"):
        assert name in text.split("NLL of every arm at a temperature of its own")[1]
    arm = calibrated[0].arms["hard"]
    by_hand = sum(c.test["after"]["ece"] for c in arm.calibrations) / 2
    assert arm.calibrated("ece") == pytest.approx(by_hand)


def test_without_asking_the_file_is_not_scaled_and_the_scores_are_there(parts, tmp_path):
    experiment = run(parts, seeds=1, steps=20)
    assert runtime.load(experiment.export(tmp_path / "s.onnx").path).temperature == 1
    assert experiment.calibration.temperature != 1
    assert "not in the export (calibrate=True)" in experiment.summary()
    asked = experiment.export(tmp_path / "c.onnx", calibrate=True)
    assert asked.temperature == experiment.calibration.temperature


def test_an_int8_file_of_a_calibrated_student_stays_calibrated(parts, calibrated, tmp_path):
    experiment, folder = calibrated
    quantize(
        folder / "student.onnx",
        tmp_path / "int8.onnx",
        train=parts[0],
        validation=parts[1],
        max_drop=100,
        seconds=0,
    )
    small, rows = runtime.load(tmp_path / "int8.onnx"), parts[2].inputs
    assert small.temperature == experiment.calibration.temperature
    exact = runtime.load(folder / "student.onnx")
    assert np.abs(small.predict_proba(rows) - exact.predict_proba(rows)).mean() < 0.05


def test_where_every_validation_row_is_right_nothing_is_scaled_and_a_warning_says_so(tmp_path):
    X = np.repeat(np.eye(3, dtype=np.float32) * 9, 40, axis=0)
    X += np.random.default_rng(0).normal(scale=0.1, size=X.shape).astype(np.float32)
    rows = ArrayData(torch.from_numpy(X), torch.arange(3).repeat_interleave(40))
    experiment = run(
        split(rows, (0.4, 0.3, 0.3), seed=0), parameters=200, steps=100, calibrate=True
    )
    assert experiment.calibration.temperature == 1
    (warning,) = [text for text in experiment.warnings if "not calibrated" in text]
    assert "all 36 validation rows are right" in warning
    assert "the temperature stays 1: all 36" in experiment.summary()
    bundle = read_bundle(experiment.bundle(tmp_path / "x.zip"))
    assert bundle.load().temperature == 1
    assert "The temperature stays 1: all 36" in bundle.files["README.md"].decode()
