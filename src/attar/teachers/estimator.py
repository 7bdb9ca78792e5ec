"""A scikit-learn style estimator as a teacher: forests, boosted trees, any ``predict_proba``."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.checks import AttarError, need
from attar.store.pace import AS_IT_IS, Way
from attar.teachers.fitted import fitted_state
from attar.teachers.outputs import OutputKind
from attar.teachers.protocol import answer_tensor, to_numpy
from attar.types import Batch, Outputs

LabelsAre = Literal["auto", "codes", "names"]


class EstimatorTeacher:
    """A fitted estimator with ``predict_proba``; its log-probabilities are the logits.

    It gives probabilities, among them exact zeros, where a logit would be minus infinity and
    no temperature helps. They are raised to ``floor`` first. An estimator that labels the rows
    that it was fitted on mostly repeats their labels: use :func:`cross_fit` for those.

    Args:
        estimator: A fitted estimator (scikit-learn, XGBoost, LightGBM, CatBoost, TabPFN, ...).
        classes: The class names of the data, in the order of its labels. Without them the
            estimator must have been fitted on the labels 0, 1, ..., C - 1.
        floor: The least probability; at least 0 and below 1. Smaller ones are raised to it and
            the row is divided by its sum.
        labels_are: What the estimator was fitted on: the data's label ``"codes"``, its class
            ``"names"``, or ``"auto"``, which raises where both could be meant.
        columns: The data's column names. They put the columns in the order of an estimator that
            was fitted on a table; without them the order is taken to be the same.
        name: What to call it; the class of the estimator otherwise.

    Raises:
        AttarError: If the estimator is not fitted, has no ``predict_proba``, or knows a class
            that the data does not.

    Example:
        >>> from sklearn.neighbors import KNeighborsClassifier
        >>> nearest = KNeighborsClassifier(1).fit([[0.0], [1.0]], ["cat", "dog"])
        >>> teacher = EstimatorTeacher(nearest, classes=("dog", "cat"))
        >>> teacher(Batch(torch.tensor([[0.1]]), torch.tensor([0]))).logits
        tensor([[-1.3816e+01, -1.0000e-06]])
    """

    outputs = "probabilities"

    def __init__(
        self,
        estimator: Any,
        *,
        classes: Sequence[str] | None = None,
        floor: float = 1e-6,
        labels_are: LabelsAre = "auto",
        columns: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        self.name = name or _title(estimator)
        owner = f"the teacher {self.name!r}"
        if isinstance(estimator, type) or not hasattr(estimator, "predict_proba"):
            raise AttarError(
                f"{owner}: an estimator must be an instance with predict_proba. Got {estimator!r}. "
                f"scikit-learn's CalibratedClassifierCV gives one to a classifier without it."
            )
        if not is_fitted(estimator):
            raise AttarError(
                f"{owner}: the estimator is not fitted. Fit it first, or let it be fitted out of "
                f"fold with label(folds=5) or cross_fit."
            )
        self.estimator = estimator
        self._columns = None if columns is None else tuple(columns)
        self._places = _places(owner, estimator, classes, labels_are)
        self._class_count = len(self._places) if classes is None else len(classes)
        self._kind = OutputKind("probabilities", owner=owner, floor=floor)

    @property
    def parameters(self) -> int | None:
        """The coefficients of a linear model or a perceptron; None for others."""
        return _count_parameters(self.estimator)

    @property
    def bytes(self) -> int | None:
        """The size of the arrays that it learned; None if its parts cannot be read."""
        return self._state()[1]

    @property
    def verified(self) -> bool:
        """Whether all that the estimator learned is in its fingerprint."""
        return self._state()[1] is not None

    def __call__(self, batch: Batch) -> Outputs:
        """Log-probabilities ``[N, C]`` float32 on the device of ``batch.ids``."""
        owner = self._kind.owner
        inputs = flat_rows(owner, batch.inputs)
        said = self.estimator.predict_proba(self._table(inputs))
        answer = answer_tensor(owner, said, rows=len(batch))
        if answer.shape[1] != len(self._places):
            raise AttarError(
                f"{owner}: predict_proba must give one column for each of its "
                f"{len(self._places)} classes. Got {answer.shape[1]}."
            )
        whole = answer.new_zeros(len(answer), self._class_count)
        whole[:, self._places] = answer
        return Outputs(self._kind(whole, ids=batch.ids).to(batch.ids.device))

    def ways(self, example: Batch, backends: Mapping[str, Any] = {}) -> dict[str, Way]:
        """One: how many rows it is asked about at a time is all that there is to choose."""
        return {AS_IT_IS: Way(lambda: self)}

    def fingerprint(self) -> str:
        """The hash of the estimator's type, parameters and all that it learned."""
        state = self._state()[0]
        places = f"{self._places.tolist()} of {self._class_count}, floor {self._kind.floor!r}"
        text = f"estimator\n{state}\n{places}\n{self._columns!r}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _state(self) -> tuple[str, int | None]:
        """The hash of what was learned, and its size; None where a part cannot be read."""
        try:
            return fitted_state(self.estimator)
        except (TypeError, AttributeError, RecursionError):
            # A part cannot be read (a lock, a lambda): the type and the parameters must do.
            getter = getattr(self.estimator, "get_params", dict)
            text = f"{type(self.estimator).__qualname__} {sorted(map(str, getter().items()))}"
            return hashlib.sha256(text.encode()).hexdigest(), None

    def _table(self, inputs: NDArray[Any]) -> Any:
        """The inputs as the table that the estimator was fitted on, if it was one."""
        wanted = getattr(self.estimator, "feature_names_in_", None)
        if wanted is None or (self._columns is None and len(wanted) != inputs.shape[1]):
            return inputs
        missing = [] if self._columns is None else sorted(set(wanted) - set(self._columns))
        if missing:
            raise AttarError(
                f"{self._kind.owner}: the estimator was fitted on columns that the data lacks: "
                f"{', '.join(map(str, missing[:5]))}."
            )
        pandas = need("pandas", extra="train", purpose="a teacher that was fitted on a table")
        columns = wanted if self._columns is None else self._columns
        return pandas.DataFrame(inputs, columns=list(columns))[list(wanted)]


