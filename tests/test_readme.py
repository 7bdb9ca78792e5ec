"""What the documents show works: Python blocks run, command lines parse, links lead somewhere.

The blocks of a file run in order in one namespace and one empty folder, so a later one may use
what an earlier one made. Of a shell block each ``attar`` line is parsed, not run.
"""

from __future__ import annotations

import os
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

from attar.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
SHELLS = ("bash", "console", "sh", "shell")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


class Block(NamedTuple):
    language: str
    line: int  # where its text starts
    text: str


def blocks(markdown: str) -> list[Block]:
    """The fenced blocks, in order; a fence that names no language has ``""``."""
    found: list[Block] = []
    inside: tuple[str, str, int, list[str]] | None = None
    for number, line in enumerate(markdown.splitlines(), start=1):
        fence = re.match(r"\s*(`{3,}|~{3,})\s*(\w*)", line)
        if inside is None:
            if fence:
                inside = fence[1], fence[2].lower(), number + 1, []
        elif fence and fence[1].startswith(inside[0]) and not fence[2]:
            found.append(Block(inside[1], inside[2], textwrap.dedent("\n".join(inside[3]))))
            inside = None
        else:
            inside[3].append(line)
    assert inside is None, f"the block that starts at line {inside[2]} has no end"
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell block; without prompts, comments and output."""
    lines = text.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):  # then the others are what was printed
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    for line in lines:
        reader = shlex.shlex(line, posix=True, punctuation_chars=True)
        reader.commenters = "#"
        words: list[str] = []
        for word in [*reader, ";"]:
            if set(word) <= set("();<>|&"):
                if words:
                    yield words
                words = []
            elif words or not re.fullmatch(r"\w+=.*", word):  # `THREADS=1 attar ...`
                words.append(word)


def targets(makefile: str) -> set[str]:
    return set(re.findall(r"^([\w-]+):(?!=)", makefile, flags=re.MULTILINE))


def what_is_wrong(words: list[str]) -> str | None:
    """Why a command line would be refused before it did anything; None if it would not."""
    program, *rest = words
    if Path(program).name == "attar":
        return _parse([word for word in rest if word != "--debug"])
    if program == "make":
        known = targets((ROOT / "Makefile").read_text("utf-8"))
        wanted = [word for word in rest if not word.startswith("-") and "=" not in word]
        unknown = sorted(set(wanted) - known)
        return f"no target {', '.join(unknown)}" if unknown else None
    if Path(program).name in ("python", "python3") and rest and rest[0].endswith(".py"):
        return None if (ROOT / rest[0]).is_file() else f"no file {rest[0]}"
    return None


def _parse(words: list[str]) -> str | None:
    group = typer.main.get_command(app)
    command, arguments = group, words
    if words and not words[0].startswith("-"):
        name, *arguments = words
        if name not in group.commands:
            return f"no command {name}"
        command = group.commands[name]
    try:
        command.make_context(command.name, arguments)
    except typer.Exit:  # --help and --version
        return None
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        return message()
    return None


@every_page
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for block in blocks(page.read_text("utf-8")):
        if block.language in ("python", "py"):
            # Lines before it, so that a traceback names the line of the page.
            text = "\n" * (block.line - 1) + block.text
            exec(compile(text, str(page), "exec"), namespace)


@every_page
def test_command_lines_would_be_accepted(page: Path) -> None:
    wrong = [
        f"line {block.line} and after: {shlex.join(words)}: {problem}"
        for block in blocks(page.read_text("utf-8"))
        if block.language in SHELLS
        for words in commands(block.text)
        if (problem := what_is_wrong(words)) is not None
    ]
    assert not wrong, "\n".join(wrong)


@every_page
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"^\s*```.*?^\s*```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    paths = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [path for path in paths if path and not re.match(r"[a-z]+:", path)]
    missing = [path for path in local if not Path(os.path.normpath(page.parent / path)).exists()]
    assert not missing


def test_the_readme_shows_python_and_commands() -> None:
    languages = {block.language for block in blocks((ROOT / "README.md").read_text("utf-8"))}
    assert "python" in languages
    assert languages & set(SHELLS)


# The checks above find nothing wrong; these show that they could.

SAMPLE = """
1. A list:

   ```python
   x = 1
   ```

```console
$ THREADS=1 attar distill --train a.csv \\
    --out b  # a comment
trained
$ make test lint && attar predict b c.csv > d.csv
```
"""


def test_blocks_are_found_with_their_lines() -> None:
    first, second = blocks(SAMPLE)
    assert first == ("python", 5, "x = 1")
    assert (second.language, second.line) == ("console", 9)
    with pytest.raises(AssertionError, match="line 3 has no end"):
        blocks("\n```python\nx = 1\n")


def test_commands_are_read_as_a_shell_would() -> None:
    assert list(commands(blocks(SAMPLE)[1].text)) == [
        ["attar", "distill", "--train", "a.csv", "--out", "b"],
        ["make", "test", "lint"],
        ["attar", "predict", "b", "c.csv"],
        ["d.csv"],
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("attar destill --train a.csv", "no command destill"),
        ("attar distill --train a.csv --out b --temprature 4", "--temprature"),
        ("attar distill --train a.csv", "--out"),
        ("attar distill --train a.csv --out b --steps many", "--steps"),
        ("attar predict a b c", "extra argument"),
        ("attar --verbose", "--verbose"),
        ("make coffee", "no target coffee"),
        ("python examples/none.py", "no file examples/none.py"),
    ],
)
def test_wrong_command_lines_are_noticed(line: str, problem: str) -> None:
    assert problem in (what_is_wrong(line.split()) or "nothing")


@pytest.mark.parametrize(
    "line",
    [
        "attar --version",
        "attar distill --help",
        "attar demo --all-labels --debug",
        ".venv/bin/attar demo --seeds 2",
        "make -j2 PYTHON=python3.12 test",
        "pip install 'attar[train]'",
    ],
)
def test_right_command_lines_pass(line: str) -> None:
    assert what_is_wrong(shlex.split(line)) is None
