"""How sure a model is of each row, from its logits.

Numpy alone, and one piece for both: a threshold is used on what it was chosen on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError

Floats = NDArray[np.float64]


def _probability(probabilities: Floats) -> Floats:
    return probabilities.max(axis=1)  # type: ignore[no-any-return]


def _margin(probabilities: Floats) -> Floats:
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]


def _entropy(probabilities: Floats) -> Floats:
    logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
    entropy = -(probabilities * logs).sum(axis=1)
    return np.clip(1.0 - entropy / np.log(probabilities.shape[1]), 0.0, 1.0)  # type: ignore[no-any-return]


#: Name -> from probabilities ``[N, C]`` to ``[N]``, 1 for a row that the model is sure of.
MEASURES: dict[str, Callable[[Floats], Floats]] = {
    "probability": _probability,
    "margin": _margin,
    "entropy": _entropy,
}


def confidence(logits: Any, measure: str = "probability") -> Floats:
    """How sure a model is of each row.

    Args:
        logits: ``[N, C]``, finite.
        measure: ``"probability"``, that of the likeliest class (1 / C to 1); ``"margin"``, its
            distance from the second likeliest (0 to 1); ``"entropy"``, 1 minus the entropy over
            log C (0 to 1).

    Returns:
        ``[N]`` float64, 1 for a row that the model is sure of.

    Raises:
        AttarError: If there is no such measure.

    >>> confidence([[0.0, 0.0], [np.log(3.0), 0.0]]).round(3).tolist()
    [0.5, 0.75]
    >>> confidence([[0.0, 0.0], [np.log(3.0), 0.0]], "margin").round(3).tolist()
    [0.0, 0.5]
    """
    check_measure("confidence", measure)
    values = np.asarray(logits, dtype=np.float64)
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    return MEASURES[measure](shifted / shifted.sum(axis=1, keepdims=True))


def check_measure(owner: str, measure: str) -> None:
    """Raise unless there is such a measure."""
    if measure not in MEASURES:
        raise AttarError(
            f"{owner}: the confidence must be one of {', '.join(MEASURES)}. Got {measure!r}."
        )