def flat_rows(owner: str, inputs: Any) -> NDArray[Any]:
    """Inputs ``[N, ...]`` as numpy rows ``[N, D]``."""
    if isinstance(inputs, Mapping):
        raise AttarError(
            f"{owner}: an estimator takes one array of inputs. Got a mapping with "
            f"{', '.join(map(str, inputs))}; wrap it in a function instead."
        )
    array = to_numpy(inputs)
    return array.reshape(len(array), -1) if array.ndim != 2 else array


def is_fitted(estimator: Any) -> bool:
    """Whether a scikit-learn style classifier has been fitted."""
    classes = getattr(estimator, "classes_", None)
    if classes is not None:
        return len(classes) > 0  # CatBoost's are empty before the fit
    if not hasattr(estimator, "fit"):
        return True
    if not hasattr(estimator, "__sklearn_tags__"):  # of another library: scikit-learn cannot tell
        told = getattr(estimator, "is_fitted", None)
        if callable(told):
            return bool(told())
        return any(name.endswith("_") and name[0] != "_" for name in vars(estimator))
    need("sklearn", extra="train", purpose="an estimator as a teacher")
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except (NotFittedError, TypeError):
        return False
    return True


def fresh(estimator: Any) -> Any:
    """An unfitted one with the same parameters, as scikit-learn's ``clone`` makes it.

    Also of those that change their parameters when they are made, such as CatBoost with
    ``cat_features``, which ``clone`` refuses.

    >>> from sklearn.naive_bayes import GaussianNB
    >>> fresh(GaussianNB(var_smoothing=1e-3))
    GaussianNB(var_smoothing=0.001)
    """
    base = need("sklearn.base", extra="train", purpose="an estimator as a teacher")
    try:
        return base.clone(estimator)
    except RuntimeError:
        return type(estimator)(**copy.deepcopy(estimator.get_params(deep=False)))


