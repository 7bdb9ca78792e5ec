"""A teacher of a few small convolutional networks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from attar.data import ArrayData, Batches, Views, shift
from attar.engine import Distiller, TrainConfig, train
from attar.experiment import train_ensemble
from attar.export.weights import load_weights, save_weights
from attar.losses import Objective, hard
from attar.students import Family, Standardize, plain_convnet
from attar.teachers import EnsembleTeacher, ModelTeacher

#: Each epoch of a member sees one more view; none of them is a view that the students see.
TEACHER_VIEWS = Views((shift(2),), 1000, seed=1)
BATCH, RATE = 128, 2e-3
#: Rows at a time when the teacher answers: at 256 and more these networks leave the caches.
ASK = 64

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Recipe:
    """How the teacher is made.

    Attributes:
        kind: ``"whole"``: every member learns from every training row, and all answer about
            each. ``"crossfit"``: each leaves out a part, and a row is answered by the one member
            that did not see its label.
        width: Channels of a member's first stage.
        members: How many.
        epochs: Passes of a member over the training rows.
    """

    kind: str
    width: int
    members: int
    epochs: int

    @property
    def key(self) -> str:
        """A name for folders."""
        return f"{self.kind}-w{self.width}-m{self.members}-e{self.epochs}"


def _build(width: int, shape: tuple[int, ...], classes: int) -> nn.Module:
    # With channels last these networks train in two thirds of the time and answer in half.
    network = plain_convnet.build(width, shape, classes)
    return network.to(memory_format=torch.channels_last)


FAMILY = Family("plain_convnet", _build)


def make(recipe: Recipe, rows: ArrayData, folder: Path, report: Report) -> EnsembleTeacher:
    """Train the members, or go on with them, or read them back."""
    shifted = rows.with_views(TEACHER_VIEWS)
    steps = recipe.epochs * len(rows) // BATCH
    if recipe.kind == "crossfit":
        return train_ensemble(
            shifted,
            FAMILY,
            width=recipe.width,
            members=recipe.members,
            # A member has fewer rows, and makes as many passes over them.
            steps=steps * (recipe.members - 1) // recipe.members,
            batch_size=BATCH,
            learning_rate=RATE,
            folder=folder,
            progress=lambda done, total: report("the teacher learns", done, total),
        )
    scaler = Standardize.fit(rows.inputs)
    config = TrainConfig(steps=steps, learning_rate=RATE, checkpoint_every=250)
    name = f"{FAMILY.name}({recipe.width})"
    networks = []
    for member in range(recipe.members):
        torch.manual_seed(member)
        network = FAMILY.model(
            recipe.width,
            input_shape=tuple(rows.inputs.shape[1:]),
            classes=len(rows.classes),
            scaler=copy.deepcopy(scaler),
        )
        path = folder / f"member-{member}.safetensors"
        if path.exists():
            load_weights(network, path)
        else:
            checkpoint = path.with_suffix(".checkpoint")
            distiller = Distiller(network, Objective([hard(1.0)]))
            batches = Batches(shifted, BATCH, seed=member)
            for one in train(distiller, batches, _seeded(config, member), checkpoint=checkpoint):
                report("the teacher learns", member * steps + one.step, recipe.members * steps)
            save_weights(network, path)
            checkpoint.unlink(missing_ok=True)
        networks.append(ModelTeacher(network.eval(), outputs="logits", name=name))
    return EnsembleTeacher(networks, name=f"ensemble of {recipe.members} {name}")


def _seeded(config: TrainConfig, seed: int) -> TrainConfig:
    return TrainConfig(
        steps=config.steps,
        learning_rate=config.learning_rate,
        checkpoint_every=config.checkpoint_every,
        seed=seed,
    )
