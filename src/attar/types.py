"""The nouns that every part of Attar shares.

Nothing here is to be inherited from: a teacher is anything callable that takes a
:class:`Batch` and returns :class:`Outputs`; data is anything with the few attributes of
:class:`Data`. Importing this module loads nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from attar.checks import UNLABELLED as UNLABELLED
from attar.checks import AttarError
from attar.targets import SampledTargets as SampledTargets
from attar.targets import SparseTargets as SparseTargets
from attar.targets import TopKTargets as TopKTargets

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: An id names the exact input that was seen: ``id = view * VIEW + row``.
VIEW = 2**40


@dataclass(frozen=True)
class Mixture:
    """What the rows of a batch are made of, where views mix rows (mixup, cutmix).

    Attributes:
        labels: ``[N, K]`` int64, the label of each ingredient, :data:`UNLABELLED` where not
            known. The first column is the row itself.
        shares: ``[N, K]`` float32, 0 or more, a row sums to 1.
    """

    labels: Tensor
    shares: Tensor

    def to(self, device: torch.device | str) -> Mixture:
        """The same on another device."""
        return Mixture(self.labels.to(device), self.shares.to(device))

    @property
    def known(self) -> Tensor:
        """``[N]`` bool: is the label of every ingredient known?"""
        return ((self.labels != UNLABELLED) | (self.shares == 0)).all(dim=1)


@dataclass(frozen=True)
class Batch:
    """What a model is given.

    Attributes:
        inputs: A tensor ``[N, ...]``, or a mapping of such tensors (text).
        ids: ``[N]`` int64; names the exact input seen, ``view * VIEW + row``.
        labels: ``[N]`` int64 classes, :data:`UNLABELLED` where not known; ``[N, D]`` floating
            for values or several labels a row, NaN where not known; None without labels.
        weights: ``[N]`` float sample weights; None where all weigh the same.
        mixture: What mixed rows are made of, and with which labels; None where no view mixes.
            A mixed row has no label of its own in ``labels``.
    """

    inputs: Any
    ids: Tensor
    labels: Tensor | None = None
    weights: Tensor | None = None
    mixture: Mixture | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device; the batch itself where it is there already."""
        if self.ids.device == _device(device):
            return self
        inputs: Any
        if isinstance(self.inputs, Mapping):
            inputs = {name: value.to(device) for name, value in self.inputs.items()}
        else:
            inputs = self.inputs.to(device)
        return replace(
            self,
            inputs=inputs,
            ids=self.ids.to(device),
            labels=None if self.labels is None else self.labels.to(device),
            weights=None if self.weights is None else self.weights.to(device),
            mixture=None if self.mixture is None else self.mixture.to(device),
        )


def _device(device: torch.device | str) -> torch.device:
    import torch

    return torch.device(device)


@dataclass(frozen=True)
class Outputs:
    """What a model says, student and teacher alike.

    Attributes:
        logits: ``[N, C]``; log-probabilities where a teacher gives only probabilities. A
            teacher's may be :class:`SparseTargets`, where it was asked about too many classes to
            keep them all: :func:`~attar.losses.kl` takes them as they are.
        features: Named inner activations, for losses that compare them.
    """

    logits: Tensor | SparseTargets
    features: Mapping[str, Tensor] = field(default_factory=dict)


def dense_logits(owner: str, outputs: Outputs) -> Tensor:
    """The logits of an answer as a tensor ``[N, C]``, for what has no meaning without all of them.

    Raises:
        AttarError: If they are :class:`SparseTargets`; ``owner`` says who needs them.
    """
    if isinstance(outputs.logits, SparseTargets):
        raise AttarError(
            f"{owner}: the logits of all classes are needed here, and the answer is "
            f"{type(outputs.logits).__name__}, which names only some of its "
            f"{outputs.logits.classes} classes. Ask a teacher, or a store that was labelled "
            f"without top_k= and sample=."
        )
    return outputs.logits


class Teacher(Protocol):
    """Anything callable that answers a batch; nothing to inherit."""

    def __call__(self, batch: Batch) -> Outputs:
        """The teacher's answer for each row of the batch."""
        ...


@runtime_checkable
class Data(Protocol):
    """Rows that can be asked for by position, in any order, any number of times.

    Row *numbers* are those of the user's whole data set and survive splitting: position ``i``
    of a split holds row number ``rows[i]``. View 0 of a row is the row as it is; the other
    views are seeded transforms of it.
    """

    @property
    def rows(self) -> Tensor:
        """``[N]`` int64 row numbers of the user's whole data set, all different."""
        ...

    @property
    def labels(self) -> Tensor | None:
        """``[N]`` int64 (:data:`UNLABELLED`: not known) or ``[N, D]`` floating (NaN), or None."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class, in the order of the labels; of each column of ``[N, D]``."""
        ...

    @property
    def view_count(self) -> int:
        """How many views each row has, view 0 (the row itself) included."""
        ...

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor, views: Tensor | int = 0) -> Batch:
        """The rows at these positions ``[B]`` (int64), each in its view."""
        ...

    def take(self, indices: Tensor) -> Data:
        """The same data with only these positions; row numbers and views stay."""
        ...

    def fingerprint(self) -> str:
        """A hash of the contents: inputs, row numbers and the definition of the views."""
        ...


def is_known(labels: Tensor) -> Tensor:
    """``[N]`` bool: which rows have a label; of several columns, at least one of them.

    >>> import torch
    >>> is_known(torch.tensor([1, UNLABELLED])).tolist()
    [True, False]
    >>> is_known(torch.tensor([[1.0, torch.nan], [torch.nan, torch.nan]])).tolist()
    [True, False]
    """
    if labels.is_floating_point():
        return ~labels.isnan().all(dim=1)
    known: Tensor = labels != UNLABELLED
    return known


def unknown_labels(count: int, like: Tensor | None = None) -> Tensor:
    """Labels of the kind of ``like`` (classes by default), none of which is known.

    >>> unknown_labels(2).tolist()
    [-100, -100]
    """
    import torch

    if like is not None and like.is_floating_point():
        return like.new_full((count, like.shape[1]), torch.nan)
    return torch.full((count,), UNLABELLED)


def ask(model: Any, inputs: Any) -> Outputs:
    """Call a model on inputs, positionally or by name, whatever form its answer has.

    Args:
        model: Called with a tensor, or with the items of a mapping as keyword arguments. It may
            return logits, :class:`Outputs`, or an object with ``.logits`` (Hugging Face).
        inputs: A tensor ``[N, ...]`` or a mapping of tensors.
    """
    answer = model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    if isinstance(answer, Outputs):
        return answer
    return Outputs(logits=getattr(answer, "logits", answer))
