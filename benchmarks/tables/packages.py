"""Tables out of Debian's packages of R: fetched with apt, kept in a cache, checked by hash."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import shutil
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zlib
from pathlib import Path
from typing import Any

from fetch import check_hash

from attar.checks import AttarError

#: Debian's package of each package of R: its version, and the SHA-256 of the archive.
ARCHIVES = {
    "ggplot2": (
        "3.4.1+dfsg-1",
        "185d18e5ee33aff006d0e6b31aaa77efde7d39c361f991801f41d2b481408fde",
    ),
    "mlbench": (
        "2.1-3-1",
        "2f1127f7b5e7d08703b13b52ef1976a0c355a7660d6ac575e29b87b13921bc06",
    ),
    "modeldata": (
        "1.1.0-1",
        "66c2e08bb4bf695d972b1e72ea44d5af9ada3c42841793d3871017f7b896bf95",
    ),
}
#: What is needed here alone, and is no part of what Attar installs.
PEERS = ("lightgbm==4.7.0", "rdata==1.1.0", "xarray==2026.9.0")


def add_peers(cache: Path) -> None:
    """Make the packages of :data:`PEERS` importable, from a folder of their own."""
    folder = cache / "tables" / "packages"
    if not (folder / "rdata").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*command, "--target", str(folder), *PEERS], check=True)
    sys.path.append(str(folder))


def frame(cache: Path, package: str, name: str) -> Any:
    """One data frame of a package of R, as one of pandas."""
    archive = _archive(cache, package)
    inside = f"./usr/lib/R/site-library/{package}/data/"
    with tempfile.TemporaryDirectory() as scratch:
        tar = Path(scratch) / "files.tar"
        with tar.open("wb") as stream:
            subprocess.run(["dpkg-deb", "--fsys-tarfile", archive], check=True, stdout=stream)
        with tarfile.open(tar) as files:
            there = set(files.getnames())
            if f"{inside}{name}.rda" in there:
                return _converted(_member(files, f"{inside}{name}.rda"), "rda")[name]
            index = _converted(_opened(_member(files, f"{inside}Rdata.rdx")), "rds")
            start, length = (int(value) for value in index["variables"][name])
            stored = _member(files, f"{inside}Rdata.rdb")[start : start + length]
            return _converted(_unpacked(stored), "rds")


def _archive(cache: Path, package: str) -> Path:
    version, sha256 = ARCHIVES[package]
    folder = cache / "tables"
    pattern = f"r-cran-{package}_{version}_*.deb"
    if not list(folder.glob(pattern)):
        if shutil.which("apt-get") is None:
            raise AttarError(
                f"benchmarks/tables: r-cran-{package}={version} comes from Debian's archive, and "
                f"there is no apt-get here. Put the package's file into {folder}."
            )
        folder.mkdir(parents=True, exist_ok=True)
        command = ["apt-get", "download", "--quiet", f"r-cran-{package}={version}"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    path = next(iter(sorted(folder.glob(pattern))))
    check_hash("benchmarks/tables", path, sha256)
    return path


def _member(files: tarfile.TarFile, name: str) -> bytes:
    stream = files.extractfile(name)
    assert stream is not None  # it is a regular file
    return stream.read()


def _opened(data: bytes) -> bytes:
    """R writes its indexes with gzip, or with zlib alone."""
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else zlib.decompress(data)


def _unpacked(stored: bytes) -> bytes:
    """An object of R's lazy data: its length, a letter for the kind, and the compressed rest."""
    length, kind = int.from_bytes(stored[:4], "big"), stored[4:5]
    if kind == b"Z":
        filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**26}]
        data = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters).decompress(stored[5:])
    else:
        data = bz2.decompress(stored[5:]) if kind == b"2" else zlib.decompress(stored[4:])
    assert len(data) == length
    return data


def _converted(data: bytes, kind: str) -> Any:
    """What the bytes say as pandas has it; the reader runs nothing of them."""
    rdata = importlib.import_module("rdata")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of texts without a named encoding
        return rdata.conversion.convert(rdata.parser.parse_data(data, extension=kind))
