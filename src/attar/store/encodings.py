"""How a row of logits becomes a record of fixed size, and a record logits again.

An :class:`Encoding` is a small frozen object; what it writes into a layer's description is
enough to make it again. All records of one encoding have the same size, so that a row is found
by multiplication alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.checks import AttarError
from attar.store.int8 import Int8
from attar.store.sparse import Sampled, TopK


class Encoding(Protocol):
    """Logits ``[B, C]`` -> records ``[B]`` -> logits, or what a loss takes instead of them."""

    @property
    def name(self) -> str:
        """What ``dtype`` calls it, and what the manifest says."""
        ...

    @property
    def classes(self) -> int:
        """How many classes a row has, C."""
        ...

    @property
    def record(self) -> np.dtype[Any]:
        """A structured dtype, packed and little-endian: one row."""
        ...

    @property
    def plain(self) -> np.dtype[Any] | None:
        """The dtype of the values where a record is just C of them; None otherwise."""
        ...

    def encode(self, logits: Tensor, ids: Tensor) -> NDArray[Any]:
        """Records ``[B]`` of :attr:`record`.

        Args:
            logits: ``[B, C]`` float32 on the CPU, finite.
            ids: ``[B]`` int64; what is random about a record follows from its id.

        Raises:
            AttarError: If a value cannot be held; the message names its id.
        """
        ...

    def decode(self, records: NDArray[Any], dtype: torch.dtype = torch.float32) -> Any:
        """``[B, C]`` logits, or sparse targets, from records ``[B]``; their logits in ``dtype``."""
        ...

    def dense(self, records: NDArray[Any]) -> Tensor:
        """``[B, C]`` float32 from records ``[B]``, also where :meth:`decode` is sparse."""
        ...

    def to_json(self) -> dict[str, Any]:
        """What a description says about it: ``name`` and its parameters, without C."""
        ...


@dataclass(frozen=True)
class Dense:
    """Every logit, as float32 or float16.

    float16 keeps about three significant digits and holds values up to 65504.

    Example:
        >>> half = Dense("float16", 2)
        >>> records = half.encode(torch.tensor([[0.1, 3.0]]), torch.tensor([7]))
        >>> records.dtype.itemsize, half.decode(records)
        (4, tensor([[0.1000, 3.0000]]))
    """

    name: str
    classes: int

    @property
    def plain(self) -> np.dtype[Any]:
        """The dtype of one logit."""
        return _DENSE[self.name]

    @property
    def record(self) -> np.dtype[Any]:
        """C logits."""
        return np.dtype([("logits", self.plain, (self.classes,))])

    def encode(self, logits: Tensor, ids: Tensor) -> NDArray[Any]:
        """See :meth:`Encoding.encode`."""
        values = logits.numpy()
        limit = float(np.finfo(self.plain).max)
        if self.name != "float32" and len(values) and float(np.abs(values).max()) > limit:
            row, column = np.unravel_index(int(np.abs(values).argmax()), values.shape)
            raise AttarError(
                f"label: float16 holds values up to {limit:.0f}, and the teacher's largest logit "
                f"so far is {values[row, column]:.6g} (id {int(ids[int(row)])}). Use "
                f"dtype='float32' and another folder."
            )
        whole = np.ascontiguousarray(values, dtype=self.plain)
        return whole.view(self.record).reshape(len(values))

    def decode(self, records: NDArray[Any], dtype: torch.dtype = torch.float32) -> Tensor:
        """See :meth:`Encoding.decode`."""
        return torch.from_numpy(records["logits"]).to(dtype)

    def dense(self, records: NDArray[Any]) -> Tensor:
        """See :meth:`Encoding.dense`."""
        return self.decode(records)

    def to_json(self) -> dict[str, Any]:
        """See :meth:`Encoding.to_json`."""
        return {"name": self.name}


_DENSE: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}

_OTHERS: dict[str, Callable[[Mapping[str, Any], int], Encoding]] = {
    "int8": Int8.from_json,
    "top_k": TopK.from_json,
    "sampled": Sampled.from_json,
}

#: What ``label(dtype=)`` may name.
DTYPES = ("float16", "float32", "int8")


def from_json(raw: Mapping[str, Any], classes: int) -> Encoding:
    """The encoding that a description names. What it says is checked: it may be hostile.

    Args:
        raw: What :meth:`Encoding.to_json` gave, or anything.
        classes: C.

    Raises:
        AttarError: If no encoding of this Attar says so.
    """
    name = raw.get("name")
    if isinstance(name, str) and name in _DENSE and set(raw) == {"name"}:
        return Dense(name, classes)
    if isinstance(name, str) and name in _OTHERS:
        return _OTHERS[name](raw, classes)
    raise AttarError(
        f"the encoding must be one of {[*_DENSE, *_OTHERS]}. Got {str(dict(raw))[:80]}."
    )
