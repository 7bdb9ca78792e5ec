"""A bundle: all of a student in one folder or one zip, every byte of it accounted for.

``model.onnx``, ``bundle.json`` (what it takes, what it says, what it was made from, what it is
worth), a model card, and the weights for PyTorch. Written from the result of an experiment; read
with numpy and onnxruntime alone. The hashes find accident and editing, not forgery: who can
change a file can also write new hashes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import attar
from attar.checks import AttarError
from attar.export import archive, runtime, schema
from attar.export.about import about
from attar.export.card import model_card
from attar.files import as_json

#: The version of ``bundle.json`` that is written, and the newest that is read.
FORMAT = 1

MANIFEST, CARD, WEIGHTS = "bundle.json", "README.md", "student.safetensors"

#: ``bundle.json`` is read whole before anything is known of it.
_MOST_MANIFEST = 16 * 2**20


@dataclass(frozen=True)
class ModelFile:
    """One model of a bundle.

    Attributes:
        data: The bytes of the ONNX file, or where it is.
        precision: Of its weights: ``"float32"``, ``"float16"``, ``"bfloat16"``, ``"int8"``,
            ``"float64"`` or ``"mixed"``.
        parity: How close it is to the model that was trained: ``rows_checked``,
            ``max_probability_difference``, ``argmax_differences``; None where not compared.
        about: Anything more that JSON can hold: scores of this very file, say.
    """

    data: bytes | str | Path
    precision: str = "float32"
    parity: Mapping[str, Any] | None = None
    about: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and found whole.

    Attributes:
        name: Where it was read from, for messages.
        manifest: The content of ``bundle.json``.
        files: The bytes of every other file, by its path.
    """

    name: str
    manifest: dict[str, Any]
    files: Mapping[str, bytes]

    @property
    def roles(self) -> tuple[str, ...]:
        """The models that are in it; the first is the one that :meth:`load` gives."""
        return tuple(model["role"] for model in self.manifest["models"])

    def load(self, role: str | None = None, *, threads: int | None = None) -> runtime.Student:
        """One of its models, ready to answer.

        Args:
            role: One of :attr:`roles`; the first by default.
            threads: As in :func:`attar.export.runtime.load`.

        Raises:
            AttarError: If there is no such role, or its model is not the one described.
        """
        wanted = self.roles[0] if role is None else role
        entry = next((m for m in self.manifest["models"] if m["role"] == wanted), None)
        if entry is None:
            raise AttarError(
                f"{self.name}: the bundle has no model '{wanted}', only {', '.join(self.roles)}."
            )
        student = runtime.loads(self.files[entry["path"]], name=self.name, threads=threads)
        inputs, _ = student.tensors()
        if list(student.classes) != self.manifest["classes"] or entry["inputs"] != inputs:
            raise AttarError(
                f"{self.name}: {MANIFEST} describes another model than {entry['path']} is. Write "
                f"the bundle again: attar bundle."
            )
        student.bundle = self.manifest
        return student


