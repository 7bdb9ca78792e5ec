"""The verdict: did the teacher's soft targets help, for the rows and seeds that we did not see?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError, check_number
from attar.evaluation.intervals import Floats, Interval, bootstrap_ratio, crossed_interval

ARMS = ("hard", "smoothed", "distilled", "pseudo")
REQUIRED = ARMS[:3]

#: Half-width, as a fraction, below which a difference never matters: 0.2 points.
SMALLEST_MARGIN = 0.002
#: Share of the gap between teacher and hard labels below which a difference does not matter.
MARGIN_OF_GAP = 0.1
#: The goal: this many times fewer parameters, with this much of the teacher's accuracy kept.
GOAL_COMPRESSION, GOAL_RETENTION = 10.0, 0.95


@dataclass(frozen=True)
class Comparison:
    """What the controlled experiment showed.

    Accuracies and their differences are fractions, not points; NLL is in nats, and a negative
    difference is the better one.

    Attributes:
        verdict: ``"BEATS"``, ``"NO GAIN"``, ``"WORSE"`` or ``"INCONCLUSIVE"``.
        reason: One sentence that says why, with the numbers.
        rows: Test rows.
        seeds: Seeds of each arm.
        accuracy: Mean over seeds of each arm, and the ``"teacher"``'s.
        against_hard: Distilled minus hard, accuracy.
        against_smoothed: Distilled minus smoothed, accuracy.
        against_pseudo: Distilled minus pseudo-labels, accuracy; None without that arm.
        nll_against_hard: Distilled minus hard, NLL; None without NLLs.
        nll_against_pseudo: Distilled minus pseudo-labels, NLL; None without them.
        soft_targets_beat_argmax_in_accuracy: True where the interval shows that soft targets
            do better than the teacher's argmax as label, False where it shows that they do
            worse, None where it leaves that open or there is nothing to compare.
        soft_targets_beat_argmax_in_nll: The same in NLL.
        retention: Distilled accuracy over the teacher's. An undistilled student can pass 0.95.
        gap_recovered: (distilled - hard) / (teacher - hard); None where there is no sure gap.
        gap_reason: Why ``gap_recovered`` is None; None where it is not.
        no_gain_margin: Half-width of what counts as no difference.
        compression: How many times fewer parameters; None where not known.
        goal_met: Whether "at least 10x fewer parameters, at least 95 % kept" was met; None
            where the compression is not known.
    """

    verdict: str
    reason: str
    rows: int
    seeds: int
    accuracy: Mapping[str, float]
    against_hard: Interval
    against_smoothed: Interval
    against_pseudo: Interval | None
    nll_against_hard: Interval | None
    nll_against_pseudo: Interval | None
    soft_targets_beat_argmax_in_accuracy: bool | None
    soft_targets_beat_argmax_in_nll: bool | None
    retention: float
    gap_recovered: Interval | None
    gap_reason: str | None
    no_gain_margin: float
    compression: float | None
    goal_met: bool | None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: no NaN, no infinity, no object of ours."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in values.items():
            if isinstance(value, Interval):
                values[name] = value.to_dict()
        return values | {"accuracy": dict(self.accuracy)}


def compare(
    correct: Mapping[str, Any],
    *,
    teacher: Any,
    nll: Mapping[str, Any] | None = None,
    compression: float | None = None,
    validation_gap: float | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    shares: bool = False,
) -> Comparison:
    """The verdict on the arms of one controlled experiment.

    Test rows and seeds are crossed random effects (:func:`crossed_interval`), two-sided at
    95 %. BEATS: the intervals against hard and against smoothed are both above 0. WORSE: the
    interval against hard is below 0. NO GAIN: neither, and that interval lies inside the
    margin. Otherwise, and always with one seed, INCONCLUSIVE.

    Args:
        correct: Arm to ``[S, R]``, whether the student of that seed was right on that row.
            Arms ``"hard"``, ``"smoothed"``, ``"distilled"``, and where it was run
            ``"pseudo"``; the seeds and the rows in the same order in each.
        teacher: ``[R]``, whether the teacher was right.
        nll: Arm to ``[S, R]``, the negative log-likelihood of each row, in nats.
        compression: Parameters of the teacher over those of the student.
        validation_gap: Accuracy of the teacher minus that of hard labels on *validation*, as
            a fraction. The margin is ``max(0.002, 0.1 * validation_gap)``: it is fixed before
            test is opened, so it cannot come from ``correct``. None: 0.002.
        bootstrap: Draws for the interval of the gap recovered.
        seed: Of those draws.
        shares: Take ``correct`` and ``teacher`` as shares from 0 to 1: of several labels a row,
            how many were right.

    Raises:
        AttarError: If an arm is missing or not known, shapes differ, values are neither true
            nor false (with ``shares``: outside 0 to 1), or the teacher is right nowhere.

    >>> rng = np.random.default_rng(0)
    >>> hard_row = rng.random(400)  # how hard each row is
    >>> def arm(strength): return hard_row + 0.1 * rng.standard_normal((3, 400)) < strength
    >>> tables = {"hard": arm(0.80), "smoothed": arm(0.81), "distilled": arm(0.90)}
    >>> comparison = compare(tables, teacher=hard_row < 0.92, compression=12.0)
    >>> comparison.verdict, comparison.goal_met
    ('BEATS', True)
    >>> comparison.reason
    'Distilled beats hard labels by 9.6 points (95 % interval 3.8 to 15.3) and smoothed
    labels by 7.8 points (95 % interval 3.8 to 11.7).'
    """
    check_number("compare", "bootstrap", bootstrap, low=100, whole=True)
    if compression is not None:
        check_number("compare", "compression", compression, low=0, low_open=True)
    if validation_gap is not None:
        check_number("compare", "validation_gap", validation_gap, low=-1, high=1)
    read = _shares if shares else _truths
    right = _right(correct, read)
    seeds, rows = right["distilled"].shape
    teacher_right = read("teacher", teacher).astype(np.float64)
    if teacher_right.shape != (rows,):
        raise AttarError(
            f"compare: teacher must have shape [R] = ({rows},), one value a test row. Got shape "
            f"{teacher_right.shape}."
        )
    if not teacher_right.any():
        raise AttarError(
            f"compare: the teacher is right on none of {rows} rows, so there is nothing to "
            f"retain. Check that its classes are in the order of the labels."
        )
    nlls = _nlls(nll, (seeds, rows))

    against = {arm: _against(right, arm) for arm in ARMS if arm in right and arm != "distilled"}
    nll_against = {arm: _against(nlls, arm) for arm in ("hard", "pseudo") if arm in nlls}
    margin = max(SMALLEST_MARGIN, MARGIN_OF_GAP * (validation_gap or 0.0))
    verdict, reason = _verdict(against["hard"], against["smoothed"], margin, seeds=seeds)
    gap, gap_reason = _gap_recovered(right, teacher_right, draws=bootstrap, seed=seed)
    accuracy = {arm: float(table.mean()) for arm, table in right.items()}
    accuracy["teacher"] = float(teacher_right.mean())
    retention = accuracy["distilled"] / accuracy["teacher"]
    return Comparison(
        verdict=verdict,
        reason=reason,
        rows=rows,
        seeds=seeds,
        accuracy=accuracy,
        against_hard=against["hard"],
        against_smoothed=against["smoothed"],
        against_pseudo=against.get("pseudo"),
        nll_against_hard=nll_against.get("hard"),
        nll_against_pseudo=nll_against.get("pseudo"),
        soft_targets_beat_argmax_in_accuracy=_better(against.get("pseudo"), higher=True),
        soft_targets_beat_argmax_in_nll=_better(nll_against.get("pseudo"), higher=False),
        retention=retention,
        gap_recovered=gap,
        gap_reason=gap_reason,
        no_gain_margin=margin,
        compression=None if compression is None else float(compression),
        goal_met=None
        if compression is None
        else compression >= GOAL_COMPRESSION and retention >= GOAL_RETENTION,
    )


def _verdict(hard: Interval, smoothed: Interval, margin: float, *, seeds: int) -> tuple[str, str]:
    """The verdict and the sentence that explains it."""
    if seeds == 1:
        return "INCONCLUSIVE", (
            f"One seed cannot tell the method from the luck of that seed: distilled minus hard "
            f"labels was {_points(hard.mean)}. Train at least 3 seeds, better 5."
        )
    if hard.above and smoothed.above:
        return "BEATS", (
            f"Distilled beats hard labels by {_gain(hard)} and smoothed labels by "
            f"{_gain(smoothed)}."
        )
    if hard.below:
        return "WORSE", f"Distilled minus hard labels is {_difference(hard)}: the teacher did harm."
    if hard.inside(margin):
        return "NO GAIN", (
            f"Distilled minus hard labels is {_difference(hard)}, all of it inside the margin of "
            f"{100 * margin:.1f} points that counts as no difference."
        )
    if hard.above:
        return "INCONCLUSIVE", (
            f"Distilled beats hard labels by {_gain(hard)}, but against smoothed labels it is "
            f"{_difference(smoothed)}, so the gain may be regularisation alone."
        )
    return "INCONCLUSIVE", (
        f"Distilled minus hard labels is {_difference(hard)}: not clearly above 0, not clearly "
        f"below, and wider than the margin of {100 * margin:.1f} points. More seeds or more test "
        f"rows would tell."
    )


def _gap_recovered(
    right: Mapping[str, Floats], teacher: Floats, *, draws: int, seed: int
) -> tuple[Interval | None, str | None]:
    """(distilled - hard) / (teacher - hard), or why there is none."""
    gap = teacher[:, None] - right["hard"].T
    interval = crossed_interval(gap)
    if gap.shape[1] == 1:
        return None, "With one seed nothing shows that the teacher is better than hard labels."
    if not interval.above:
        return None, (
            f"Teacher minus hard labels is {_difference(interval)}, not significantly above 0: "
            f"there is no sure gap to recover."
        )
    gain = (right["distilled"] - right["hard"]).T
    recovered = bootstrap_ratio(gain, gap, draws=draws, seed=seed)
    if recovered is None:
        return None, (
            f"Teacher minus hard labels, {_difference(interval)}, is so small beside its "
            f"uncertainty that the share recovered has no finite interval."
        )
    return recovered, None


def _against(tables: Mapping[str, Floats], arm: str) -> Interval:
    return crossed_interval((tables["distilled"] - tables[arm]).T)


def _better(interval: Interval | None, *, higher: bool) -> bool | None:
    if interval is None or not (interval.above or interval.below):
        return None
    return interval.above is higher


def _right(
    correct: Mapping[str, Any], read: Callable[[str, Any], NDArray[Any]]
) -> dict[str, Floats]:
    """The tables of the arms, checked, in the order of :data:`ARMS`."""
    missing = [arm for arm in REQUIRED if arm not in correct]
    unknown = [arm for arm in correct if arm not in ARMS]
    if missing or unknown:
        raise AttarError(
            f"compare: correct must hold the arms {', '.join(REQUIRED)}, and may hold pseudo. "
            f"Missing: {', '.join(missing) or 'none'}; not known: {', '.join(unknown) or 'none'}."
        )
    tables = {
        arm: read(f"correct[{arm!r}]", correct[arm]).astype(np.float64)
        for arm in ARMS
        if arm in correct
    }
    _same_shape("correct", tables, tables["distilled"].shape)
    return tables


def _nlls(nll: Mapping[str, Any] | None, shape: tuple[int, int]) -> dict[str, Floats]:
    if not nll:
        return {}
    missing = [arm for arm in ("hard", "distilled") if arm not in nll]
    unknown = [arm for arm in nll if arm not in ARMS]
    if missing or unknown:
        raise AttarError(
            f"compare: nll must hold the arms hard and distilled, and may hold smoothed and "
            f"pseudo. Missing: {', '.join(missing) or 'none'}; not known: "
            f"{', '.join(unknown) or 'none'}."
        )
    tables = {arm: np.asarray(table, dtype=np.float64) for arm, table in nll.items()}
    _same_shape("nll", tables, shape)
    return tables


def _same_shape(name: str, tables: Mapping[str, Floats], shape: tuple[int, ...]) -> None:
    for arm, table in tables.items():
        if table.ndim != 2 or table.size == 0 or table.shape != shape:
            raise AttarError(
                f"compare: every table must have one shape [S, R], a row a seed and a column a "
                f"test row. {name}[{arm!r}] has shape {table.shape}, correct['distilled'] has "
                f"{shape}."
            )


def _truths(name: str, value: Any) -> NDArray[np.bool_]:
    table = np.asarray(value)
    if table.dtype != np.bool_ and not np.isin(table, (0, 1)).all():
        raise AttarError(
            f"compare: {name} must say true or false (right or wrong), not how much. Got dtype "
            f"{table.dtype} with values other than 0 and 1; pass `prediction == label`."
        )
    return table.astype(np.bool_)


def _shares(name: str, value: Any) -> NDArray[np.float64]:
    table = np.asarray(value, dtype=np.float64)
    if table.size and not (table.min() >= 0 and table.max() <= 1):
        raise AttarError(f"compare: with shares=True {name} must lie in [0, 1].")
    return table


def _points(value: float) -> str:
    return f"{100 * value:+.1f} points"


def _difference(interval: Interval) -> str:
    return (
        f"{_points(interval.mean)} (95 % interval {100 * interval.low:+.1f} to "
        f"{100 * interval.high:+.1f})"
    )


def _gain(interval: Interval) -> str:
    """A difference that is above 0, without its signs."""
    return (
        f"{100 * interval.mean:.1f} points (95 % interval {100 * interval.low:.1f} to "
        f"{100 * interval.high:.1f})"
    )
