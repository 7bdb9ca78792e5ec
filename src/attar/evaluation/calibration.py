"""Temperature scaling: one number, fitted on held-out rows; probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

from torch import Tensor

from attar.checks import check_number
from attar.evaluation.metrics import _labelled, ece, nll
from attar.types import UNLABELLED

#: Newton's method with a bracket needs some ten steps; bisection alone would need fifty.
_STEPS = 100


def fit_temperature(
    logits: Tensor,
    labels: Tensor,
    *,
    low: float = 0.01,
    high: float = 100.0,
    level: float = 0.99,
) -> float:
    r"""The temperature that makes the labels most likely: temperature scaling.

    .. math:: \arg\min_T -\frac{1}{N} \sum_i \log \mathrm{softmax}(z_i / T)_{y_i}

    It moves away from 1 only where the rows say that it should: where 1 lies in the interval of
    the profile likelihood, twice the difference of the summed NLL below the quantile of
    chi-squared with one degree of freedom, it stays 1. On a hundred rows the best temperature
    is as much chance as calibration, and a student that was well calibrated gets worse by it;
    all the more where the same rows chose the student, who then looks better on them than it is.

    Over ``1 / T`` the problem is convex with a single variable, so the minimum is found exactly
    (Newton's method inside a bracket, float64). Dividing all logits of a row by one number keeps
    their order: predictions and accuracy stay as they were. It needs rows that the model was not
    trained on, validation for instance; some hundreds of them show what matters.

    Args:
        logits: ``[N, C]`` floating, finite, of held-out rows.
        labels: ``[N]`` int64 in ``[0, C)``, or ``UNLABELLED``: such rows are left out.
        low: The lowest answer, above 0.
        high: The highest answer.
        level: Of the interval that must not hold 1, in [0, 1). 0 takes the most likely
            temperature whatever the number of rows.

    Returns:
        T in ``[low, high]``: above 1 where the model was too sure of itself, below 1 where it was
        not sure enough, 1 where the rows do not show either. Where every row is right the
        likelihood grows for ever as T falls, so ``low`` is what comes back (or 1, of few rows):
        that says nothing about the model, take more rows. Where the labels are no likelier than
        chance under the logits it is ``high``. Where T changes nothing (each row's logits are all
        the same) it is 1, or the bound that is nearest to it.

    Raises:
        AttarError: If shapes, types, values or bounds are wrong, or no row is labelled.

    Papers: Guo et al. 2017, "On Calibration of Modern Neural Networks"; Wilks 1938, "The
    Large-Sample Distribution of the Likelihood Ratio for Testing Composite Hypotheses".

    >>> import torch
    >>> logits = torch.tensor([[4.0, 0.0]] * 400)
    >>> labels = torch.tensor([0, 0, 0, 1] * 100)  # says 98 %, is right at 75 %
    >>> temperature = fit_temperature(logits, labels)
    >>> round(temperature, 3), round(float((logits / temperature).softmax(dim=1)[0, 0]), 3)
    (3.641, 0.75)
    >>> fit_temperature(logits[:4], labels[:4])  # four rows do not show it
    1.0
    """
    owner = "fit_temperature"
    check_number(owner, "low", low, low=0.0, low_open=True)
    check_number(owner, "high", high, low=low)
    check_number(owner, "level", level, low=0.0, high=1.0, high_open=True)
    logits, labels = _labelled(owner, logits, labels)
    best = _most_likely(logits, labels, low=low, high=high)
    if level > 0 and low <= 1 <= high and _may_be_1(logits, labels, best, level):
        return 1.0
    return best


def _may_be_1(logits: Tensor, labels: Tensor, best: float, level: float) -> bool:
    """Whether the interval of the profile likelihood around the best temperature holds 1."""
    gain = 2 * len(labels) * (nll(logits, labels) - nll(logits / best, labels))
    return gain <= NormalDist().inv_cdf((1 + level) / 2) ** 2  # chi-squared, one degree


def _most_likely(logits: Tensor, labels: Tensor, *, low: float, high: float) -> float:
    """Newton's method inside a bracket, over the inverse temperature."""
    logits = logits - logits.max(dim=1, keepdim=True).values  # what is common cancels
    right = logits.gather(1, labels[:, None])
    if bool((right == 0).all()) and bool((logits < 0).any()):
        return float(low)  # every row is right: the slope below would be 0 by underflow alone
    least, most = 1 / high, 1 / low  # of the inverse temperature, over which it is convex
    at = min(max(1.0, least), most)
    for _ in range(_STEPS):
        probabilities = (at * logits).softmax(dim=1)
        expected = (probabilities * logits).sum(dim=1)
        slope = float(expected.mean() - right.mean())  # of the mean NLL; it never falls
        if slope == 0.0:
            break
        if slope < 0:
            least = at
        else:
            most = at
        spread = probabilities * (logits - expected[:, None]).square()
        bend = float(spread.sum(dim=1).mean())
        following = at - slope / bend if bend > 0 else most if slope < 0 else least
        if not least < following < most:  # over a bound: go there if it is an end, else between
            following = _between(least, most, slope, low=1 / high, high=1 / low)
        if abs(following - at) <= 1e-12 * at:
            break
        at = following
    return min(max(1 / at, low), high)


def _between(least: float, most: float, slope: float, *, low: float, high: float) -> float:
    """Where to look next when Newton's step leaves the bracket."""
    if slope < 0 and most == high:
        return min(high, 16 * least)  # the end was not looked at yet: towards it, in big steps
    if slope > 0 and least == low:
        return max(low, most / 16)
    return float((least * most) ** 0.5)


@dataclass(frozen=True)
class Calibration:
    """The temperature of one model, and what it changes.

    Attributes:
        temperature: Fitted on validation; 1 where that was not possible, or not shown to be
            better than 1.
        validation: ``{"before": {"nll", "ece"}, "after": {...}}``, on the rows of the fit.
        test: The same on other rows: what counts.
        note: Why it is 1; None where it is another one.
    """

    temperature: float
    validation: Mapping[str, Mapping[str, float]]
    test: Mapping[str, Mapping[str, float]]
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def calibrate(
    validation: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], *, high: float = 100.0
) -> Calibration:
    """Fit a temperature on validation and measure it there and on test.

    Args:
        validation: Logits ``[N, C]`` and labels ``[N]`` of the rows to fit on.
        test: The same of the rows to measure on.
        high: The highest temperature, and one over the lowest.

    Raises:
        AttarError: As :func:`fit_temperature`.

    >>> import torch
    >>> rows = torch.tensor([[4.0, 0.0]] * 400), torch.tensor([0, 0, 0, 1] * 100)
    >>> found = calibrate(rows, rows)
    >>> round(found.test["before"]["ece"], 3), round(found.test["after"]["ece"], 3)
    (0.232, 0.0)
    """
    best = fit_temperature(*validation, low=1 / high, high=high, level=0)
    temperature, note = fit_temperature(*validation, low=1 / high, high=high), None
    known = int((validation[1] != UNLABELLED).sum())
    if not 1 / high < best < high:
        note = (
            f"all {known} validation rows are right, so they do not say how sure is too sure"
            if best < 1
            else f"on {known} validation rows the logits say no more than chance"
        )
        temperature = 1.0
    elif temperature == 1.0:
        note = f"{known} validation rows do not show that another one is better (best {best:.3f})"
    before_after = [
        {
            "before": {"nll": nll(logits, labels), "ece": ece(logits, labels)},
            "after": {
                "nll": nll(logits.double() / temperature, labels),
                "ece": ece(logits.double() / temperature, labels),
            },
        }
        for logits, labels in (validation, test)
    ]
    return Calibration(temperature, before_after[0], before_after[1], note)
