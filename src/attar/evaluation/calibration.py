"""Temperature scaling: one number, fitted on held-out rows; probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from attar.checks import check_number
from attar.evaluation.metrics import _labelled, ece, nll

#: Newton's method with a bracket needs some ten steps; bisection alone would need fifty.
_STEPS = 100


def fit_temperature(
    logits: Tensor, labels: Tensor, *, low: float = 0.01, high: float = 100.0
) -> float:
    r"""The temperature that makes the labels most likely: temperature scaling.

    .. math:: \arg\min_T -\frac{1}{N} \sum_i \log \mathrm{softmax}(z_i / T)_{y_i}

    Over ``1 / T`` the problem is convex with a single variable, so the minimum is found exactly
    (Newton's method inside a bracket, float64). Dividing all logits of a row by one number keeps
    their order: predictions and accuracy stay as they were. It needs rows that the model was not
    trained on, validation for instance, and few of them: there is one number to find.

    Args:
        logits: ``[N, C]`` floating, finite, of held-out rows.
        labels: ``[N]`` int64 in ``[0, C)``, or ``UNLABELLED``: such rows are left out.
        low: The lowest answer, above 0.
        high: The highest answer.

    Returns:
        T in ``[low, high]``: above 1 where the model was too sure of itself, below 1 where it was
        not sure enough. Where every row is right the likelihood grows for ever as T falls, so
        ``low`` is what comes back: that says nothing about the model, take more rows. Where the
        labels are no likelier than chance under the logits it is ``high``. Where T changes
        nothing (each row's logits are all the same) it is 1, or the bound that is nearest to it.

    Raises:
        AttarError: If shapes, types, values or bounds are wrong, or no row is labelled.

    Paper: Guo et al. 2017, "On Calibration of Modern Neural Networks".

    >>> import torch
    >>> logits = torch.tensor([[4.0, 0.0]] * 4)
    >>> labels = torch.tensor([0, 0, 0, 1])  # says 98 %, is right at 75 %
    >>> temperature = fit_temperature(logits, labels)
    >>> round(temperature, 3), round(float((logits / temperature).softmax(dim=1)[0, 0]), 3)
    (3.641, 0.75)
    """
    owner = "fit_temperature"
    check_number(owner, "low", low, low=0.0, low_open=True)
    check_number(owner, "high", high, low=low)
    logits, labels = _labelled(owner, logits, labels)
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
        temperature: Fitted on validation; 1 where that was not possible.
        validation: ``{"before": {"nll", "ece"}, "after": {...}}``, on the rows of the fit.
        test: The same on other rows: what counts.
        note: Why there was no fit; None where there was one.
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
    >>> rows = torch.tensor([[4.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1])
    >>> found = calibrate(rows, rows)
    >>> round(found.test["before"]["ece"], 3), round(found.test["after"]["ece"], 3)
    (0.232, 0.0)
    """
    temperature, note = fit_temperature(*validation, low=1 / high, high=high), None
    if not 1 / high < temperature < high:
        many = len(validation[0])
        note = (
            f"all {many} validation rows are right, so they do not say how sure is too sure"
            if temperature < 1
            else f"on {many} validation rows the logits say no more than chance"
        )
        temperature = 1.0
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
