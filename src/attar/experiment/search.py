"""The search for T, alpha, loss and the like: on validation alone, by successive halving.

All trials begin their run; a third of them goes on after the first look, the best few of these to
the end. Which settings are tried follows from what the earlier ones gave (Optuna's tree-structured
Parzen estimator), beginning with what is known to work.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attar.checks import AttarError, check_number, need

#: One of so many trials goes on after a look, and the next look that counts comes after so many
#: times the steps; twice as many of the last ones are carried to their end.
FACTOR = 3
#: Settings that are suggested again are not tried again; after so many of them nothing is suggested
#: any more, and what is left is tried in order.
_REPEATS = 50

Point = Mapping[str, Any]
#: Called with the look (1, 2, ...) and the score there; False stops the trial there for now.
GoOn = Callable[[int, float], bool]
#: Begins a trial, or goes on with it, and tells of each look; those that were told of before may
#: be told again. What it returns is not looked at.
Evaluate = Callable[[Point, GoOn], None]


@dataclass
class Tried:
    """One trial.

    Attributes:
        point: The values that were tried, by name.
        scores: The best score so far at each look, 1, 2, ...; higher is better.
        finished: Whether it went on to the end.
    """

    point: dict[str, Any]
    scores: dict[int, float] = field(default_factory=dict)
    finished: bool = False

    @property
    def score(self) -> float:
        """The last one."""
        return self.scores[max(self.scores)]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        scores = [self.scores[look] for look in sorted(self.scores)]
        return {"point": self.point, "scores": scores, "finished": self.finished}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Tried:
        """What :meth:`to_json` gave."""
        scores = {place + 1: float(score) for place, score in enumerate(said["scores"])}
        return cls(dict(said["point"]), scores, bool(said["finished"]))


def search(
    space: Mapping[str, Sequence[Any]],
    first: Sequence[Point],
    evaluate: Evaluate,
    *,
    looks: int,
    cost: float = 3.0,
    seed: int = 0,
    last: Sequence[Point] = (),
    same: Callable[[Point], Point] = lambda point: point,
    before: Sequence[Tried] = (),
    keep: Callable[[list[Tried]], None] = lambda tried: None,
) -> list[Tried]:
    """Look for the point with the best score, at the cost of so many whole trials.

    Args:
        space: The values of each name: numbers in order, or words.
        first: Points to begin with.
        evaluate: Begins a trial.
        looks: How often a whole trial is looked at, R.
        cost: What all trials may cost together, in whole ones; at least 1. 3 pays for nine trials,
            three that go on, and two to the end.
        seed: Of the suggestions: the same seed and the same scores give the same trials.
        last: Points to end with, where all of the space was tried: a search of a small space may
            so have as many trials as one of a large space.
        same: Of points that come to the same, gives the one that is tried.
        before: The trials of a search that was stopped: what they came to is not done again.
        keep: Called with all trials so far after each step.

    Returns:
        All trials, in order; at least one is finished, and the best of those is the answer.

    Raises:
        AttarError: If the space is empty, or ``before`` is of another search.

    Example:
        >>> def evaluate(point, go_on):
        ...     for look in range(1, 11):  # the best T is 4
        ...         if not go_on(look, -abs(point["temperature"] - 4) + look / 100):
        ...             return
        >>> tried = search({"temperature": [1, 2, 4, 8]}, [{"temperature": 8}], evaluate, looks=10)
        >>> max((one for one in tried if one.finished), key=lambda one: one.score).point
        {'temperature': 4}

    References:
        Jamieson, Talwalkar 2016, *Non-stochastic Best Arm Identification and Hyperparameter
        Optimization*; Bergstra et al. 2011, *Algorithms for Hyper-Parameter Optimization* (TPE);
        Akiba et al. 2019, *Optuna*.
    """
    check_number("search", "cost", cost, low=1)
    check_number("search", "looks", looks, low=1, whole=True)
    if not space or not all(space.values()):
        raise AttarError("search: every name of the space needs values to choose from.")
    hunt = _Hunt(space, first, last, same, looks, cost, seed)
    there = list(before)
    while len(hunt.tried) < hunt.counts[0]:
        old = there[len(hunt.tried)] if len(hunt.tried) < len(there) else None
        if not hunt.begin(old, evaluate):
            break
        if old is None:
            keep(hunt.tried)
    for place, level in enumerate(hunt.levels[1:]):
        for one in hunt.front(hunt.levels[place], hunt.counts[place + 1]):
            if hunt.carry(one, level, evaluate):
                keep(hunt.tried)
    return hunt.tried


class _Hunt:
    """The trials so far, and the sampler that suggests the next ones."""

    def __init__(
        self,
        space: Mapping[str, Sequence[Any]],
        first: Sequence[Point],
        last: Sequence[Point],
        same: Callable[[Point], Point],
        looks: int,
        cost: float,
        seed: int,
    ) -> None:
        optuna = need("optuna", extra="train", purpose="A search for T, alpha or loss")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space, self.looks = space, looks
        self.levels = levels(looks)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=4)
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        for point in first:
            self.study.enqueue_trial(
                {name: self._place(name, value) for name, value in point.items()}
            )
        self.same = same
        self.counts = counts(cost, looks, size(space, same) + len(last))
        self.tried: list[Tried] = []
        self.left = self._in_order(last)
        self.suggests = True

    def _place(self, name: str, value: Any) -> Any:
        values = list(self.space[name])
        if value not in values:
            raise AttarError(f"search: {name}={value!r} is not among {values}.")
        return value if isinstance(value, str) else values.index(value)

    def _in_order(self, last: Sequence[Point]) -> Iterator[dict[str, Any]]:
        """All of the space, and the points to end with."""
        for values in itertools.product(*self.space.values()):
            yield dict(self.same(dict(zip(self.space, values, strict=True))))
        yield from map(dict, last)

    def next(self) -> tuple[Any, dict[str, Any]] | None:
        """A point that was not tried yet, and the sampler's trial; None where there is no more."""
        found = self._suggest() if self.suggests else None
        if found is not None:
            return found
        self.suggests = False
        for point in self.left:
            if not any(one.point == point for one in self.tried):
                return None, point
        return None

    def _suggest(self) -> tuple[Any, dict[str, Any]] | None:
        for _ in range(_REPEATS):
            trial = self.study.ask()
            point = {}
            for name, values in self.space.items():
                if isinstance(values[0], str):
                    point[name] = trial.suggest_categorical(name, list(values))
                else:
                    point[name] = values[trial.suggest_int(name, 0, len(values) - 1)]
            point = dict(self.same(point))
            known = next((one for one in self.tried if one.point == point), None)
            if known is None:
                return trial, point
            self.study.tell(trial, known.scores[self.levels[0]])
        return None

    def begin(self, before: Tried | None, evaluate: Evaluate) -> bool:
        """Another trial up to its first look; False where there is nothing more to try."""
        found = self.next()
        if found is None:
            return False
        trial, point = found
        if before is not None and before.point != point:
            raise AttarError(
                f"search: the trials that are there are of another search ({before.point} there, "
                f"{point} here). Name another folder."
            )
        one = Tried(point) if before is None else before
        self.carry(one, self.levels[0], evaluate)
        if trial is not None:
            self.study.tell(trial, one.scores[self.levels[0]])
        self.tried.append(one)
        return True

    def carry(self, one: Tried, level: int, evaluate: Evaluate) -> bool:
        """Go on with a trial up to a look; False where it is that far already."""
        if level in one.scores:
            return False

        def go_on(look: int, score: float) -> bool:
            if look not in one.scores:
                one.scores[look] = max(score, one.scores.get(look - 1, score))
            one.finished = look >= self.looks
            return look < level

        evaluate(one.point, go_on)
        if level not in one.scores:
            raise AttarError(
                f"search: a trial told of looks {sorted(one.scores)} and was to go on to {level}."
            )
        return True

    def front(self, level: int, count: int) -> list[Tried]:
        """So many of the trials that have come to a look, the best ones, best first."""
        there = [one for one in self.tried if level in one.scores]
        return sorted(there, key=lambda one: -one.scores[level])[:count]


