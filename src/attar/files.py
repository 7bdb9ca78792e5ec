"""What goes into a file, and writing it whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from attar.checks import AttarError


def write_whole(owner: str, path: Path, data: bytes | Callable[[BinaryIO], object]) -> None:
    """Write ``data`` so that ``path`` holds either all of it or what it held before.

    The bytes go to a file beside ``path``, reach the disk, and are renamed into place. Missing
    folders are made. At a power cut, too, the name is either absent, old or whole.

    Args:
        owner: Who writes, for the message.
        path: A file, there or not.
        data: The bytes, or a function that writes them to the open file.

    Raises:
        AttarError: If ``path`` is a folder.
        OSError: If the disk does not take it; then nothing is left behind.
    """
    if path.is_dir():
        raise AttarError(f"{owner}: path must name a file. Got the folder {path}.")
    try:
        _write_whole(path, data)
    except OSError as error:
        if error.errno is None or error.filename is None:
            raise
        # Of the path that was asked for, not of the one beside it.
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_whole(path: Path, data: bytes | Callable[[BinaryIO], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name keeps two writers of one path apart, also on two machines. Not `tempfile`: its
    # files are readable by their owner alone, and the model would stay so.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            if callable(data):
                data(file)
            else:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # a rename lasts when its folder has reached the disk
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_text(owner: str, path: Path, text: str) -> None:
    """Write a text file, UTF-8, whole or not at all: see :func:`write_whole`."""
    write_whole(owner, path, text.encode())


def as_json(owner: str, name: str, value: Any) -> str:
    """``value`` as JSON; numbers of numpy and torch are taken too.

    Raises:
        AttarError: If it holds something that JSON does not know, NaN among it.
    """
    try:
        return json.dumps(value, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise AttarError(f"{owner}: {name} must fit into JSON: {error}.") from error


def _plain(value: Any) -> Any:
    """A Python number from a number of numpy or torch, for JSON."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    raise TypeError(f"got {type(value).__name__} {str(value)[:60]}")
