"""Progress and pages: bars where someone watches, few lines where nobody does."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from rich.console import Console

from attar.cli import demo, main, show


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def page(*, terminal):
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=terminal, width=100, markup=False, highlight=False
    )
    return console, stream


def test_a_log_gets_the_first_line_of_a_stage_and_then_one_in_ten_seconds():
    (console, stream), clock = page(terminal=False), Clock()
    with show.Reporter(console, clock=clock) as tell:
        for step in range(1000):
            clock.now = step / 50  # 20 seconds in all
            tell(SimpleNamespace(stage="train", message=f"run {step}", done=step, total=1000))
        tell.tell("test", "Opening the test set")
    assert stream.getvalue().splitlines() == [
        "run 0 (0 of 1,000)",
        "run 500 (500 of 1,000, 10 s left)",
        "Opening the test set",
    ]


def test_a_teacher_that_answers_is_told_of_with_rows_a_second_and_the_time_left():
    (console, stream), clock = page(terminal=False), Clock()
    with show.Reporter(console, clock=clock) as tell:
        counter = tell.counter("label", "The teacher answers")
        counter(3_000, 60_000)  # what was there before does not count as done in no time
        clock.now = 20.0
        counter(7_000, 60_000)
    assert stream.getvalue().splitlines() == [
        "The teacher answers (3,000 of 60,000)",
        "The teacher answers (7,000 of 60,000, 200 rows/s, 4 min left)",
    ]


def test_other_rows_are_counted_anew():
    (console, stream), clock = page(terminal=False), Clock()
    with show.Reporter(console, clock=clock) as tell:
        for now, done, total in (
            (0, 0, 5000),
            (1000, 5000, 5000),
            (1010, 0, 400),
            (1020, 100, 400),
        ):
            clock.now = now
            tell.tell("label", "The teacher answers", done, total)
    assert stream.getvalue().splitlines()[2:] == [
        "The teacher answers (0 of 400)",
        "The teacher answers (100 of 400, 10 rows/s, 30 s left)",
    ]


def test_what_has_nothing_to_count_is_always_said():
    console, stream = page(terminal=False)
    with show.Reporter(console, clock=Clock()) as tell:
        tell.tell("cost", "9 runs")
        tell.tell("cost", "about 1 min")
    assert stream.getvalue() == "9 runs\nabout 1 min\n"


def test_a_terminal_gets_one_bar_for_a_stage():
    console, stream = page(terminal=True)
    with show.Reporter(console) as tell:
        counter = tell.counter("label", "The teacher answers")
        for done in range(0, 101, 10):
            counter(done, 100)
        tell.tell("cost", "9 runs")
        tell.tell("train", "hard student", 3, 9)
    text = stream.getvalue()
    assert "100/100" in text
    assert "9 runs" in text
    last = text.splitlines()[-3:-1]
    assert "9 runs" not in "".join(last)  # said once, above the bars
    assert "The teacher answers" in last[0]
    assert "hard student" in last[1]
    assert "3/9" in last[1]


def test_a_bar_is_closed_when_the_work_fails():
    console, stream = page(terminal=True)
    tell = show.Reporter(console)

    def work():
        with tell:
            tell.tell("train", "hard student", 1, 9)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work()
    assert stream.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is shown again


def test_names_of_classes_are_not_read_as_markup(capsys):
    show.show_values({"worst class ([red])": "0.00 %", "rows": 1234})
    assert capsys.readouterr().out.split() == [
        "worst",
        "class",
        "([red])",
        "0.00",
        "%",
        "rows",
        "1,234",
    ]


def test_what_to_do_next_names_only_files_that_are_there(tmp_path):
    assert not any("student.onnx" in line for line in show.next_steps(tmp_path))
    (tmp_path / "student.onnx").touch()
    lines = show.next_steps(tmp_path, rows="your.csv")
    assert f"  From the shell     attar predict {tmp_path.as_posix()} your.csv" in lines


class Finished:
    """What the demo gives back, as far as it is shown."""

    verdict = "NO GAIN"
    comparison = SimpleNamespace(reason="It made no difference.")
    columns = None
    arms: ClassVar = {
        "hard": None,
        "smoothed": None,
        "pseudo": SimpleNamespace(setting=SimpleNamespace(further=False)),
        "distilled": None,
    }
    facts: ClassVar = {
        "rows": {"labelled": 150, "unlabelled": 1828, "drawn": 1000},
        "sizes": {"compression": 50.3},
    }

    def rows(self):
        return ["", "accuracy %"], [["teacher: [five]", "97.00"], ["student: distilled", "96.00"]]

    def report(self, path):
        path.touch()

    def summary(self):
        return "# NO GAIN\n\nIt made no difference.\n\n- Accuracy kept: 99.0 %.\n"


def test_the_demo_shows_table_verdict_and_what_to_do_next(tmp_path, monkeypatch, capsys):
    calls = []

    def run(out, *, all_labels, seeds, progress, track):
        calls.append((out, all_labels, seeds))
        progress.tell("cost", "20 runs, about 1 min")
        out.mkdir(parents=True)
        (out / "student.onnx").touch()
        return Finished()

    monkeypatch.setitem(sys.modules, "attar.demo", SimpleNamespace(run=run))
    monkeypatch.chdir(tmp_path)
    assert main(["demo"]) == 0
    assert main(["demo", "--all-labels", "--seeds", "2"]) == 0
    assert calls == [(Path("runs/demo"), False, 5), (Path("runs/demo-2"), True, 2)]
    out, err = capsys.readouterr()
    assert main(["demo", "--out", "runs/demo"]) == 2  # before anything is trained
    assert "runs/demo exists already and is not overwritten" in capsys.readouterr().err
    assert len(calls) == 2
    assert err.splitlines() == ["20 runs, about 1 min", "Drawing the page"] * 2
    for part in (
        "teacher: [five]",
        "(lower is better).\n\nNO GAIN\nIt made no difference.\n\n- Accuracy",
        "kept: 99.0 %.\n\nWhat to do next\n",
        "(50 times smaller than the teacher)",
        "hard labels      the 150 labels alone",
        "best guess as the label of each of the 828 unlabelled rows",
        "runs/demo/summary.md",
        "A page to look at  runs/demo/report.html",
        'student = runtime.load("runs/demo/student.onnx")',
        "attar predict runs/demo runs/demo/example.npy",
        "attar distill --train your.csv --label COLUMN --out runs/mine",
        "runs/demo-2/student.onnx",
    ):
        assert part in out, part


def test_the_demo_takes_the_next_free_folder(tmp_path):
    first = tmp_path / "demo"
    assert demo._next_free(first) == first
    first.mkdir()
    assert demo._next_free(first) == tmp_path / "demo-2"
    Path(tmp_path / "demo-2").mkdir()
    assert demo._next_free(first) == tmp_path / "demo-3"