def levels(looks: int) -> list[int]:
    """The looks at which trials are compared, the last one among them.

    >>> levels(10), levels(4), levels(1)
    ([1, 3, 10], [1, 4], [1])
    """
    found, look = [], 1
    while 2 * look < looks:
        found.append(look)
        look *= FACTOR
    return [one for one in found if one < looks] + [looks]


def size(space: Mapping[str, Sequence[Any]], same: Callable[[Point], Point]) -> int:
    """How many points of a space are different ones.

    >>> size({"a": [1, 2, 3], "b": [1, 2]}, lambda point: {**point, "b": 1})
    3
    """
    points = (
        same(dict(zip(space, one, strict=True))) for one in itertools.product(*space.values())
    )
    return len({tuple(point.items()) for point in points})


def counts(cost: float, looks: int, points: int) -> list[int]:
    """How many trials come to each level, as many as may be at this cost.

    >>> counts(3.0, 10, 100), counts(1.0, 10, 100), counts(3.0, 1, 100)
    ([9, 3, 2], [1, 1, 1], [3])
    """
    stages = levels(looks)
    lengths = [now - past for now, past in zip(stages, [0, *stages], strict=False)]
    best = [1] * len(stages)
    for begun in range(1, points + 1):
        found, many = [begun], begun
        for _ in stages[1:-1]:
            many = -(-many // FACTOR)
            found.append(many)
        if len(stages) > 1:
            found.append(-(-2 * many // FACTOR))
        price = sum(n * length for n, length in zip(found, lengths, strict=True)) / looks
        if price > cost + 1e-9:
            break
        best = found
    return best
