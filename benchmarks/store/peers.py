"""Two layouts of soft targets that are in use, re-made for the comparison.

Only the lines that find, read and parse a row are made again, so that nothing of the packages
around them is measured. Both hold the same numbers as the store that they are compared with.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Names of fields of a record -> what they are in the hands of a loss.
GIVEN = {"logits": torch.float32, "values": torch.float32, "low": torch.int64}


class OneFileEach:
    """A ``torch.save`` file a sample: torchdistill's ``CacheableDataset`` (1.1.5).

    The folder of a file is named by the last four digits of its number, as its
    ``default_idx2subpath`` does it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, row: int) -> Path:
        digits = f"{row:04d}"
        return self.folder / digits[-4:] / f"{digits}.pt"

    def write(self, records: NDArray[Any], rows: Iterable[int]) -> None:
        """A file for each of these rows."""
        names = [name for name in records.dtype.names or () if name in GIVEN]
        for row in rows:
            path = self._path(row)
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save({name: torch.from_numpy(records[name][row].copy()) for name in names}, path)

    def __call__(self, ids: Tensor) -> dict[str, Tensor]:
        """The fields of these rows, ``[B, ...]``."""
        found: list[dict[str, Tensor]] = []
        for row in ids.tolist():
            path = self._path(row)
            if path.exists():
                found.append(torch.load(path))
        return {
            name: torch.stack([one[name] for one in found]).to(GIVEN[name]) for name in found[0]
        }


class SeekAndRead:
    """Records of one size behind each other, a seek and a read a row: TinyViT's layout.

    A record is the seed of the augmentation (4 bytes) and then the arrays of the row; a file of
    keys says which record a sample has.
    """

    def __init__(self, folder: Path, record: np.dtype[Any]) -> None:
        self.folder = folder
        self.fields = [
            (name, part.base, part.itemsize)
            for name, (part, *_) in (record.fields or {}).items()
            if name in GIVEN
        ]
        self.size = 4 + sum(size for _, _, size in self.fields)
        self.keys: dict[str, int] = {}
        self.file: Any = None

    def write(self, records: NDArray[Any]) -> None:
        """All rows, in order, and their keys."""
        self.folder.mkdir(parents=True, exist_ok=True)
        rows = np.zeros(len(records), dtype=[("seed", "<i4"), ("bytes", f"V{self.size - 4}")])
        parts = [np.ascontiguousarray(records[name]).view(np.uint8) for name, _, _ in self.fields]
        rows["bytes"] = np.concatenate(parts, axis=1).view(f"V{self.size - 4}")[:, 0]
        rows.tofile(self.folder / "rank0-values.bin")
        lines = "".join(f"{row}\n" for row in range(len(records)))
        (self.folder / "rank0-keys.txt").write_text(lines)

    def _read(self, key: str) -> bytes:
        if self.file is None:
            with (self.folder / "rank0-keys.txt").open() as lines:
                self.keys = {line.strip(): number for number, line in enumerate(lines)}
            self.file = (self.folder / "rank0-values.bin").open("rb")
        self.file.seek(self.size * self.keys[key])
        data: bytes = self.file.read(self.size)
        return data

    def __call__(self, ids: Tensor) -> dict[str, Tensor]:
        """The fields of these rows, ``[B, ...]``."""
        found: dict[str, list[NDArray[Any]]] = {name: [] for name, _, _ in self.fields}
        for row in ids.tolist():
            data = self._read(str(row))[4:]
            for name, dtype, size in self.fields:
                found[name].append(np.frombuffer(data[:size], dtype=dtype).copy())
                data = data[size:]
        return {
            name: torch.from_numpy(np.stack(rows)).to(GIVEN[name]) for name, rows in found.items()
        }
