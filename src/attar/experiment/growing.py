"""Students that are not trained step by step, but built in one go: trees."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attar.checks import AttarError
from attar.students import TreeEnsemble
from attar.students.trees import soft_and_hard
from attar.types import Batch, Data, Teacher, dense_logits

#: Temperatures to choose from: below 1 the teacher's answers are sharpened, towards its argmax.
TEMPERATURES = (1.0, 0.5, 0.25)


def grow(
    student: TreeEnsemble,
    data: Data,
    teacher: Teacher | None = None,
    *,
    temperature: float = 1.0,
    alpha: float = 1.0,
    smoothing: float = 0.0,
    pseudo: bool = False,
    pseudo_labels: bool = False,
    seed: int = 0,
) -> None:
    """Build the trees of a student from all rows of some data, each in view 0.

    Args:
        student: The trees, of the right size.
        data: One tensor a row; rows without a label need the teacher.
        teacher: Whose soft targets they learn; None: labels alone.
        temperature: That the teacher's logits are divided by, above 0.
        alpha: Their weight, where a row has a label; the label has the rest.
        smoothing: Of labels, where there is no teacher.
        pseudo: Take the teacher's argmax as the label of every row.
        pseudo_labels: Take it as the label of the rows that have none.
        seed: See :meth:`attar.students.TreeEnsemble.fit`.

    Raises:
        AttarError: If the inputs are not one tensor.
    """
    batch, inputs = _all_rows(data)
    classes = len(data.classes)
    labels = torch.full((len(data),), -1) if batch.labels is None else batch.labels
    said = None
    if teacher is not None:
        with torch.no_grad():
            logits = dense_logits("grow", teacher(batch)).double()
            said = (logits / temperature).softmax(dim=1)
    if pseudo:
        assert said is not None
        labels, said = said.argmax(dim=1), None
    if pseudo_labels and said is not None:
        labels = torch.where(labels < 0, said.argmax(dim=1), labels)
    targets = soft_and_hard(labels, classes=classes, said=said, alpha=alpha, smoothing=smoothing)
    student.fit(inputs, targets, weights=batch.weights, seed=seed)


def grow_values(
    student: TreeEnsemble,
    data: Data,
    teacher: Teacher | None = None,
    *,
    alpha: float = 1.0,
    seed: int = 0,
) -> None:
    """Build trees that give values, from all rows of some data.

    A squared error to the teacher's values and one to the labels, weighed with ``alpha`` and the
    rest, are one squared error to the weighed mean of both, but for a constant.

    Args:
        student: The trees, of the right size.
        data: One tensor a row, with labels ``[N, D]``; NaN where one is not known: there the
            teacher's word stands alone, and without a teacher the row is left out.
        teacher: Whose values they learn; None: labels alone.
        alpha: Their weight.
        seed: See :meth:`attar.students.TreeEnsemble.fit`.

    Raises:
        AttarError: If the inputs are not one tensor.
    """
    batch, inputs = _all_rows(data)
    assert batch.labels is not None
    targets, weights = batch.labels.double(), batch.weights
    if teacher is None:
        known = ~targets.isnan().any(dim=1)
        inputs, targets = inputs[known], targets[known]
        weights = None if weights is None else weights[known]
    else:
        with torch.no_grad():
            said = dense_logits("grow", teacher(batch)).double()
        targets = torch.where(targets.isnan(), said, alpha * said + (1 - alpha) * targets)
    student.fit(inputs, targets, weights=weights, values=True, seed=seed)


def _all_rows(data: Data) -> tuple[Batch, Tensor]:
    batch = data.batch(torch.arange(len(data)))
    if not isinstance(batch.inputs, Tensor):
        raise AttarError("grow: trees take one tensor. These inputs are a mapping; train mlp.")
    return batch, batch.inputs


def at_most_one(temperature: Any) -> list[float]:
    """The temperatures to try for trees.

    A network says at T what the teacher says at T, and so both are softened; a tree's answers are
    those that it was built on. There only T of 1 and less makes sense: what is higher counts as 1.

    Example:
        >>> at_most_one("auto"), at_most_one(4.0), at_most_one([0.5, 2.0, 4.0])
        ([1.0, 0.5, 0.25], [1.0], [0.5, 1.0])
    """
    if isinstance(temperature, str):
        return list(TEMPERATURES)
    values = temperature if isinstance(temperature, list | tuple) else [temperature]
    return list(dict.fromkeys(min(1.0, float(value)) for value in values))
