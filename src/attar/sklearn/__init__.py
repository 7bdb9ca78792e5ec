"""Scientific Python's own way: a distilled student as a scikit-learn estimator."""

from __future__ import annotations

from attar import needs_torch  # noqa: F401
from attar.sklearn.classifier import DistilledClassifier
from attar.sklearn.regressor import DistilledRegressor

__all__ = ["DistilledClassifier", "DistilledRegressor"]
