"""Networks that label out of fold: a factory, a training function, one network a fold."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from attar.checks import AttarError
from attar.export.weights import load_weights, save_weights
from attar.files import write_text
from attar.teachers import CrossFitted, ModelTeacher
from attar.teachers.folds import cut, folds_digest
from attar.types import UNLABELLED, Data

#: Makes a fresh network.
Make = Callable[[], nn.Module]

#: Trains a network, in place, on the labelled rows that it is given.
Fit = Callable[[Any, Any], Any]


def cross_fit_networks(
    make: Make,
    fit: Fit,
    data: Data,
    *,
    folds: Any = 5,
    groups: Any = None,
    seed: int = 0,
    full: nn.Module | None = None,
    keep: str | Path | None = None,
) -> CrossFitted:
    """A teacher that labels each labelled row with a network that did not see its label.

    The counterpart of :func:`attar.teachers.cross_fit` for networks: a fresh network is trained
    on all folds but one and asked about that one. Rows without a label are answered by one that
    was trained on all labelled rows.

    Args:
        make: Called without arguments for a fresh ``torch.nn.Module``.
        fit: ``fit(network, rows)`` trains it in place on the rows of a fold, an object of
            :mod:`attar.data` whose labels are all known (``rows.inputs``, ``rows.labels``,
            ``rows.batch(...)``; :func:`attar.train` takes it). It may return another module of
            the same kind instead.
        data: Rows with labels, :data:`attar.UNLABELLED` where not known.
        folds: How many, or a splitter of scikit-learn, as in :func:`attar.teachers.cross_fit`.
        groups: ``[N]``, one a row of data; rows of one group are never on both sides.
        seed: Of the folds; the random generators of PyTorch, numpy and Python are set to
            ``seed + k`` before network k is made and trained.
        full: The trained network for the rows without a label; one is trained here otherwise.
        keep: A folder for the networks of the folds. Called again, also after it was killed,
            only those are trained that are not there.

    Raises:
        AttarError: If the rows cannot be cut like that, ``make`` or ``fit`` gives something else
            than a module, or the folder holds the networks of other folds, rows or labels.

    Example:
        >>> from attar.data import ArrayData
        >>> rows = ArrayData(torch.eye(4).repeat(5, 1), torch.arange(20) % 2)
        >>> def fit(network, rows):
        ...     optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
        ...     for _ in range(20):
        ...         optimizer.zero_grad()
        ...         nn.functional.cross_entropy(network(rows.inputs), rows.labels).backward()
        ...         optimizer.step()
        >>> teacher = cross_fit_networks(lambda: nn.Linear(4, 2), fit, rows, folds=5)
        >>> len(teacher.members), teacher(rows.batch(torch.arange(4))).logits.argmax(dim=1)
        (6, tensor([0, 1, 0, 1]))
    """
    parts = cut("label", data, folds, groups=groups, seed=seed)
    assert data.labels is not None
    folder = None if keep is None else Path(keep)
    if folder is not None:
        _settle(folder, {"folds": folds_digest(parts, data), "rows": data.fingerprint()}, seed)
    everything = (data.labels.cpu() != UNLABELLED).nonzero().reshape(-1)
    learnt_from = [everything, *(fold.seen for fold in parts)]
    members = []
    for number, positions in enumerate(learnt_from):
        if number == 0 and full is not None:
            network = full
        else:
            path = None if folder is None else folder / f"network-{number}.safetensors"
            network = _network(make, fit, data.take(positions), seed + number, path)
        members.append(ModelTeacher(network.eval(), name=type(network).__name__))
    return CrossFitted(members, parts, data, name=f"cross-fitted {members[0].name}")


def check_factory(owner: str, value: Any) -> None:
    """Raise unless this can make fresh networks."""
    if isinstance(value, nn.Module) or not callable(value):
        raise AttarError(
            f"{owner}: with fit= and folds= a fresh network is trained for each fold, so the "
            "first argument must be a callable without arguments that makes one, such as "
            f"lambda: MyNetwork(). Got {type(value).__name__}."
        )


def _network(make: Make, fit: Fit, rows: Data, seed: int, path: Path | None) -> nn.Module:
    """A trained network; read back where it was trained before."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002  # whatever a training function draws from
        random.seed(seed)
        network = _module("the factory", make())
        if path is not None and path.exists():
            load_weights(network, path)
            return network
        trained = fit(network.train(), rows)
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
    network = network if trained is None else _module("fit", trained)
    network.cpu()
    if path is not None:
        save_weights(network, path)
    return network


def _module(whose: str, made: Any) -> nn.Module:
    if not isinstance(made, nn.Module):
        raise AttarError(
            f"label: {whose} must give a torch.nn.Module"
            f"{' or None' if whose == 'fit' else ''}. Got {type(made).__name__}."
        )
    return made


def _settle(folder: Path, here: dict[str, Any], seed: int) -> None:
    """Networks of other folds, rows or labels must not be taken for these."""
    here = {**here, "seed": seed}
    path = folder / "folds.json"
    if path.exists() and json.loads(path.read_text("utf-8")) != here:
        raise AttarError(
            f"label: {folder} holds networks that were trained on other folds, rows or labels, or "
            "under another seed. Delete it, or name another folder with keep=."
        )
    write_text("label", path, json.dumps(here))
