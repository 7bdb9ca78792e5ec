"""What an experiment adds to the rows that it was given: their views, and rows between them."""

from __future__ import annotations

from typing import Any

from attar.data import usual_views
from attar.experiment.arguments import views_to_choose, with_views
from attar.experiment.between import is_table, rows_between
from attar.experiment.inputs import Splits
from attar.experiment.progress import OnProgress, Progress
from attar.experiment.targets import answers_anything


def widened(
    splits: Splits, teacher: Any, *, views: Any, between: bool, seed: int, tell: OnProgress
) -> tuple[Splits, tuple[bool, ...]]:
    """The splits with views, and with rows between the rows of a table.

    How much more the teacher has to answer for that is told here, before it is asked: with 32
    views a teacher that answers a question in a second is busy for days.

    Args:
        splits: The rows that were given.
        teacher: What the user gave. One that only holds answers is asked about no other inputs.
        views: As :func:`attar.distill` takes them.
        between: Whether ``transfer="auto"``.
        seed: Of the rows between.
        tell: Told what the teacher is asked about, where that is more than the rows.

    Returns:
        The splits, and whether to learn with views, without them, or what is better of both.
    """
    given, anew = splits.train, answers_anything(teacher)
    seen, in_views = views_to_choose(views, given, anew=anew)
    if between and anew:
        splits = rows_between(splits, seed=seed)
    if seen is not None:
        splits = with_views(splits, seen)
    if not anew:
        missing = []
        if views == "auto" and seen is None and usual_views(given) is not None:
            missing = ["views"]
        if between and is_table(given):
            missing = ["rows between the rows"]
        for what in missing:
            text = "The teacher holds answers and cannot be asked about new inputs"
            tell(Progress("ask", f"{text}: the student learns without {what}"))
        return splits, in_views
    more, each = len(splits.train) - len(given), splits.train.view_count
    if more or each > 1:
        words = f"{len(given):,} training rows"
        words += f" and {more:,} rows drawn between them" if more else ""
        words += f", each in {each} views" if each > 1 else ""
        total = each * len(splits.train)
        tell(Progress("ask", f"The teacher is asked about {total:,} inputs: {words}"))
    return splits, in_views
