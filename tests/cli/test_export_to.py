"""`attar export --to ...` and `--calibrate`: the other ways out of a run folder."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from command_line import attar
from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier

from attar.experiment import distill
from attar.export import load_student, read_bundle, runtime
from attar.students import mlp


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run folder, whose student is wrong on some validation rows."""
    folder = tmp_path_factory.mktemp("run") / "run"
    X, y = load_iris(return_X_y=True)
    distill(
        KNeighborsClassifier(3),
        mlp,
        train=(X[:, :2], y),
        parameters=150,
        seeds=1,
        steps=60,
        learning_rate=0.01,
        smoothing=[0.1],
        folds=2,
        latency_seconds=0,
        out=folder,
    )
    return folder


@pytest.fixture(scope="module")
def rows():
    return load_iris().data[::7, :2].astype(np.float32)


def temperature(run):
    result = json.loads((run / "result.json").read_text())
    return result["arms"]["distilled"]["runs"][0]["calibration"]["temperature"]


def test_each_way_out_answers_as_the_run_s_own_file(run, rows, tmp_path):
    expected = runtime.load(run / "student.onnx").logits(rows)
    for to in ("onnx", "pt2"):
        code, out, err = attar("export", run, "--to", to, "--out", tmp_path / f"s.{to}")
        assert (code, err) == (0, "")
        assert "real rows its probabilities differ from the student's by at most" in out
    code, out, _ = attar("export", run, "--to", "safetensors", "--out", tmp_path / "s.safetensors")
    assert code == 0
    assert "load_student reads it" in out
    np.testing.assert_allclose(runtime.load(tmp_path / "s.onnx").logits(rows), expected, atol=1e-5)
    given = torch.from_numpy(rows)
    for module in (
        torch.export.load(tmp_path / "s.pt2").module(),
        load_student(tmp_path / "s.safetensors"),
    ):
        said = module(given)
        logits = said[0] if isinstance(said, tuple) else said
        np.testing.assert_allclose(logits.detach(), expected, atol=1e-5)


def test_calibrated_ways_out(run, rows, tmp_path):
    expected = runtime.load(run / "student.onnx").logits(rows) / temperature(run)
    assert temperature(run) != 1
    for to in ("onnx", "safetensors", "triton"):
        code, _, err = attar(
            "export", run, "--calibrate", "--to", to, "--out", tmp_path / f"s.{to}"
        )
        assert (code, err) == (0, "")
    code, _, err = attar("bundle", run, "--calibrate", "--out", tmp_path / "s.zip")
    assert (code, err) == (0, "")
    served = tmp_path / "s.triton" / "student" / "1" / "model.onnx"
    for path in (tmp_path / "s.onnx", served, tmp_path / "s.zip"):
        np.testing.assert_allclose(runtime.load(path).logits(rows), expected, atol=1e-5)
    for path in (tmp_path / "s.safetensors", tmp_path / "s.zip"):
        said = load_student(path)(torch.from_numpy(rows))
        np.testing.assert_allclose(said.detach(), expected, atol=1e-5)
    told = read_bundle(tmp_path / "s.zip")
    assert told.manifest["models"][0]["temperature"] == temperature(run)
    assert "is inside the graph" in told.files["README.md"].decode()


def test_servers_take_a_file_or_a_bundle_without_torch(run, tmp_path):
    attar("bundle", run, "--out", tmp_path / "s.zip")
    code = (
        "import sys\nfor name in ('torch', 'onnx', 'safetensors'): sys.modules[name] = None\n"
        "from attar.cli import main\n"
        f"sources = {[str(run / 'student.onnx'), str(tmp_path / 's.zip')]!r}\n"
        "for source, to in zip(sources, ('triton', 'kserve')):\n"
        "    words = ['export', source, '--to', to, '--name', 'iris', '--out', to]\n"
        "    assert main(words) == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for folder in ("triton/iris", "kserve/model-repository/iris"):
        assert runtime.load(tmp_path / folder / "1" / "model.onnx").classes == ("0", "1", "2")
    assert "iris" in (tmp_path / "kserve" / "inference-service.yaml").read_text()


def test_mistakes_are_one_line_and_leave_nothing(run, tmp_path):
    old = shutil.copytree(run, tmp_path / "old")
    result = json.loads((old / "result.json").read_text())
    for one in result["arms"]["distilled"]["runs"]:
        del one["calibration"]
    (old / "result.json").write_text(json.dumps(result))
    out = tmp_path / "x"
    for words, message in (
        (("export", run, "--to", "coreml"), "--to must be one of onnx, pt2, .*Got coreml"),
        (("export", old, "--calibrate"), "has no temperature: .* older Attar.*--resume"),
        (("bundle", old, "--calibrate"), "has no temperature"),
        (
            ("export", run / "student.onnx", "--to", "triton", "--calibrate"),
            "--calibrate needs the run",
        ),
        (("bundle", run / "student.onnx", "--calibrate"), "--calibrate needs the run"),
        (("export", run, "--to", "triton", "--name", "No Name"), "name must be small letters"),
        (("export", run, "--to", "kserve", "--storage", "here"), "storage must be a URI"),
        (("export", run / "student.onnx"), "name a run folder or module:function"),
    ):
        code, said, err = attar(*words, "--out", out)
        assert (code, said) == (2, "")
        assert len(err.splitlines()) == 1
        assert re.search(message, err), err
        assert not out.exists()
