"""When to ask the teacher: a threshold on the student's confidence that keeps a promise.

A threshold that is chosen on some rows looks better on them than it is. Here every threshold is
a hypothesis ("this one breaks the promise"), and the one that is taken comes out of a sequence
of tests, so that the promise holds for rows that nobody has seen with the confidence that was
asked for: Learn then Test (Angelopoulos et al. 2021), fixed-sequence testing with exact binomial
tails.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError, check_number, need
from attar.confidence import MEASURES, Floats, check_measure, confidence
from attar.types import UNLABELLED

OWNER = "cascade"

#: The thresholds that are tested, from the safest down: fixed before any row is seen. Even in
#: log-odds, since what matters happens close to 1.
GRID: Floats = np.concatenate([1 / (1 + np.exp(-np.arange(16.0, -4.0, -0.05))), [0.0]])

#: The share of the allowed error that bounds the teacher's own accuracy: it is hardly in doubt.
_FOR_TEACHER = 0.1

_POINTS = 101


@dataclass(frozen=True)
class Threshold:
    """A threshold, what was promised of it, and what it does on the rows that chose it.

    Attributes:
        goal: The promise in words.
        met: Whether the threshold keeps it with the confidence that was asked for; False where
            none does, and then the threshold is the best one found.
        reason: One sentence that says why.
        confidence: How sure the student is: ``"probability"``, ``"margin"`` or ``"entropy"``.
        threshold: A row whose confidence is below it goes to the teacher.
        level: Of the promise, 0.95 say.
        rows: Labelled rows that it was chosen on.
        share: The share of these rows that goes to the teacher.
        share_high: The upper bound of that share for unseen rows, one-sided at ``level``.
        accuracy: Of student and teacher together on these rows.
        student_accuracy: Of the student alone.
        teacher_accuracy: Of the teacher alone.
        kept: ``accuracy / teacher_accuracy``.
        kept_low: The lower bound of it for unseen rows, at ``level``, at this threshold alone.
        lost: Rows that the teacher has right and the two together have wrong.
        won: The other way round.
        curve_share: Shares of teacher calls from 0 to 1, for a picture.
        curve_accuracy: The accuracy at each.
    """

    goal: str
    met: bool
    reason: str
    confidence: str
    threshold: float
    level: float
    rows: int
    share: float
    share_high: float
    accuracy: float
    student_accuracy: float
    teacher_accuracy: float
    kept: float
    kept_low: float
    lost: int
    won: int
    curve_share: tuple[float, ...]
    curve_accuracy: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON, in the form of a run folder's ``cascade.json``."""
        values = asdict(self)
        curve = {"share": values.pop("curve_share"), "accuracy": values.pop("curve_accuracy")}
        chosen = {key: values.pop(key) for key in ("threshold", "share", "accuracy")}
        return {
            "goal": values.pop("goal"),
            "met": values.pop("met"),
            "chosen": chosen,
            "curve": {name: list(points) for name, points in curve.items()},
            **values,
        }


