"""The wheel as production installs it: without torch, it still reads and runs a student."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import attar
from attar.columns import describe_columns, encode_columns
from attar.export import ModelFile, to_onnx, write_bundle

ROOT = Path(__file__).parents[2]

TABLE = {"age": [30.0, 41.0, 25.0, 60.0], "city": ["Rome", "Oslo", "Rome", "Oslo"]}

#: Runs in the bare environment, so it is a text, and prints what it found as JSON.
PRODUCTION = """
import attar, importlib.util, json, sys
from attar.export import runtime

student = runtime.load("student.onnx")
table = json.load(open("table.json"))
found = {"predicted": student.predict(table).tolist()}
found["probabilities"] = student.predict_proba(table).tolist()
found["metadata"] = student.metadata
found["bundled"] = [
    runtime.load(path).predict_proba(table).tolist() for path in ("student.zip", "bundle")
]
found["roles"] = attar.export.read_bundle("student.zip").roles
found["loaded"] = sorted({"onnx", "safetensors", "sklearn", "torch"} & set(sys.modules))
found["installed"] = [
    name for name in ("torch", "onnx", "sklearn", "datasets") if importlib.util.find_spec(name)
]

from attar.checks import MissingExtraError, need

found["version"], found["where"] = attar.__version__, attar.__file__


def message(use):
    try:
        use()
    except MissingExtraError as error:
        return str(error)


found["need"] = message(lambda: need("torch", extra="train", purpose="training"))
found["to_onnx"] = message(lambda: attar.export.to_onnx)
found["distill"] = message(lambda: attar.distill)
found["kl"] = message(lambda: importlib.import_module("attar.losses").kl)
print(json.dumps(found))
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel of this tree and what the wheel asks for."""
    folder = tmp_path_factory.mktemp("bare")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", folder / "dist", ROOT, cwd=folder)
    (wheel,) = (folder / "dist").glob("attar-*.whl")
    venv.create(folder / "env", with_pip=False)  # this pip installs into it, which is faster
    python = folder / "env" / "bin" / "python"
    run(*pip, "--python", python, "install", "--no-compile", wheel, cwd=folder)
    return python


def test_the_bare_wheel_answers_as_torch_does(bare, tmp_path):
    columns = describe_columns(TABLE)
    example = torch.from_numpy(encode_columns(TABLE, columns))
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    model(example)  # the batch norm takes the statistics of the rows
    to_onnx(
        model.eval(),
        tmp_path / "student.onnx",
        example=example,
        classes=["no", "yes"],
        metadata={"accuracy": 0.75},
        columns=columns,
    )
    for bundle in ("student.zip", "bundle"):
        write_bundle(tmp_path / bundle, {"student": ModelFile(tmp_path / "student.onnx")})
    (tmp_path / "table.json").write_text(json.dumps(TABLE))
    # -I: neither PYTHONPATH nor the working folder lends the bare environment anything.
    found = json.loads(run(bare, "-I", "-c", PRODUCTION, cwd=tmp_path))

    with torch.no_grad():
        expected = model(example).softmax(dim=1)
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
    assert found["predicted"] == [("no", "yes")[i] for i in expected.argmax(dim=1)]
    assert found["metadata"] == {"accuracy": 0.75}
    assert found["bundled"] == [found["probabilities"]] * 2
    assert found["roles"] == ["student"]
    assert found["installed"] == found["loaded"] == []
    assert found["version"] == attar.__version__
    assert Path(found["where"]).is_relative_to(bare.parents[1])
    missing = "needs torch, which is not installed: pip install 'attar[train]'"
    assert found["need"] == f"training {missing}"
    assert found["to_onnx"] == f"attar.export.to_onnx {missing}"
    assert found["distill"] == found["kl"] == f"This part of Attar {missing}"
