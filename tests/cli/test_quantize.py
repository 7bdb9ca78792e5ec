"""`attar quantize`, `cascade` and `bench`: what a user does with a run that is finished."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from command_line import attar

from attar.export import read_bundle, runtime


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A table, another one of rows that nobody was trained on, a finished run and its bundle."""
    folder = tmp_path_factory.mktemp("work")
    random = np.random.default_rng(0)
    for name, count in (("t.csv", 300), ("new.csv", 200)):
        lines = ["size,city,kind"]
        for _ in range(count):
            size, city = random.normal(), random.choice(["Oslo", "Rome"])
            lines.append(f"{size:.3f},{city},{'big' if size + (city == 'Rome') > 0.5 else 'small'}")
        (folder / name).write_text("\n".join(lines) + "\n")
    words = ("--train", folder / "t.csv", "--label", "kind", "--members", "2")
    words += ("--teacher-steps", "60", "--teacher-width", "32", "--steps", "100", "--seeds", "1")
    words += (
        "--plain",
        "--learning-rate",
        "0.01",
        "--out",
        folder / "run",
        "--bundle",
        folder / "run.zip",
    )
    code, _, err = attar("distill", *words)
    assert code == 0, err
    return folder


BOUND = ("--max-drop", "5")


def test_distill_writes_its_bundle_too(work):
    bundle = read_bundle(work / "run.zip")
    result = json.loads((work / "run" / "result.json").read_text())
    assert bundle.manifest["verdict"]["verdict"] == result["verdict"]
    assert "student.safetensors" in bundle.files


@pytest.mark.parametrize("place", ["a folder", "a.txt"])
def test_a_place_for_a_bundle_that_will_not_do_is_refused_before_anything_is_trained(
    work, tmp_path, place
):
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a.txt").write_text("x")
    for words in (
        ("distill", "--train", work / "t.csv", "--label", "kind", "--out", tmp_path / "run"),
        ("demo", "--out", tmp_path / "run"),
    ):
        code, _, err = attar(*words, "--bundle", tmp_path / place)
        assert code == 2
        assert "Name a .zip, or a new folder" in err
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", [None, "dynamic", "float16"])
def test_without_training(work, tmp_path, method):
    words = ["quantize", work / "run", "--validation", work / "new.csv", "--label", "kind", *BOUND]
    words += ["--train", work / "t.csv", "--test", work / "new.csv"]
    words += [] if method is None else ["--method", method]
    code, out, err = attar(*words, "--out", tmp_path / "small.onnx")
    assert (code, err) == (0, "")
    assert "on 200 validation rows" in out
    assert "of 200 rows; lost" in out  # on test
    small = runtime.load(tmp_path / "small.onnx")
    assert small.metadata["quantization"]["method"] == (method or "static")
    # The run keeps what it costs, one entry a method, and its report shows it.
    kept = json.loads((work / "run" / "quantized.json").read_text())["files"]
    assert kept[-1]["method"] == (method or "static")
    assert len({one["method"] for one in kept}) == len(kept)
    assert kept[-1]["bytes"] == (tmp_path / "small.onnx").stat().st_size
    assert set(small.predict({"size": [9.0, -9.0], "city": ["Oslo", "Rome"]})) == {"big", "small"}


def test_a_run_learns_to_round_from_what_its_teacher_said(work, tmp_path):
    words = ("quantize", work / "run", "--aware", "--train", work / "t.csv", "--label", "kind")
    code, out, err = attar(*words, *BOUND, "--out", tmp_path / "small.onnx")
    assert code == 0, err
    assert "on 48 validation rows" in out  # a fifth of four fifths of 300: the run's own
    assert "of 60 rows; lost" in out
    small = runtime.load(tmp_path / "small.onnx")
    told = small.metadata["quantization"]
    assert told["method"] == "qat"
    assert told["validation"]["rows"] == 48
    assert told["validation"]["agreement"] > 0.9
    assert small.columns == runtime.load(work / "run" / "student.onnx").columns
    assert small.metadata["teacher"] == "ensemble of 2 mlp(32)"
    rows = {"size": [9.0, -9.0], "city": ["Oslo", "Rome"]}
    assert small.predict(rows).tolist() == ["big", "small"]


