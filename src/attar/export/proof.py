"""The proof of an export: what was written answers on real rows as the model does."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attar.checks import AttarError, check_finite, check_logits
from attar.columns import encoded_width
from attar.export.graph import WithProbabilities
from attar.export.runtime import first_line
from attar.types import ask, dense_logits

_CHUNK = 512  # rows of one call while the two are compared: bounds the memory, nothing else


class Answers(Protocol):
    """What was exported, ready to be asked."""

    def logits(self, x: Any) -> NDArray[Any]:
        """``[N, C]`` float32."""
        ...

    def predict_proba(self, x: Any) -> NDArray[Any]:
        """``[N, C]`` float32."""
        ...


def check_names(owner: str, classes: Sequence[str], *, least: int = 2) -> list[str]:
    """The names of the classes, checked; a regression, or a single label, has ``least`` of 1."""
    names = list(classes)
    if isinstance(classes, str) or not all(isinstance(name, str) for name in names):
        raise AttarError(
            f"{owner}: classes must be names (strings), one a class. Got {str(classes)[:100]}."
        )
    if len(names) < least or len(set(names)) < len(names):
        raise AttarError(
            f"{owner}: classes must be at least {'two' if least == 2 else 'one'} different names. "
            f"Got {str(names)[:100]}."
        )
    return names


def check_example(
    owner: str, example: Tensor, columns: Sequence[Mapping[str, Any]] | None = None
) -> Tensor:
    """Real rows ``[N, ...]`` on the CPU, checked."""
    if not isinstance(example, Tensor) or example.dtype not in (torch.float32, torch.uint8):
        kind = example.dtype if isinstance(example, Tensor) else type(example).__name__
        raise AttarError(
            f"{owner}: example must be a float32 or uint8 tensor of real rows. Got {kind}. The "
            f"file will take numbers of the example's type."
        )
    if example.ndim < 2 or example.numel() == 0:
        raise AttarError(
            f"{owner}: example must have shape [N, ...] with at least one row. Got "
            f"{tuple(example.shape)}. A single row needs its batch axis: example[None]."
        )
    if columns is not None and tuple(example.shape[1:]) != (encoded_width(columns),):
        raise AttarError(
            f"{owner}: example must have the {encoded_width(columns)} features that columns "
            f"describe. Got shape {tuple(example.shape)}."
        )
    check_finite(owner, "example", example)
    return example.detach().cpu().contiguous()


def copy_of(owner: str, model: nn.Module) -> nn.Module:
    """A copy on the CPU: the model itself is not touched."""
    if not isinstance(model, nn.Module):
        raise AttarError(f"{owner}: model must be a torch module. Got {type(model).__name__}.")
    try:
        return copy.deepcopy(model).cpu()
    except RuntimeError as error:
        raise AttarError(f"{owner}: the model cannot be copied: {error}") from error


def reference(owner: str, wrapper: WithProbabilities, example: Tensor, classes: int) -> Tensor:
    """What the model says: logits ``[N, C]``, float64."""
    try:
        with torch.no_grad():
            parts = [
                dense_logits("export", ask(wrapper.model, rows))
                for rows in torch.split(example, _CHUNK)
            ]
    except Exception as error:
        raise AttarError(
            f"{owner}: the model cannot answer the example of shape {tuple(example.shape)}, "
            f"{example.dtype}: {first_line(error)}"
        ) from error
    if not isinstance(parts[0], Tensor):
        raise AttarError(
            f"{owner}: the model must answer with a tensor of logits [N, C]. Got "
            f"{type(parts[0]).__name__}. Wrap it in a module that returns the logits alone."
        )
    logits = torch.cat(parts)
    least = 2 if wrapper.task == "multiclass" else 1
    check_logits(owner, "the model's answer", logits, rows=len(example), least=least)
    if logits.shape[1] != classes:
        raise AttarError(
            f"{owner}: classes must name each class of the model. Got {classes} names for "
            f"{logits.shape[1]} classes."
        )
    check_finite(owner, "the model's logits", logits)
    return logits.double()


def prove(
    owner: str,
    student: Answers,
    example: Any,
    logits: Tensor,
    *,
    tolerance: float,
    margin: float,
) -> tuple[float, int]:
    """The largest difference in probability, and the rows with another class, or an error.

    ``example`` are the rows ``[N, ...]`` as what was exported takes them, or columns by name.
    """
    difference = 0.0
    changed = torch.zeros(len(logits), dtype=torch.bool)
    far_apart = torch.zeros(len(logits), dtype=torch.bool)
    for rows in batches(len(logits)):
        expected = torch.softmax(logits[rows], dim=1)
        inputs = some(example, rows.numpy())
        probabilities = torch.from_numpy(student.predict_proba(inputs)).double()
        from_logits = torch.softmax(torch.from_numpy(student.logits(inputs)).double(), dim=1)
        for got in (probabilities, from_logits):
            difference = max(difference, float((got - expected).abs().max()))
        best = expected.topk(2, dim=1)
        changed[rows] |= from_logits.argmax(dim=1) != best.indices[:, 0]
        far_apart[rows] = best.values[:, 0] - best.values[:, 1] > margin
    wrong = int((changed & far_apart).sum())
    if difference > tolerance or wrong:
        raise AttarError(
            f"{owner}: the exported file does not answer as the model does, and was not kept: "
            f"over {len(logits)} rows, probabilities differ by up to {difference:.2e} (allowed: "
            f"{tolerance:.2e}), and {wrong} rows whose two likeliest classes are more than "
            f"{margin:.2e} apart get another class (allowed: 0). Usual causes: dropout that is on "
            f"in eval mode, random numbers in forward, rows that depend on their batch."
        )
    return difference, int(changed.sum())


def some(example: Any, rows: NDArray[Any]) -> Any:
    """Some of the rows, as they are given."""
    if isinstance(example, Mapping):
        return {name: values[rows] for name, values in example.items()}
    return (example.numpy() if isinstance(example, Tensor) else example)[rows]


def batches(rows: int) -> Iterator[Tensor]:
    """Positions ``[B]`` of all rows, in batches of 1, 7 and more; few rows are repeated."""
    order = torch.arange(max(rows, 1 + 7 + 16)) % rows
    yield order[:1]
    yield order[1:8]
    yield from torch.split(order[8:], _CHUNK)
