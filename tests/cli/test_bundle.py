"""`attar bundle`: from a run folder, or from a file alone."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from command_line import attar
from sklearn.datasets import load_iris

from attar.experiment import distill
from attar.export import read_bundle, runtime
from attar.students import mlp


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run folder."""
    folder = tmp_path_factory.mktemp("run") / "run"
    X, y = load_iris(return_X_y=True)
    known = np.eye(3)[y]  # a teacher that knows it all
    distill(
        lambda x: known[[int(np.abs(X - row).sum(axis=1).argmin()) for row in np.asarray(x)]],
        mlp,
        train=(X, y),
        parameters=150,
        seeds=1,
        steps=20,
        smoothing=[0.1],
        latency_seconds=0,
        out=folder,
    )
    return folder


def test_a_run_becomes_a_bundle_that_predict_and_load_take(run, tmp_path):
    for name in ("x.zip", "x"):
        code, out, err = attar("bundle", run, "--out", tmp_path / name)
        assert (code, err) == (0, "")
        files = "bundle.json, README.md, model.onnx, student.safetensors"
        assert out == f"{tmp_path / name}: {files}.\n"
        assert runtime.load(tmp_path / name).bundle["verdict"]["verdict"] == "INCONCLUSIVE"
        np.save(tmp_path / "rows.npy", load_iris().data[:3].astype(np.float32))
        code, out, err = attar("predict", tmp_path / name, tmp_path / "rows.npy")
        assert (code, err) == (0, "")
        assert len(out.splitlines()) == 5
    told, result = (
        read_bundle(tmp_path / "x.zip").manifest,
        json.loads((run / "result.json").read_text()),
    )
    assert told["created"] == result["finished"]
    assert told["models"][0]["parity"]["rows_checked"] == result["export"]["rows_checked"]
    assert told["code"]["fingerprint"] == result["fingerprints"]["code"]


def test_without_weights_and_of_a_file_alone(run, tmp_path):
    code, _, _ = attar("bundle", run, "--out", tmp_path / "x.zip", "--no-weights")
    assert code == 0
    assert set(read_bundle(tmp_path / "x.zip").files) == {"README.md", "model.onnx"}
    code, _, _ = attar("bundle", run / "student.onnx", "--out", tmp_path / "y.zip")
    assert code == 0
    assert read_bundle(tmp_path / "y.zip").manifest["name"] == "student"


def test_what_cannot_be_bundled_is_one_line(run, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    half = shutil.copytree(run, tmp_path / "half")
    (half / "result.json").unlink()
    for source, message in (
        (tmp_path / "none", "the student .* does not exist"),
        (tmp_path / "notes.txt", "name a run folder or an .onnx file"),
        (half, "the run is not finished. attar distill --resume"),
    ):
        code, out, err = attar("bundle", source, "--out", tmp_path / "x.zip")
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1
        import re

        assert re.search(message, err)
    assert not (tmp_path / "x.zip").exists()
