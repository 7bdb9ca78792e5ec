"""Integer graphs of a float student, and which of them answers most like it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.checks import need
from attar.data import as_data
from attar.evaluation.metrics import kl_to_teacher
from attar.export import narrow, runtime

#: Rows a call while measuring.
CHUNK = 512


def some_rows(proto: Any, student: runtime.Student, rows: Any, count: int) -> NDArray[Any]:
    """Some of these rows in the type that the graph takes."""
    onnx = need("onnx", extra="train", purpose="quantization")
    data = as_data(rows)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:count]
    inputs: Tensor = data.batch(order).inputs
    student.logits(inputs[:1].numpy())  # a wrong shape is told here, in its words
    element = proto.graph.input[0].type.tensor_type.elem_type
    return inputs.numpy().astype(onnx.helper.tensor_dtype_to_np_dtype(element), copy=False)


@dataclass(frozen=True)
class Smaller:
    """A smaller graph: whence its ranges, whether weights have 7 bits, which layers are float."""

    proto: Any
    ranges: str | None
    reduced: bool
    float_layers: str = "none"


def static(
    proto: Any,
    before: runtime.Student,
    rows: NDArray[Any],
    ranges: str,
    widths: Sequence[bool],
    float_layers: str,
) -> Smaller:
    """The integer graph whose answers are nearest to the float student's."""
    kinds = ("minmax", "percentile") if ranges == "auto" else (ranges,)
    made = (
        Smaller(
            narrow.static(proto, rows, ranges=kind, reduce_range=width, float_layers=float_layers),
            kind,
            width,
            float_layers,
        )
        for width in widths
        for kind in kinds
    )
    return _nearest(made, before, rows, CHUNK)


def dynamic(
    proto: Any,
    before: runtime.Student,
    rows: Callable[[], NDArray[Any]],
    widths: Sequence[bool],
    float_layers: str,
) -> Smaller:
    """The same; rows are needed only where there is a choice."""
    made = [
        Smaller(
            narrow.dynamic(proto, reduce_range=width, float_layers=float_layers),
            None,
            width,
            float_layers,
        )
        for width in widths
    ]
    return made[0] if len(made) == 1 else _nearest(made, before, rows(), 1)


def _nearest(
    made: Iterable[Smaller], before: runtime.Student, rows: NDArray[Any], many: int
) -> Smaller:
    """The one with the least KL to the float student on these rows, so many a call."""
    wanted = logits_of(before, rows)

    def distance(one: Smaller) -> float:
        student = runtime.loads(one.proto.SerializeToString(), name="quantize", threads=1)
        return kl_to_teacher(logits_of(student, rows, many), wanted)

    return min(made, key=distance)


def logits_of(student: runtime.Student, rows: NDArray[Any], many: int = CHUNK) -> Tensor:
    """Logits ``[N, C]`` of these rows, so many a call."""
    pieces = [student.logits(rows[i : i + many]) for i in range(0, len(rows), many)]
    return torch.from_numpy(np.concatenate(pieces))
