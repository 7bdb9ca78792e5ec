"""Where a store lies: a folder of this machine, or any address that fsspec knows.

Names are relative, with ``/``, and made by :mod:`attar.store.layout` alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from attar.checks import AttarError, need
from attar.files import write_whole

#: What a disk says that takes no more: it is full, or a quota or a limit is reached.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Pieces = Sequence[Any]


class Place(Protocol):
    """A folder of files that appear whole and are never changed."""

    @property
    def address(self) -> str:
        """What people call it."""
        ...

    def sizes(self, folder: str = "") -> dict[str, int]:
        """The files in a folder and their bytes, temporary ones left out; empty if not there."""
        ...

    def folders(self) -> list[str]:
        """The names of the folders in it."""
        ...

    def is_file(self) -> bool:
        """Whether it is a file instead of a folder."""
        ...

    def read(self, name: str, limit: int) -> bytes | None:
        """A whole file; None if it is not there. More than ``limit`` bytes are refused."""
        ...

    def local(self, name: str) -> Path:
        """A file of this machine with the same bytes."""
        ...

    def write(self, name: str, pieces: Pieces, *, new: bool = False) -> bool:
        """Write a file whole or not at all; ``new``: only if it is not there.

        Returns:
            Whether it was written.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens if it is not there."""
        ...

    def remove_folder(self, name: str) -> None:
        """Remove a folder with all that is in it."""
        ...

    def sweep(self, folder: str) -> None:
        """Remove what killed writers left in a folder."""
        ...


def place_of(path: str | Path) -> Place:
    """The place that an address names: a local folder, or a URL of fsspec."""
    text = os.fspath(path)
    if isinstance(path, Path) or ("://" not in text and "::" not in text):
        return LocalPlace(Path(path))
    if text.startswith("file://"):
        return LocalPlace(Path(text.removeprefix("file://")))
    return RemotePlace(text)


class LocalPlace:
    """A folder of this machine, or one that is mounted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def address(self) -> str:
        """See :class:`Place`."""
        return str(self.path)

    def sizes(self, folder: str = "") -> dict[str, int]:
        """See :class:`Place`."""
        found = {}
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(self.path / folder) as entries,
        ):
            for entry in entries:
                # Another writer may remove a file on the way: that one is gone, not all of them.
                with contextlib.suppress(FileNotFoundError):
                    if not _temporary(entry.name) and entry.is_file():
                        found[entry.name] = entry.stat().st_size
        return found

    def folders(self) -> list[str]:
        """See :class:`Place`."""
        try:
            with os.scandir(self.path) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def is_file(self) -> bool:
        """See :class:`Place`."""
        return self.path.is_file()

    def read(self, name: str, limit: int) -> bytes | None:
        """See :class:`Place`."""
        try:
            with (self.path / name).open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        _refuse_large(f"{self.path / name}", len(data), limit)
        return data

    def local(self, name: str) -> Path:
        """See :class:`Place`."""
        return self.path / name

    def write(self, name: str, pieces: Pieces, *, new: bool = False) -> bool:
        """See :class:`Place`."""
        path = self.path / name
        with _disk(str(path)):
            while True:
                # Another writer may tidy up and take the temporary file for a left one.
                with contextlib.suppress(FileNotFoundError):
                    if new:
                        return _write_new(path, pieces)
                    write_whole("label", path, lambda file: _put(file, pieces))
                    return True

    def remove(self, name: str) -> None:
        """See :class:`Place`."""
        (self.path / name).unlink(missing_ok=True)

    def remove_folder(self, name: str) -> None:
        """See :class:`Place`."""
        shutil.rmtree(self.path / name, ignore_errors=True)

    def sweep(self, folder: str) -> None:
        """See :class:`Place`."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path / folder) as entries:
            for entry in entries:
                if _temporary(entry.name):
                    Path(entry.path).unlink(missing_ok=True)


class RemotePlace:
    """An address of fsspec: ``s3://``, ``gs://``, ``memory://``, ``simplecache::https://`` ...

    What is read is first copied to a folder of this machine, whole file by whole file, as it is
    touched: to a temporary one that goes with the process. An address that caches itself
    (``simplecache::``, ``filecache::``) keeps the copies where its own settings say.
    """

    def __init__(self, url: str) -> None:
        fsspec = need("fsspec", extra="train", purpose=f"the address {url}")
        try:
            self._files, path = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise AttarError(f"{url} cannot be opened: {error}") from error
        self._root = str(path).rstrip("/")
        self.address = url
        self._cache: Any = None

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _list(self, folder: str) -> list[dict[str, Any]]:
        try:
            self._files.invalidate_cache()
            found: list[dict[str, Any]] = self._files.ls(self._path(folder), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return found

    def sizes(self, folder: str = "") -> dict[str, int]:
        """See :class:`Place`."""
        return {
            _last(entry["name"]): int(entry["size"] or 0)
            for entry in self._list(folder)
            if entry["type"] == "file"
        }

    def folders(self) -> list[str]:
        """See :class:`Place`."""
        found = (_last(entry["name"]) for entry in self._list("") if entry["type"] == "directory")
        return sorted(found)

    def is_file(self) -> bool:
        """See :class:`Place`."""
        return bool(self._files.isfile(self._root))

    def read(self, name: str, limit: int) -> bytes | None:
        """See :class:`Place`."""
        try:
            data: bytes = self._files.cat_file(self._path(name), start=0, end=limit + 1)
        except FileNotFoundError:
            return None
        _refuse_large(f"{self.address}/{name}", len(data), limit)
        return data

    def local(self, name: str) -> Path:
        """See :class:`Place`."""
        own = getattr(self._files, "open", None) if hasattr(self._files, "storage") else None
        if own is not None:  # a file system that caches whole files itself
            with self._files.open(self._path(name), "rb") as file:
                return Path(file.name)
        if self._cache is None:
            import tempfile

            self._cache = tempfile.TemporaryDirectory(prefix="attar-store-")
        path = Path(self._cache.name) / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            with _disk(str(path)):
                self._files.get_file(self._path(name), str(partial))
                partial.replace(path)
        return path

    def write(self, name: str, pieces: Pieces, *, new: bool = False) -> bool:
        """See :class:`Place`."""
        if new and self._files.exists(self._path(name)):
            return False
        with _disk(f"{self.address}/{name}"):
            self._files.makedirs(self._path(name).rsplit("/", 1)[0], exist_ok=True)
            self._files.pipe_file(self._path(name), b"".join(pieces))
        if self._cache is not None:
            (Path(self._cache.name) / name).unlink(missing_ok=True)
        return True

    def remove(self, name: str) -> None:
        """See :class:`Place`."""
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(name))

    def remove_folder(self, name: str) -> None:
        """See :class:`Place`."""
        with contextlib.suppress(FileNotFoundError):
            self._files.rm(self._path(name), recursive=True)

    def sweep(self, folder: str) -> None:
        """See :class:`Place`; an object that is not wholly there does not exist."""


def _write_new(path: Path, pieces: Pieces) -> bool:
    """Write a file whole unless one is there: of two writers, one does."""
    if path.exists():
        return False
    whole = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.new.tmp")
    try:
        write_whole("label", whole, lambda file: _put(file, pieces))
        os.link(whole, path)  # unlike a rename, it fails where the name is taken
    except FileExistsError:
        return False
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno in _FULL:
            raise
        whole.replace(path)  # a file system without hard links
    finally:
        whole.unlink(missing_ok=True)
    return True


def _put(file: Any, pieces: Iterable[Any]) -> None:
    for piece in pieces:
        file.write(piece)


def _temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


def _last(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]


def _refuse_large(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise AttarError(f"Store: {name} has more than {limit} bytes; it is no file of a store.")


@contextlib.contextmanager
def _disk(path: str) -> Any:
    """A full disk, as a message that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise AttarError(
            f"label: {path} could not be written: {error.strerror}. What was written before is "
            f"whole: make room and run the same again, and it goes on from there."
        ) from error
