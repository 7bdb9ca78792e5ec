"""What an experiment tells while it goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where an experiment is.

    Attributes:
        stage: ``"ask"`` (what the teacher will be asked about), ``"label"``, ``"early"`` (a
            warning), ``"cost"``, ``"choose"``, ``"train"``, ``"test"`` or ``"measure"``; of a
            ladder also ``"plan"``, ``"screen"``, ``"confirm"``, ``"chosen"``.
        message: For a person.
        done: Of ``total``, in the stage's own unit (rows, steps).
        total: 0 where there is nothing to count.
        seconds: Of stage ``"cost"``: about how long the training will take.
    """

    stage: str
    message: str
    done: int = 0
    total: int = 0
    seconds: float = 0.0


#: How an early word begins.
WARNING = "Warning: "

#: Seconds from which a run is a long one.
LONG = 60

#: Called whenever there is something to tell.
OnProgress = Callable[[Progress], None]


def quietly(progress: Progress) -> None:
    """Without anyone who listens, the log tells what a long run will cost, and early warnings."""
    if progress.stage == "early" or progress.seconds >= LONG:
        logging.getLogger("attar").warning("distill: %s", progress.message.removeprefix(WARNING))


def not_twice(tell: OnProgress, words: Collection[str]) -> OnProgress:
    """The same listener, who has heard these early words already.

    >>> told = []
    >>> tell = not_twice(told.append, ["the teacher is weak"])
    >>> tell(Progress("early", "Warning: the teacher is weak"))
    >>> tell(Progress("early", "Warning: the student is small"))
    >>> [one.message for one in told]
    ['Warning: the student is small']
    """

    def once(progress: Progress) -> None:
        if progress.stage != "early" or progress.message.removeprefix(WARNING) not in words:
            tell(progress)

    return once


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