def write_bundle(
    path: str | Path,
    models: Mapping[str, ModelFile],
    *,
    result: Mapping[str, Any] | None = None,
    name: str | None = None,
    weights: bytes | None = None,
    cascade: Mapping[str, Any] | None = None,
) -> Path:
    """Write models and what is known of them as one bundle, whole or not at all.

    Args:
        path: A name that ends in ``.zip`` (one that is there is replaced), or a folder that is
            not there yet.
        models: By role, ``{"student": ModelFile("student.onnx")}``; the first is the one that a
            loader gives unless it is asked for another. All name the same classes. It lies in
            ``model.onnx``, the others in ``<role>.onnx``.
        result: What an experiment says of itself, the content of its ``result.json``.
        name: What to call it; the student's name by default.
        weights: The student's ``.safetensors``.
        cascade: ``{"student": role, "teacher": role, "threshold": number, ...}``.

    Returns:
        The path.

    Raises:
        AttarError: If a model cannot be read or the models do not fit together, a text does not
            fit, or the folder is there already. Nothing is then written.
    """
    path = Path(path)
    files: dict[str, bytes] = {}
    entries, students = [], []
    for role, model in models.items():
        place = f"{role}.onnx" if files else "model.onnx"
        files[place] = _bytes(model.data)
        student = runtime.loads(files[place], name=f"the model '{role}'", threads=1)
        inputs, outputs = student.tensors()
        entries.append(
            {
                "role": role,
                **_entry(place, files[place]),
                "precision": model.precision,
                "temperature": student.temperature,
                "inputs": inputs,
                "outputs": outputs,
                "parity": None if model.parity is None else dict(model.parity),
                "about": None if model.about is None else dict(model.about),
            }
        )
        students.append(student)
    if not students:
        raise AttarError("write_bundle: a bundle has at least one model. Got none.")
    for role, student in zip(models, students, strict=True):
        if student.classes != students[0].classes:
            raise AttarError(
                f"write_bundle: all models must have the same classes. '{role}' has "
                f"{', '.join(student.classes[:5])}, '{entries[0]['role']}' has "
                f"{', '.join(students[0].classes[:5])}."
            )
    if weights is not None:
        files[WEIGHTS] = weights
    manifest = {
        "format": FORMAT,
        **about(result, students[0], weights=WEIGHTS if weights is not None else None, name=name),
        "models": entries,
    }
    if cascade is not None:
        manifest["cascade"] = dict(cascade)
    files[CARD] = model_card(manifest).encode()
    manifest["files"] = [_entry(place, data) for place, data in sorted(files.items())]
    manifest = json.loads(as_json("write_bundle", "what is told of the models", manifest))
    manifest["digest"] = digest(manifest)
    _check(f"write_bundle: {path}", manifest)
    text = json.dumps(manifest, indent=1, allow_nan=False)
    write = archive.write_zip if path.suffix.lower() == ".zip" else archive.write_folder
    write("write_bundle", path, {MANIFEST: text.encode(), **files})
    return path


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle, and refuse one that is not as it was written.

    Args:
        path: The folder or the ``.zip``.

    Raises:
        AttarError: If it is no bundle, is of a newer format, was changed by hand, is not whole,
            or is a zip with paths that leave the folder, names given twice, links, or more
            inside than a bundle can hold.
    """
    path = Path(path)
    found = archive.open_files(path)
    data = found.read(MANIFEST, most=_MOST_MANIFEST)
    if data is None:
        raise AttarError(
            f"{path} is no bundle: it has no {MANIFEST} at its top. Write one: attar bundle RUN "
            f"--out student.zip."
        )
    manifest = _parsed(f"{path}: {MANIFEST}", data)
    _check(f"{path}: {MANIFEST}", manifest)
    files = {}
    for entry in manifest["files"]:
        place, size = entry["path"], int(entry["bytes"])
        content = found.read(place, most=size)
        if content is None:
            raise AttarError(f"{path}: the file {place} of the bundle is missing.")
        if len(content) != size or hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise AttarError(
                f"{path}: {place} is not the file that the bundle was written with: it was "
                f"changed or is not whole. Copy the bundle again, or write a new one."
            )
        files[place] = content
    more = found.unexpected({MANIFEST, *files})
    if more is not None:
        raise AttarError(
            f"{path}: the zip holds {more}, which is no part of the bundle: it was changed. Copy "
            f"it again."
        )
    return Bundle(str(path), manifest, files)


def digest(manifest: Mapping[str, Any]) -> str:
    """The SHA-256 of ``bundle.json``'s content without its own ``digest``.

    >>> digest({"format": 1})[:8], digest({"format": 1, "digest": "whatever"})[:8]
    ('3f0a9925', '3f0a9925')
    """
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def bundle_schema() -> dict[str, Any]:
    """The JSON Schema of ``bundle.json``, draft 2020-12."""
    text = Path(__file__).with_name("bundle.schema.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _parsed(owner: str, data: bytes) -> dict[str, Any]:
    """The JSON object in ``data``; what two readers could read differently is refused."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a name is given twice")
        return dict(pairs)

    def finite(text: str) -> float:
        if not math.isfinite(float(text)):
            raise ValueError(f"{text} is no number that a float holds")
        return float(text)

    try:
        if len(data) > _MOST_MANIFEST:
            raise ValueError(f"it is larger than {_MOST_MANIFEST // 2**20} MiB")
        text = data.decode()  # json itself would also take UTF-16
        manifest = json.loads(
            text, object_pairs_hook=once, parse_float=finite, parse_constant=finite
        )
        if not isinstance(manifest, dict):
            raise ValueError(f"it holds {type(manifest).__name__}, no object")
    except (ValueError, RecursionError) as error:  # broken UTF-8 is a ValueError too
        raise AttarError(
            f"{owner} cannot be read: {error}. It was changed or cut short: copy the bundle again."
        ) from error
    return manifest


def _check(owner: str, manifest: dict[str, Any]) -> None:
    """All that can be said of ``bundle.json`` without the other files."""
    version = manifest.get("format")
    if isinstance(version, int) and version > FORMAT:
        code = manifest.get("code")
        maker = code.get("attar") if isinstance(code, dict) else None
        raise AttarError(
            f"{owner} has format {version}, written by Attar {maker}; this is Attar "
            f"{attar.__version__}, which reads format {FORMAT}. Take a newer one: pip install -U "
            f"attar."
        )
    schema.check(owner, manifest, bundle_schema())
    if digest(manifest) != manifest["digest"]:
        raise AttarError(
            f"{owner} was changed after the bundle was written: its digest is another one. Copy "
            f"the bundle again, or write a new one."
        )
    wrong = _contradiction(manifest)
    if wrong is not None:
        raise AttarError(f"{owner}: {wrong}.")


def _contradiction(manifest: Mapping[str, Any]) -> str | None:
    """What no schema can say: which part of it contradicts another."""
    files = {entry["path"]: entry for entry in manifest["files"]}
    names = [place.lower() for place in [MANIFEST, *(e["path"] for e in manifest["files"])]]
    if len(set(names)) < len(names):
        return "files must name each file once, and not itself"
    if sum(entry["bytes"] for entry in manifest["files"]) > archive.MOST_BYTES:
        return f"files must have {archive.MOST_BYTES // 2**30} GiB or less together"
    roles = [model["role"] for model in manifest["models"]]
    if len(set(roles)) < len(roles):
        return "models must each have a role of their own"
    for model in manifest["models"]:
        listed = files.get(model["path"], {})
        if any(model[key] != listed.get(key) for key in ("sha256", "bytes")):
            return f"the model '{model['role']}' is not the file that files lists for its path"
    kept = manifest["student"]["weights"]
    if kept is not None and kept not in files:
        return f"student.weights names {kept}, which files does not list"
    for member in ("student", "teacher"):
        role = (manifest.get("cascade") or {}).get(member, roles[0])
        if role not in roles:
            return f"cascade.{member} names the role '{role}', which no model has"
    return None


def _entry(place: str, data: bytes) -> dict[str, Any]:
    return {"path": place, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _bytes(data: bytes | str | Path) -> bytes:
    if isinstance(data, bytes):
        return data
    try:
        return Path(data).read_bytes()
    except OSError as error:
        raise AttarError(f"write_bundle: {data} cannot be read: {error.strerror}.") from error
