"""Checkpoints: one safetensors file, written atomically, from which a run goes on bit for bit.

Tensors (weights, optimizer moments, the best weights so far, random states) are safetensors;
everything else is one JSON text in the file's header. Nothing in it can run code.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attar.checks import AttarError, need
from attar.files import write_whole

FORMAT = 1


def write(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write the checkpoint; a reader sees the old file or the new one, never a part of one."""
    safetensors = need("safetensors.torch", extra="train", purpose="A checkpoint")
    header = {"state": json.dumps({"format": FORMAT, **state})}
    blob = safetensors.save({k: v.detach().contiguous() for k, v in tensors.items()}, header)
    write_whole("train", path, blob)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write` wrote.

    Raises:
        AttarError: If the file is torn, is no checkpoint, or is of a newer version.
    """
    safetensors = need("safetensors", extra="train", purpose="A checkpoint")
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            # Cloned: the mapped file is replaced by the next checkpoint while these are in use.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise AttarError(
            f"{path} is not a checkpoint that can be read ({type(error).__name__}: {error}). "
            "Delete it to start this run from its beginning."
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise AttarError(
            f"{path} has checkpoint format {state.get('format')!r}; this version reads {FORMAT}."
        )
    return tensors, state


def environment() -> dict[str, Any]:
    """What must not change if a resumed run is to end with the same bits."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}


def random_tensors() -> dict[str, Tensor]:
    """The state of each global random generator that a student may draw from (dropout, say)."""
    states = {"random/torch": torch.get_rng_state()}
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002  # a student may draw from it
    assert kind == "MT19937"
    states["random/numpy"] = torch.from_numpy(np.asarray(keys).astype(np.int64))
    states["random/numpy_rest"] = torch.tensor(
        [float(position), float(has_gauss), float(cached)], dtype=torch.float64
    )
    version, words, gauss = random.getstate()
    states["random/python"] = torch.tensor([version, *words], dtype=torch.int64)
    states["random/python_gauss"] = torch.tensor(
        [] if gauss is None else [gauss], dtype=torch.float64
    )
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        states[f"random/cuda{index}"] = torch.cuda.get_rng_state(index)
    return states


def restore_random(tensors: Mapping[str, Tensor]) -> None:
    """Put back what :func:`random_tensors` recorded."""
    torch.set_rng_state(tensors["random/torch"])
    position, has_gauss, cached = tensors["random/numpy_rest"].tolist()
    keys = tensors["random/numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), cached))  # noqa: NPY002
    version, *words = tensors["random/python"].tolist()
    gauss = tensors["random/python_gauss"].tolist()
    random.setstate((version, tuple(words), gauss[0] if gauss else None))
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"random/cuda{index}" in tensors:
            torch.cuda.set_rng_state(tensors[f"random/cuda{index}"], index)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's moments, flat: ``optimizer/<parameter>/<name>``."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer/{index}/{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what :func:`optimizer_tensors` recorded."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, name = key.split("/", 2)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    # A file knows no memory layout (channels_last, say), and a fused optimizer goes through
    # weights and moments side by side in memory: they must lie there alike.
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name starts with ``prefix/``, without it."""
    start = prefix + "/"
    return {key[len(start) :]: value for key, value in tensors.items() if key.startswith(start)}
