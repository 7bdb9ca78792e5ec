"""Soft targets that are there already, as a teacher."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import torch
from torch import Tensor

from attar.checks import AttarError, check_finite
from attar.teachers import outputs as kinds
from attar.teachers.protocol import answer_tensor
from attar.types import VIEW, Batch, Outputs


class GivenTeacher:
    """Answers that were computed elsewhere, an array with one row for each row of the data.

    For whoever has the predictions of a model and not the model: out-of-fold predictions of a
    stack, the answers of an API in a file. The inputs are not looked at.

    Args:
        answers: ``[N, C]`` logits or probabilities.
        rows: ``[N]`` the row number of each answer; 0 to N - 1 if not given.
        name: What people call it.
        outputs: ``"auto"``, ``"logits"`` or ``"probabilities"``; or ``"values"``, for what is
            taken as it is: the values of a regression, the log-odds of several labels.
        floor: The least probability.
        parameters: How many the model has that gave the answers; None if unknown.
        bytes: Its size; None if unknown.

    Raises:
        AttarError: If the answers are not a finite ``[N, C]``, or a row number stands twice.

    Example:
        >>> teacher = GivenTeacher([[0.9, 0.1], [0.2, 0.8]], rows=[7, 3])
        >>> teacher(Batch(torch.zeros(1, 2), torch.tensor([3]))).logits.exp()
        tensor([[0.2000, 0.8000]])
    """

    verified = True

    def __init__(
        self,
        answers: Any,
        *,
        rows: Any = None,
        name: str = "given",
        outputs: kinds.Outputs | Literal["values"] = "auto",
        floor: float = 1e-6,
        parameters: int | None = None,
        bytes: int | None = None,
    ) -> None:
        self.name, self.parameters, self.bytes = name, parameters, bytes
        owner = f"the teacher {name!r}"
        numbers = torch.arange(len(answers)) if rows is None else torch.as_tensor(rows)
        if numbers.dtype.is_floating_point or numbers.ndim != 1 or len(numbers) != len(answers):
            raise AttarError(
                f"{owner}: rows must be one whole number for each of the {len(answers)} answers. "
                f"Got {numbers.dtype} of shape {tuple(numbers.shape)}."
            )
        self._rows, order = numbers.to(torch.int64).sort()
        if bool((self._rows[1:] == self._rows[:-1]).any()):
            raise AttarError(f"{owner}: rows must name every row once; some stand there again.")
        least = 1 if outputs == "values" else 2
        said = answer_tensor(owner, answers, rows=len(numbers), least=least)
        check_finite(owner, "the answers", said, ids=numbers)
        #: ``"logits"``, ``"probabilities"`` or ``"values"``.
        self.outputs: str = outputs
        if outputs != "values":
            kind = kinds.OutputKind(outputs, owner=owner, floor=floor)
            said = kind(said, ids=numbers)
            self.outputs = kind.decided
        self._logits = said[order].to(torch.float32)

    def __call__(self, batch: Batch) -> Outputs:
        """Logits ``[N, C]`` float32 on the device of ``batch.ids``.

        Raises:
            AttarError: If there is no answer for a row, or a view of one is asked for.
        """
        ids = batch.ids.cpu()
        places = torch.searchsorted(self._rows, ids).clamp_(max=len(self._rows) - 1)
        if not torch.equal(self._rows[places], ids):
            missing = int(ids[self._rows[places] != ids][0])
            raise AttarError(
                f"the teacher {self.name!r}: there is no answer for row {missing % VIEW} in view "
                f"{missing // VIEW}. Give an answer for every row, and train without views."
            )
        return Outputs(self._logits[places].to(batch.ids.device))

    def fingerprint(self) -> str:
        """The hash of the answers and their row numbers."""
        digest = hashlib.sha256(b"given\n")
        for tensor in (self._rows, self._logits):
            digest.update(_bytes(tensor))
        return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()
