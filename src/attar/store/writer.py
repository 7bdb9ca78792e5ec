"""From what a teacher says, block by block, to a finished store; killed at any point, it goes on.

What has been said is kept in parts, ``parts/<start>-<stop>-<crc32>.npy``: runs of whole batches.
When every position is covered, the parts are streamed into the final arrays, the manifest is
written, and the parts are removed. A part whose size or checksum is wrong is asked for again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attar import __version__
from attar.checks import AttarError
from attar.store import layout

#: A part is written when it has this many bytes, or is this many seconds old: a kill costs a
#: slow teacher's answers of the last seconds only, and a fast one makes few files.
PART_BYTES = 32 * 2**20
PART_SECONDS = 2.0

_PART_NAME = re.compile(r"(\d{12})-(\d{12})-([0-9a-f]{8})\.npy")


class Part(NamedTuple):
    """Rows ``[start, stop)`` on the disk, whole and with the right checksum."""

    start: int
    stop: int
    columns: int
    path: Path


class Writer:
    """The unfinished store in one folder. One process writes to a folder at a time."""

    def __init__(self, folder: Path, job: layout.Job) -> None:
        self.folder = folder
        self.job = job
        self.parts_folder = folder / layout.PARTS
        self.dtype = layout.DTYPES[job.dtype]

    def begin(self) -> None:
        """Claim the folder for this job, or find that it is already claimed by the same one.

        Raises:
            AttarError: If the folder holds something else, or the parts of another job.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise AttarError(f"label: {self.folder} is a file; choose another folder.")
        if (self.folder / layout.JOB).exists():
            refuse_another(self.folder, layout.read_job(self.folder), self.job)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            own = {f".{layout.JOB}{layout.PARTIAL}"}  # a kill in the very first write
            strange = sorted(p.name for p in self.folder.iterdir() if p.name not in own)
            if strange:
                raise AttarError(
                    f"label: {self.folder} is not empty and is no store: it holds "
                    f"{', '.join(strange[:3])}{' ...' if len(strange) > 3 else ''}. Choose another "
                    f"folder; nothing was changed there."
                )
            layout.write_json(self.folder / layout.JOB, layout.job_to_json(self.job))
        self.parts_folder.mkdir(exist_ok=True)

    def parts(self, *, columns: int | None) -> list[Part]:
        """The sound parts, in order. What is torn, overlaps or does not belong is deleted."""
        sound: list[Part] = []
        for path in sorted(self.parts_folder.iterdir()):
            part = self._sound(path, after=sound[-1].stop if sound else 0, columns=columns)
            if part is None:
                path.unlink()
            else:
                sound.append(part)
                columns = part.columns
        return sound

    def _sound(self, path: Path, *, after: int, columns: int | None) -> Part | None:
        match = _PART_NAME.fullmatch(path.name)
        if match is None:
            return None
        start, stop = int(match[1]), int(match[2])
        if not after <= start < stop <= self.job.count:
            return None
        try:
            block = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError):
            return None
        good = (
            block.dtype == self.dtype
            and block.ndim == 2
            and len(block) == stop - start
            and (columns is None or block.shape[1] == columns)
            and _checksum(block) == match[3]
        )
        return Part(start, stop, block.shape[1], path) if good else None

    def gap(self, start: int) -> GapWriter:
        """A context in which the rows from ``start`` on are added, block after block."""
        return GapWriter(self, start)

    def write_part(self, start: int, block: NDArray[Any]) -> None:
        """Put the rows from ``start`` on on the disk."""
        name = f"{start:012d}-{start + len(block):012d}-{_checksum(block)}.npy"
        layout.write_atomically(
            self.parts_folder / name,
            lambda file: np.lib.format.write_array(file, block, version=(1, 0)),
        )

    def finish(
        self,
        parts: Sequence[Part],
        *,
        ids: NDArray[Any],
        classes: Sequence[str],
        outputs: str | None,
    ) -> None:
        """Stream the parts, which cover everything, into the final files; then remove them."""
        if sum(part.stop - part.start for part in parts) != self.job.count:
            raise AttarError(
                f"label: a part in {self.parts_folder} changed on the disk after it was written. "
                f"Call label() again: it asks for the missing rows."
            )
        shape = (self.job.count, len(classes))

        def stream(file: BinaryIO) -> None:
            header = {
                "descr": np.lib.format.dtype_to_descr(self.dtype),
                "fortran_order": False,
                "shape": shape,
            }
            np.lib.format.write_array_header_1_0(file, header)
            for part in parts:
                file.write(np.load(part.path, allow_pickle=False).data)

        logits_path, ids_path = self.folder / layout.LOGITS, self.folder / layout.IDS
        layout.write_atomically(logits_path, stream)
        whole = np.ascontiguousarray(ids, dtype=layout.ID_DTYPE)
        layout.write_atomically(
            ids_path, lambda file: np.lib.format.write_array(file, whole, version=(1, 0))
        )
        job = self.job
        teacher = dataclasses.replace(job.teacher, outputs=outputs)
        manifest = layout.Manifest(
            job=dataclasses.replace(job, teacher=teacher),
            classes=tuple(classes),
            created_with=f"attar {__version__}",
            logits_sha256=layout.sha256(logits_path),
            ids_sha256=layout.sha256(ids_path),
        )
        layout.write_json(self.folder / layout.MANIFEST, layout.manifest_to_json(manifest))
        clear_leftovers(self.folder)


def _checksum(block: NDArray[Any]) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(block).data):08x}"


class GapWriter:
    """Collects blocks of consecutive rows and writes them as parts; what is left, on leaving."""

    def __init__(self, writer: Writer, start: int) -> None:
        self._writer = writer
        self._start = start
        self._blocks: list[NDArray[Any]] = []
        self._bytes = 0
        self._since = time.monotonic()

    def add(self, block: NDArray[Any]) -> None:
        """The next rows, ``[B, C]`` in the dtype of the store."""
        self._blocks.append(block)
        self._bytes += block.nbytes
        if self._bytes >= PART_BYTES or time.monotonic() - self._since >= PART_SECONDS:
            self._flush()

    def _flush(self) -> None:
        if self._blocks:
            rows = np.concatenate(self._blocks)
            self._writer.write_part(self._start, rows)
            self._start += len(rows)
            self._blocks, self._bytes = [], 0
        self._since = time.monotonic()

    def __enter__(self) -> GapWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._flush()  # also when the teacher raised: what it said before is kept


def refuse_another(folder: Path, there: layout.Job, here: layout.Job) -> None:
    """Raise if the folder belongs to another teacher, other data or another dtype."""
    differences = there.differences(here)
    if differences:
        raise AttarError(
            f"label: {folder} holds the answers of another job. What differs: "
            f"{'; '.join(differences)}. Choose another folder, or delete this one."
        )


def clear_leftovers(folder: Path) -> None:
    """Remove what only an unfinished store needs."""
    (folder / layout.JOB).unlink(missing_ok=True)
    shutil.rmtree(folder / layout.PARTS, ignore_errors=True)
    for name in (layout.JOB, layout.LOGITS, layout.IDS, layout.MANIFEST):
        with contextlib.suppress(OSError):
            (folder / f".{name}{layout.PARTIAL}").unlink()
