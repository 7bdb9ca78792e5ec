"""Every example runs as it stands, stays short, and tells a result that can be true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
LINES = {"plain_loop.py": 40}  # of the others: fewer than 60

#: An accuracy in percent, alone ("92.5%") or with its spread ("92.39 ± 0.58").
ACCURACY = re.compile(r"\b(\d\d\.\d+) ?[%±]|\b(100\.0+) ?[%±]")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.stem)
def test_runs_and_prints_accuracies(example: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, example],
        cwd=tmp_path,
        env={**os.environ, "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    found = [float(alone or whole) for alone, whole in ACCURACY.findall(done.stdout)]
    assert found, f"no accuracy in:\n{done.stdout}"
    # Guessing gives 10 % on ten classes and 50 % on two; a model that learnt is well above.
    assert min(found) > 70, done.stdout
    assert not any(tmp_path.iterdir()), "an example leaves nothing in the folder where it is run"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.stem)
def test_is_short(example: Path) -> None:
    assert len(example.read_text("utf-8").splitlines()) < LINES.get(example.name, 60)


def test_the_plain_loop_takes_one_function_of_attar() -> None:
    text = next(file for file in EXAMPLES if file.name == "plain_loop.py").read_text("utf-8")
    uses = [line for line in text.splitlines() if re.search(r"(import|from) attar|attar\.", line)]
    assert uses == ["from attar.losses import kl"]


def test_the_three_ways_in_have_an_example() -> None:
    names = {file.stem for file in EXAMPLES}
    assert names >= {"ensemble_to_one", "plain_loop", "your_own_loss"}