def test_what_a_teacher_said_between_the_rows_is_learnt_from_again(work, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torn.py").write_text(
        "import numpy as np\ndef teacher(x):\n    return np.full((len(x), 2), 0.5)\n"
    )
    rows = ("--train", work / "t.csv", "--label", "kind")
    words = ("--teacher", "torn:teacher", "--parameters", "60", "--steps", "5", "--seeds", "1")
    code, _, err = attar("distill", *rows, *words, "--out", "run")
    assert code == 0, err
    words = ("--max-drop", "100", "--epochs", "1", "--out", "small.onnx")
    code, out, err = attar("quantize", "run", "--aware", *rows, *words)
    assert code == 0, err
    assert "on 48 validation rows" in out


def test_a_bundle_learns_to_round_from_a_teacher_that_is_named(work, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sure.py").write_text(
        "import numpy as np\n"
        "def teacher(x):\n"
        "    big = x[:, 0] + (x[:, 2] > 0) > 0.5\n"
        "    return np.where(big[:, None], [0.9, 0.1], [0.2, 0.8])\n"
    )
    words = ["quantize", work / "run.zip", "--aware", "--train", work / "t.csv", "--label", "kind"]
    words += ["--teacher", "sure:teacher", "--validation", work / "new.csv", "--epochs", "20"]
    code, out, err = attar(*words, *BOUND, "--out", "small.onnx")
    assert code == 0, err
    assert "on 200 validation rows" in out
    assert runtime.load("small.onnx").classes == ("big", "small")


BAD = {
    "no rows to hold the bound": ([], "needs --validation"),
    "no rows to learn from": (["--aware"], "needs --train"),
    "two ways": (["--aware", "--method", "dynamic"], "not both"),
    "training without training": (["--epochs", "3"], "--epochs belongs to --aware"),
    "no method": (["--validation", "new.csv", "--method", "int4"], "method must be one of static"),
    "a table without its label": (["--aware", "--train", "t.csv"], "needs --label"),
    "other rows": (["--aware", "--train", "new.csv", "--label", "kind"], "from other rows"),
    "a bound": (["--validation", "new.csv", "--label", "kind", "--max-drop", "-1"], "max_drop"),
    "views without a shift": (
        ["--aware", "--train", "t.csv", "--label", "kind", "--views", "3"],
        "give --shift PIXELS",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_quantize_refuses_in_one_line(work, tmp_path, monkeypatch, case):
    monkeypatch.chdir(work)
    words, part = BAD[case]
    code, out, err = attar("quantize", "run", *words, "--out", tmp_path / "x.onnx")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert part in err
    assert not (tmp_path / "x.onnx").exists()


def test_what_cannot_be_trained_is_told(work, tmp_path):
    words = ("--aware", "--train", work / "t.csv", "--label", "kind", "--out", tmp_path / "x.onnx")
    code, _, err = attar("quantize", work / "run" / "student.onnx", *words)
    assert code == 2
    assert "an .onnx file alone cannot be trained" in err
    code, _, err = attar("quantize", work / "run.zip", *words)
    assert code == 2
    assert "keeps nothing of what its teacher said. Name the --teacher" in err
    assert attar("bundle", work / "run", "--no-weights", "--out", tmp_path / "bare.zip")[0] == 0
    more = ("--teacher", work / "run", "--validation", work / "new.csv")
    code, _, err = attar("quantize", tmp_path / "bare.zip", *words, *more)
    assert code == 2
    assert "has no weights for PyTorch" in err


def test_the_cascade_is_chosen_shown_and_kept(work, tmp_path):
    run = shutil.copytree(work / "run", tmp_path / "run")
    words = ["cascade", run, run / "student.onnx", "--validation", work / "new.csv"]
    words += ["--label", "kind"]
    code, _, err = attar(*words)
    assert code == 2
    assert "name a goal, --keep 0.995 or --teacher-share 0.05" in err
    code, out, err = attar(*words, "--keep", "0.9", "--out", tmp_path / "two.zip")
    assert (code, err) == (0, "")
    assert "yes" in out
    kept = json.loads((run / "cascade.json").read_text())
    assert kept["met"]
    two = runtime.load_cascade(tmp_path / "two.zip")
    assert two.predict({"size": [9.0], "city": ["Oslo"]}).tolist() == ["big"]
    code, _, err = attar(*words, "--keep", "0.9999", "--out", tmp_path / "none.zip")
    assert code == 2
    assert "To show it takes" in err
    assert not (tmp_path / "none.zip").exists()
