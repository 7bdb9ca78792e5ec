"""The contract on disk: which files a store holds and what may stand in them.

A finished store is a folder of three files and nothing that can run code::

    logits.npy      [N, C] float16 or float32, what the teacher said
    ids.npy         [N] int64, the exact input it was said about: view * VIEW + row
    manifest.json   who said it, about which data, and the SHA-256 of both arrays; written last

While a teacher labels, ``job.json`` names what is being made and ``parts/`` holds what has been
said so far. A folder with a manifest is finished; a folder with only a job can be resumed.
Everything is written to a hidden ``.*.partial`` file, flushed to the disk and renamed, so that
a name is either absent or whole.

A store may come from someone else: file names are fixed and never read from the JSON, every
field is checked, and an array must have exactly the dtype, shape and size that its manifest
promises.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from attar.checks import AttarError

FORMAT = "attar.store"
VERSION = 1

LOGITS, IDS, MANIFEST = "logits.npy", "ids.npy", "manifest.json"
JOB, PARTS = "job.json", "parts"
PARTIAL = ".partial"

#: Little-endian on every machine, so that a store can be carried.
DTYPES: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}
ID_DTYPE: np.dtype[Any] = np.dtype("<i8")

_JSON_LIMIT = 64 * 2**20  # bytes; the names of a million classes fit
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Source:
    """The teacher, as a store remembers it.

    Attributes:
        name: What people call it.
        fingerprint: The hash of what decides its answers.
        verified: Whether the fingerprint covers all of that; False for a function.
        outputs: ``"logits"`` or ``"probabilities"``, as the teacher gave them; None if unknown.
        parameters: How many it has; None if unknown or meaningless.
        bytes: Its size; None if unknown.
    """

    name: str
    fingerprint: str
    verified: bool
    outputs: str | None = None
    parameters: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Job:
    """What decides every byte of a store, known before the teacher says anything."""

    teacher: Source
    data: str
    dtype: str
    count: int

    def differences(self, other: Job) -> list[str]:
        """What makes ``other`` another job, in words; empty where it is the same."""
        found = []
        if self.teacher.fingerprint != other.teacher.fingerprint:
            found.append(
                f"the teacher ({self.teacher.name}, {self.teacher.fingerprint[:12]} there; "
                f"{other.teacher.name}, {other.teacher.fingerprint[:12]} here)"
            )
        if self.data != other.data or self.count != other.count:
            found.append(
                f"the data ({self.count} inputs, {self.data[:12]} there; "
                f"{other.count} inputs, {other.data[:12]} here)"
            )
        if self.dtype != other.dtype:
            found.append(f"the dtype ({self.dtype} there; {other.dtype} here)")
        return found


@dataclass(frozen=True)
class Manifest:
    """Everything that ``manifest.json`` says, checked."""

    job: Job
    classes: tuple[str, ...]
    created_with: str
    logits_sha256: str
    ids_sha256: str

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, C)`` of the logits."""
        return self.job.count, len(self.classes)


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as plain JSON values."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "created_with": manifest.created_with,
        "dtype": manifest.job.dtype,
        "shape": list(manifest.shape),
        "classes": list(manifest.classes),
        "teacher": asdict(manifest.job.teacher),
        "data": {"fingerprint": manifest.job.data},
        "sha256": {"logits": manifest.logits_sha256, "ids": manifest.ids_sha256},
    }


def job_to_json(job: Job) -> dict[str, Any]:
    """The job as plain JSON values."""
    return {
        "format": FORMAT + ".job",
        "version": VERSION,
        "dtype": job.dtype,
        "count": job.count,
        "teacher": asdict(job.teacher),
        "data": {"fingerprint": job.data},
    }


def read_manifest(folder: Path) -> Manifest:
    """Read and check ``manifest.json``.

    Raises:
        AttarError: If it is missing, is no JSON, is newer than this Attar, or lies about itself.
    """
    raw = _read_json(folder / MANIFEST, FORMAT)
    owner = f"{folder / MANIFEST}"
    shape, classes = raw.get("shape"), raw.get("classes")
    if not (
        isinstance(classes, list)
        and len(classes) >= 2
        and all(isinstance(name, str) for name in classes)
    ):
        raise _broken(owner, "classes", "a list of at least two names", classes)
    if not (
        isinstance(shape, list)
        and len(shape) == 2
        and all(type(size) is int for size in shape)
        and shape[0] >= 1
        and shape[1] == len(classes)
    ):
        raise _broken(owner, "shape", f"[N, {len(classes)}] with N of 1 or more", shape)
    sums = _mapping(owner, raw, "sha256")
    for name in ("logits", "ids"):
        if not (isinstance(sums.get(name), str) and _SHA256.fullmatch(sums[name])):
            raise _broken(owner, f"sha256.{name}", "64 hexadecimal digits", sums.get(name))
    created_with = raw.get("created_with")
    if not isinstance(created_with, str):
        raise _broken(owner, "created_with", "a text", created_with)
    return Manifest(
        job=_job(owner, raw, count=shape[0]),
        classes=tuple(classes),
        created_with=created_with,
        logits_sha256=sums["logits"],
        ids_sha256=sums["ids"],
    )