def choose_threshold(
    student: Any,
    teacher: Any,
    labels: Any,
    *,
    keep: float | None = None,
    teacher_share: float | None = None,
    measure: str = "probability",
    level: float = 0.95,
) -> Threshold:
    r"""A threshold on the student's confidence, from logits on labelled rows alone.

    The rows must be like those to come, and neither model may have been trained on them.

    *Keep.* With A the teacher's accuracy and L the rate of rows that the teacher has right and
    the two together wrong, their accuracy is at least :math:`A - L`, so :math:`L \le (1 -
    \mathrm{keep}) A` keeps the promise. L is bounded by the exact binomial upper bound (Clopper
    and Pearson 1934) at each threshold of a grid that is fixed beforehand, from the safest down,
    until the first that is not shown to be good: in such a fixed sequence each test may use the
    whole of the error that is allowed. A is bounded from below with a tenth of it. What the
    student wins over the teacher is not counted.

    *Teacher's share.* The same sequence from the other end, with the binomial upper bound of the
    share of rows below the threshold; of the thresholds that pass, the one that is most
    accurate on these rows.

    With both, each has half of the allowed error. With ``measure="auto"`` all measures go
    through these tests, each with a third of the error (the union bound), and of those that
    keep the promise the one is taken that asks the teacher least, or with the teacher's share
    alone the most accurate one. What is gained by the choice must outweigh the stricter tests: on
    two classes all three put the rows into the same order, and there is no choice.

    Args:
        student: ``[N, C]`` logits.
        teacher: ``[N, C]`` logits or log-probabilities.
        labels: ``[N]`` classes, ``UNLABELLED`` where not known: such rows are left out.
        keep: The fraction of the teacher's accuracy to keep, in (0, 1).
        teacher_share: The largest share of rows that may go to the teacher, in (0, 1).
        measure: Of confidence, see :func:`attar.confidence.confidence`; or ``"auto"``.
        level: How sure the promise is to be, in [0.5, 1).

    Returns:
        The threshold; ``met`` says whether one was found.

    Raises:
        AttarError: If shapes or ranges are wrong, no row is labelled, there is no goal, or the
            teacher is right nowhere.

    Paper: Angelopoulos, Bates, Candès, Jordan, Lei 2021, "Learn then Test: Calibrating
    Predictive Algorithms to Achieve Risk Control".

    >>> rng = np.random.default_rng(0)
    >>> labels, sure = rng.integers(0, 2, 4000), rng.random(4000)
    >>> right = rng.random(4000) < 0.5 + 0.5 * sure  # the surer, the more often right
    >>> student = np.where(right == (labels == 1), 1, -1)[:, None] * [0, 8] * sure[:, None]
    >>> teacher = np.where(labels == 1, 1, -1)[:, None] * [0, 8]
    >>> found = choose_threshold(student, teacher, labels, keep=0.95)
    >>> found.met, found.kept_low >= 0.95, round(found.student_accuracy, 2)
    (True, True, 0.75)
    """
    if measure != "auto":
        check_measure(OWNER, measure)
    check_number(OWNER, "level", level, low=0.5, high=1, high_open=True)
    for name, value in (("keep", keep), ("teacher_share", teacher_share)):
        if value is not None:
            check_number(OWNER, name, value, low=0, high=1, low_open=True, high_open=True)
    goals = (keep is not None) + (teacher_share is not None)
    if not goals:
        raise AttarError(
            f"{OWNER}: name a goal: keep=0.995 (of the teacher's accuracy), teacher_share=0.05 (at "
            f"most), or both."
        )
    known = _checked(student, teacher, labels)
    measures = tuple(MEASURES) if measure == "auto" else (measure,)
    allowed = (1 - level) / goals / len(measures)
    found = [_chosen(known, one, keep, teacher_share, level, allowed) for one in measures]

    def good(one: Threshold) -> tuple[bool, float, float]:
        if keep is None:
            return one.met, one.accuracy, -one.share
        return one.met, -one.share if one.met else one.accuracy, one.accuracy

    return max(found, key=good)


def _chosen(
    known: tuple[Floats, Floats, NDArray[Any]],
    measure: str,
    keep: float | None,
    teacher_share: float | None,
    level: float,
    allowed: float,
) -> Threshold:
    """The threshold on one measure, each goal tested with the error that is allowed."""
    rows = _Rows(*known, measure=measure, error=1 - level)
    low = rows.lowest_that_keeps(keep, allowed) if keep is not None else len(GRID) - 1
    high = rows.highest_within(teacher_share, allowed) if teacher_share is not None else 0
    met = low is not None and high is not None and high <= low
    if low is None or high is None:
        place = rows.best(range(high or 0, len(GRID)))
    elif keep is not None:
        place = low if met else high
    else:
        place = rows.best(range(high, len(GRID)))
    words = _goal(keep, teacher_share)
    reason = _reason(rows, place, met, keep, teacher_share, level, allowed)
    return rows.threshold(place, goal=words, met=met, reason=reason, measure=measure, level=level)


