"""Weights as safetensors: a file that holds numbers and cannot run anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import attar
from attar.checks import AttarError, need
from attar.files import as_json, write_whole


def save_weights(
    model: nn.Module, path: str | Path, *, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write all parameters and buffers of a model, whole or not at all.

    Args:
        model: Any module; it may be on any device.
        path: Where to write; a file that is there is replaced.
        metadata: Anything that JSON can hold, kept in the file.

    Raises:
        AttarError: If the state holds something else than tensors, or the metadata does not fit
            into JSON.
    """
    safetensors = need("safetensors.torch", extra="train", purpose="saving weights")
    state = _state("save_weights", model)
    text = as_json("save_weights", "metadata", dict(metadata or {}))
    # Each tensor its own memory: the format refuses views and weights that two layers share.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    data = safetensors.save(
        tensors, metadata={"attar.version": attar.__version__, "attar.metadata": text}
    )
    write_whole("save_weights", Path(path), _settled(data))


def load_weights(model: nn.Module, path: str | Path) -> dict[str, Any]:
    """Read weights into a model of the same architecture; gives back the file's metadata.

    Everything is compared before anything is copied: where this raises, the model is as it was.

    Args:
        model: A module with the names, shapes and types of the one that was saved.
        path: A file of :func:`save_weights`, or any safetensors file with the same names.

    Raises:
        AttarError: If the file cannot be read or does not fit the model; the message names the
            first differences.
    """
    safe_open = need("safetensors", extra="train", purpose="loading weights").safe_open
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            properties = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata: dict[str, Any] = json.loads(properties.get("attar.metadata", "{}"))
    except Exception as error:  # the library's error shares no base class with the system's
        raise AttarError(f"load_weights: {path} is no safetensors file: {error}.") from error
    state = _state("load_weights", model)
    _check_fits(
        path, {k: _kind(v) for k, v in tensors.items()}, {k: _kind(v) for k, v in state.items()}
    )
    model.load_state_dict(tensors)
    return metadata


def _settled(data: bytes) -> bytes:
    """The same file with its metadata in a fixed order: the library writes it in any."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # as the format asks, so that the numbers stay aligned
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _state(owner: str, model: nn.Module) -> dict[str, Tensor]:
    state: dict[str, Tensor] = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise AttarError(
                f"{owner}: a safetensors file holds tensors alone. Got {type(value).__name__} for "
                f"'{name}' of {type(model).__name__}."
            )
    return state


def _kind(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _check_fits(path: Path, found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    missing = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in wanted]
    different = [
        f"{name} ({found[name]} in the file, {kind} in the model)"
        for name, kind in wanted.items()
        if name in found and found[name] != kind
    ]
    problems = [
        f"{len(names)} {what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        for what, names in (
            ("missing in the file", missing),
            ("not in the model", unknown),
            ("of another shape or type", different),
        )
        if names
    ]
    if problems:
        raise AttarError(
            f"load_weights: {path} does not fit the model. {'. '.join(problems)}. Make the model "
            f"with the architecture and sizes that were saved."
        )
