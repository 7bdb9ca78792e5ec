"""Teachers: whatever gives logits or probabilities, asked in one way.

:func:`as_teacher` takes a module, an estimator, an ONNX file, a function, a store or a list of
these. Every teacher says its name, its size and its fingerprint, runs without gradients, and
gives float32 logits.
"""

from __future__ import annotations

from attar import needs_torch  # noqa: F401
from attar.teachers.combine import (
    fit_weights,
    mean_log_probability,
    mean_logit,
    mean_probability,
)
from attar.teachers.convert import as_teacher
from attar.teachers.crossfit import cross_fit
from attar.teachers.ensemble import EnsembleTeacher
from attar.teachers.estimator import EstimatorTeacher, is_fitted
from attar.teachers.folds import CrossFitted
from attar.teachers.function import FunctionTeacher
from attar.teachers.given import GivenTeacher
from attar.teachers.model import ModelTeacher
from attar.teachers.onnx import OnnxTeacher
from attar.teachers.outputs import OutputKind
from attar.teachers.protocol import NamedTeacher
from attar.teachers.stacks import boosted_stack
from attar.teachers.stored import StoredTeacher
from attar.teachers.weighing import weigh

__all__ = [
    "CrossFitted",
    "EnsembleTeacher",
    "EstimatorTeacher",
    "FunctionTeacher",
    "GivenTeacher",
    "ModelTeacher",
    "NamedTeacher",
    "OnnxTeacher",
    "OutputKind",
    "StoredTeacher",
    "as_teacher",
    "boosted_stack",
    "cross_fit",
    "fit_weights",
    "is_fitted",
    "mean_log_probability",
    "mean_logit",
    "mean_probability",
    "weigh",
]