class _Rows:
    """Who is right on which row, counted at every threshold of the grid."""

    def __init__(
        self, student: Floats, teacher: Floats, labels: NDArray[Any], *, measure: str, error: float
    ) -> None:
        self.sure = confidence(student, measure)
        self.student = student.argmax(axis=1) == labels
        self.teacher = teacher.argmax(axis=1) == labels
        self.count = len(labels)
        self.error = error
        order = np.argsort(self.sure, kind="stable")
        asked = np.searchsorted(self.sure[order], GRID, side="left")  # rows below each threshold
        self.asked = asked
        self.lost = self._from(order, ~self.student & self.teacher, asked)
        self.won = self._from(order, self.student & ~self.teacher, asked)
        self.order = order

    @staticmethod
    def _from(order: NDArray[Any], what: NDArray[np.bool_], asked: NDArray[Any]) -> NDArray[Any]:
        """How many of ``what`` stay with the student, at each threshold."""
        sums = np.concatenate([[0], np.cumsum(what[order])])
        return sums[-1] - sums[asked]  # type: ignore[no-any-return]

    def lowest_that_keeps(self, keep: float, allowed: float) -> int | None:
        """The last place of the grid, from the safest, up to which every test is passed."""
        limit = (1 - keep) * self.teacher_low(allowed)
        good = _upper(self.lost, self.count, allowed * (1 - _FOR_TEACHER)) <= limit
        return None if not good[0] else int(np.argmin([*good, False])) - 1

    def highest_within(self, share: float, allowed: float) -> int | None:
        """The first place of the grid, from the end, down to which the share is small enough."""
        good = (_upper(self.asked, self.count, allowed) <= share)[::-1]
        return None if not good[0] else len(GRID) - int(np.argmin([*good, False]))

    def teacher_low(self, allowed: float) -> float:
        wrong = np.array([self.count - int(self.teacher.sum())])
        return 1 - float(_upper(wrong, self.count, allowed * _FOR_TEACHER)[0])

    def kept_low(self, place: int, allowed: float) -> float:
        lost = self.lost[place : place + 1]
        high = float(_upper(lost, self.count, allowed * (1 - _FOR_TEACHER))[0])
        return max(0.0, 1 - high / max(self.teacher_low(allowed), 1e-300))

    def accuracy(self, place: int) -> float:
        right = int(self.teacher.sum()) - int(self.lost[place]) + int(self.won[place])
        return right / self.count

    def best(self, places: range) -> int:
        """The most accurate; of equals the one with the fewest calls."""
        return max(places, key=lambda place: (self.accuracy(place), place))

    def threshold(
        self, place: int, *, goal: str, met: bool, reason: str, measure: str, level: float
    ) -> Threshold:
        teacher = float(self.teacher.mean())
        shares, accuracies = self.curve()
        return Threshold(
            goal=goal,
            met=met,
            reason=reason,
            confidence=measure,
            threshold=float(GRID[place]),
            level=level,
            rows=self.count,
            share=float(self.asked[place] / self.count),
            share_high=float(_upper(self.asked[place : place + 1], self.count, self.error)[0]),
            accuracy=self.accuracy(place),
            student_accuracy=float(self.student.mean()),
            teacher_accuracy=teacher,
            kept=self.accuracy(place) / teacher,
            kept_low=self.kept_low(place, self.error),
            lost=int(self.lost[place]),
            won=int(self.won[place]),
            curve_share=shares,
            curve_accuracy=accuracies,
        )

    def curve(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Accuracy over the share of calls; where rows are equally sure, all of them go."""
        sure = self.sure[self.order]
        wanted = np.linspace(0, 1, _POINTS) ** 2 * self.count  # dense where few are asked
        ends = np.append(np.flatnonzero(np.diff(sure)) + 1, self.count)
        asked = np.unique(np.concatenate([[0], ends[np.searchsorted(ends, wanted[1:])]]))
        lost = self._from(self.order, ~self.student & self.teacher, asked)
        won = self._from(self.order, self.student & ~self.teacher, asked)
        accuracy = (int(self.teacher.sum()) - lost + won) / self.count
        return tuple((asked / self.count).tolist()), tuple(accuracy.tolist())


def _upper(counts: NDArray[Any], rows: int, error: float) -> Floats:
    """The exact one-sided upper bound of a rate, for each count."""
    special = need("scipy.special", extra="train", purpose="choosing a threshold")
    different, where = np.unique(counts, return_inverse=True)
    bound = special.betaincinv(different + 1.0, np.maximum(rows - different, 1e-9), 1 - error)
    return np.where(different >= rows, 1.0, bound)[where]


def _checked(student: Any, teacher: Any, labels: Any) -> tuple[Floats, Floats, NDArray[Any]]:
    """Arrays of the labelled rows."""
    said = [np.asarray(value, dtype=np.float64) for value in (student, teacher)]
    truth = np.asarray(labels)
    shapes = " and ".join(str(value.shape) for value in said)
    if said[0].ndim != 2 or said[0].shape[1] < 2 or said[0].shape != said[1].shape:
        raise AttarError(
            f"{OWNER}: student and teacher must have logits of one shape [N, C], C of 2 or more. "
            f"Got {shapes}."
        )
    if truth.shape != said[0].shape[:1] or truth.dtype.kind not in "iu":
        raise AttarError(
            f"{OWNER}: labels must be whole numbers [N] = [{len(said[0])}]. Got shape "
            f"{truth.shape}, dtype {truth.dtype}."
        )
    known = truth != UNLABELLED
    said = [value[known] for value in said]
    truth = truth[known].astype(np.int64)
    if not len(truth):
        raise AttarError(f"{OWNER}: no row is labelled, so nothing shows who is right.")
    if truth.min() < 0 or truth.max() >= said[0].shape[1]:
        raise AttarError(
            f"{OWNER}: labels must lie in [0, {said[0].shape[1] - 1}]. Got {truth.min()} to "
            f"{truth.max()}."
        )
    if not all(np.isfinite(value).all() for value in said):
        raise AttarError(f"{OWNER}: logits must be finite. Got NaN or infinity.")
    if not (said[1].argmax(axis=1) == truth).any():
        raise AttarError(
            f"{OWNER}: the teacher is right on none of {len(truth)} rows. Check that its classes "
            f"are in the order of the labels."
        )
    return said[0], said[1], truth


def _goal(keep: float | None, share: float | None) -> str:
    parts = []
    if keep is not None:
        parts.append(f"keep {100 * keep:g} % of the teacher's accuracy")
    if share is not None:
        parts.append(f"at most {100 * share:g} % teacher calls")
    return ", ".join(parts)


def _reason(
    rows: _Rows,
    place: int,
    met: bool,
    keep: float | None,
    share: float | None,
    level: float,
    allowed: float,
) -> str:
    """What the tests said, in one sentence."""
    asked = 100 * rows.asked[place] / rows.count
    has = (
        f"on {rows.count} rows the two together are {100 * rows.accuracy(place):.2f} % accurate "
        f"with {asked:.2f} % teacher calls (student {100 * rows.student.mean():.2f} %, teacher "
        f"{100 * rows.teacher.mean():.2f} %)"
    )
    if met:
        return f"With {100 * level:g} % confidence the goal holds for rows like these: {has}."
    text = f"No threshold is shown to meet the goal with {100 * level:g} % confidence; best: {has}."
    if keep is not None:
        error = allowed * (1 - _FOR_TEACHER)
        needed = int(np.ceil(np.log(error) / np.log1p(-(1 - keep) * rows.teacher_low(allowed))))
        if needed > rows.count:
            text += f" To show it takes {needed} rows at least, even if not one is lost."
    return text