def read_job(folder: Path) -> Job:
    """Read and check ``job.json``."""
    path = folder / JOB
    raw = _read_json(path, FORMAT + ".job")
    count = raw.get("count")
    if type(count) is not int or count < 1:
        raise _broken(str(path), "count", "an integer of 1 or more", count)
    return _job(str(path), raw, count=count)


def _job(owner: str, raw: Mapping[str, Any], *, count: int) -> Job:
    teacher, data = _mapping(owner, raw, "teacher"), _mapping(owner, raw, "data")
    for where, fields in ((teacher, ("name", "fingerprint")), (data, ("fingerprint",))):
        for name in fields:
            if not isinstance(where.get(name), str):
                label = f"{'teacher' if where is teacher else 'data'}.{name}"
                raise _broken(owner, label, "a text", where.get(name))
    if type(teacher.get("verified")) is not bool:
        raise _broken(owner, "teacher.verified", "true or false", teacher.get("verified"))
    if teacher.get("outputs") not in (None, "logits", "probabilities"):
        raise _broken(owner, "teacher.outputs", "logits, probabilities or null", teacher["outputs"])
    for name in ("parameters", "bytes"):
        value = teacher.get(name)
        if value is not None and (type(value) is not int or value < 0):
            raise _broken(owner, f"teacher.{name}", "a count or null", value)
    dtype = raw.get("dtype")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _broken(owner, "dtype", " or ".join(DTYPES), dtype)
    source = Source(
        name=teacher["name"],
        fingerprint=teacher["fingerprint"],
        verified=teacher["verified"],
        outputs=teacher.get("outputs"),
        parameters=teacher.get("parameters"),
        bytes=teacher.get("bytes"),
    )
    return Job(teacher=source, data=data["fingerprint"], dtype=dtype, count=count)


def _read_json(path: Path, kind: str) -> dict[str, Any]:
    if not path.is_file():
        raise AttarError(
            f"Store: {path} is missing, so {path.parent} is no finished store. Expected "
            f"{MANIFEST}, {LOGITS} and {IDS}; label() makes them."
        )
    if path.stat().st_size > _JSON_LIMIT:
        raise AttarError(f"Store: {path} is larger than {_JSON_LIMIT} bytes; it is no {kind}.")
    try:
        raw = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise AttarError(
            f"Store: {path} is not JSON ({error}). It is torn or was changed by hand: delete the "
            f"folder and label again."
        ) from None
    if not isinstance(raw, dict) or raw.get("format") != kind:
        raise AttarError(f"Store: {path} is not of the format {kind!r}; it is something else's.")
    version = raw.get("version")
    if type(version) is not int or version < 1:
        raise _broken(str(path), "version", "an integer of 1 or more", version)
    if version > VERSION:
        raise AttarError(
            f"Store: {path} has format version {version}, and this Attar reads up to {VERSION}. "
            f"Update attar, or label again with this one."
        )
    return raw


def _mapping(owner: str, raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    if not isinstance(value, dict):
        raise _broken(owner, name, "an object", value)
    return value


def _broken(owner: str, field: str, expected: str, got: Any) -> AttarError:
    shown = repr(got)
    return AttarError(
        f"Store: the field {field!r} of {owner} must be {expected}. Got "
        f"{shown if len(shown) <= 80 else shown[:77] + '...'}. The store is torn or was changed "
        f"by hand: delete the folder and label again."
    )


def map_array(path: Path, *, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """The array of a ``.npy`` file, memory-mapped, if it is exactly what was promised.

    Only the header is read. The mapping is copy-on-write: nothing written to it reaches the
    file.

    Raises:
        AttarError: If the file is missing, holds another dtype or shape (Python objects are
            never loaded), or has another size than its header implies (it is torn).
    """
    if not path.is_file():
        raise AttarError(f"Store: {path} is missing. Delete the folder and label again.")
    try:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("not version 1.0 of the format")
            found_shape, fortran, found = np.lib.format.read_array_header_1_0(file)
            offset = file.tell()
    except Exception as error:  # a hostile header can raise nearly anything
        raise AttarError(
            f"Store: {path} is not a .npy array ({error}). Delete the folder and label again."
        ) from None
    if found.hasobject:
        raise AttarError(f"Store: {path} holds pickled Python objects, which are never loaded.")
    if found != dtype or found_shape != shape or fortran:
        raise AttarError(
            f"Store: {path} must hold {dtype} of shape {shape}, as its manifest says. Got "
            f"{found} of shape {found_shape}. Delete the folder and label again."
        )
    size, expected = path.stat().st_size, offset + math.prod(shape) * dtype.itemsize
    if size != expected:
        raise AttarError(
            f"Store: {path} is torn: {expected} bytes expected, {size} found. Delete the folder "
            f"and label again."
        )
    return np.memmap(path, dtype=dtype, mode="c", offset=offset, shape=shape)


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Make ``path`` appear whole or not at all, also when the power goes."""
    partial = path.with_name(f".{path.name}{PARTIAL}")
    with partial.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    if os.name == "posix":  # a rename lasts when its folder has reached the disk
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode("utf-8", "surrogatepass")))


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
