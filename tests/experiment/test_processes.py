"""An experiment in two real processes, started by accelerate's launcher."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = """
import json, os, sys
from pathlib import Path
import torch
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
import attar

out, process = Path(sys.argv[1]), os.environ.get("RANK", "0")
torch.set_num_threads(1)

def run(**more):
    forest = RandomForestClassifier(10, random_state=0)
    return attar.distill(forest, attar.students.mlp, train=load_iris(return_X_y=True),
                         parameters=200, seeds=[0, 1], steps=40, batch_size=31, smoothing=[0.1],
                         any_threads=True, **{"latency_seconds": 0, **more})

def tell(name, experiment):
    told = {"table": experiment.table(), **experiment.to_dict()}
    out.with_name(f"{out.name}-{name}-{process}.json").write_text(json.dumps(told, default=str))

asked = []
tell("whole", run(out=out, latency_seconds=0.1, progress=lambda told: asked.append(told.stage)))
if "RANK" in os.environ:
    tell("again", run(out=out, resume=True))
    tell("passing", run())
    try:
        run(out=out)
    except attar.AttarError as error:
        out.with_name(f"refused-{process}").write_text(str(error))
out.with_name(f"{out.name}-asked-{process}").write_text(" ".join(sorted(set(asked))))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One experiment made by one process and by two."""
    folder = tmp_path_factory.mktemp("runs")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += ["--main_process_port", port]
    for name, how in (("one", []), ("two", launch)):
        done = subprocess.run(
            [sys.executable, *how, script, folder / name],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,  # that of a process that hangs, on a busy machine too
        )
        assert done.returncode == 0, done.stderr
    return folder


def told(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def test_two_processes_come_to_the_result_of_one(folder: Path) -> None:
    for arm in ("hard", "smoothed", "distilled"):
        alone = np.load(folder / "one" / "answers" / f"{arm}.npy")
        together = np.load(folder / "two" / "answers" / f"{arm}.npy")
        np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-4)
    one, two = told(folder / "one-whole-0.json"), told(folder / "two-whole-0.json")
    assert one["verdict"] == two["verdict"]
    for arm, found in one["arms"].items():
        for here, there in zip(found["runs"], two["arms"][arm]["runs"], strict=True):
            assert here["validation"] == pytest.approx(there["validation"], abs=1e-3)


def test_all_processes_return_the_same_result(folder: Path) -> None:
    for name in ("whole", "again", "passing"):
        assert told(folder / f"two-{name}-0.json") == told(folder / f"two-{name}-1.json")
    # Named by the forest that the main process alone has asked, and timed by it.
    assert "RandomForest" in told(folder / "two-whole-1.json")["teacher"]["name"]
    assert told(folder / "two-whole-1.json")["latency"]["student"]


def test_the_main_process_alone_speaks(folder: Path) -> None:
    assert "label" in (folder / "two-asked-0").read_text()
    assert (folder / "two-asked-1").read_text() == ""


def test_a_finished_run_is_read_back_by_both(folder: Path) -> None:
    for process in (0, 1):
        whole = told(folder / f"two-whole-{process}.json")
        again = told(folder / f"two-again-{process}.json")
        assert whole["arms"] == again["arms"]


def test_a_folder_that_is_taken_is_refused_by_both(folder: Path) -> None:
    assert "exists already and is not overwritten" in (folder / "refused-0").read_text()
    assert "The main process stopped (AttarError" in (folder / "refused-1").read_text()
