"""Imports go one way; heavy libraries load when they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "attar"

# Each part may import itself and the parts of the levels before its own.
LEVELS = [
    {"checks"},
    {"targets"},
    {"types"},
    {"budget", "columns", "confidence", "files", "needs_torch"},
    {"report"},
    {"losses", "data", "store"},
    {"evaluation"},
    {"teachers", "students", "engine"},
    {"export"},
    {"experiment"},
    {"demo", "sklearn"},
    {"cli"},
]
LEVEL_OF = {part: level for level, parts in enumerate(LEVELS) for part in parts}

HEAVY = {"torch", "sklearn", "onnxruntime", "onnx", "datasets", "accelerate", "PIL", "pyarrow"}


def imports(file: Path) -> set[str]:
    """The parts of attar that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module]
            if node.module == "attar":
                names = [f"attar.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file}: relative"
            continue
        for name in names:
            if name.startswith("attar."):
                found.add(name.split(".")[1])
    return found & set(LEVEL_OF)


def part_of(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


FILES = [
    file
    for file in sorted(SOURCE.rglob("*.py"))
    if file.name != "__init__.py" or file.parent != SOURCE
]


def test_every_part_has_its_level() -> None:
    assert {part_of(file) for file in FILES} - {"__main__"} == set(LEVEL_OF)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SOURCE)))
def test_imports_go_one_way(file: Path) -> None:
    part = part_of(file)
    for other in imports(file) - {part}:
        assert LEVEL_OF[other] < LEVEL_OF[part], f"{part} must not import {other}"


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import attar", set()),
        ("import attar; attar.AttarError, attar.Batch", set()),
        ("import attar.cli", set()),
        ("import attar.export.runtime", set()),
        ("import attar.losses", {"torch"}),
    ],
)
def test_heavy_libraries_load_when_they_are_used(statement: str, allowed: set[str]) -> None:
    script = f"{statement}; import sys; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= allowed
