"""The files of a folder or of a zip, as somebody sent them: read with care, written whole.

A zip from outside may name paths that leave the folder, name one file twice, hold links, or
unpack to a thousand times its size. Nothing is unpacked to disk here: a file is read into
memory, up to the size that is asked for, and what does not fit the rules is refused.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from attar.checks import AttarError
from attar.files import write_whole

#: All files of one bundle together, unpacked. An ONNX file can have 2 GiB.
MOST_BYTES = 8 * 2**30
#: How many times larger than the zip itself all that is read from it may be. Weights shrink by a
#: few percent, JSON by ten times; the format's limit is about a thousand.
MOST_RATIO = 100
#: What may be read from a zip however small it is: a file of zeros alone breaks no rule.
ALWAYS = 2**20
_MOST_FILES = 1000
_CHUNK = 2**20

#: Names of letters, digits, dots, dashes and underscores, not hidden, with a slash between; the
#: same as in ``bundle.schema.json``. No drive, no backslash, no ``..`` gets through.
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


class Files(Protocol):
    """Files that are read by their names."""

    def read(self, name: str, *, most: int) -> bytes | None:
        """The bytes of a file; None where there is none.

        Where it has more than ``most`` bytes, one more than that is given.
        """
        ...

    def unexpected(self, expected: set[str]) -> str | None:
        """A file that should not be there."""
        ...


def is_plain(path: str) -> bool:
    """Whether a path stays inside its folder on every system."""
    return len(path) <= 200 and _PATH.fullmatch(path) is not None


class Folder:
    """The files of a folder. What else lies there (``.git``, say) is left aside."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str, *, most: int) -> bytes | None:
        """As :meth:`Files.read`; a link that leaves the folder is refused."""
        path = self._path / name
        if not path.is_file():  # a pipe would be waited for
            return None
        if not path.resolve().is_relative_to(self._path.resolve()):
            raise AttarError(
                f"{self._path}: {name} is a link that leaves the folder. Copy the files "
                f"themselves (cp -rL)."
            )
        try:
            with path.open("rb") as file:
                return file.read(most + 1)
        except OSError as error:
            raise AttarError(f"{path} cannot be read: {error.strerror}.") from error

    def unexpected(self, expected: set[str]) -> str | None:
        """None: tools put files of their own into folders."""
        return None


class Zip:
    """The files of a zip, every name of which has been looked at."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._size = path.stat().st_size
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AttarError(
                f"{path} cannot be read as a zip: {reason}. If it was cut short, copy it again."
            ) from error
        self._read = 0
        self._members = {info.filename: info for info in self._checked(self._zip.infolist())}

    def _checked(self, members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
        if len(members) > _MOST_FILES:
            raise self._refused(f"it has {len(members):,} files, a bundle at most {_MOST_FILES:,}")
        seen: set[str] = set()
        files = []
        for info in members:
            folder = info.filename.endswith("/")  # info.is_dir() stumbles over an empty name
            name = info.filename.removesuffix("/")
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.orig_filename != info.filename or not is_plain(name):
                raise self._refused(
                    f"the path {info.orig_filename[:100]!r} is not one inside a folder"
                )
            if kind not in (0, stat.S_IFDIR if folder else stat.S_IFREG):
                raise self._refused(f"{name} is a link or no plain file")
            if name.lower() in seen:  # on many systems two such names are one file
                raise self._refused(f"it has {name} twice")
            seen.add(name.lower())
            if info.flag_bits & 1 or info.compress_type not in (
                zipfile.ZIP_STORED,
                zipfile.ZIP_DEFLATED,
            ):
                raise self._refused(f"{name} is encrypted, or packed in a way that is not read")
            if not folder:
                files.append(info)
        return files

    def read(self, name: str, *, most: int) -> bytes | None:
        """As :meth:`Files.read`; refused where the zip unpacks to an absurd size."""
        if name not in self._members:
            return None
        data = io.BytesIO()
        try:
            with self._zip.open(self._members[name]) as file:
                # What the zip says of its sizes is not believed: what comes out is counted.
                while chunk := file.read(min(_CHUNK, most + 1 - data.tell())):
                    data.write(chunk)
                    self._count(len(chunk))
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise AttarError(
                f"{self._path}: {name} cannot be unpacked: {error}. Copy the file again."
            ) from error
        return data.getvalue()

    def _count(self, size: int) -> None:
        self._read += size
        if self._read > max(ALWAYS, MOST_RATIO * self._size) or self._read > MOST_BYTES:
            raise self._refused(
                f"it unpacks to more than {MOST_RATIO} times its own size, or to more than "
                f"{MOST_BYTES // 2**30} GiB"
            )

    def unexpected(self, expected: set[str]) -> str | None:
        """A file that is not among the expected ones: nobody but a person puts one into a zip."""
        return next((name for name in self._members if name not in expected), None)

    def _refused(self, reason: str) -> AttarError:
        return AttarError(
            f"{self._path}: this zip is refused: {reason}. No bundle that Attar wrote is so."
        )


def open_files(path: Path) -> Files:
    """The files of a folder or of a ``.zip``.

    Raises:
        AttarError: If it is neither, or a zip that breaks the rules.
    """
    return Folder(path) if path.is_dir() else Zip(path)


def write_zip(owner: str, path: Path, files: Mapping[str, bytes]) -> None:
    """Write files as one zip, whole or not at all; the same files give the same bytes."""
    data = _zipped(files, zipfile.ZIP_DEFLATED)
    whole = sum(map(len, files.values()))
    if whole > max(ALWAYS, MOST_RATIO * len(data)):  # weights of zeros, say: it would be refused
        data = _zipped(files, zipfile.ZIP_STORED)
    write_whole(owner, path, data)


def _zipped(files: Mapping[str, bytes], packing: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)  # dated 1980: when it was written says nothing
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.compress_type = packing
            archive.writestr(info, data)
    return buffer.getvalue()


def write_folder(owner: str, path: Path, files: Mapping[str, bytes]) -> None:
    """Write files as a folder, whole or not at all.

    Raises:
        AttarError: If there is something at ``path`` that is no empty folder.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise AttarError(
            f"{owner}: {path} exists already and is not overwritten. Name another folder."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for name, data in files.items():
            write_whole(owner, temporary / name, data)
        temporary.replace(path)  # an empty folder gives way
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
