from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from torch import nn

import attar
from attar.checks import AttarError
from attar.columns import describe_columns
from attar.confidence import confidence
from attar.export import runtime, to_onnx
from attar.export.two_stage import TwoStage

CLASSES = ("cat", "dog")


class Student(nn.Module):
    """Sees the first feature alone."""

    def __init__(self, slope: float = 4.0):
        super().__init__()
        self.slope = slope

    def forward(self, x):
        return torch.stack([torch.zeros_like(x[:, 0]), self.slope * x[:, 0]], dim=1)


class Teacher(nn.Module):
    """Sees the second one, which is the truth; and takes a while."""

    def __init__(self):
        super().__init__()
        self.big = nn.Linear(2, 20_000)
        nn.init.zeros_(self.big.weight)

    def forward(self, x):
        return torch.stack([0 * self.big(x).sum(dim=1), 9 * x[:, 1]], dim=1)


def rows(count=4000, seed=0):
    """The first feature has the sign of the second one, but near 0 it says nothing."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=count).astype(np.float32)
    flip = rng.random(count) < 0.5 * np.exp(-6 * np.abs(first))
    second = np.where(flip, -np.sign(first), np.sign(first)).astype(np.float32)
    return np.stack([first, second], axis=1), (second > 0).astype(np.int64)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    x = torch.from_numpy(rows()[0][:64])
    paths = [folder / "student.onnx", folder / "teacher.onnx"]
    for path, model in zip(paths, (Student(), Teacher()), strict=True):
        to_onnx(model, path, example=x, classes=CLASSES)
    return paths


@pytest.fixture(scope="module")
def found(files):
    return attar.cascade(*files, validation=rows(), keep=0.98, seconds=0.05)


def test_files_logits_modules_and_loaded_files_are_asked_alike(files, found):
    x, y = rows()
    assert found.met
    assert found.choice.teacher_accuracy == 1.0
    loaded = [runtime.load(path) for path in files]
    logits = [model.logits(x) for model in loaded]
    for pair in (loaded, logits, [torch.from_numpy(each) for each in logits]):
        again = attar.cascade(*pair, validation=(x, y), keep=0.98, seconds=0.0)
        assert again.choice == found.choice
        assert again.latency == {}
    modules = attar.cascade(Student(), Teacher(), validation=(x, y), keep=0.98, seconds=0.001)
    assert modules.choice.share == pytest.approx(found.choice.share, abs=1e-3)
    assert set(modules.latency) == {"student", "teacher", "cascade"}


def test_the_two_together_do_on_other_rows_what_was_promised(found):
    x, y = rows(20_000, seed=1)
    two = found.runtime()
    logits, asked = two.answer(x)
    sure = confidence(two.student.logits(x))
    np.testing.assert_array_equal(asked, sure < found.choice.threshold)
    np.testing.assert_array_equal(logits[asked], two.teacher.logits(x[asked]))
    np.testing.assert_array_equal(logits[~asked], two.student.logits(x)[~asked])
    assert (two.predict(x) == np.array(CLASSES)[y]).mean() >= 0.98
    assert asked.mean() <= found.choice.share_high + 0.01
    np.testing.assert_allclose(two.predict_proba(x).sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(
        two.predict_proba(x)[~asked], two.student.predict_proba(x)[~asked], rtol=1e-4
    )


def test_thresholds_at_their_limits(files):
    student, teacher = map(runtime.load, files)
    x, _ = rows(50)
    never = TwoStage(student, teacher, threshold=0.0)
    np.testing.assert_array_equal(never.predict(x), student.predict(x))
    always = TwoStage(student, teacher, threshold=1.0, measure="margin")
    np.testing.assert_array_equal(always.predict(x), teacher.predict(x))
    assert "below a margin of 1" in repr(always)
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(AttarError, match="'threshold' parameter of cascade"):
            TwoStage(student, teacher, threshold=threshold)
    with pytest.raises(AttarError, match="probability, margin, entropy"):
        TwoStage(student, teacher, threshold=0.5, measure="mood")


def test_whatever_a_student_takes(files, tmp_path):
    x, _ = rows(40)
    student, teacher = map(runtime.load, files)
    two = TwoStage(student, teacher, threshold=0.9)
    expected = two.predict(x)
    assert two.answer(x)[1].any()
    assert not two.answer(x)[1].all()
    for form in (x.tolist(), torch.from_numpy(x), x.astype(np.float64)):
        np.testing.assert_array_equal(two.predict(form), expected)
    table = {"first": x[:, 0].tolist(), "second": x[:, 1].tolist()}
    named = []
    for name, model in (("student", Student()), ("teacher", Teacher())):
        path = tmp_path / f"{name}.onnx"
        to_onnx(
            model,
            path,
            example=torch.from_numpy(x),
            classes=CLASSES,
            columns=describe_columns(table),
        )
        named.append(runtime.load(path))
    by_name = TwoStage(*named, threshold=0.9)
    for form in (
        table,
        pd.DataFrame(table),
        [dict(zip(table, pair, strict=True)) for pair in zip(*table.values(), strict=True)],
    ):
        np.testing.assert_array_equal(by_name.predict(form), expected)
    with pytest.raises(AttarError, match=r"shape \[N, 2\]"):
        two.predict(x[0])
    with pytest.raises(AttarError, match="must be finite"):
        two.predict(x * np.nan)


def test_the_time_is_the_students_and_for_some_rows_the_teachers_too(found):
    times = found.latency
    share = found.choice.share
    assert 0.01 < share < 0.5
    expected = times["student"].mean_ms + share * times["teacher"].mean_ms
    assert times["cascade"].mean_ms == pytest.approx(expected, rel=0.25)
    # More than one row in a hundred goes on, so the slowest of a hundred waits for the teacher.
    assert times["cascade"].p99_ms > times["teacher"].p50_ms


def test_it_goes_into_a_run_folder(found, tmp_path):
    path = found.save(tmp_path)
    told = json.loads(path.read_text())
    assert path.name == "cascade.json"
    assert told["goal"] == "keep 98 % of the teacher's accuracy"
    assert told["met"] is True
    assert told["chosen"]["share"] == found.choice.share
    assert len(told["curve"]["share"]) == len(told["curve"]["accuracy"]) > 10
    assert set(told["latency"]["cascade"]) >= {"mean_ms", "p99_ms"}


@pytest.mark.parametrize("name", ["two.zip", "two"])
def test_a_bundle_of_both_runs_with_numpy_and_onnxruntime_alone(found, tmp_path, name):
    path = found.export(tmp_path / name)
    x, _ = rows(300, seed=2)
    np.save(tmp_path / "x.npy", x)
    script = (
        "import sys, numpy as np; from attar.export import runtime; "
        f"two = runtime.load_cascade({str(path)!r}, threads=1); "
        f"print(*two.predict(np.load({str(tmp_path / 'x.npy')!r}))); "
        "print(*({'torch', 'onnx', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    predicted, loaded = done.stdout.split("\n")[:2]
    assert predicted.split() == found.runtime().predict(x).tolist()
    assert loaded == ""
    two = runtime.load_cascade(path)
    assert two.threshold == found.choice.threshold
    np.testing.assert_array_equal(runtime.load(path).logits(x), two.student.logits(x))


def test_what_is_not_promised_is_not_exported(files, tmp_path):
    x, y = rows(200)
    missed = attar.cascade(*files, validation=(x, y), keep=0.999, seconds=0.0)
    assert not missed.met
    with pytest.raises(AttarError, match=r"nothing to export. No threshold is shown .* it takes"):
        missed.export(tmp_path / "two.zip")
    loaded = [runtime.load(path) for path in files]
    met = attar.cascade(*loaded, validation=rows(), keep=0.9, seconds=0.0)
    with pytest.raises(AttarError, match="name the student's ONNX file"):
        met.export(tmp_path / "two.zip")
    logits = [model.logits(rows()[0]) for model in loaded]
    met = attar.cascade(*logits, validation=rows(), keep=0.9)
    with pytest.raises(AttarError, match="both models must be ONNX files"):
        met.export(tmp_path / "two.zip")
    assert not list(tmp_path.iterdir())


def test_models_that_do_not_fit_are_refused(files, tmp_path):
    student = runtime.load(files[0])
    renamed = onnx.load(files[1])
    for item in renamed.metadata_props:
        if item.key == "attar.classes":
            item.value = '["dog", "cat"]'
    other = runtime.loads(renamed.SerializeToString(), name="other")
    with pytest.raises(
        AttarError, match=r"same classes. Got \('cat', 'dog'\) and \('dog', 'cat'\)"
    ):
        TwoStage(student, other, threshold=0.5)
    with pytest.raises(AttarError, match="the same classes in the same order"):
        attar.cascade(student, other, validation=rows(20), keep=0.9)
    with pytest.raises(AttarError, match="no cascade"):
        runtime.load_cascade(files[0])
    x, y = rows(20)
    with pytest.raises(AttarError, match="validation must have labels"):
        attar.cascade(*files, validation=(x, None), keep=0.9)
    with pytest.raises(
        AttarError, match=r"logits of the teacher must have shape \[N, C\].*20 rows"
    ):
        attar.cascade(files[0], np.zeros((3, 2)), validation=(x, y), keep=0.9)
    with pytest.raises(AttarError, match="name a goal"):
        attar.cascade(*files, validation=(x, y))
