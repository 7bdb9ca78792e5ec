"""Every logit in one byte: 255 even steps between the row's smallest and its largest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.checks import AttarError


@dataclass(frozen=True)
class Int8:
    """All logits, each within half a step of what the teacher said.

    A step is the row's range over 255. Where a teacher's probabilities were floored far down, the
    steps are wide: what it costs is measured when the store is made, and the manifest says it.

    Attributes:
        classes: C.

    Example:
        >>> encoding = Int8(3)
        >>> records = encoding.encode(torch.tensor([[0.0, 1.0, 5.1]]), torch.tensor([7]))
        >>> records.dtype.itemsize, encoding.decode(records)
        (11, tensor([[0.0000, 1.0000, 5.1000]]))
    """

    classes: int

    name: ClassVar[str] = "int8"
    plain: ClassVar[None] = None

    @property
    def record(self) -> np.dtype[Any]:
        """What the code 0 stands for, the step, and C codes from -128 to 127."""
        codes = ("codes", "i1", (self.classes,))
        return np.dtype([("zero", "<f4"), ("step", "<f4"), codes])

    def encode(self, logits: Tensor, ids: Tensor) -> NDArray[Any]:
        """Records ``[B]`` from logits ``[B, C]`` float32."""
        records = np.zeros(len(logits), dtype=self.record)
        values = logits.numpy()
        if not len(values):
            return records
        low = values.min(axis=1).astype(np.float64)
        step = ((values.max(axis=1).astype(np.float64) - low) / 255.0).astype(np.float32)
        divisor = np.where(step > 0, step, 1.0).astype(np.float64)
        codes = np.rint((values - low[:, None]) / divisor[:, None]) - 128.0
        records["zero"], records["step"] = low + 128.0 * step, step
        records["codes"] = codes.clip(-128.0, 127.0)
        return records

    def decode(self, records: NDArray[Any], dtype: torch.dtype = torch.float32) -> Tensor:
        """``[B, C]`` from records ``[B]``."""
        codes = torch.from_numpy(records["codes"].astype(np.float32))
        step = torch.from_numpy(records["step"].astype(np.float32))
        zero = torch.from_numpy(records["zero"].astype(np.float32))
        return codes.mul_(step[:, None]).add_(zero[:, None]).to(dtype)

    def dense(self, records: NDArray[Any]) -> Tensor:
        """The same as :meth:`decode`."""
        return self.decode(records)

    def to_json(self) -> dict[str, Any]:
        """``name`` alone."""
        return {"name": self.name}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], classes: int) -> Int8:
        """What :meth:`to_json` gave, or anything; raises :class:`AttarError` if it is not that."""
        if set(raw) != {"name"}:
            raise AttarError(f"the encoding int8 has no parameters. Got {str(dict(raw))[:80]}.")
        return cls(classes)
