"""Files of rows and models as `attar predict` reads them: no torch, no pandas."""

from __future__ import annotations

import csv
import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError, need

#: Rows as they come from a file: an array ``[N, ...]``, or named columns.
Rows = NDArray[Any] | dict[str, list[Any]]


def existing(word: str, what: str) -> Path:
    """The path of a file or folder that is there.

    Raises:
        AttarError: If it is not.
    """
    path = Path(word)
    if not path.exists():
        raise AttarError(f"{what} {word} does not exist.")
    return path


def check_free(out: Path, *, resume: bool | None = None) -> None:
    """Refuse a run folder that holds something, before time is spent on reading and training.

    Args:
        out: The folder.
        resume: Whether the user wants to go on in it; None for a command that cannot.

    Raises:
        AttarError: If it is a file, or a folder that is neither empty nor to be gone on with.
    """
    if out.is_file():
        raise AttarError(f"--out {out} is a file; name a folder.")
    if out.exists() and any(out.iterdir()) and not resume:
        go_on = "." if resume is None else ", or go on with it: --resume."
        raise AttarError(
            f"the run folder {out} exists already and is not overwritten. Name another one{go_on}"
        )


def check_bundle(path: Path | None) -> None:
    """Refuse a place where no bundle can be written, before time is spent on training.

    Raises:
        AttarError: If it is a folder that is there already, or a file that is no ``.zip``.
    """
    if path is None:
        return
    if path.is_dir():
        raise AttarError(f"--bundle {path} exists already. Name a .zip, or a new folder.")
    if path.exists() and path.suffix.lower() != ".zip":
        raise AttarError(f"--bundle {path} is a file. Name a .zip, or a new folder.")


def onnx_of(word: str) -> Path:
    """What :func:`attar.export.runtime.load` reads: an ONNX file, that of a run, or a bundle.

    Raises:
        AttarError: If there is none.
    """
    path = existing(word, "the model")
    if path.suffix.lower() == ".zip" or (path / "bundle.json").exists():
        return path
    if path.is_dir():
        inside = path / "student.onnx"
        if not inside.exists():
            raise AttarError(
                f"the folder {word} has no student.onnx. Name an .onnx file, a bundle or the "
                "folder of a finished run (attar distill --resume finishes one)."
            )
        return inside
    if path.suffix.lower() != ".onnx":
        raise AttarError(f"the model must be an .onnx file, a bundle or a run folder. Got {word}.")
    return path


def read_rows(word: str) -> Rows:
    """Rows to predict from a ``.csv`` (also ``.csv.gz``), ``.parquet``, ``.npy`` or ``.npz`` file.

    Raises:
        AttarError: If the file is missing, empty, torn, or of another form.
    """
    path = existing(word, "the data")
    name = path.name.lower()
    if path.is_file():
        if name.endswith((".csv", ".csv.gz")):
            return _csv(path)
        if name.endswith(".parquet"):
            return _parquet(path)
        if name.endswith((".npy", ".npz")):
            return load_array(path, "X")
    raise AttarError(
        f"the data must be a .csv, .csv.gz, .parquet, .npy or .npz file. Got {word}. A folder of "
        "images is read by attar.data.images, from Python."
    )


def count_rows(rows: Rows) -> int:
    """How many rows there are."""
    return len(next(iter(rows.values()), [])) if isinstance(rows, dict) else len(rows)


def some_rows(rows: Rows, start: int, stop: int) -> Rows:
    """The rows from ``start`` up to ``stop``."""
    if isinstance(rows, dict):
        return {name: values[start:stop] for name, values in rows.items()}
    return rows[start:stop]


def as_numbers(path: str, rows: Rows) -> NDArray[Any]:
    """Named columns as an array ``[N, D]`` in their order, for a model that knows no names.

    Raises:
        AttarError: If a value is no number; the message names its column and row.
    """
    if not isinstance(rows, dict):
        return rows
    array = np.empty((count_rows(rows), len(rows)), dtype=np.float32)
    for place, (name, values) in enumerate(rows.items()):
        for row, value in enumerate(values):
            try:
                array[row, place] = float(value)
            except (TypeError, ValueError):
                raise AttarError(
                    f"{path}: the model takes numbers alone, and column {name!r} holds {value!r} "
                    f"in row {row} (counted from 0)."
                ) from None
    return array


def _csv(path: Path) -> dict[str, list[Any]]:
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else Path.open
    try:
        # utf-8-sig: some programs begin a file with a mark.
        with opener(path, "rt", newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            head = next(reader, [])
            if not head or len(set(head)) < len(head):
                raise AttarError(
                    f"{path}: the first line must name the columns, all differently. Got {head}."
                )
            columns: list[list[Any]] = [[] for _ in head]
            for row in reader:
                if row and len(row) != len(head):
                    raise AttarError(
                        f"{path}: line {reader.line_num} has {len(row)} values, the first line "
                        f"names {len(head)} columns."
                    )
                for column, value in zip(columns, row, strict=False):  # an empty line is none
                    column.append(value)
    except (csv.Error, UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise AttarError(f"{path} cannot be read as CSV in UTF-8: {error}.") from error
    return dict(zip(head, columns, strict=True))


def _parquet(path: Path) -> dict[str, list[Any]]:
    need("pyarrow", extra="train", purpose="reading Parquet")
    parquet = need("pyarrow.parquet", extra="train", purpose="reading Parquet")
    try:
        rows: dict[str, list[Any]] = parquet.read_table(path).to_pydict()
    except (OSError, ValueError) as error:  # pyarrow's own errors derive from one of these
        raise AttarError(f"{path} cannot be read as Parquet: {error}.") from error
    return rows


def load_array(path: Path, name: str) -> NDArray[Any]:
    """The array of an ``.npy`` file; of an ``.npz`` file the one of this name, or the only one.

    Raises:
        AttarError: If the file is torn, holds Python objects, or has no such array.
    """
    try:
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return stored
        with stored:
            only = stored.files[0] if len(stored.files) == 1 else name
            if only not in stored.files:
                raise AttarError(
                    f"{path}: the rows must be in an array named {name}. It has "
                    f"{', '.join(stored.files) or 'none'}."
                )
            array: NDArray[Any] = stored[only]
            return array
    except AttarError:
        raise
    except Exception as error:  # zipfile's, zlib's and numpy's errors share no base class
        raise AttarError(f"{path} cannot be read as arrays of numbers: {error}") from error
