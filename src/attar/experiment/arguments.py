"""The arguments of an experiment, read and looked at before anything is asked or trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from attar.checks import AttarError, check_number
from attar.data import ArrayData, Views, usual_views
from attar.engine import TrainConfig
from attar.experiment import arms as arms_of
from attar.experiment.inputs import Splits
from attar.types import Data


def seeds_of(seeds: int | Sequence[int]) -> list[int]:
    """A count of seeds, or a list of them, as a list."""
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        check_number("distill", "seeds", seeds, low=1, whole=True)
        return list(range(seeds))
    numbers = list(seeds) if isinstance(seeds, Sequence) else []
    if not numbers or len(set(numbers)) != len(numbers):
        raise AttarError(
            "The 'seeds' parameter of distill must be a count or a list of different numbers of 0 "
            f"or more. Got {seeds!r} instead."
        )
    for number in numbers:
        check_number("distill", "seeds", number, low=0, whole=True)
    return numbers


def names_of(classes: Sequence[str] | None) -> tuple[str, ...] | None:
    """The names of the classes as texts; None where none were given."""
    return None if classes is None else tuple(str(name) for name in classes)


#: Of a run where nobody says: passes over the rows, and the fewest steps. Twenty passes over a
#: small table are a few steps, after which no student has learnt anything.
PASSES, FEWEST = 20, 500


def steps_of(steps: int | None, epochs: float | None, rows: int, batch_size: int) -> int:
    """The steps of every run, said as such or as passes over the rows.

    >>> steps_of(None, None, 50_000, 256), steps_of(None, None, 100, 256)
    (3906, 500)
    """
    if steps is not None and epochs is not None:
        raise AttarError("distill: give steps= or epochs=, not both.")
    if steps is not None:
        check_number("distill", "steps", steps, low=1, whole=True)
        return steps
    if epochs is None:
        return max(FEWEST, round(PASSES * rows / batch_size))
    check_number("distill", "epochs", epochs, low=0, low_open=True)
    return max(1, round(epochs * rows / batch_size))


def configured(
    steps: int,
    evaluations: int,
    learning_rate: float,
    *,
    weight_decay: float = 0.01,
    any_threads: bool = False,
) -> TrainConfig:
    """A run that is validated and kept so many times on its way."""
    every = max(1, steps // (4 * evaluations))
    return TrainConfig(
        steps=steps,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        log_every=every,
        evaluate_every=4 * every,
        checkpoint_every=4 * every,
        any_threads=any_threads,
    )


def transfer_to_choose(transfer: Any) -> tuple[Any, bool]:
    """The transfer set of an experiment, and whether the arms choose to do without it.

    Args:
        transfer: As :func:`distill` takes it.

    Example:
        >>> transfer_to_choose("auto"), transfer_to_choose([None, "rows"]), transfer_to_choose(None)
        (('auto', True), ('rows', True), (None, False))
    """
    if isinstance(transfer, str) and transfer != "auto":
        raise AttarError(
            "The 'transfer' parameter of distill must be rows, a mask, [None, rows], 'auto' or "
            f"None. Got {transfer!r} instead."
        )
    # A pair (X, y) has an X, so this is no pair.
    if isinstance(transfer, list | tuple) and len(transfer) == 2 and transfer[0] is None:
        return transfer[1], True
    return transfer, isinstance(transfer, str)


def check_alone(given: Mapping[str, Any], *, pseudo_labels: Any, views: Any, transfer: Any) -> None:
    """Raise, naming all of them, where arguments do not go with a size that is looked for.

    >>> check_alone({"shrink": 10}, pseudo_labels=False, views=None, transfer=None)
    Traceback (most recent call last):
    attar.checks.AttarError: distill: student_size='auto' does not go with shrink=. Leave it out.
    """
    there = [name for name, value in given.items() if value is not None]
    chosen = {
        "pseudo_labels": pseudo_labels is not False,
        "views": views is not None and not isinstance(views, Views),
        "transfer": transfer_to_choose(transfer)[1],
    }
    open_ = [name for name, choice in chosen.items() if choice]
    names = [f"{name}=" for name in (*there, *open_)]
    if not names:
        return
    recipe = " (attar.RECIPE)" if len(open_) == len(chosen) else ""
    message = (
        f"distill: student_size='auto' does not go with {', '.join(names)}{recipe}. Leave "
        f"{'it' if len(names) == 1 else 'them'} out"
    )
    if open_:
        same = "**attar.RECIPE" if recipe else f"{open_[0]}=..."
        message += (
            ", or look for the size first: found = attar.ladder(teacher, student, train=...), then "
            f"attar.distill(..., parameters=found.chosen.costs.parameters, {same})"
        )
    raise AttarError(f"{message}.")


def views_to_choose(
    views: Any, data: Data, *, anew: bool = True
) -> tuple[Views | None, tuple[bool, ...]]:
    """The views of an experiment, and what to choose from: with them, without them, or both.

    Args:
        views: As :func:`distill` takes them.
        data: The training rows.
        anew: Whether the teacher can be asked about views that nobody has seen before. One that
            cannot may have answered about those that the data has.
    """
    if isinstance(views, str) and views == "auto":
        usual = usual_views(data) if anew else getattr(data, "views", None)
        return usual, (True,) if usual is None else (True, False)
    if views is None or isinstance(views, Views):
        return views, (True,)
    given = list(views) if isinstance(views, list | tuple) else []
    one = [some for some in given if isinstance(some, Views)]
    if len(one) != 1 or len(given) > 2 or (len(given) == 2 and None not in given):
        raise AttarError(
            "The 'views' parameter of distill must be Views, [None, Views], 'auto' or None. Got "
            f"{views!r} instead."
        )
    return one[0], (True, False) if len(given) > 1 else (True,)


def with_views(splits: Splits, views: Views) -> Splits:
    """The splits with seeded transforms of what is learnt from."""
    if not isinstance(splits.train, ArrayData):
        raise AttarError(
            "distill: views= needs training rows in memory; data that is read row by row takes "
            "its views itself (from_dataset(..., views=...))."
        )
    part = splits.transfer
    return replace(
        splits,
        train=splits.train.with_views(views),
        transfer=part.with_views(views) if isinstance(part, ArrayData) else part,
    )


def pseudo_labels_to_choose(
    pseudo_labels: Any, splits: Splits, alpha: Any, *, more: bool = False
) -> tuple[bool, ...]:
    """Whether rows without a label have the teacher's argmax as one: yes, no, or both to choose.

    Args:
        pseudo_labels: As :func:`distill` takes them.
        splits: The rows.
        alpha: As :func:`distill` takes it.
        more: Whether rows without a label are still to be drawn.

    Raises:
        AttarError: If it is none of these, or there are no such rows, or no loss for them.
    """
    alone = not isinstance(alpha, str) and min(_listed(alpha)) == 1
    if isinstance(pseudo_labels, bool):
        if pseudo_labels and not splits.unlabelled_rows and not more:
            raise AttarError(
                "distill: every row that teaches has a label, so pseudo_labels=True would change "
                "nothing. Leave it out."
            )
        if pseudo_labels and alone:
            raise AttarError(
                "distill: with alpha=1 there is no hard loss, so pseudo_labels=True would change "
                "nothing. Leave it out, or give an alpha below 1."
            )
        return (pseudo_labels,)
    if not isinstance(pseudo_labels, str) or pseudo_labels != "auto":
        raise AttarError(
            "The 'pseudo_labels' parameter of distill must be True, False or 'auto'. Got "
            f"{pseudo_labels!r} instead."
        )
    return (False, True) if splits.few_labels and not alone else (False,)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def strengths_of(smoothing: Sequence[float] | None, soft: Tensor) -> list[float]:
    """The label smoothing to try: what was given, or the usual and that of the targets' entropy."""
    if smoothing is None:
        return [*arms_of.SMOOTHING, round(arms_of.entropy_smoothing(soft), 4)]
    return list(smoothing)
