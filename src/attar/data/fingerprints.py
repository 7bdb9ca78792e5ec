"""The hash that names the contents of a data set, whatever kind of object holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from attar.data.views import Views

#: Name, dtype, shape, and the contents in pieces of whole rows.
Part = tuple[str, torch.dtype, tuple[int, ...], Iterable[Tensor]]


def contents(parts: Iterable[Part], rows: Tensor) -> str:
    """Hash inputs and row numbers; 32 hexadecimal digits.

    Labels are left out: the teacher does not see them. The same contents have the same
    fingerprint in memory and read piece by piece.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, dtype, shape, pieces in parts:
        digest.update(f"{name}:{dtype}:{tuple(shape)};".encode())
        for piece in pieces:
            digest.update(_bytes(piece))
    digest.update(b"rows;")
    digest.update(_bytes(rows))
    return digest.hexdigest()


def with_views(contents: str, views: Views | None) -> str:
    """The hash of contents, and of what the views make of them."""
    text = f"{contents};views:{'' if views is None else views.definition}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _bytes(tensor: Tensor) -> Any:
    """The memory of a tensor, as a buffer of bytes."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