def seeded(estimator: Any, seed: int) -> Any:
    """The same estimator, seeded wherever it leaves its randomness open.

    >>> from sklearn.ensemble import RandomForestClassifier
    >>> seeded(RandomForestClassifier(), 7)
    RandomForestClassifier(random_state=7)
    """
    seeds = {
        name: seed
        for name, value in estimator.get_params().items()
        if value is None and (name == "random_state" or name.endswith("__random_state"))
    }
    return estimator.set_params(**seeds)


def _places(
    owner: str, estimator: Any, classes: Sequence[str] | None, labels_are: LabelsAre
) -> Tensor:
    """``[K]`` int64: the label of the data that each column of ``predict_proba`` stands for."""
    if labels_are not in ("auto", "codes", "names"):
        raise AttarError(
            f"The 'labels_are' parameter of {owner} must be 'auto', 'codes' or 'names'. "
            f"Got {labels_are!r} instead."
        )
    known = getattr(estimator, "classes_", None)
    if known is None:
        if classes is None:
            raise AttarError(f"{owner}: it has no classes_; give classes=, the data's classes.")
        return torch.arange(len(classes))
    if isinstance(known, list) and len(known) and isinstance(known[0], np.ndarray):
        raise AttarError(f"{owner}: an estimator with several outputs cannot be a teacher.")
    values = [_value(item) for item in known]
    if classes is None:
        if values != list(range(len(values))):
            raise AttarError(
                f"{owner}: it was fitted on the labels {values[:8]}. Give classes=, the names of "
                f"the data's classes in the order of its labels, to match them."
            )
        return torch.arange(len(values))
    count, index = len(classes), {name: place for place, name in enumerate(classes)}
    codes = [v if isinstance(v, int) and 0 <= v < count else None for v in values]
    names = [index.get(str(v)) for v in values]
    by_code = labels_are != "names" and None not in codes
    by_name = labels_are != "codes" and None not in names
    if by_code and by_name and codes != names:
        raise AttarError(
            f"{owner}: it was fitted on {values[:8]}, which may be label codes or the class names "
            f"{list(classes)[:8]}. Say labels_are='codes' or labels_are='names'."
        )
    if by_code or by_name:
        return torch.tensor(codes if by_code else names)
    lost = [v for v, c, n in zip(values, codes, names, strict=True) if c is None and n is None]
    raise AttarError(
        f"{owner}: it was fitted on classes that the data does not have: "
        f"{(lost or values)[:8]}. The data's classes are {list(classes)[:8]}, with the labels 0 "
        f"to {count - 1}."
    )


def _value(item: Any) -> Any:
    """A label as a plain Python value; 3.0 as 3."""
    plain = item.item() if isinstance(item, np.generic) else item
    if isinstance(plain, float) and plain.is_integer():
        return int(plain)
    return str(plain) if isinstance(plain, bool) else plain


def _title(estimator: Any) -> str:
    steps = getattr(estimator, "steps", None)
    return type(steps[-1][1] if steps else estimator).__name__


def _count_parameters(estimator: Any) -> int | None:
    steps = getattr(estimator, "steps", None)
    model = steps[-1][1] if steps else estimator
    found = [getattr(model, name, None) for name in ("coef_", "coefs_")]
    if all(weights is None for weights in found):  # a kernel machine has an intercept too
        return None
    found += [getattr(model, name, None) for name in ("intercept_", "intercepts_")]
    arrays: list[Any] = []
    for item in found:
        arrays.extend(item if isinstance(item, list) else [] if item is None else [item])
    return sum(int(np.size(array)) for array in arrays)
