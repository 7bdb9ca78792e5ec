"""Writing a file whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from attar.checks import AttarError


def write_whole(owner: str, path: Path, data: bytes) -> None:
    """Write ``data`` so that ``path`` holds either all of it or what it held before.

    The bytes go to a file beside ``path``, reach the disk, and are renamed into place. Missing
    folders are made.

    Raises:
        AttarError: If ``path`` is a folder.
        OSError: If the disk does not take it; then nothing is left behind.
    """
    if path.is_dir():
        raise AttarError(f"{owner}: path must name a file. Got the folder {path}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process number keeps two writers of one path apart. Not `tempfile`: its files are
    # readable by their owner alone, and the model would stay so.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
