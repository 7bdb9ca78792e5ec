"""The demo: the main job on scikit-learn's handwritten digits, with few labels.

The setting (student, T, alpha, steps, learning rate) was chosen by ``benchmarks/demo_setting``
on rows that are neither among the labels nor in the test set, over other draws of the labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from attar.checks import need
from attar.data import ArrayData, Views, shift, split
from attar.experiment import Experiment, Progress, distill, train_ensemble
from attar.experiment.inputs import Splits
from attar.students import mlp, plain_convnet
from attar.types import UNLABELLED

#: Labelled rows to learn from, and labelled rows to choose on.
LABELS, CHOOSING = 150, 100

#: What the demo trains with; each number is explained by `benchmarks/demo_setting`.
TEACHER: dict[str, Any] = {"width": 64, "members": 5, "steps": 300, "learning_rate": 2e-3}
STUDENT: dict[str, Any] = {
    "temperature": 8.0,
    "alpha": 0.7,
    "steps": 2500,
    "batch_size": 128,
    "learning_rate": 3e-3,
    "shrink": 10,
}


def digits(*, all_labels: bool = False, labels_seed: int = 0) -> Splits:
    """The digits (1,797 images of 8 x 8 pixels) as the demo splits them.

    40 % are kept for the test and 100 rows for choices, always the same ones; of the others,
    150 keep their label and the rest are unlabelled.

    Args:
        all_labels: Keep every label instead.
        labels_seed: Which 150 keep their label.
    """
    datasets = need("sklearn.datasets", extra="train", purpose="The demo")
    images, labels = datasets.load_digits(return_X_y=True)
    # The pixels are whole numbers from 0 to 16; the student normalises them inside its graph.
    pixels = torch.from_numpy(images).to(torch.uint8).reshape(-1, 1, 8, 8)
    data = ArrayData(pixels, torch.from_numpy(labels).long())
    rest, test = split(data, (0.6, 0.4), seed=0)
    train, validation = split(rest, (1 - CHOOSING / len(rest), CHOOSING / len(rest)), seed=0)
    assert isinstance(train, ArrayData)
    assert train.labels is not None
    if not all_labels:
        share = LABELS / len(train)
        kept, _ = split(train, (share, 1 - share), seed=labels_seed)
        known = torch.isin(train.rows, kept.rows)
        train = train.with_labels(torch.where(known, train.labels, UNLABELLED))
    return Splits(train, validation, test)


def run(
    out: Path | None,
    *,
    all_labels: bool = False,
    seeds: int = 5,
    labels_seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
    **changes: Any,
) -> Experiment:
    """Train the teacher, then the arms of the student; write the run folder.

    Args:
        out: The run folder; None keeps nothing.
        all_labels: Every training row keeps its label: the case in which little is to be gained.
        seeds: Of the students.
        labels_seed: Which 150 rows keep their label; also the seed of the teacher.
        progress: Called with :class:`~attar.experiment.Progress`.
        changes: Arguments of :func:`attar.distill` to change.
    """
    splits = digits(all_labels=all_labels, labels_seed=labels_seed)
    with _one_thread():
        return _run(splits, out, seeds, labels_seed, progress, changes)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Networks as small as these gain nothing from a second thread, and other bits come out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _run(
    splits: Splits,
    out: Path | None,
    seeds: int,
    labels_seed: int,
    progress: Callable[[Progress], None] | None,
    changes: dict[str, Any],
) -> Experiment:
    train = splits.train
    assert isinstance(train, ArrayData)

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(Progress("teacher", "Training the teacher: 5 networks", done, total))

    teacher = train_ensemble(
        train.with_views(Views((shift(1),), 64)),
        plain_convnet,
        seed=10 * labels_seed,
        progress=report,
        **TEACHER,
    )
    settings = {**STUDENT, **changes}
    return distill(
        teacher,
        mlp,
        train=train,
        validation=splits.validation,
        test=splits.test,
        seeds=seeds,
        out=out,
        progress=progress,
        **settings,
    )
