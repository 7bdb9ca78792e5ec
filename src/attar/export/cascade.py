"""A cascade: the student answers, the teacher only where the student is unsure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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

    def export(self, path: str | Path, *, name: str | None = None) -> Path:
        """Write both models and the threshold as one bundle.

        :func:`attar.export.runtime.load_cascade` reads it, with numpy and onnxruntime alone.

        Args:
            path: A name that ends in ``.zip``, or a folder that is not there yet.
            name: What to call it.

        Raises:
            AttarError: If the goal was not met, or a model is no ONNX file.
        """
        from attar.export.bundle import ModelFile, write_bundle

        if not self.met:
            raise AttarError(f"{OWNER}: there is nothing to export. {self.choice.reason}")
        two = self.runtime()
        models = {}
        for role, source, model in (
            ("student", self.student, two.student),
            ("teacher", self.teacher, two.teacher),
        ):
            if not isinstance(source, str | Path):
                raise AttarError(
                    f"{OWNER}: to write a bundle, name the {role}'s ONNX file in attar.cascade. "
                    f"Got {type(source).__name__}."
                )
            method = model.metadata.get("quantization", {}).get("method", "float32")
            precision = "int8" if method in ("static", "dynamic", "qat") else method
            models[role] = ModelFile(source, precision=precision)
        told = self.to_dict()
        rule = {"student": "student", "teacher": "teacher", **told.pop("chosen"), **told}
        return write_bundle(path, models, cascade=rule, name=name)


def cascade(
    student: Any,
    teacher: Any,
    *,
    validation: Any,
    keep: float | None = None,
    teacher_share: float | None = None,
    confidence: str = "probability",
    level: float = 0.95,
    seconds: float = 0.3,
) -> Cascade:
    """Choose when to ask the teacher, so that a promise holds for rows to come.

    The threshold on the student's confidence comes out of a sequence of exact tests on the
    validation rows (:func:`attar.evaluation.choose_threshold`), so it keeps its promise with the
    confidence that was asked for, and not only on the rows that chose it. Where no threshold is
    shown to, the result says so (``met`` is False) and has the best one found.

    Args:
        student: An ONNX file, a loaded one (:func:`attar.export.runtime.load`), whatever
            :func:`attar.teachers.as_teacher` takes, or its logits ``[N, C]`` on validation.
        teacher: The same.
        validation: ``(X, y)`` or an object of :mod:`attar.data`: rows like those to come, that
            neither was trained on. A promise of 0.1 % needs some thousands of them.
        keep: The fraction of the teacher's accuracy to keep: 0.995, say.
        teacher_share: The largest share of rows that may go to the teacher: 0.05, say.
        confidence: ``"probability"``, ``"margin"`` or ``"entropy"``; ``"auto"`` takes the one
            that asks the teacher least, and pays for the choice with stricter tests
            (:func:`attar.evaluation.choose_threshold`).
        level: How sure the promise is to be.
        seconds: How long each model is timed, one row a call; 0 does not.

    Raises:
        AttarError: If an argument is not as described, or the two do not fit the rows.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 3000)
    >>> hard = rng.random(3000) < 0.1  # rows that the student can only guess
    >>> seen = np.where(hard & (rng.random(3000) < 0.5), 1 - y, y)
    >>> student = np.eye(2)[seen] * np.where(hard, 0.5, 6.0)[:, None]
    >>> found = cascade(student, 6 * np.eye(2)[y], validation=(np.zeros((3000, 1)), y), keep=0.99)
    >>> found.met, round(found.choice.student_accuracy, 2), found.choice.share < 0.12
    (True, 0.94, True)

    Paper: Viola, Jones 2001, "Rapid Object Detection using a Boosted Cascade of Simple
    Features"; the guarantee after Angelopoulos et al. 2021, "Learn then Test".
    """
    check_number(OWNER, "seconds", seconds, low=0.0)
    models = [_model(model) for model in (student, teacher)]
    classes = [m.classes for m in models if isinstance(m, runtime.Student)]
    if len(set(classes)) > 1:
        raise AttarError(
            f"{OWNER}: student and teacher must have the same classes in the same order. Got "
            f"{str(classes[0])[:100]} and {str(classes[1])[:100]}."
        )
    data = as_data(validation, classes=classes[0] if classes else None)
    if data.labels is None:
        raise AttarError(f"{OWNER}: validation must have labels, to see who is right.")
    choice = choose_threshold(
        _logits("student", models[0], data),
        _logits("teacher", models[1], data),
        data.labels,
        keep=keep,
        teacher_share=teacher_share,
        measure=confidence,
        level=level,
    )
    latency = _latency(models, data, choice, seconds) if seconds else {}
    return Cascade(choice, latency, student, teacher)


_ROLES = ("student", "teacher")


def _model(model: Any) -> Any:
    """A loaded ONNX file, logits, or a teacher."""
    from attar.teachers import as_teacher

    if isinstance(model, Tensor | np.ndarray):
        return torch.as_tensor(model)
    return _student(model) or as_teacher(model)


def _student(model: Any) -> runtime.Student | None:
    if isinstance(model, str | Path):
        return runtime.load(model, threads=1)
    return model if isinstance(model, runtime.Student) else None


def _logits(what: str, model: Any, data: Data) -> NDArray[Any]:
    """Logits ``[N, C]`` of every row of validation."""
    if isinstance(model, Tensor):
        if model.ndim != 2 or len(model) != len(data):
            raise AttarError(
                f"{OWNER}: the logits of the {what} must have shape [N, C] with the {len(data)} "
                f"rows of validation. Got {tuple(model.shape)}."
            )
        return model.numpy()
    if isinstance(model, runtime.Student):
        pieces = torch.split(torch.arange(len(data)), _CHUNK)
        return np.concatenate([model.logits(data.batch(p).inputs.numpy()) for p in pieces])
    return predict_logits(model, data).numpy()


def _latency(
    models: Sequence[Any], data: Data, choice: Threshold, seconds: float
) -> dict[str, Timing]:
    """Of both, in turn, one row a call; and of the two together, drawn from these times."""
    first = data.batch(torch.zeros(1, dtype=torch.int64))
    calls = {}
    for name, model in zip(_ROLES, models, strict=True):
        if isinstance(model, Tensor):
            return {}
        if isinstance(model, runtime.Student):
            row = first.inputs.numpy()
            calls[name] = _bound(model.logits, row)
            if name == "student":  # with what it takes to see how sure it is
                alone = TwoStage(model, model, threshold=0.0, measure=choice.confidence)
                calls[name] = _bound(alone.answer, row)
        else:
            calls[name] = _bound(model, first)
    with torch.no_grad():
        times = call_times(calls, seconds=seconds)
    random = np.random.default_rng(0)
    draws = [random.choice(times[name], _DRAWS) for name in _ROLES]
    goes_on = np.arange(_DRAWS) < round(choice.share * _DRAWS)
    timings = {name: Timing.of(nanoseconds) for name, nanoseconds in times.items()}
    return timings | {"cascade": Timing.of(draws[0] + goes_on * draws[1])}


def _bound(call: Any, argument: Any) -> Any:
    return lambda: call(argument)
