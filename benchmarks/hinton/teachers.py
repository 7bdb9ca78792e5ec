"""The teachers: an ensemble of convolutional networks, and the paper's own MLP."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from turns import share_out, turn

from attar.data import ArrayData, Batches, Views, shift
from attar.data.views import Draws
from attar.engine import Distiller, TrainConfig, train
from attar.export.weights import load_weights, save_weights
from attar.losses import Objective, hard
from attar.students import Family, Standardize
from attar.teachers import EnsembleTeacher, ModelTeacher

#: Called with what is going on, how much of it is done, and of how much.
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Affine:
    """Turn, stretch and move images at random; what comes in is zero.

    Attributes:
        degrees: The furthest turn, either way.
        zoom: The largest stretch or shrinkage, as a share; height and width each have their own.
        pixels: The furthest move in each direction.
    """

    degrees: float
    zoom: float
    pixels: float

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Images ``[B, C, H, W]``, bytes."""
        angle, high, wide, down, right = (2 * draws.uniform().float() - 1 for _ in range(5))
        angle = angle * math.radians(self.degrees)
        high, wide = torch.exp(high * self.zoom), torch.exp(wide * self.zoom)
        unit = 2 * self.pixels / images.shape[-1]  # grid coordinates run from -1 to 1
        cosine, sine = angle.cos(), angle.sin()
        rows = [cosine * wide, -sine * wide, right * unit, sine * high, cosine * high, down * unit]
        matrices = torch.stack(rows, dim=1).view(-1, 2, 3)
        grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
        moved = F.grid_sample(images.float(), grid, align_corners=False)
        return moved.round().to(images.dtype)


def _convolution(before: int, after: int, side: int, stride: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(before, after, side, stride=stride, padding=side // 2, bias=False)
    return [layer, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def _build(width: int, shape: tuple[int, ...], classes: int) -> nn.Module:
    """Five convolutions, the first with stride 2: most of the work is done at 14 x 14 pixels.

    At full resolution the same accuracy costs twice the time on a processor, most of it in
    batch normalisation and ReLU.
    """
    channels, height, side = shape
    left = math.ceil(height / 4) * math.ceil(side / 4)
    network = nn.Sequential(
        *_convolution(channels, width, 5, stride=2),
        *_convolution(width, 2 * width, 3),
        *_convolution(2 * width, 2 * width, 3),
        *_convolution(2 * width, 4 * width, 3, stride=2),
        *_convolution(4 * width, 4 * width, 3),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(4 * width * left, classes),
    )
    # With channels last such networks train in two thirds of the time and answer in half.
    return network.to(memory_format=torch.channels_last)


#: Sized by the channels of its first layer.
strided = Family("strided_convnet", _build)


class _WithDropout(nn.Module):
    """The paper's teacher: two layers of ReLU, dropout of the inputs and of the hidden units."""

    def __init__(self, width: int, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(math.prod(shape), width),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(width, classes),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.layers(inputs)
        return logits


#: Sized by the units of its hidden layers.
dropout_mlp = Family("dropout_mlp", _WithDropout)


@dataclass(frozen=True)
class Recipe:
    """How a teacher is trained.

    Attributes:
        name: For folders and tables.
        family: The networks.
        width: Their width.
        members: How many.
        epochs: Passes over the rows, each in another view.
        batch_size: Rows a step.
        learning_rate: The peak of the schedule.
        transform: What makes a view.
    """

    name: str
    family: Family
    width: int
    members: int
    epochs: int
    batch_size: int
    learning_rate: float
    transform: Callable[[Tensor, Draws], Tensor]

    @property
    def key(self) -> str:
        """A name for a folder: another recipe lives elsewhere."""
        return f"{self.name}-w{self.width}-e{self.epochs}-b{self.batch_size}"


#: Fifteen minutes on one core that computes in bfloat16.
CONVOLUTIONAL = Recipe("conv", strided, 32, 5, 8, 64, 2e-3, Affine(10.0, 0.1, 2.5))
#: As in the paper: 784-1200-1200-10, dropout, images moved by up to two pixels.
PAPER = Recipe("paper", dropout_mlp, 1200, 1, 100, 512, 1e-3, shift(2))


def member(
    recipe: Recipe,
    number: int,
    rows: ArrayData,
    folder: Path,
    report: Report,
    accelerator: Any,
    wait: bool = True,
) -> ModelTeacher | None:
    """One trained network: train it, go on with it, or read it back.

    None where another process is at it and nobody is to wait.
    """
    torch.manual_seed(number)
    network = recipe.family.model(
        recipe.width,
        input_shape=tuple(rows.inputs.shape[1:]),
        classes=len(rows.classes),
        scaler=Standardize.fit(rows.inputs),
    )
    path = folder / recipe.key / f"member-{number}.safetensors"
    with turn(path.with_suffix(".turn"), wait=wait) as mine:
        if not mine:
            return None
        if path.exists():
            load_weights(network, path)
        else:
            _train(recipe, number, network, rows, path, report, accelerator)
    network = network.to(accelerator.device).eval()
    return ModelTeacher(network, outputs="logits", name=f"{recipe.family.name}({recipe.width})")


def _train(
    recipe: Recipe,
    number: int,
    network: nn.Module,
    rows: ArrayData,
    path: Path,
    report: Report,
    accelerator: Any,
) -> None:
    # Other views for each member: networks that differ more agree less in their errors.
    viewed = rows.with_views(Views((recipe.transform,), recipe.epochs + 1, seed=1 + number))
    steps = recipe.epochs * len(rows) // recipe.batch_size
    config = TrainConfig(
        steps=steps, learning_rate=recipe.learning_rate, checkpoint_every=500, seed=number
    )
    checkpoint = path.with_suffix(".checkpoint")
    batches = Batches(viewed, recipe.batch_size, seed=number)
    distiller = Distiller(network, Objective([hard(1.0)]))
    for record in train(distiller, batches, config, checkpoint=checkpoint, accelerator=accelerator):
        report(f"{recipe.name} teacher {number} learns", record.step, steps)
    save_weights(network, path)
    checkpoint.unlink(missing_ok=True)


def ensemble(
    recipe: Recipe, rows: ArrayData, folder: Path, report: Report, accelerator: Any
) -> EnsembleTeacher:
    """All members, mixed by their mean probability."""
    networks: dict[int, ModelTeacher] = {}

    def one(number: int, wait: bool) -> None:
        if number not in networks:
            found = member(recipe, number, rows, folder, report, accelerator, wait)
            if found is not None:
                networks[number] = found

    share_out(range(recipe.members), one)
    what = f"{recipe.family.name}({recipe.width})"
    name = f"ensemble of {recipe.members} {what}" if recipe.members > 1 else what
    return EnsembleTeacher([networks[number] for number in range(recipe.members)], name=name)
