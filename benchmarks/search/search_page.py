"""The page of the search: how far below the grid's best it ends, and at which share of its cost."""

from __future__ import annotations

from typing import Any

from record import Table

TASKS = {
    "digits_few": "digits, 150 labels and 750 rows without",
    "digits_all": "digits, 900 labels",
    "table": "a table of 20 columns, 5 classes",
    "all": "all of them",
}
WAYS = {
    "auto": "`auto`, the cost of 3 trainings",
    "auto_tenth": "`auto`, `search_cost=21`",
    "random": "the best of 3 random settings",
    "usual": "kl, T = 4, alpha = 0.9, nothing searched",
}


def page(results: dict[str, Any], table: Table, made: str) -> str:
    """The whole page."""
    figures = {name.removeprefix("search_"): value for name, value in results["figures"].items()}

    def cells(name: str) -> list[list[str]]:
        return [
            [
                words,
                *[f"{figures[f'{task}_{way}_{name}_points_below_grid']:+.2f}" for task in TASKS],
            ]
            for way, words in WAYS.items()
        ]

    right = [f"{100 * figures[f'{task}_grid_test']:.2f}" for task in TASKS]
    spread = [f"{figures[f'{task}_settings_test_points_sd']:.2f}" for task in TASKS]
    head = ["", *TASKS.values()]
    test = table(
        head,
        [
            ["the grid's choice, right on test in %", *right],
            ["one setting from another, standard deviation in points", *spread],
            *cells("test"),
        ],
    )
    times = {way: figures[f"all_grid_cost_over_{way}_least"] for way in ("auto", "auto_tenth")}
    seeds = results["seeds"]
    return f"""# Is the search as good as the grid?

`temperature="auto", alpha="auto", loss="auto"` chooses from {figures["all_grid_settings"]:.0f}
settings. Here a student was trained for each of them, to its end, on three tasks in
{seeds["draws"]} draws each, and the one that was best on validation is the grid's choice. The
search costs at least {times["auto"]:.0f} times less, with `search_cost=21` at least
{times["auto_tenth"]:.1f} times less. It was repeated under {seeds["searches"]} seeds.

How many points of accuracy on test each way ends **below the grid's choice** (a minus sign: above
it), mean over draws and seeds:

{test}

The same on validation, where the grid's choice is the best there is:

{table(head, cells("validation"))}

The goal was to end within 0.1 point of the grid's best at a tenth of its cost. {_reached(figures)}

{made}"""


def _reached(figures: dict[str, float]) -> str:
    """Whether the goal was reached, by the numbers."""
    words = []
    for way, cost in (("auto_tenth", "a tenth of the cost"), ("auto", "the cost of 3 trainings")):
        test = figures[f"all_{way}_test_points_below_grid"]
        validation = figures[f"all_{way}_validation_points_below_grid"]
        yes = (
            "It was reached"
            if max(test, validation) <= 0.1
            else "It was reached on test"
            if (test <= 0.1)
            else "It was missed"
        )
        words.append(
            f"{yes} at {cost}: {test:+.2f} points on test and {validation:+.2f} on validation."
        )
    return " ".join(words)
