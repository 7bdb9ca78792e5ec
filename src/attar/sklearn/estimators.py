"""What a teacher is able to do, as scikit-learn's estimators tell it, or do not."""

from __future__ import annotations

from typing import Any

from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from attar.checks import AttarError
from attar.sklearn.coded import Coded


def name_of(estimator: Any) -> str:
    """What to call an estimator in a message."""
    return type(estimator.estimator if isinstance(estimator, Coded) else estimator).__name__


def tags_of(estimator: Any) -> Any:
    """What scikit-learn calls tags; None of one that is of another library and has none."""
    return get_tags(estimator) if hasattr(estimator, "__sklearn_tags__") else None


def last_of(estimator: Any) -> Any:
    """What answers in the end: the last step of a pipeline, the model that a search fits.

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.pipeline import make_pipeline
    >>> last_of(make_pipeline(GridSearchCV(LogisticRegression(), {"C": [1, 2]})))
    LogisticRegression()
    """
    return _unwrapped(estimator)[1]


def can(estimator: Any, method: str) -> bool:
    """Whether an estimator will have a method once it is fitted.

    A stack without a ``final_estimator`` gets its usual one in ``fit``; until then it says that
    it can do nothing.

    >>> from sklearn.ensemble import StackingClassifier, VotingClassifier
    >>> can(StackingClassifier([]), "predict_proba"), can(VotingClassifier([]), "predict_proba")
    (True, False)
    """
    if hasattr(estimator, method):
        return True
    last = last_of(estimator)
    return getattr(last, "final_estimator", last) is None and hasattr(type(last), method)


def with_weights(owner: str, estimator: Any, weights: Any) -> dict[str, Any]:
    """What ``fit`` is given beside rows and labels, so that every row counts as it weighs.

    Args:
        owner: Who asks, for the message.
        estimator: The one that is to be fitted.
        weights: ``[N]``, or None for none.

    Raises:
        AttarError: If its ``fit`` takes no weights.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> with_weights("fit", make_pipeline(LogisticRegression()), [1.0, 2.0])
        {'logisticregression__sample_weight': [1.0, 2.0]}
    """
    if weights is None:
        return {}
    prefix, asked = _unwrapped(estimator)
    members = getattr(asked, "estimators", None)
    if isinstance(members, list):  # a stack or a vote: what it is given, each member is
        for name, member in members:
            if not isinstance(member, str) and not has_fit_parameter(member, "sample_weight"):
                raise AttarError(
                    f"{owner}: sample_weight was given, and the fit of {name!r} in "
                    f"{name_of(asked)}, a {name_of(member)}, takes none."
                )
    elif not has_fit_parameter(asked, "sample_weight"):
        raise AttarError(
            f"{owner}: sample_weight was given, and the fit of {name_of(asked)} takes none."
        )
    return {f"{prefix}sample_weight": weights}


def _unwrapped(estimator: Any) -> tuple[str, Any]:
    """What answers in the end, and how the names of its arguments begin in ``fit``."""
    prefix = ""
    while True:
        if getattr(estimator, "steps", None):  # a pipeline is told which of its steps is meant
            name, estimator = estimator.steps[-1]
            prefix += f"{name}__"
        elif hasattr(estimator, "refit"):  # a search hands everything on to what it fits
            estimator = estimator.estimator
        else:
            return prefix, estimator
