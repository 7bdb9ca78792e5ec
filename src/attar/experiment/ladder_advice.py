"""What would help where no student of a ladder meets the goal, from what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from attar.budget import COSTS, say
from attar.experiment.ladder_result import Ladder, Rung, say_times

#: A curve that rose by more than this over its last quarter had not come to its end.
_RISING = 0.005
#: A budget is proposed with so much room: a time is not the same twice.
_ROOM = 1.1


def advise(ladder: Ladder, *, unlabelled: bool, wider: Rung | None = None) -> list[str]:
    """What to try, the surest first; every number was measured here.

    Args:
        ladder: With its rungs trained and marked, and ``met`` decided.
        unlabelled: Whether rows without a label taught already.
        wider: The nearest one over the budget that reaches the goal under all seeds: under one,
            some size is always lucky, and in the budget proposed here the ladder would deny it.
    """
    best = ladder.chosen
    if ladder.met and best is not None:
        return list(_beside(ladder, best))
    lines = [] if wider is None else [_a_wider_budget(ladder, wider)]
    if best is None:
        if not lines:
            least = min(ladder.rungs, key=lambda rung: max(rung.over.values(), default=1.0))
            name, times = max(least.over.items(), key=lambda item: item[1])
            lines.append(
                f"The nearest student, {least.name}, has {say_times(times)} times the "
                f"{COSTS[name]} that is allowed ({say(name, getattr(least.costs, name))}); another "
                "family may do."
            )
        return lines
    if _rises(best):
        lines.append(f"More steps: {best.name} was still gaining when it ended.")
    largest = max((r for r in ladder.rungs if r.trained), key=lambda rung: rung.costs.bytes or 0)
    if not any(rung.over for rung in ladder.rungs) and largest is best:
        size, end = largest.costs.parameters or 0, ladder.teacher.parameters or math.inf
        larger = [str(times * size) for times in (2, 4) if times * size < end]
        if larger:
            lines.append(
                f"Larger students: the largest tried has {size:,} parameters and is the best; give "
                f"parameters=[{', '.join(larger)}]."
            )
    families = {rung.family for rung in ladder.rungs}
    if len(families) == 1:
        lines.append(f"Another family beside {families.pop()}: students=[...] takes several.")
    if not unlabelled:
        lines.append("More rows that need no label, transfer=: the teacher labels them.")
    kept = math.floor(1000 * (ladder.kept(best) or 0)) / 1000
    if kept > 0.5:
        lines.append(f"A lower goal: keep={kept:g} is met by {best.name}.")
    return lines


def _a_wider_budget(ladder: Ladder, rung: Rung) -> str:
    """The limits that one over the budget needs, which reaches the accuracy."""
    needs = [say(name, _ROOM * getattr(rung.costs, name)) for name in rung.over]
    costs = " and ".join(
        f"{COSTS[name]} at most {need}" for name, need in zip(rung.over, needs, strict=True)
    )
    return (
        f"A wider budget: with {costs}, {rung.name} would do; it keeps "
        f"{100 * (ladder.kept(rung) or 0):.1f} % on validation."
    )


def _beside(ladder: Ladder, chosen: Rung) -> Iterator[str]:
    """What the next smaller one would have cost in accuracy, and what more room would."""
    size = chosen.costs.bytes or 0
    if ladder.experiment is not None and ladder.experiment.retention < ladder.keep:
        larger = [r for r in ladder.rungs if ladder.meets(r) and (r.costs.bytes or 0) > size]
        room = min(larger, key=lambda rung: rung.costs.bytes or 0, default=None)
        also = "" if room is None else f", or take {room.name}"
        yield (
            f"On test {chosen.name} is below the goal that it met on validation: give more "
            f"validation rows, ask for a little more (keep=){also}."
        )
    smaller = [
        rung
        for rung in ladder.rungs
        if rung.accuracy is not None and (rung.costs.bytes or 0) < size and not rung.chosen
    ]
    if smaller:
        following = max(smaller, key=lambda rung: rung.costs.bytes or 0)
        when = "" if following.trained else " when it was stopped"
        yield (
            f"The next smaller one, {following.name} ({say('bytes', following.costs.bytes)}), "
            f"kept {100 * (ladder.kept(following) or 0):.1f} %{when}."
        )
    elif chosen is ladder.rungs[-1]:
        yield (
            f"{chosen.name} is the smallest that was tried, and it is enough: still smaller ones "
            "may be, too (shrinks=, parameters=)."
        )


def _rises(rung: Rung) -> bool:
    """Whether the curve still rose over its last quarter.

    >>> from attar.budget import Costs
    >>> still = Rung("a", "mlp", "a", "trained", "", Costs(), Costs())
    >>> still.curve = {25: 0.5, 50: 0.7, 75: 0.8, 100: 0.85}
    >>> _rises(still)
    True
    """
    if len(rung.curve) < 3:
        return False
    end = max(rung.curve)
    before = [value for step, value in rung.curve.items() if step <= 0.75 * end]
    return bool(before) and max(rung.curve.values()) - max(before) > _RISING


def doubts(rows: int, goal: float, notes: Sequence[str]) -> list[str]:
    """The notes, and a word where validation is too small to tell two sizes apart.

    >>> doubts(100, 0.9, [])
    ['validation has 100 rows: chance alone moves an accuracy on them by about 3.0 points, so \
two sizes that differ by less cannot be told apart.']
    >>> doubts(10_000, 0.9, [])
    []
    """
    error = 100 * math.sqrt(max(0.0, goal * (1 - goal)) / max(1, rows))
    if error <= 1:
        return list(notes)
    return [
        *notes,
        f"validation has {rows:,} rows: chance alone moves an accuracy on them by about "
        f"{error:.1f} points, so two sizes that differ by less cannot be told apart.",
    ]
