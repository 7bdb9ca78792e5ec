"""The verdict on a regression: did the teacher's values help?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from attar.checks import AttarError, check_number
from attar.evaluation.compare import MARGIN_OF_GAP, SMALLEST_MARGIN
from attar.evaluation.intervals import Floats, Interval, bootstrap_ratio, crossed_interval


@dataclass(frozen=True)
class ValueComparison:
    """What the controlled experiment on a regression showed.

    Errors are squared errors over the variance of the labels, so a difference of 0.01 is one
    point of R^2.

    Attributes:
        verdict: ``"BEATS"``, ``"NO GAIN"``, ``"WORSE"`` or ``"INCONCLUSIVE"``.
        reason: One sentence that says why, with the numbers.
        rows: Test rows.
        seeds: Seeds of each arm.
        error: Mean over rows and seeds of each arm, and the ``"teacher"``'s.
        against_hard: The error of hard labels minus that of the distilled students: above 0,
            distillation helped.
        one_minus_mse_ratio: 1 - error of the distilled students over the teacher's: 0 where they
            are as good, -0.1 where their error is a tenth larger. A regression has no retention.
        retention: None.
        gap_recovered: (hard - distilled) / (hard - teacher); None where there is no sure gap.
        gap_reason: Why ``gap_recovered`` is None; None where it is not.
        no_gain_margin: Half-width of what counts as no difference.
        compression: How many times fewer parameters; None where not known.
        goal_met: None: the goal speaks of accuracy.
    """

    verdict: str
    reason: str
    rows: int
    seeds: int
    error: Mapping[str, float]
    against_hard: Interval
    one_minus_mse_ratio: float | None
    gap_recovered: Interval | None
    gap_reason: str | None
    no_gain_margin: float
    compression: float | None
    retention: None = None
    goal_met: None = None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: no NaN, no infinity, no object of ours."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in values.items():
            if isinstance(value, Interval):
                values[name] = value.to_dict()
        return values | {"error": dict(self.error)}


def compare_values(
    errors: Mapping[str, Any],
    *,
    teacher: Any,
    compression: float | None = None,
    validation_gap: float | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    what: str = "R²",
) -> ValueComparison:
    """The verdict on hard labels against distillation, where both give values.

    As :func:`~attar.evaluation.compare`, on squared errors: test rows and seeds are crossed
    random effects, two-sided at 95 %. BEATS: the interval of hard minus distilled is above 0.
    WORSE: below. NO GAIN: neither, and inside the margin. Otherwise, and always with one seed,
    INCONCLUSIVE. There is no smoothed arm, since values cannot be smoothed.

    Args:
        errors: Arm (``"hard"``, ``"distilled"``) to ``[S, R]``: the squared error of the student
            of that seed on that row, over the variance of the labels.
        teacher: ``[R]``, the teacher's.
        compression: Parameters of the teacher over those of the student.
        validation_gap: Error of hard labels minus the teacher's on *validation*. The margin is
            ``max(0.002, 0.1 * validation_gap)``, fixed before test is opened.
        bootstrap: Draws for the interval of the gap recovered.
        seed: Of those draws.
        what: What the errors are in the words of the verdict: ``"R²"``, or ``"pinball loss"``
            (of quantiles, over the deviation of the labels; then points are hundredths of it).

    Raises:
        AttarError: If an arm is missing, shapes differ, or an error is negative or not finite.

    >>> rng = np.random.default_rng(0)
    >>> noise = rng.standard_normal((3, 400))
    >>> arms = {"hard": (noise + 0.5) ** 2 / 4, "distilled": noise**2 / 4}
    >>> comparison = compare_values(arms, teacher=noise[0] ** 2 / 5)
    >>> comparison.verdict, f"{comparison.against_hard.mean:.2f}"
    ('BEATS', '0.05')
    """
    check_number("compare_values", "bootstrap", bootstrap, low=100, whole=True)
    tables = {arm: _table(arm, errors.get(arm)) for arm in ("hard", "distilled")}
    hard, distilled = tables["hard"], tables["distilled"]
    told = np.asarray(teacher, dtype=np.float64)
    if hard.shape != distilled.shape or told.shape != hard.shape[1:]:
        raise AttarError(
            "compare_values: the arms must have one shape [S, R], and the teacher [R]. Got "
            f"{hard.shape}, {distilled.shape} and {told.shape}."
        )
    margin = max(SMALLEST_MARGIN, MARGIN_OF_GAP * (validation_gap or 0.0))
    against = crossed_interval((hard - distilled).T)
    verdict, reason = _verdict(against, margin, what, seeds=len(hard))
    gap, gap_reason = _gap(hard, distilled, told, what, draws=bootstrap, seed=seed)
    error = {arm: float(table.mean()) for arm, table in tables.items()}
    error["teacher"] = float(told.mean())
    return ValueComparison(
        verdict=verdict,
        reason=reason,
        rows=hard.shape[1],
        seeds=hard.shape[0],
        error=error,
        against_hard=against,
        one_minus_mse_ratio=1 - error["distilled"] / error["teacher"] if error["teacher"] else None,
        gap_recovered=gap,
        gap_reason=gap_reason,
        no_gain_margin=margin,
        compression=None if compression is None else float(compression),
    )


def _verdict(against: Interval, margin: float, what: str, *, seeds: int) -> tuple[str, str]:
    if seeds == 1:
        return "INCONCLUSIVE", (
            "One seed cannot tell the method from the luck of that seed: the gain of distilled "
            f"over hard labels was {100 * against.mean:+.1f} points of {what}. Train at least 3 "
            "seeds, better 5."
        )
    said = _difference(against)
    if against.above:
        return "BEATS", (
            f"Distilled beats hard labels by {100 * against.mean:.1f} points of {what} (95 % "
            f"interval {100 * against.low:.1f} to {100 * against.high:.1f})."
        )
    if against.below:
        return "WORSE", (
            f"The gain of distilled over hard labels in {what} is {said}: the teacher did harm."
        )
    if against.inside(margin):
        return "NO GAIN", (
            f"The gain of distilled over hard labels in {what} is {said}, all of it inside "
            f"the margin of {100 * margin:.1f} points that counts as no difference."
        )
    return "INCONCLUSIVE", (
        f"The gain of distilled over hard labels in {what} is {said}: not clearly above 0, not "
        f"clearly below, and wider than the margin of {100 * margin:.1f} points. More seeds or "
        "more test rows would tell."
    )


def _gap(
    hard: Floats, distilled: Floats, teacher: Floats, what: str, *, draws: int, seed: int
) -> tuple[Interval | None, str | None]:
    """(hard - distilled) / (hard - teacher), or why there is none."""
    gap = hard.T - teacher[:, None]
    interval = crossed_interval(gap)
    if gap.shape[1] == 1:
        return None, "With one seed nothing shows that the teacher is better than hard labels."
    if not interval.above:
        return None, (
            f"The gain of the teacher over hard labels in {what} is {_difference(interval)}, not "
            "significantly above 0: there is no sure gap to recover."
        )
    found = bootstrap_ratio((hard - distilled).T, gap, draws=draws, seed=seed)
    if found is None:
        return None, (
            f"The gain of the teacher over hard labels in {what}, {_difference(interval)}, is so "
            "small beside its uncertainty that the share recovered has no finite interval."
        )
    return found, None


def _table(arm: str, value: Any) -> Floats:
    table = np.asarray([] if value is None else value, dtype=np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all() or table.min() < 0:
        raise AttarError(
            "compare_values: errors must hold the arms hard and distilled, each a table [S, R] of "
            f"errors, finite and 0 or more. errors[{arm!r}] is none."
        )
    return table


def _difference(interval: Interval) -> str:
    return (
        f"{100 * interval.mean:+.1f} points (95 % interval {100 * interval.low:+.1f} to "
        f"{100 * interval.high:+.1f})"
    )
