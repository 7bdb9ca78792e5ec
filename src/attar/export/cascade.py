"""A cascade: the student answers, the teacher only where the student is unsure."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attar.checks import AttarError, check_number
from attar.data import as_data
from attar.evaluation import Threshold, Timing, call_times, choose_threshold, predict_logits
from attar.export import runtime
from attar.export.two_stage import TwoStage
from attar.files import write_text
from attar.types import Data

OWNER = "cascade"

_CHUNK = 256

#: Draws of a row's time, where some rows take both models.
_DRAWS = 20_000


@dataclass(frozen=True)
class Cascade:
    """Two models and the threshold between them.

    Attributes:
        choice: The threshold, the promise, and what the rows said.
        latency: Time of one row, one row a call: of ``"student"``, ``"teacher"`` and
            ``"cascade"``; empty where it was not measured. That of the cascade is the
            student's, and for the share of rows that goes on also the teacher's.
        student: The first model as it was given.
        teacher: The second model.
    """

    choice: Threshold
    latency: dict[str, Timing]
    student: Any
    teacher: Any

    @property
    def met(self) -> bool:
        """Whether the threshold keeps the promise."""
        return self.choice.met

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        timed = {name: timing.to_dict() for name, timing in self.latency.items()}
        return {**self.choice.to_dict(), "latency": timed}

    def runtime(self) -> TwoStage:
        """The two as one classifier.

        Raises:
            AttarError: If one of them is no ONNX file.
        """
        models = [_student(model) for model in (self.student, self.teacher)]
        if models[0] is None or models[1] is None:
            raise AttarError(
                f"{OWNER}: both models must be ONNX files to run as one. Export them: "
                f"attar.export.to_onnx."
            )
        return TwoStage(
            models[0],
            models[1],
            threshold=self.choice.threshold,
            measure=self.choice.confidence,
        )

    def save(self, folder: str | Path) -> Path:
        """Write ``cascade.json`` into a run folder, where the report finds it."""
        path = Path(folder) / "cascade.json"
        write_text(OWNER, path, json.dumps(self.to_dict(), indent=1, allow_nan=False))
        return path
