"""The benchmarks' results are whole, and what the documents quote of them is what they say.

A table in a page that a benchmark wrote stands between two comments, and the text between them
is the committed file, to the letter::

    <!-- table: benchmarks/demo/few-labels.md -->
    | ... |
    <!-- end -->
"""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = sorted((ROOT / "benchmarks").glob("*/results.json"))
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks").rglob("*.md")),
]

every_result = pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def read(path: Path) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{path}: {constant} is no number")

    return json.loads(path.read_text("utf-8"), parse_constant=refuse)


def quotes(markdown: str) -> list[tuple[str, str]]:
    """(path, text) of each table that a page quotes."""
    marks = re.findall(r"<!-- (table: \S+|end) -->", markdown)
    in_turn = [mark == "end" for mark in marks] == [False, True] * (len(marks) // 2)
    assert in_turn, f"each table needs its end before the next one: {marks}"
    return re.findall(r"<!-- table: (\S+) -->\n(.*?)<!-- end -->", markdown, flags=re.DOTALL)


def test_there_are_results() -> None:
    assert {path.parent.name for path in RESULTS} >= {"demo_setting", "verdict"}


@every_result
def test_results_say_how_they_were_made(path: Path) -> None:
    results = read(path)
    assert {"python", "torch", "numpy"} <= results["versions"].keys()
    assert {"cores", "processor", "device"} <= results["machine"].keys()
    assert results["machine"]["cores"] >= 1
    assert results["seeds"]
    for command in results["command"].split(" && "):
        program, script, *_ = shlex.split(command)
        assert program == "python"
        assert script.startswith(f"benchmarks/{path.parent.name}/")
        assert (ROOT / script).is_file()


@every_result
def test_results_hold_every_run_and_flat_figures(path: Path) -> None:
    results = read(path)
    assert results["rows"]
    assert all(isinstance(row, dict) and row for row in results["rows"])
    assert results["figures"]
    for name, value in results["figures"].items():
        assert isinstance(value, int | float), name
        assert not isinstance(value, bool), name
        assert math.isfinite(value), name


@every_page
def test_quoted_tables_are_what_the_benchmarks_wrote(page: Path) -> None:
    for path, text in quotes(page.read_text("utf-8")):
        file = ROOT / path
        assert file.is_file(), f"{path} is quoted and not there"
        assert text.strip() == file.read_text("utf-8").strip(), f"not what {path} says"


def test_a_quote_is_found_and_an_open_one_is_noticed() -> None:
    page = "a\n<!-- table: x/y.md -->\n\n| 1 |\n<!-- end -->\nb\n<!-- table: z.md -->\n<!-- end -->"
    assert quotes(page) == [("x/y.md", "\n| 1 |\n"), ("z.md", "")]
    start, end = "<!-- table: x -->\n", "<!-- end -->\n"
    for broken in (start, end, end + start, start + start + end, start + start + end + end):
        with pytest.raises(AssertionError, match="needs its end"):
            quotes(broken)
