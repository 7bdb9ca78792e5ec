"""The proof of an export whose answers are values, or several labels a row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attar.checks import AttarError
from attar.export.proof import batches, some
from attar.export.runtime import Student


def prove_task(
    owner: str, student: Student, example: Any, expected: Tensor, *, tolerance: float, margin: float
) -> tuple[float, int]:
    """The largest difference, and the rows that get other labels, or an error.

    Args:
        owner: Whose export this is, for the messages.
        student: What was written.
        example: The rows as it takes them.
        expected: ``[N, D]`` float64, what the model says: values, or logits of several labels.
        tolerance: The largest difference: in a probability, or in a value over the standard
            deviation of its column.
        margin: A label may change where its probability lies no further than this from 1/2.

    Raises:
        AttarError: If they differ by more.
    """
    values = student.task == "regression"
    # float32 keeps seven digits: of values that lie far from 0 and close together, few are left.
    least = 0.01 * expected.abs().amax(dim=0) + 1e-12
    spread = torch.maximum(expected.std(dim=0, correction=0), least)
    difference = 0.0
    changed = torch.zeros(len(expected), dtype=torch.bool)
    clear = torch.zeros(len(expected), dtype=torch.bool)
    for rows in batches(len(expected)):
        inputs, wanted = some(example, rows.numpy()), expected[rows]
        if values:
            got = torch.from_numpy(student.values(inputs)).double()
            apart = (got - wanted).abs() / spread
        else:
            logits = torch.from_numpy(student.logits(inputs)).double()
            said = torch.from_numpy(student.predict_proba(inputs)).double()
            odds = wanted.sigmoid()
            apart = torch.maximum((said - odds).abs(), (logits.sigmoid() - odds).abs())
            other = (logits > 0) != (wanted > 0)
            changed[rows] |= other.any(dim=1)
            clear[rows] |= (other & ((odds - 0.5).abs() > margin)).any(dim=1)
        difference = max(difference, float(apart.max()))
    wrong = int(clear.sum())
    if difference > tolerance or wrong:
        what = "values over their standard deviation" if values else "probabilities"
        raise AttarError(
            f"{owner}: the exported file does not answer as the model does, and was not kept: over "
            f"{len(expected)} rows, {what} differ by up to {difference:.2e} (allowed: "
            f"{tolerance:.2e}), and {wrong} rows get other labels. Usual causes: dropout that is "
            "on in eval mode, random numbers in forward, rows that depend on their batch."
        )
    return difference, int(changed.sum())
