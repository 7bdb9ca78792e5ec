"""Whatever someone has, as a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from attar.checks import AttarError
from attar.store import Store
from attar.teachers.ensemble import EnsembleTeacher
from attar.teachers.estimator import EstimatorTeacher
from attar.teachers.function import FunctionTeacher
from attar.teachers.model import ModelTeacher
from attar.teachers.onnx import OnnxTeacher
from attar.teachers.outputs import Outputs
from attar.teachers.protocol import NamedTeacher
from attar.teachers.stored import StoredTeacher

_ACCEPTED = (
    "a torch.nn.Module, a fitted estimator with predict_proba, the path of an .onnx file or of a "
    "store's folder, an attar.store.Store, a function from numpy inputs to logits or "
    "probabilities [N, C], a teacher of your own with a fingerprint() method, or a list of these "
    "(an ensemble)"
)


def as_teacher(
    source: Any,
    *,
    outputs: Outputs = "auto",
    name: str | None = None,
    classes: Sequence[str] | None = None,
) -> NamedTeacher:
    """Whatever someone has, as a teacher.

    Args:
        source: A ``torch.nn.Module``; a fitted estimator with ``predict_proba``; the path of an
            ``.onnx`` file or of a store's folder, or a store's address; a
            :class:`~attar.store.Store`; a function from numpy inputs to logits or probabilities
            ``[N, C]``; a list of these, which becomes an ensemble. A teacher (callable with a
            batch, with a ``fingerprint()`` method) passes through as it is.
        outputs: ``"logits"``, ``"probabilities"``, or ``"auto"``: the first answer decides, and
            a later one that contradicts it raises.
        name: What to call it. A function with a name is recognised by it.
        classes: The class names of the data, to which an estimator's classes are matched.

    Raises:
        AttarError: If it is none of these; the message lists what is accepted.

    Example:
        >>> import torch
        >>> as_teacher(torch.nn.Linear(4, 3)).parameters
        15
        >>> as_teacher([torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)], name="twins").name
        'twins'
    """
    if isinstance(source, type):
        raise AttarError(f"as_teacher: give an instance, not the class {source.__name__}.")
    if callable(source) and callable(getattr(source, "fingerprint", None)):
        teacher: NamedTeacher = source
        return teacher
    if isinstance(source, nn.Module):
        return ModelTeacher(source, name=name, outputs=outputs)
    if isinstance(source, (str, Path)):
        if "://" in str(source):
            return as_teacher(Store.open(source), name=name)
        return _from_path(Path(source), outputs=outputs, name=name)
    if isinstance(source, Store) and len(source.teachers) > 1:
        parts = [StoredTeacher(source.teacher(one)) for one in source.teachers]
        return EnsembleTeacher(parts, name=name)
    if isinstance(source, Store) or (hasattr(source, "logits") and hasattr(source, "ids")):
        return StoredTeacher(source)
    if isinstance(source, (list, tuple)):
        members = [as_teacher(item, outputs=outputs, classes=classes) for item in source]
        return EnsembleTeacher(members, name=name)
    if hasattr(source, "predict_proba"):
        return EstimatorTeacher(source, classes=classes, name=name)
    if hasattr(source, "predict") and hasattr(source, "fit"):
        raise AttarError(
            f"as_teacher: {type(source).__name__} has no predict_proba, so it has no soft targets "
            f"to give. Wrap it in sklearn.calibration.CalibratedClassifierCV and fit that."
        )
    if callable(source):
        return FunctionTeacher(source, name=name, outputs=outputs)
    raise AttarError(f"as_teacher: cannot make a teacher of {_shown(source)}. Give {_ACCEPTED}.")


def _from_path(path: Path, *, outputs: Outputs, name: str | None) -> NamedTeacher:
    if path.suffix.lower() == ".onnx":
        return OnnxTeacher(path, name=name, outputs=outputs)
    if path.is_dir():
        return as_teacher(Store.open(path), name=name)
    raise AttarError(
        f"as_teacher: {str(path)!r} is neither an .onnx file nor the folder of a store. Give "
        f"{_ACCEPTED}. A pickled model (.pkl, .pt, .joblib) can run any code when it is loaded: "
        f"load it yourself, if you trust it, and give the object."
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 80 else text[:77] + '...'}"
