"""The teacher of a table: a stack of trees, asked once, its answers kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sets import Table
from sklearn.model_selection import train_test_split

from attar.columns import describe_columns, encode_columns
from attar.data import ArrayData, munge, without_copies
from attar.teachers import (
    EnsembleTeacher,
    GivenTeacher,
    boosted_stack,
    cross_fit,
    weigh,
)

FOLDS = 5
#: Below as many training rows, settings are chosen on more than one cut: a fifth of them is few.
FEW = 2000


@dataclass(frozen=True)
class Class:
    """Rows to learn from, and what a teacher who was fitted on them alone said about them.

    Attributes:
        train: Labelled rows.
        synthetic: Rows that were drawn between them, without labels.
        out_of_fold: The teacher of both.
        in_sample: The same, but that it answers labelled rows that it was fitted on.
    """

    train: ArrayData
    synthetic: ArrayData
    out_of_fold: GivenTeacher
    in_sample: GivenTeacher


@dataclass(frozen=True)
class Cut(Class):
    """The training rows in two: on four fifths settings are tried, by a teacher of their own.

    Attributes:
        judge: The others. A teacher who had seen these would tell of them in what it says about
            the rows around.
    """

    judge: ArrayData


@dataclass(frozen=True)
class Lesson(Class):
    """A table cut into its parts; its teacher answers the test rows, too.

    Attributes:
        columns: How the rows were encoded.
        cuts: Of the training rows, for what is chosen.
        test: Rows that nothing was chosen on.
        raw: The test rows as they were, a DataFrame.
        told: The teacher's bytes, its seconds for one row and for each of many, its weights.
    """

    columns: list[dict[str, Any]]
    cuts: list[Cut]
    test: ArrayData
    raw: Any
    told: dict[str, float]


def lesson(table: Table, kept: Path) -> Lesson:
    """Cut, draw, ask; what was asked before is read.

    Args:
        table: The rows.
        kept: The ``.npz`` that keeps the answers.
    """
    places = np.arange(len(table.labels))
    learn, judge = train_test_split(places, test_size=0.25, random_state=0, stratify=table.labels)
    rows = [table.rows.iloc[part].reset_index(drop=True) for part in (learn, judge)]
    columns = describe_columns(_named(rows[0]), lenient=True)
    given = 0

    def data(part: Any, labels: Any = None) -> ArrayData:
        nonlocal given
        numbers = torch.arange(given, given + len(part))
        given += len(part)
        encoded = torch.from_numpy(encode_columns(_named(part), columns))
        return ArrayData(
            encoded, labels, rows=numbers, classes=tuple(table.classes), columns=columns
        )

    def drawn(among: Any, apart_from: Any, seed: int) -> ArrayData:
        return data(without_copies(munge(among, count=len(among), seed=seed), apart_from))

    train = data(rows[0], torch.from_numpy(table.labels[learn]))
    test = data(rows[1], torch.from_numpy(table.labels[judge]))
    synthetic = drawn(rows[0], rows[1], seed=0)
    cuts = []
    for seed in range(3 if len(train) < FEW else 1):
        parts = train_test_split(
            np.arange(len(train)), test_size=0.2, random_state=seed, stratify=table.labels[learn]
        )
        some, others = (rows[0].iloc[part].reset_index(drop=True) for part in parts)
        first, second = (train.take(torch.from_numpy(part)) for part in parts)
        between = drawn(some, others, seed=seed + 1)
        path = kept.with_name(f"{kept.stem}-cut-{seed}.npz")
        teachers, _ = _teachers(path, first, [between])
        cuts.append(Cut(first, between, *teachers, second))
    teachers, told = _teachers(kept, train, [test, synthetic], timed=True)
    return Lesson(train, synthetic, *teachers, columns, cuts, test, rows[1], told)


def _teachers(
    kept: Path, train: ArrayData, others: list[ArrayData], *, timed: bool = False
) -> tuple[list[GivenTeacher], dict[str, float]]:
    """The answers of a stack, out of fold and in sample, and what is told of it; kept in a file."""
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept.with_suffix(".tmp.npz"), **_ask(train, others, timed=timed))
        kept.with_suffix(".tmp.npz").replace(kept)
    with np.load(kept, allow_pickle=False) as stored:
        told = {name: float(stored[name]) for name in stored.files if stored[name].ndim == 0}
        teachers = [
            GivenTeacher(
                np.concatenate([stored[name], stored["others"]]),
                rows=torch.cat([train.rows, *[part.rows for part in others]]),
                name="stack",
                outputs="logits",
                bytes=int(told["bytes"]),
            )
            for name in ("out_of_fold", "in_sample")
        ]
    return teachers, told


def _ask(train: ArrayData, others: list[ArrayData], *, timed: bool) -> dict[str, Any]:
    """Fit the stack, weigh it out of fold, and let it answer; the first of the others is timed."""
    started = time.perf_counter()
    whole = EnsembleTeacher(
        [cross_fit(_single(one), train, folds=FOLDS) for one in boosted_stack()]
    )
    stack = weigh(whole, train)
    seconds = time.perf_counter() - started
    full = [member.members[0] for member in stack.members]  # type: ignore[attr-defined]
    fitted = EnsembleTeacher(full, weights=stack.weights, temperatures=stack.temperatures)
    said = {
        "out_of_fold": _answers(stack, train),
        "in_sample": _answers(fitted, train),
        "others": np.concatenate([_answers(fitted, part) for part in others]),
        "bytes": fitted.bytes or 0,
    }
    if not timed:
        return said
    kept = {
        whole.members.index(member): (float(weight), float(temperature))
        for member, weight, temperature in zip(
            stack.members, stack.weights, stack.temperatures, strict=True
        )
    }
    weights = {f"weight_{i}": kept.get(i, (0.0, 1.0))[0] for i in range(len(whole.members))}
    temperatures = {f"temperature_{i}": kept[i][1] for i in kept}
    test = others[0]
    accuracies = {
        f"accuracy_{place}": _accuracy(member, test) for place, member in enumerate(whole.members)
    }
    return {
        **said,
        "fit_seconds": seconds,
        "one_row_seconds": _timed(lambda: fitted(test.batch(torch.arange(1))), 20),
        "each_of_many_seconds": _timed(lambda: _answers(fitted, test), 2) / len(test),
        **weights,
        **accuracies,
        **temperatures,
    }


def _single(estimator: Any) -> Any:
    """On one thread: many short tasks beside others are slower on several."""
    names = estimator.get_params()
    return estimator.set_params(n_jobs=1) if "n_jobs" in names else estimator


def _answers(teacher: Any, data: ArrayData) -> Any:
    with torch.no_grad():
        parts = [teacher(data.batch(part)).logits for part in torch.arange(len(data)).split(4096)]
    return torch.cat(parts).numpy()


def _accuracy(teacher: Any, data: ArrayData) -> float:
    assert data.labels is not None
    return float((_answers(teacher, data).argmax(axis=1) == data.labels.numpy()).mean())


def _timed(call: Callable[[], Any], times: int) -> float:
    """The median of some calls, after one that does not count."""
    call()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def _named(rows: Any) -> dict[str, Any]:
    return {str(name): rows[name].to_numpy() for name in rows.columns}
