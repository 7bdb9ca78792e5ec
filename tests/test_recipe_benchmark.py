"""The bed of the recipe's tasks, and what its page says about those that were added later."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    """The bed and the page."""
    for folder in ("benchmarks", "benchmarks/recipe"):
        monkeypatch.syspath_prepend(str(ROOT / folder))
    import bed
    import recipe_page

    yield bed, recipe_page
    for name in ("bed", "recipe_page", "record"):
        sys.modules.pop(name, None)


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("|".join(cells) for cells in [head, *rows])


def figures(task: str, *, verdict: str, retention: float, gap: float) -> dict[str, float]:
    found = {
        "teacher_accuracy": 0.9,
        "temperature": 2.0,
        "alpha": 0.9,
        "retention": retention,
        "gap_recovered": gap,
    }
    for arm in ("hard", "smoothed", "pseudo", "distilled"):
        found |= {f"{arm}_accuracy_mean": 0.8, f"{arm}_accuracy_sd": 0.01, f"{arm}_nll_mean": 0.5}
        if arm != "distilled":
            found |= {f"against_{arm}_{end}": value for end, value in ENDS.items()}
    for name in ("beats", "no_gain", "worse", "inconclusive"):
        found[f"verdict_{name}"] = float(name == verdict)
    return {f"open_{task}_{name}": value for name, value in found.items()}


ENDS = {"points": 1.25, "low": -0.5, "high": 3.0}


def test_no_task_stands_twice_on_the_bed_and_each_part_has_names_of_its_own(bench) -> None:
    bed, _ = bench
    assert len(bed.TASKS) == len(bed.DEVELOP) + len(bed.OPENED) + len(bed.ADDED)
    assert all(task.opened for task in (*bed.OPENED, *bed.ADDED))
    # record.write drops the figures that begin with a part's name, so none may begin another's.
    assert not [
        (one, other)
        for one in bed.TASKS
        for other in bed.TASKS
        if one != other and f"{other}_".startswith(f"{one}_")
    ]


def test_the_goals_count_the_tasks_that_they_were_set_for(bench) -> None:
    bed, page = bench
    first, added = bed.OPENED[1].name, bed.ADDED[1].name
    before = figures(first, verdict="beats", retention=0.99, gap=0.7)
    after = before | figures(added, verdict="worse", retention=0.5, gap=-1.0)
    text = page.opened(after, table)
    assert page.goals(before, [first]) in text
    assert "BEATS on 1 of 1 tasks and WORSE on 0" in text
    assert text.index(page.words(first)) < text.index(page.words(added))
    assert f"{page.words(added)} (added later)|90.00" in text
    assert f"{page.words(first)} (added later)" not in text


def test_what_was_added_later_is_told_apart(bench) -> None:
    bed, page = bench
    first, added = bed.OPENED[1].name, bed.ADDED[1].name
    before = figures(first, verdict="beats", retention=0.99, gap=0.7)
    assert "added" not in page.opened(before, table)
    text = page.opened(before | figures(added, verdict="worse", retention=0.5, gap=-1.0), table)
    assert "BEATS on 0 of these 1, WORSE on 1" in text
    assert (
        f"- {page.words(added)}: +1.25 (-0.50 to +3.00) against hard labels, "
        "+1.25 (-0.50 to +3.00) against smoothed labels, "
        "+1.25 (-0.50 to +3.00) against pseudo-labels; the teacher is 10.00 above hard labels."
    ) in text


def test_a_gap_within_the_noise_is_called_so(bench) -> None:
    bed, page = bench
    task = bed.ADDED[0].name
    found = figures(task, verdict="inconclusive", retention=1.0, gap=-7.0)
    assert "says nothing" not in page.against(found, task)
    close = found | {f"open_{task}_teacher_accuracy": 0.805}
    assert "the teacher is 0.50 above hard labels, less than their seeds differ" in page.against(
        close, task
    )
    below = found | {f"open_{task}_teacher_accuracy": 0.795}
    assert page.against(below, task).endswith("the teacher is 0.50 below hard labels")


def test_what_was_seen_before_is_told_with_its_numbers(bench) -> None:
    bed, page = bench
    again, once = (task.name for task in bed.OPENED[1:3])
    now = figures(again, verdict="beats", retention=0.99, gap=0.9)
    now |= figures(once, verdict="beats", retention=0.99, gap=0.8)
    assert page.before(now, [again, once]) == ""
    for time, task, gap in (
        ("first", again, 0.2),
        ("second", again, 0.5),
        ("second", once, 0.1),
        ("third", again, 0.7),
    ):
        verdict = "worse" if task == once else "inconclusive"
        then = figures(task, verdict=verdict, retention=0.99, gap=gap)
        now |= {name.replace("open_", f"{time}_"): value for name, value in then.items()}
    words = " ".join(page.before(now, [again, once]).split())
    assert "1. On 1 of them the verdict was BEATS on 0 and WORSE on 0, and 20 %" in words
    assert "2. On 2 it was BEATS on 0 and WORSE on 1, and 30 %" in words
    # The third time one was run again, the other stands as it was.
    assert "3. With the 1 tasks run again" in words
    assert "it was BEATS on 0 and WORSE on 1, and 40 %" in words
