"""`attar report` and `attar compare`: where the page is written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from attar.cli import main


@pytest.fixture
def run(tmp_path):
    """The least that a finished run holds."""
    folder = tmp_path / "run"
    folder.mkdir()
    arm = {"runs": [{"seed": 0, "test": {"accuracy": 0.9}}]}
    result = {
        "verdict": "INCONCLUSIVE",
        "sentence": "One seed tells nothing.",
        "classes": ["no", "yes"],
        "arms": {"hard": arm, "distilled": arm},
        "student": {"seed": 0},
    }
    (folder / "result.json").write_text(json.dumps(result), "utf-8")
    return folder


def test_the_page_is_written_into_the_run_folder(run, capsys):
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text("utf-8")
    assert "One seed tells nothing." in page
    assert str(run / "report.html") in capsys.readouterr().out


def test_the_page_goes_where_it_is_wanted(run, tmp_path):
    assert main(["report", str(run), "--out", str(tmp_path / "new" / "page.html")]) == 0
    assert (tmp_path / "new" / "page.html").exists()
    assert not (run / "report.html").exists()


def test_runs_are_set_side_by_side(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", str(run), str(run)]) == 0
    page = Path("compare.html").read_text("utf-8")
    assert "run (2)" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["report", "nowhere"], "the run folder nowhere does not exist"),
        (["compare", "run"], "give from 2 to 60 runs. Got 1"),
        (["report", "."], "has no result.json: the run is not finished"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(run, words, message, monkeypatch, capsys):
    monkeypatch.chdir(run.parent)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_broken_run_leaves_no_page(run):
    (run / "answers").mkdir()
    np.save(run / "answers" / "labels.npy", np.array([0, 7]))
    assert main(["report", str(run)]) == 2
    assert not (run / "report.html").exists()
