from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from attar.checks import AttarError
from attar.export import bench, quantize, to_onnx
from attar.students import Standardize


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    rows = torch.randint(0, 255, (64, 12), dtype=torch.uint8)
    found = {}
    for name, width in (("student", 4), ("teacher", 4000)):
        torch.manual_seed(0)
        layers = (nn.Linear(12, width), nn.ReLU(), nn.Linear(width, 3))
        model = nn.Sequential(Standardize.fit(rows), *layers)
        found[name] = folder / f"{name}.onnx"
        to_onnx(model, found[name], example=rows, classes=("a", "b", "c"))
    return found


def test_everything_that_a_reader_needs_to_judge_the_figures(files):
    found = bench(files, seconds=0.01)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert list(told["models"]) == ["student", "teacher"]
    for name, model in told["models"].items():
        assert model["bytes"] == files[name].stat().st_size
        assert model["load_ms"] > 0
        # A session takes more than a megabyte, whatever the process that asks for it takes.
        assert model["memory_bytes"] > 2**20
        assert list(model["latency"]) == ["1", "8", "64"]
        for time in model["latency"].values():
            assert 0 < time["p50_ms"] <= time["p90_ms"] <= time["p99_ms"]
            assert time["repetitions"] >= 50
    assert told["threads"] == 1
    assert told["machine"]["cores"] >= 1
    assert told["machine"]["processor"]
    assert set(told["versions"]) == {"python", "numpy", "onnxruntime"}
    assert told["real_rows"] is False
    assert found.ratio("teacher", "teacher", rows=8) == 1.0
    assert found.ratio("teacher", "student", rows=64) == pytest.approx(
        1 / found.ratio("student", "teacher", rows=64)
    )


def test_rows_of_ones_own_and_other_batches(files):
    rows = np.zeros((3, 12), dtype=np.uint8)
    found = bench(files, inputs=rows, batches=(5,), seconds=0.0, alone=False)
    assert found.real_rows is True
    assert set(found.models["student"].latency.batches) == {5}
    assert found.models["student"].load_ms is None


def test_what_cannot_be_compared_is_refused(files, tmp_path):
    other = tmp_path / "other.onnx"
    to_onnx(nn.Linear(5, 2), other, example=torch.randn(4, 5), classes=("a", "b"))
    with pytest.raises(AttarError, match=r"rows of one shape.*other: \(5,\)"):
        bench({**files, "other": other}, seconds=0.0)
    with pytest.raises(AttarError, match=r"must have shape \[N, 12\]"):
        bench(files, inputs=np.zeros((2, 5)), seconds=0.0)
    with pytest.raises(AttarError, match="at least one ONNX file"):
        bench({})
    with pytest.raises(AttarError, match="at least one number of rows"):
        bench(files, batches=())
    with pytest.raises(AttarError, match="'threads' parameter of bench"):
        bench(files, threads=0)
    with pytest.raises(AttarError, match="cannot be read"):
        bench({"lost": tmp_path / "lost.onnx"})


def test_the_commands(files, tmp_path, capsys):
    from attar.cli import main

    words = [str(path) for path in files.values()]
    out = tmp_path / "bench.json"
    assert main(["bench", *words, "--seconds", "0.001", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "1 thread, onnxruntime" in shown
    assert shown.count(" 64 rows") == 2
    assert list(json.loads(out.read_text())["models"]) == words
    assert main(["bench", words[0], words[0]]) == 2
    assert "name each model once" in capsys.readouterr().err

    rng = np.random.default_rng(0)
    X = rng.integers(0, 255, (400, 12)).astype(np.uint8)
    from attar.export import runtime

    y = runtime.load(files["teacher"]).logits(X).argmax(axis=1)
    np.savez(tmp_path / "rows.npz", X=X, y=np.array(["a", "b", "c"])[y])
    data = str(tmp_path / "rows.npz")
    small = tmp_path / "small.onnx"
    quantized = ["quantize", words[1], "--validation", data, "--train", data, "--out", str(small)]
    assert main([*quantized, "--max-drop", "5"]) == 0
    assert "agrees with the float student" in capsys.readouterr().out
    assert small.exists()
    cascade = ["cascade", *words, "--validation", data]
    assert main(cascade) == 2
    assert "name a goal, --keep" in capsys.readouterr().err
    assert main([*cascade, "--teacher-share", "0.5", "--out", str(tmp_path / "two.zip")]) == 0
    assert "teacher calls" in capsys.readouterr().out
    assert runtime.load_cascade(tmp_path / "two.zip").classes == ("a", "b", "c")
    assert callable(quantize)
