"""The search on scores that are known: it finds what was planted, keeps to its cost, goes on."""

from __future__ import annotations

import math
from typing import Any

import pytest

from attar.checks import AttarError
from attar.experiment.search import GoOn, Point, Tried, search

SPACE = {
    "temperature": [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0],
    "alpha": [0.1, 0.3, 0.5, 0.7, 0.9, 1.0],
    "loss": ["kl", "dkd", "jsd"],
}
LOOKS = 10
FIRST = [{"temperature": 4.0, "alpha": 0.9, "loss": "kl"}]


class Bowl:
    """Scores with one best point; a run that is better is better from the first look on."""

    def __init__(self, best: Point) -> None:
        self.best = best
        self.looked = 0
        self.there: dict[Any, int] = {}

    def value(self, point: Point) -> float:
        away = math.log(point["temperature"] / self.best["temperature"]) ** 2
        away += (point["alpha"] - self.best["alpha"]) ** 2
        return 0.97 - 0.02 * away - (0.01 if point["loss"] != self.best["loss"] else 0.0)

    def __call__(self, point: Point, go_on: GoOn) -> None:
        key = tuple(point.items())
        for look in range(1, LOOKS + 1):  # a run that is gone on with tells its history again
            self.looked += look > self.there.get(key, 0)
            self.there[key] = max(look, self.there.get(key, 0))
            if not go_on(look, self.value(point) - 0.2 * (1 - look / LOOKS)):
                return


def best_of(tried: list[Tried]) -> Tried:
    return max((one for one in tried if one.finished), key=lambda one: one.score)


@pytest.mark.parametrize(
    "best",
    [
        {"temperature": 1.0, "alpha": 0.5, "loss": "kl"},
        {"temperature": 20.0, "alpha": 0.9, "loss": "dkd"},
        {"temperature": 4.0, "alpha": 0.9, "loss": "kl"},
    ],
)
def test_a_planted_optimum_is_found_at_a_fraction_of_the_grid(best: Point) -> None:
    near = []
    for seed in range(5):
        bowl = Bowl(best)
        tried = search(SPACE, FIRST, bowl, looks=LOOKS, cost=16.0, seed=seed)
        near.append(0.97 - bowl.value(best_of(tried).point))
        assert bowl.looked <= 16 * LOOKS  # the grid takes 162 whole runs: ten times that
    assert sum(near) / len(near) <= 0.001  # a tenth of a point


@pytest.mark.parametrize("cost", [1.0, 2.0, 3.0, 7.5])
def test_it_keeps_to_its_cost_and_finishes_one(cost: float) -> None:
    bowl = Bowl({"temperature": 2.0, "alpha": 0.7, "loss": "jsd"})
    tried = search(SPACE, FIRST, bowl, looks=LOOKS, cost=cost)
    assert bowl.looked <= cost * LOOKS + 1e-9
    assert tried[0].point == FIRST[0]
    assert any(one.finished for one in tried)
    if cost > 1:
        assert any(not one.finished for one in tried)
        assert len(tried) > cost  # halving pays for more trials than whole runs would
    points = [tuple(one.point.items()) for one in tried]
    assert len(set(points)) == len(points)


def test_a_worse_start_is_beaten_by_what_comes_later() -> None:
    bowl = Bowl({"temperature": 1.0, "alpha": 0.3, "loss": "dkd"})
    tried = search(SPACE, FIRST, bowl, looks=LOOKS, cost=8.0, seed=1)
    assert best_of(tried).score > tried[0].score


def test_a_small_space_is_tried_out_and_no_further() -> None:
    bowl = Bowl({"temperature": 2.0, "alpha": 0.9, "loss": "kl"})
    space = {"temperature": [1.0, 2.0], "alpha": [0.9], "loss": ["kl"]}
    tried = search(space, [], bowl, looks=LOOKS, cost=50.0)
    assert len(tried) == 2
    assert best_of(tried).point["temperature"] == 2.0


@pytest.mark.parametrize("stop", [1, 2, 5])
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(stop: int) -> None:
    whole = search(SPACE, FIRST, Bowl(FIRST[0]), looks=LOOKS, cost=6.0, seed=3)

    class Stopped(Exception):  # noqa: N818
        pass

    saved: list[Any] = []

    def keep(tried: list[Tried]) -> None:
        saved[:] = [one.to_json() for one in tried]
        if len(tried) == stop:
            raise Stopped

    with pytest.raises(Stopped):
        search(SPACE, FIRST, Bowl(FIRST[0]), looks=LOOKS, cost=6.0, seed=3, keep=keep)
    before = [Tried.from_json(one) for one in saved]
    bowl = Bowl(FIRST[0])
    rest = search(SPACE, FIRST, bowl, looks=LOOKS, cost=6.0, seed=3, before=before)
    assert [one.to_json() for one in rest] == [one.to_json() for one in whole]
    assert bowl.looked < 6 * LOOKS


def test_trials_of_another_search_are_refused() -> None:
    other = Tried({"temperature": 8.0, "alpha": 0.1, "loss": "kl"}, {1: 0.5})
    with pytest.raises(AttarError, match="another search"):
        search(SPACE, FIRST, Bowl(FIRST[0]), looks=LOOKS, before=[other])


@pytest.mark.parametrize(
    ("settings", "match"),
    [({"cost": 0.5}, "cost"), ({"looks": 0}, "looks")],
)
def test_numbers_out_of_range_are_refused(settings: Any, match: str) -> None:
    with pytest.raises(AttarError, match=match):
        search(SPACE, FIRST, Bowl(FIRST[0]), **({"looks": LOOKS} | settings))


def test_an_empty_space_and_a_start_outside_of_it_are_refused() -> None:
    with pytest.raises(AttarError, match="values to choose from"):
        search({"temperature": []}, [], Bowl(FIRST[0]), looks=LOOKS)
    with pytest.raises(AttarError, match="not among"):
        search(SPACE, [{"temperature": 5.0}], Bowl(FIRST[0]), looks=LOOKS)
