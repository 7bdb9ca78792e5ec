"""The big teacher that Attar trains itself: an ensemble of networks, cross-fitted."""

from __future__ import annotations

import copy
import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attar.checks import AttarError, check_number, need
from attar.data import Batches, as_data
from attar.engine import Distiller, TrainConfig, train
from attar.engine.processes import Processes
from attar.experiment.inputs import example_inputs
from attar.export.weights import load_weights, save_weights
from attar.files import write_text
from attar.losses import Objective, hard
from attar.students import Family, Standardize
from attar.teachers import EnsembleTeacher, ModelTeacher
from attar.types import UNLABELLED, Data


def fold_of_rows(labels: Tensor, folds: int, *, seed: int = 0) -> Tensor:
    """A fold in ``[0, folds)`` for each row, every class spread evenly.

    Args:
        labels: ``[N]`` int64, all known.
        folds: 2 or more, at most N.
        seed: Of the shuffle.
    """
    selection = need("sklearn.model_selection", extra="train", purpose="Cross-fitting")
    if folds > len(labels):
        raise AttarError(
            f"train_ensemble: {folds} members need at least {folds} labelled rows, one to leave "
            f"out each. Got {len(labels)}; label more rows or ask for fewer members."
        )
    fold = torch.empty(len(labels), dtype=torch.int64)
    splitter = selection.StratifiedKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer rows than folds is rare, not wrong: some folds just lack it.
        warnings.simplefilter("ignore", UserWarning)
        try:
            parts = list(splitter.split(torch.zeros(len(labels), 1).numpy(), labels.numpy()))
        except ValueError:  # every class is rarer than that
            plain = selection.KFold(folds, shuffle=True, random_state=seed)
            parts = list(plain.split(labels.numpy()))
    for number, (_, held_out) in enumerate(parts):
        fold[torch.from_numpy(held_out)] = number
    return fold


def train_ensemble(
    data: Any,
    family: Family,
    *,
    width: int,
    members: int = 5,
    steps: int = 600,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    smoothing: float = 0.0,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    accelerator: Any = None,
) -> EnsembleTeacher:
    """Train an ensemble of networks that can label the very rows it was trained on.

    Member k does not see the labels of fold k. A labelled row is therefore answered by the one
    member that did not see its label, and every other row by the mean probability of all: soft
    targets of rows that a network has fitted say little more than the label itself.

    Args:
        data: Labelled rows (others are left out); with views, each member trains on them.
        family: Of :mod:`attar.students`; a member is just a big student.
        width: The family's size number.
        members: How many networks, 2 or more.
        steps: Optimizer steps a member.
        batch_size: Rows a step.
        learning_rate: The peak.
        smoothing: Label smoothing of the members.
        seed: Of the folds; member k starts from ``seed + k``.
        folder: Keeps the members' weights, and goes on with them when called again.
        progress: Called with the steps done and their total.
        accelerator: Passed on to :func:`attar.engine.train`.

    Returns:
        The teacher, with the rows and members that go together in ``row_weights``.

    Example:
        >>> from attar.data import ArrayData
        >>> from attar.students import mlp
        >>> rows = ArrayData(torch.randn(40, 3), torch.arange(40) % 2)
        >>> teacher = train_ensemble(rows, mlp, width=8, members=2, steps=10)
        >>> len(teacher.members), teacher(rows.batch(torch.arange(3))).logits.shape
        (2, torch.Size([3, 2]))
    """
    check_number("train_ensemble", "members", members, low=2, whole=True)
    labelled = _labelled(as_data(data))
    assert labelled.labels is not None
    folds = fold_of_rows(labelled.labels, members, seed=seed)
    inputs = example_inputs(labelled, len(labelled))
    scaler = Standardize.fit(inputs)
    shape, classes = tuple(inputs.shape[1:]), len(labelled.classes)
    config = TrainConfig(steps=steps, learning_rate=learning_rate)
    name = f"{family.name}({width})"
    processes = Processes(accelerator)
    if folder is not None:
        numbers = (family.name, width, members, steps, batch_size, learning_rate, smoothing, seed)
        here = [*numbers, labelled.fingerprint(), _digest(labelled.labels)]
        processes.first(lambda: _settle(Path(folder), here))
    networks = []
    for member in range(members):
        rows = labelled.take((folds != member).nonzero()[:, 0])
        torch.manual_seed(seed + member)
        network = family.model(
            width, input_shape=shape, classes=classes, scaler=copy.deepcopy(scaler)
        )
        weights = None if folder is None else Path(folder) / f"member-{member}.safetensors"
        if weights is not None and processes.from_main(weights.exists()):
            load_weights(network, weights)
        else:
            distiller = Distiller(network, Objective([hard(1.0, smoothing=smoothing)]))
            for record in train(
                distiller,
                Batches(rows, batch_size, seed=seed + member),
                replace(config, seed=seed + member),
                checkpoint=None if weights is None else weights.with_suffix(".checkpoint"),
                accelerator=accelerator,
            ):
                if progress is not None:
                    progress(member * steps + record.step, members * steps)
            if weights is not None and processes.main:
                save_weights(network, weights)
                weights.with_suffix(".checkpoint").unlink(missing_ok=True)
        networks.append(ModelTeacher(network.eval(), outputs="logits", name=name))
    own = torch.nn.functional.one_hot(folds, members).float()
    title = f"ensemble of {members} {name}"
    return EnsembleTeacher(networks, row_weights=(labelled.rows, own), name=title)


def _settle(folder: Path, here: list[Any]) -> None:
    """Members of another ensemble, or of other labels, must not be taken for these."""
    path = folder / "ensemble.json"
    if path.exists() and json.loads(path.read_text("utf-8")) != here:
        raise AttarError(
            f"train_ensemble: {folder} holds the members of another ensemble (other numbers, rows "
            "or labels). Repeat the arguments that it was started with, or name another folder."
        )
    write_text("train_ensemble", path, json.dumps(here))


def _digest(labels: Tensor) -> str:
    return hashlib.blake2b(labels.numpy().tobytes(), digest_size=16).hexdigest()


def _labelled(data: Data) -> Data:
    if data.labels is None or not bool((data.labels != UNLABELLED).any()):
        raise AttarError("train_ensemble: no row has a label; a teacher needs some to learn from.")
    return data.take((data.labels != UNLABELLED).nonzero()[:, 0])
