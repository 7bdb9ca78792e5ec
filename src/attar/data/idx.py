"""The idx files of MNIST and its relatives."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from attar.checks import AttarError
from attar.data.array_checks import numbered
from attar.data.arrays import ArrayData
from attar.data.labels import encode_labels

#: The first four bytes: 0, 0, 8 for unsigned bytes, the number of dimensions.
_MAGIC = {1: b"\x00\x00\x08\x01", 3: b"\x00\x00\x08\x03"}


def idx(
    images_path: str | Path,
    labels_path: str | Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    first_row: int = 0,
) -> ArrayData:
    """Images, and labels where there are, from idx files (also ``.gz``).

    LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998.

    Args:
        images_path: Unsigned bytes of three dimensions, ``train-images-idx3-ubyte`` say.
        labels_path: Unsigned bytes of one dimension; None where unlabelled.
        classes: The names of the classes; ``"0", "1", ...`` if not given.
        first_row: The number of the first row. Sets that meet in one run need different numbers.

    Returns:
        Data of shape ``[N, 1, H, W]``, ``uint8``.

    Raises:
        AttarError: If a file is of another kind, is shorter or longer than its header says, or
            the two differ in the number of rows.

    Example:
        >>> import tempfile
        >>> header = bytes([0, 0, 8, 3]) + bytes([0, 0, 0, 1] + [0, 0, 0, 2] * 2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "images-idx3-ubyte")
        ...     _ = path.write_bytes(header + bytes([1, 2, 3, 4]))
        ...     idx(path).inputs.tolist()
        [[[[1, 2], [3, 4]]]]
    """
    inputs = torch.from_numpy(_read(Path(images_path), 3))[:, None]
    rows = numbered("idx", first_row, len(inputs))
    if labels_path is None:
        return ArrayData(inputs, rows=rows, classes=classes)
    values = _read(Path(labels_path), 1)
    if len(values) != len(inputs):
        raise AttarError(
            f"idx: {images_path} has {len(inputs)} images and {labels_path} {len(values)} labels. "
            f"They must belong together."
        )
    labels, names = encode_labels("idx", values, classes=classes)
    return ArrayData(inputs, labels, rows=rows, classes=names)


def _read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of a file, once its header and length are found to agree."""
    opener = gzip.open if path.suffix == ".gz" else Path.open
    try:
        with opener(path, "rb") as file:
            header = file.read(4 + 4 * dimensions)
            shape = _shape(path, header, dimensions)
            contents = _contents(file, math.prod(shape))
    except (OSError, EOFError, zlib.error) as error:
        raise AttarError(f"idx: {path} cannot be read ({error}). Fetch it again.") from error
    if len(contents) != math.prod(shape):
        came = "more" if len(contents) > math.prod(shape) else f"only {len(contents)}"
        raise AttarError(
            f"idx: {path} must hold {math.prod(shape)} bytes after its header, for the shape "
            f"{shape}. It holds {came}. Fetch it again."
        )
    return np.frombuffer(contents, dtype=np.uint8).reshape(shape)


def _contents(file: BinaryIO | gzip.GzipFile, count: int) -> bytearray:
    """What follows the header, up to one byte more than there should be."""
    # Piece by piece: neither a header that lies nor a small .gz that holds a lot fills the memory.
    contents = bytearray()
    while piece := file.read(min(2**20, count + 1 - len(contents))):
        contents += piece
    return contents


def _shape(path: Path, header: bytes, dimensions: int) -> tuple[int, ...]:
    if header[:4] != _MAGIC[dimensions] or len(header) != 4 + 4 * dimensions:
        raise AttarError(
            f"idx: {path} must begin with the bytes {_MAGIC[dimensions].hex(' ')} (unsigned bytes "
            f"of {dimensions} dimension{'s' if dimensions > 1 else ''}) and a whole header. It "
            f"begins with {header[:4].hex(' ') or 'nothing'}."
        )
    sizes = np.frombuffer(header[4:], dtype=">u4").tolist()
    if 0 in sizes:
        raise AttarError(f"idx: {path} holds nothing, its shape is {tuple(sizes)}.")
    return tuple(sizes)
