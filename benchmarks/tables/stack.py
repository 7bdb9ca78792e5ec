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
class Cut:
    """The training rows in two: settings are tried on the one, and judged on the other.

    Attributes:
        learn: Four fifths of them.
        synthetic: Rows that were drawn between these alone.
        judge: The others.
    """

    learn: ArrayData
    synthetic: ArrayData
    judge: ArrayData


@dataclass(frozen=True)
class Lesson:
    """A table cut into its parts, and what the teacher said about them.

    Attributes:
        columns: How the rows were encoded.
        train: Labelled rows to learn from.
        synthetic: Rows that were drawn between them, without labels.
        cuts: Of the training rows, for what is chosen.
        test: Rows that nothing was chosen on.
        raw: The test rows as they were, a DataFrame.
        out_of_fold: The teacher of train, synthetic and test rows.
        in_sample: The same, but that it answers train rows that it was fitted on.
        told: Its bytes, its seconds for one row and for each of many, its weights.
    """

    columns: list[dict[str, Any]]
    train: ArrayData
    synthetic: ArrayData
    cuts: list[Cut]
    test: ArrayData
    raw: Any
    out_of_fold: GivenTeacher
    in_sample: GivenTeacher
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
        cuts.append(Cut(first, drawn(some, others, seed=seed + 1), second))
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        answers = _ask(train, test, [synthetic, *[cut.synthetic for cut in cuts]])
        np.savez(kept.with_suffix(".tmp.npz"), **answers)
        kept.with_suffix(".tmp.npz").replace(kept)
    with np.load(kept, allow_pickle=False) as stored:
        told = {name: float(stored[name]) for name in stored.files if stored[name].ndim == 0}
        teachers = [
            GivenTeacher(
                np.concatenate([stored[name], stored["others"]]),
                rows=torch.arange(given),
                name="stack",
                outputs="logits",
                bytes=int(told["bytes"]),
            )
            for name in ("out_of_fold", "in_sample")
        ]
    return Lesson(columns, train, synthetic, cuts, test, rows[1], *teachers, told)


def _ask(train: ArrayData, test: ArrayData, drawn: list[ArrayData]) -> dict[str, Any]:
    """Fit the stack, weigh it out of fold, and let it answer."""
    started = time.perf_counter()
    whole = EnsembleTeacher(
        [cross_fit(_single(one), train, folds=FOLDS) for one in boosted_stack()]
    )
    stack = weigh(whole, train)
    seconds = time.perf_counter() - started
    full = [member.members[0] for member in stack.members]  # type: ignore[attr-defined]
    fitted = EnsembleTeacher(full, weights=stack.weights, temperatures=stack.temperatures)
    kept = {
        whole.members.index(member): (float(weight), float(temperature))
        for member, weight, temperature in zip(
            stack.members, stack.weights, stack.temperatures, strict=True
        )
    }
    weights = {f"weight_{i}": kept.get(i, (0.0, 1.0))[0] for i in range(len(whole.members))}
    temperatures = {f"temperature_{i}": kept[i][1] for i in kept}
    accuracies = {
        f"accuracy_{place}": _accuracy(member, test) for place, member in enumerate(whole.members)
    }
    return {
        "out_of_fold": _answers(stack, train),
        "in_sample": _answers(fitted, train),
        "others": np.concatenate([_answers(fitted, part) for part in (test, *drawn)]),
        "bytes": fitted.bytes or 0,
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
