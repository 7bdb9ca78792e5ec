"""The teacher that Attar trains itself where none is named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attar.checks import AttarError

if TYPE_CHECKING:
    from attar.cli.show import Reporter
    from attar.data import ArrayData
    from attar.experiment.inputs import Splits

#: Families of the members, for vectors and for images, and their width: big against a student
#: that is ten times smaller.
WIDTH = {"mlp": 256, "plain_convnet": 32}


@dataclass(frozen=True)
class Recipe:
    """The ensemble that Attar trains where no teacher was named."""

    family: str
    width: int
    members: int
    steps: int

    @classmethod
    def of(cls, width: int | None, members: int, steps: int, *, pictures: bool) -> Recipe:
        """The ensemble for images or for vectors, where no family was named."""
        family = "plain_convnet" if pictures else "mlp"
        return cls(family, width or WIDTH[family], members, steps)

    def check_room(
        self, student: Any, data: ArrayData, *, parameters: int | None, shrink: float | None
    ) -> None:
        """Raise where no student is so small, before the teacher has been trained in vain."""
        import torch

        from attar.students import Family, fit_to

        if not isinstance(student, Family):
            return
        shape, classes = tuple(data.batch(torch.arange(1)).inputs.shape[1:]), len(data.classes)
        if parameters is None:
            parameters = max(1, int(self.member_size(data) / (shrink or 1)))
        fit_to(student, parameters=parameters, input_shape=shape, classes=classes)

    def member_size(self, data: ArrayData) -> int:
        """The parameters of one member."""
        import torch

        from attar.students import FAMILIES, count_parameters

        shape, classes = tuple(data.batch(torch.arange(1)).inputs.shape[1:]), len(data.classes)
        return count_parameters(
            FAMILIES[self.family].model(self.width, input_shape=shape, classes=classes)
        )

    def train(self, splits: Splits, folder: Path, reporter: Reporter) -> Any:
        """Train it, or go on with it; it sees no row of validation or test.

        Raises:
            AttarError: If the folder holds an ensemble of another recipe.
        """
        from attar.experiment import train_ensemble
        from attar.students import FAMILIES

        wanted = {
            "family": self.family,
            "width": self.width,
            "members": self.members,
            "steps": self.steps,
            "train": splits.labelled.fingerprint(),
        }
        note = folder / "teacher.json"
        if note.exists():
            there = json.loads(note.read_text("utf-8"))
            differing = [k for k in wanted if there.get(k) != wanted[k]]
            if differing:
                raise AttarError(
                    f"{folder} holds an ensemble that was trained otherwise (another "
                    f"{', '.join(differing)}). Repeat the words that the run was started with, or "
                    "name another --out."
                )
        else:
            folder.mkdir(parents=True, exist_ok=True)
            note.write_text(json.dumps(wanted, indent=1), "utf-8")
        message = f"Training the teacher: {self.members} networks, {self.family}({self.width})"
        return train_ensemble(
            splits.train,
            FAMILIES[self.family],
            width=self.width,
            members=self.members,
            steps=self.steps,
            folder=folder,
            progress=reporter.counter("teacher", message),
        )
