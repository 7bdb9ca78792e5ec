"""Killed at any moment, alone or beside others, a store ends with the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kills.py")


def run(folder: Path, *words: object) -> list[int]:
    """The numbers that the script prints."""
    done = subprocess.run(
        [sys.executable, SCRIPT, folder, *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_before_a_write_a_rename_or_a_removal_changes_nothing(
    tmp_path: Path, step: int
) -> None:
    points, times = run(tmp_path, "points", step)
    assert points > 50  # ten batches, ten parts, four files, and the removal of what is left
    assert times > 5


@pytest.mark.parametrize("form", ["clock", "pair"])
def test_a_handful_of_kills_at_random_moments(tmp_path: Path, form: str) -> None:
    kills, stores = run(tmp_path, form, 4, 0)
    assert kills >= 4
    assert stores >= 1


@pytest.mark.slow
@pytest.mark.parametrize("form", ["clock", "pair"])
def test_two_hundred_kills_at_random_moments(tmp_path: Path, form: str) -> None:
    kills, stores = run(tmp_path, form, 200, 1)
    assert kills >= 200
    assert stores >= 1
