"""A function as a teacher: a remote service, a rule, another library's model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from attar.checks import AttarError, check_finite
from attar.store import answers_fingerprint
from attar.teachers import outputs as kinds
from attar.teachers.protocol import answer_tensor, to_numpy
from attar.types import Batch, Outputs, dense_logits


class FunctionTeacher:
    """A function from inputs to probabilities or logits.

    What decides its answers cannot be read from a function, so a store made with it says that
    the teacher is not verified: it is recognised by its ``name``, or without one by its answers
    to the first eight rows.

    Args:
        function: Takes the inputs of a batch as a numpy array ``[N, ...]`` (or a mapping of
            such) and returns an array ``[N, C]``.
        name: Its name, and that of its version: change it when the answers change.
        outputs: ``"auto"``, ``"logits"`` or ``"probabilities"``.
        floor: The least probability, for a function that gives probabilities.

    Example:
        >>> import torch
        >>> teacher = FunctionTeacher(lambda x: x * 2, name="doubling 1")
        >>> teacher(Batch(torch.tensor([[3.0, 4.0]]), torch.tensor([0]))).logits
        tensor([[6., 8.]])
    """

    verified = False
    parameters: int | None = None
    bytes: int | None = None

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        name: str | None = None,
        outputs: kinds.Outputs = "auto",
        floor: float = 1e-6,
    ) -> None:
        self.name = name or getattr(function, "__name__", None) or type(function).__name__
        self._function = function
        self._named = name is not None
        self._probed: str | None = None
        self._kind = kinds.OutputKind(outputs, owner=f"the teacher {self.name!r}", floor=floor)

    @property
    def outputs(self) -> str:
        """``"logits"`` or ``"probabilities"``; ``"auto"`` before the first answer."""
        return self._kind.decided

    def __call__(self, batch: Batch) -> Outputs:
        """Logits ``[N, C]`` float32 on the device of ``batch.ids``.

        Raises:
            AttarError: If the function returns another shape, or NaN or infinity.
        """
        inputs: Any
        if isinstance(batch.inputs, Mapping):
            inputs = {name: to_numpy(value) for name, value in batch.inputs.items()}
        else:
            inputs = to_numpy(batch.inputs)
        owner = self._kind.owner
        answer = answer_tensor(owner, self._function(inputs), rows=len(batch))
        check_finite(owner, "the answer", answer, ids=batch.ids)
        return Outputs(self._kind(answer, ids=batch.ids).to(batch.ids.device))

    def probe(self, batch: Batch) -> None:
        """Remember the answers to these rows as the fingerprint; not asked if it has a name."""
        if not self._named:
            self._probed = answers_fingerprint(dense_logits(self.name, self(batch)))

    def fingerprint(self) -> str:
        """The hash of the name, else of the answers to the probe.

        Raises:
            AttarError: If it has no name and was not probed.
        """
        if not self._named and self._probed is None:
            raise AttarError(
                f"{self._kind.owner}: a function is recognised by its name or by its answers. Give "
                f"name=..., or call probe(batch) with the first rows."
            )
        identity = self.name if self._named else self._probed
        text = f"function\n{identity}\n{self._kind.requested}\n{self._kind.floor!r}"
        return hashlib.sha256(text.encode()).hexdigest()
