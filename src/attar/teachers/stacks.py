"""Teachers by name for tables: what is strong on most of them without any tuning."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from attar.checks import AttarError, need

#: Boosting libraries beside scikit-learn's own, the first that is installed is taken.
_LIBRARIES = ("lightgbm", "xgboost", "catboost")


def boosted_stack(task: str = "multiclass", *, seed: int = 0) -> list[Any]:
    """A forest and two kinds of boosted trees, not fitted yet, to be one teacher together.

    Given to :func:`attar.distill` they are an ensemble, each member labelling the rows out of
    fold, with the weights that are best there (:func:`weigh`). They are of different kinds on
    purpose: what they say is averaged, and only errors that differ cancel. The second boosted one
    is of LightGBM, XGBoost or CatBoost, the first of these that is installed; else of scikit-learn
    again, with shallow trees and a low learning rate.

    Args:
        task: ``"multiclass"``, ``"regression"``, or ``"multilabel"``, where the forest learns all
            labels at once and the boosted trees each label by itself.
        seed: Of all three.

    Returns:
        Three estimators with ``predict_proba``, or of a regression with ``predict``.

    Raises:
        AttarError: If there is no such stack for the task.

    Example:
        >>> [type(one).__name__ for one in boosted_stack("regression")][:2]
        ['ExtraTreesRegressor', 'HistGradientBoostingRegressor']

    References:
        On what is strong on tables: Grinsztajn, Oyallon, Varoquaux 2022, *Why do tree-based models
        still outperform deep learning on typical tabular data?*, https://arxiv.org/abs/2207.08815
    """
    if task not in ("multiclass", "multilabel", "regression"):
        raise AttarError(
            "boosted_stack: there is one for 'multiclass', 'multilabel' and 'regression'. Got "
            f"{task!r}."
        )
    trees = need("sklearn.ensemble", extra="train", purpose="a stack of trees")
    kind = "Regressor" if task == "regression" else "Classifier"
    forest = getattr(trees, f"ExtraTrees{kind}")(
        n_estimators=300, min_samples_leaf=2, random_state=seed
    )
    boosted = getattr(trees, f"HistGradientBoosting{kind}")(random_state=seed)
    second = _second(trees, kind, seed)
    if task == "multilabel":
        several = need("sklearn.multiclass", extra="train", purpose="several labels a row")
        # Also a label that no row of a fold has is learnt: as one that never applies.
        return [forest, *map(several.OneVsRestClassifier, (boosted, second))]
    return [forest, boosted, second]


def _second(trees: Any, kind: str, seed: int) -> Any:
    """Boosted trees of another library; of scikit-learn with other settings where there is none."""
    found = next((name for name in _LIBRARIES if importlib.util.find_spec(name)), None)
    if found == "lightgbm":
        library = importlib.import_module("lightgbm")
        return getattr(library, f"LGBM{kind}")(n_estimators=300, random_state=seed, verbose=-1)
    if found == "xgboost":
        library = importlib.import_module("xgboost")
        return getattr(library, f"XGB{kind}")(n_estimators=300, random_state=seed)
    if found == "catboost":
        library = importlib.import_module("catboost")
        return getattr(library, f"CatBoost{kind}")(
            random_state=seed, verbose=False, allow_writing_files=False
        )
    return getattr(trees, f"HistGradientBoosting{kind}")(
        learning_rate=0.05, max_iter=300, max_depth=3, early_stopping=False, random_state=seed
    )
