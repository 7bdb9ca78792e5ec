"""A student back in PyTorch: built again from what a bundle, a run or a file says of it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from attar.checks import AttarError, need
from attar.export.about import result_of
from attar.export.bundle import read_bundle
from attar.export.weights import load_weights
from attar.students import Family, Unscaled, family_named
from attar.students.unscaled import is_unscaled, without_scale


class Temperature(nn.Module):
    """``logits / temperature``: the last layer of a calibrated student."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, logits: Tensor) -> Tensor:
        """The scaled logits."""
        return logits / self.temperature


@dataclass(frozen=True)
class Recipe:
    """What it takes to build a student again.

    Attributes:
        owner: Where it came from, for messages.
        name: What the student is called.
        family: Of :mod:`attar.students`; None for a module of one's own.
        width: Its size in that family.
        input_shape: The shape of one row.
        classes: Their names.
        temperature: What the exported graph divides the logits by.
    """

    owner: str
    name: str
    family: str | None
    width: int | None
    input_shape: tuple[int, ...] | None
    classes: tuple[str, ...]
    temperature: float = 1.0

    @classmethod
    def of(
        cls, owner: str, told: Mapping[str, Any], classes: Any, temperature: float | None = 1.0
    ) -> Recipe:
        """From the ``student`` of ``bundle.json`` or ``result.json``."""
        shape = told.get("input_shape")
        return cls(
            owner,
            str(told.get("name")),
            told.get("family"),
            told.get("width"),
            None if shape is None else tuple(int(size) for size in shape),
            tuple(classes),
            temperature or 1.0,
        )

    def build(self, weights: Path, model: nn.Module | None = None) -> nn.Module:
        """The student with its weights, in eval mode, its logits as they were trained.

        Raises:
            AttarError: If it is of no family and ``model`` is not given, or the weights do not
                fit.
        """
        made = self._fresh(weights) if model is None else model
        load_weights(made, weights)
        return made.eval()

    def _fresh(self, weights: Path) -> nn.Module:
        family = None if self.family is None else family_named(str(self.family))
        if family is None or self.width is None or self.input_shape is None:
            raise AttarError(
                f"{self.owner}: the student {self.name} is of no family of attar.students, so "
                f"only you can make its module. Give one with the same layers: "
                f"load_student(path, model=YourModule()), or on the command line attar export "
                f"module:function --weights {weights.name} --example ROWS.npy."
            )
        tensors = self._read(weights)
        scaled = is_unscaled(tensors)
        fitted, scaler = self._restored(
            family, without_scale(tensors) if scaled else tensors, weights
        )
        model = fitted.model(
            self.width,
            input_shape=self.input_shape,
            classes=len(self.classes),
            scaler=scaler,
        )
        return Unscaled(model, tensors["middle"], tensors["spread"]) if scaled else model

    def _read(self, weights: Path) -> dict[str, Tensor]:
        safe_open = need("safetensors", extra="train", purpose="loading weights").safe_open
        try:
            with safe_open(weights, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except Exception as error:  # the library's error shares no base class with the system's
            raise AttarError(
                f"{self.owner}: {weights.name} cannot be read as weights: {error}."
            ) from error

    def _restored(
        self, family: Family, tensors: dict[str, Tensor], weights: Path
    ) -> tuple[Family, nn.Module | None]:
        try:
            return family.restore(tensors)
        except AttarError:
            raise
        except Exception as error:  # the library's error shares no base class with the system's
            raise AttarError(
                f"{self.owner}: {weights.name} does not hold the weights of {self.name}: {error}."
            ) from error


def load_student(path: str | Path, *, model: nn.Module | None = None) -> nn.Module:
    """The student as a PyTorch module that answers as the file in its bundle does.

    For training it further, for looking into it, for exporting it in another way. A student of a
    family of :mod:`attar.students` is built from its name and size; nothing is unpickled.

    Args:
        path: A bundle (``.zip`` or folder) that holds the weights, a run folder, or a
            ``.safetensors`` file that ``attar export --to safetensors`` wrote.
        model: The module to load the weights into, where the student is a module of your own.

    Returns:
        The module in eval mode; it takes rows as they are and gives logits ``[N, C]``, divided
        by the temperature where the exported student is calibrated; of a regression values
        ``[N, D]`` in the unit of the labels.

    Raises:
        AttarError: If the path is none of these, the student is of no family and ``model`` is
            not given, or the weights do not fit.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory() as scratch:
        recipe, weights = _found(path, Path(scratch))
        built = recipe.build(weights, model)
    if recipe.temperature == 1.0:
        return built
    layers = [*built] if isinstance(built, nn.Sequential) else [built]
    return nn.Sequential(*layers, Temperature(recipe.temperature)).eval()


def _found(path: Path, scratch: Path) -> tuple[Recipe, Path]:
    """The recipe of a student, and the file of its weights."""
    if path.suffix.lower() == ".safetensors":
        return recipe_of_weights(path), path
    if (path / "result.json").exists():
        return recipe_of_run(path), path / "student.safetensors"
    bundle = read_bundle(path)
    told, first = bundle.manifest["student"], bundle.manifest["models"][0]
    if told["weights"] is None:
        raise AttarError(
            f"{path}: this bundle has no weights for PyTorch. Write it with them: attar bundle "
            f"without --no-weights."
        )
    weights = scratch / "student.safetensors"
    weights.write_bytes(bundle.files[told["weights"]])
    return Recipe.of(str(path), told, bundle.manifest["classes"], first["temperature"]), weights


def recipe_of_run(run: Path) -> Recipe:
    """The recipe of the student of a finished run.

    Raises:
        AttarError: If the run is not finished.
    """
    result = result_of(run)
    temperature = (result.get("export") or {}).get("temperature", 1.0)
    return Recipe.of(str(run), result["student"], result["classes"], temperature)


def recipe_of_weights(path: Path) -> Recipe:
    """The recipe that lies in the metadata of a safetensors file."""
    safe_open = need("safetensors", extra="train", purpose="loading weights").safe_open
    try:
        with safe_open(path, framework="pt") as file:
            told = json.loads((file.metadata() or {}).get("attar.metadata", "{}"))
    except Exception as error:  # the library's error shares no base class with the system's
        raise AttarError(f"{path} is no safetensors file: {error}.") from error
    classes = told.get("classes", [])
    names = json.loads(classes) if isinstance(classes, str) else classes
    return Recipe.of(str(path), told, names, told.get("temperature"))
