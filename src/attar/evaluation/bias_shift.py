"""What to add to each class's logit: the numbers behind :func:`attar.evaluation.correct_bias`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from attar.checks import AttarError, check_labels, check_logits
from attar.types import UNLABELLED

#: Newton steps at most; a handful is usual.
_STEPS = 100
#: How far a mean probability may be from its share.
_ENOUGH = 1e-10


def bias_shift(
    logits: Tensor,
    labels: Tensor | None = None,
    *,
    classes: Sequence[int] | None = None,
    priors: Mapping[int, float] | Sequence[float] | None = None,
    by: str = "nll",
) -> Tensor:
    """What to add to each class's logit; the numbers behind :func:`correct_bias`.

    With ``by="nll"`` the mean probability of each class in question becomes its share ``q_c``.
    That is where ``mean(logsumexp(z + b)) - sum(q_c b_c)`` is lowest, a convex function of the
    shift b; and with ``q_c`` counted on labelled rows it is their negative log-likelihood. So a
    labelled validation set tells no more here than how frequent the classes are.

    Args:
        logits: ``[N, C]`` of the student.
        labels: ``[N]`` int64, :data:`~attar.UNLABELLED` where not known; or None.
        classes: Whose shift may differ from 0; all by default (the shift then adds up to 0), or
            those of ``priors`` where it is a mapping.
        priors: Shares of the classes; counted from the labels by default.
        by: ``"nll"`` or ``"errors"``.

    Returns:
        ``[C]`` float64.

    Example:
        >>> logits = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
        >>> bias_shift(logits, torch.tensor([0, 1, 1, 1]), classes=[1])  # log 3
        tensor([0.0000, 1.0986], dtype=torch.float64)
    """
    check_logits("correct_bias", "the student's answer", logits)
    count = logits.shape[1]
    values = logits.detach().double().cpu()
    known = _known_rows(labels, values)
    if by not in ("nll", "errors"):
        raise AttarError(f"correct_bias: by must be 'nll' or 'errors'. Got {by!r}.")
    if by == "errors" and known is None:
        raise AttarError("correct_bias: by='errors' counts errors, so data needs labels.")
    shares = _counted(known, classes, count) if priors is None else _shares(classes, priors, count)
    fitted_on = values if priors is not None else known[0]  # type: ignore[index]
    shift = _match(fitted_on, shares)
    if by == "errors":
        assert known is not None
        shift = _fewest_errors(*known, shift, list(shares))
    return shift


def _counted(
    known: tuple[Tensor, Tensor] | None, classes: Sequence[int] | None, count: int
) -> dict[int, float]:
    """The share of each class in question among the labelled rows."""
    if known is None:
        raise AttarError(
            "correct_bias: data has no labels, so priors= must say how frequent the classes are, "
            "as {class: share}; or give labelled rows."
        )
    chosen = _chosen(classes, range(count), count)
    counted = torch.bincount(known[1], minlength=count).double() / len(known[1])
    shares = {one: float(counted[one]) for one in chosen}
    for one, share in shares.items():
        if share in (0.0, 1.0):
            raise AttarError(
                f"correct_bias: class {one} is on {'all' if share else 'none'} of the labelled "
                "rows, so its bias cannot be told from them. Name other classes=, give more rows, "
                "or priors=."
            )
    return shares


def _known_rows(labels: Tensor | None, values: Tensor) -> tuple[Tensor, Tensor] | None:
    """Logits and labels of the labelled rows; None where there are none."""
    if labels is None:
        return None
    check_labels("correct_bias", labels, classes=values.shape[1])
    if len(labels) != len(values):
        raise AttarError(
            f"correct_bias: there must be a label a row. Got {len(labels)} for {len(values)} rows."
        )
    labels = labels.cpu()
    rows = labels != UNLABELLED
    return (values[rows], labels[rows]) if bool(rows.any()) else None


def _chosen(classes: Sequence[int] | None, otherwise: Sequence[int], count: int) -> list[int]:
    chosen = list(otherwise if classes is None else classes)
    if not chosen or len(set(chosen)) < len(chosen) or not all(0 <= c < count for c in chosen):
        raise AttarError(
            f"correct_bias: classes must be one or more different numbers from 0 to {count - 1}. "
            f"Got {chosen}."
        )
    return chosen


def _shares(
    classes: Sequence[int] | None, priors: Mapping[int, float] | Sequence[float], count: int
) -> dict[int, float]:
    """The share of each class in question, by its number."""
    if not isinstance(priors, Mapping) and len(priors) != count:
        raise AttarError(
            f"correct_bias: priors must be a mapping from class to share, or {count} shares, one "
            f"a class. Got {len(priors)}."
        )
    given = dict(priors if isinstance(priors, Mapping) else enumerate(priors))
    chosen = _chosen(classes, list(given), count)
    shares = {one: float(given.get(one, math.nan)) for one in chosen}
    total = math.fsum(shares.values())
    whole = len(shares) == count
    good = all(0 < share < 1 for share in shares.values())
    if not good or (abs(total - 1) > 1e-3 if whole else total >= 1):
        raise AttarError(
            "correct_bias: priors must be shares between 0 and 1, 0 and 1 excluded, one for each "
            f"of the classes in question, with the sum {'1' if whole else 'below 1'}. Got {shares}."
        )
    return {one: share / total for one, share in shares.items()} if whole else shares


def _match(logits: Tensor, shares: Mapping[int, float]) -> Tensor:
    """The shift at which the mean probability of each of these classes is its share.

    Newton's method on a convex function. A step is halved until the function falls, so that it
    gets there also from where the classes are hopelessly far off.
    """
    chosen = torch.tensor(list(shares))
    wanted = torch.tensor(list(shares.values()), dtype=torch.float64)
    shift = torch.zeros(logits.shape[1], dtype=torch.float64)

    def value(at: Tensor) -> float:
        return float((logits + at).logsumexp(dim=1).mean() - wanted @ at[chosen])

    now = value(shift)
    for _ in range(_STEPS):
        probabilities = (logits + shift).softmax(dim=1)[:, chosen]  # [N, k]
        mean = probabilities.mean(dim=0)
        slope = mean - wanted
        if float(slope.abs().max()) < _ENOUGH:
            break
        curve = torch.diag(mean) - probabilities.T @ probabilities / len(logits)
        # All classes may move together without any effect: the smallest of the solutions is taken.
        step = torch.linalg.lstsq(curve, slope[:, None], driver="gelsd").solution[:, 0]
        # Where a class has hardly any probability the curve is flat, and a step goes anywhere.
        step = step * min(1.0, 5.0 / max(float(step.abs().max()), 1e-300))
        if float(step @ slope) <= 0:
            step = slope.sign()
        for _ in range(40):
            tried = shift.clone()
            tried[chosen] -= step
            if value(tried) <= now:
                break
            step = step / 2
        else:  # no step lowers it: as exact as the numbers are
            break
        shift, now = tried, value(tried)
    return shift


def _fewest_errors(logits: Tensor, labels: Tensor, shift: Tensor, chosen: Sequence[int]) -> Tensor:
    """From this shift, one class after the other is moved to where the errors are fewest.

    The errors as a function of one class's shift change only where it overtakes another on some
    row, so every value that matters is tried. It stays where it is unless another is better.
    """
    shift = shift.clone()
    for _ in range(10):
        before = shift.clone()
        for one in chosen:
            shift[one] = _best_for(one, logits, labels, shift)
        if torch.equal(before, shift):
            break
    return shift


def _best_for(one: int, logits: Tensor, labels: Tensor, shift: Tensor) -> float:
    others = logits + shift
    others[:, one] = -math.inf
    rival, answer = others.max(dim=1)
    # The row is given to this class where its shift is above the margin.
    margins, order = (rival - logits[:, one]).sort()
    own = (labels[order] == one).double()
    lost = (answer[order] == labels[order]).double()
    # Right rows with the shift just above the first k margins, k = 0 ... N.
    gain = torch.cat([torch.zeros(1, dtype=torch.float64), (own - lost).cumsum(dim=0)])
    now = float(shift[one])
    here = int((margins < now).sum())
    best = float(gain.max())
    if float(gain[here]) == best:
        return now
    edges = torch.cat([margins[:1] - 2.0, margins, margins[-1:] + 2.0])
    middles = (edges[:-1] + edges[1:]) / 2
    places = (gain == best) & (edges[1:] > edges[:-1])  # equal margins: nothing lies between them
    at = middles[places]
    return float(at[(at - now).abs().argmin()])
