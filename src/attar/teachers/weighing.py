"""Weights and temperatures of an ensemble, fitted to labelled rows; useless members are dropped."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from attar.checks import AttarError, check_number
from attar.evaluation import fit_temperature
from attar.teachers.combine import fit_weights
from attar.teachers.ensemble import Combine, EnsembleTeacher
from attar.types import UNLABELLED, Data, dense_logits

#: Rows that the members are asked about at once.
_ROWS = 8192


def weigh(teacher: EnsembleTeacher, data: Data, *, least: float = 0.05) -> EnsembleTeacher:
    """The same ensemble with the weights that minimise its NLL, without members of no use.

    Equal weights take a strong and a weak member, or one whose probabilities are far too sure, for
    the same; a single bad member can pull a stack below its best one. Each member is asked about
    the labelled rows, which it must not know by heart: those that :func:`cross_fit` made label
    them out of fold. A member whose weight is small is dropped and the rest is fitted again: it
    would cost its size and its time for nothing.

    A member that is too sure, or not sure enough, is mixed at a temperature of its own, where that
    makes the mixture better (:func:`attar.evaluation.fit_temperature`): a forest that is right as
    often as boosted trees, but never sure, would be dropped for its doubts alone.

    Args:
        teacher: The ensemble; what weights it had does not matter.
        data: Rows with labels; view 0 of those that are labelled is asked about.
        least: Members with a smaller weight than this are dropped, from 0 to 0.5.

    Returns:
        A new ensemble of the members that are left, in their order, with their ``temperatures``.
        Its name says the weights.

    Raises:
        AttarError: If no row is labelled, or the ensemble has weights for single rows.

    Example:
        >>> from attar.data import ArrayData
        >>> from attar.teachers import GivenTeacher
        >>> rows = ArrayData(torch.zeros(4, 1), torch.tensor([0, 1, 1, 0]))
        >>> good = GivenTeacher([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]], name="good")
        >>> bad = GivenTeacher([[0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.4, 0.6]], name="bad")
        >>> weigh(EnsembleTeacher([good, bad]), rows).name
        '1.00 good'

    References:
        Breiman 1996, *Stacked Regressions* (Machine Learning): weights of 0 or more, on answers
        that were given out of fold
    """
    check_number("weigh", "least", least, low=0, high=0.5)
    if teacher.has_row_weights:
        raise AttarError(
            "weigh: this ensemble has weights for single rows already. Make one without them, "
            "EnsembleTeacher(teacher.members)."
        )
    labels = data.labels
    known = (labels != UNLABELLED).nonzero()[:, 0] if labels is not None else torch.empty(0)
    if labels is None or labels.is_floating_point() or not len(known):
        raise AttarError("weigh: no row is labelled with a class, so there is nothing to fit to.")
    parts = [data.batch(part) for part in torch.split(known, _ROWS)]
    with torch.no_grad():
        said = torch.stack(
            [
                torch.cat([dense_logits("weigh", member(part)).float().cpu() for part in parts])
                for member in teacher.members
            ]
        )
    truth = labels.cpu()[known.cpu()]
    ones, own = torch.ones(len(said)), torch.tensor([_own(member, truth) for member in said])
    found = [
        (*_fitted(teacher.combine, said / some[:, None, None], truth, least), some)
        for some in ([ones] if bool((own == 1).all()) else [ones, own])
    ]
    left, weights, _, temperatures = min(found, key=lambda one: one[2])
    members = [teacher.members[place] for place in left]
    name = " + ".join(
        f"{weight:.2f} {member.name.removeprefix('cross-fitted ')}"
        for weight, member in zip(weights.tolist(), members, strict=True)
    )
    return EnsembleTeacher(
        members,
        weights=weights,
        temperatures=temperatures[left],
        combine=teacher.combine,
        name=name,
    )


def _own(logits: Tensor, truth: Tensor) -> float:
    """A member's temperature; no member is made a step or a constant."""
    return fit_temperature(logits, truth, low=0.05, high=20)


def _fitted(
    combine: Combine, said: Tensor, truth: Tensor, least: float
) -> tuple[list[int], Tensor, float]:
    """The members that are left, their weights, and the NLL of their mixture."""
    left = list(range(len(said)))
    while True:
        weights = fit_weights(said[left], truth, combine=combine)
        worst = int(weights.argmin())
        if len(left) == 1 or float(weights[worst]) >= least:
            mixed = combine(said[left].double(), weights.double())
            return left, weights, float(F.cross_entropy(mixed, truth))
        del left[worst]
