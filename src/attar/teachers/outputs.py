"""Logits or probabilities: decided once for each teacher, and held to.

Taking probabilities for logits, or the other way round, raises no error by itself: the softmax
of a softmax is nearly flat, and the student learns from it next to nothing. So the first answer
decides, and a later one that contradicts it raises.
"""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from torch import Tensor

from attar.checks import AttarError, check_finite, check_number

Outputs = Literal["auto", "logits", "probabilities"]

#: How far the sum of a row of probabilities may be from 1.
SUM_TOLERANCE = 1e-3

# Answers in another device's memory are held against the decision only now and then, since a
# look at them waits for the device.
_LOOK_EVERY = 64
# A few rows of logits can look like probabilities by chance; so many cannot.
_ROWS_TO_BE_SURE = 8


class OutputKind:
    """Turns what one teacher says into logits.

    Args:
        outputs: ``"logits"``, ``"probabilities"``, or ``"auto"``: probabilities if every value of
            the first answer lies in [0, 1] and every row sums to 1 within 1e-3, else logits.
        owner: Whose answers these are, for the messages.
        floor: The least probability, at least 0 and below 1. What is smaller is raised to it and
            the row is divided by its sum; so a zero, which no logit can express, stays defined
            at every temperature.

    Raises:
        AttarError: If ``outputs`` or ``floor`` is none of these.

    Example:
        >>> kind = OutputKind("auto", owner="a forest")
        >>> logits = kind(torch.tensor([[0.25, 0.75], [1.0, 0.0]]))
        >>> [[round(x, 4) for x in row] for row in logits.tolist()]
        [[-1.3863, -0.2877], [-0.0, -13.8155]]
        >>> kind.decided
        'probabilities'
    """

    def __init__(self, outputs: Outputs, *, owner: str, floor: float = 1e-6) -> None:
        if outputs not in ("auto", "logits", "probabilities"):
            raise AttarError(
                f"The 'outputs' parameter of {owner} must be 'auto', 'logits' or 'probabilities'. "
                f"Got {outputs!r} instead."
            )
        check_number(owner, "floor", floor, low=0.0, high=1.0, high_open=True)
        self.requested: Outputs = outputs
        self.decided: Outputs = outputs
        self.owner = owner
        self.floor = float(floor)
        self._answers = 0

    def __call__(self, answer: Tensor, *, ids: Tensor | None = None) -> Tensor:
        """Float32 logits ``[N, C]`` from an answer ``[N, C]``.

        Raises:
            AttarError: If the answer contradicts what was decided or asked for.
        """
        looked = answer.is_cpu or self.decided == "auto" or self._answers % _LOOK_EVERY == 0
        self._answers += 1
        if looked and len(answer):
            self._hold(answer, ids)
        if self.decided == "logits":
            return answer.float()
        return log_probabilities(answer, floor=self.floor)

    def _hold(self, answer: Tensor, ids: Tensor | None) -> None:
        probabilities = looks_like_probabilities(answer)
        if self.decided == "auto":
            check_finite(self.owner, "the answer", answer, ids=ids)
            self.decided = "probabilities" if probabilities else "logits"
            inside = not probabilities and bool(((answer >= 0) & (answer <= 1)).all())
            if inside and len(answer) >= _ROWS_TO_BE_SURE:
                warnings.warn(
                    f"{self.owner}: all values of the first answer lie in [0, 1], but the rows do "
                    f"not sum to 1, so they are taken for logits. If they are scores of another "
                    f"kind, turn them into probabilities first; if they are logits, say "
                    f"outputs='logits'.",
                    stacklevel=4,
                )
        elif self.decided == "probabilities" and not probabilities:
            check_finite(self.owner, "the answer", answer, ids=ids)
            sums = answer.sum(dim=1)
            raise AttarError(
                f"{self.owner}: {self._why()} probabilities, in [0, 1] and with rows that sum to "
                f"1. Got values from {float(answer.min()):.4g} to {float(answer.max()):.4g} and "
                f"sums from {float(sums.min()):.4g} to {float(sums.max()):.4g}. If these are "
                f"logits, say outputs='logits'."
            )
        elif (
            self.decided == "logits"
            and self.requested == "auto"
            and probabilities
            and len(answer) >= _ROWS_TO_BE_SURE
        ):
            raise AttarError(
                f"{self.owner}: {self._why()} logits, but this one looks like probabilities in all "
                f"of its {len(answer)} rows. Say outputs='logits' or outputs='probabilities'."
            )

    def _why(self) -> str:
        if self.requested == "auto":
            return "the first answer was taken for"
        return "the answers must be"


def looks_like_probabilities(answer: Tensor) -> bool:
    """Whether all values lie in [0, 1] and all rows sum to 1 within 1e-3."""
    low, high = torch.aminmax(answer)
    if not (float(low) >= -1e-6 and float(high) <= 1 + 1e-6):
        return False
    return float((answer.float().sum(dim=1) - 1).abs().max()) <= SUM_TOLERANCE


def log_probabilities(probabilities: Tensor, *, floor: float) -> Tensor:
    """Float32 log-probabilities ``[N, C]``, with what is below ``floor`` raised to it first."""
    raised = probabilities.clamp(min=floor)
    return (raised / raised.sum(dim=1, keepdim=True)).log().float()
