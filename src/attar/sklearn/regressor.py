"""A small network that learned from a large regressor, as a scikit-learn regressor."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.utils.validation import check_array, check_is_fitted

from attar.checks import AttarError, check_number
from attar.data import ArrayData
from attar.evaluation.quantiles import even_levels
from attar.experiment import distill
from attar.experiment.growing import grow_values
from attar.experiment.tasks import Scale, terms_of
from attar.losses import Term, bounded_squared_error, pinball, squared_error
from attar.sklearn.distilled import Distilled
from attar.sklearn.estimators import tags_of
from attar.sklearn.kinds import Kind, Quantiles, Values
from attar.sklearn.quantiles import ManyQuantiles, level_parameter
from attar.sklearn.rows import length, middle
from attar.students import TREES, TreeEnsemble
from attar.students.unscaled import in_unit

if TYPE_CHECKING:
    from torch import nn

    from attar.experiment import Experiment
    from attar.types import Teacher

#: What the student may be taught with, by the name that `loss=` takes.
LOSSES: dict[str, Callable[..., Any]] = {
    "squared": squared_error,
    "bounded": bounded_squared_error,
}

#: The levels that a teacher of quantiles is asked for: they count as equally likely draws.
_ASKED = even_levels(9)


class DistilledRegressor(RegressorMixin, Distilled):  # type: ignore[misc]  # no stubs
    """A small network that learned from a large regressor, as a scikit-learn regressor.

    ``fit`` labels the rows out of fold with clones of the teacher, lets the teacher label as
    many synthetic rows, proves on rows kept aside whether its values help (and chooses alpha
    there), and then trains the student on all rows. Predictions are the student's alone; the
    teacher is not needed any more.

    Args:
        teacher: A regressor, fitted or not; it gets the rows as they are given. A fitted one
            labels the synthetic rows itself, and the training rows through clones, unless
            ``folds`` is None. None: a forest of extremely random trees.
        student: A family of :mod:`attar.students`, by name: ``"mlp"``; ``"table_mlp"``, which
            bends at the quantiles of each number; ``"tree"``, a single tree that can be read; or
            ``"boosted"``, a few. The last two learn the mean by its squared error; ``steps``,
            ``batch_size`` and ``learning_rate`` are nothing to them.
        quantiles: None: the mean is learnt. Numbers between 0 and 1: the student gives these
            quantiles, taught by the teacher's own at evenly spread levels
            (:func:`~attar.losses.pinball`); ``predict`` is then the one nearest to 0.5, and
            :meth:`predict_quantiles` all. The teacher must be able to say quantiles
            (:class:`~attar.sklearn.quantiles.ManyQuantiles`), and is always fitted here.
        loss: ``"squared"``: :func:`~attar.losses.squared_error` against the teacher's values;
            ``"bounded"``: :func:`~attar.losses.bounded_squared_error`, which spends the student
            on the rows where it is not yet as good as the teacher. Quantiles have their own.
        alpha: The weight of that loss in (0, 1], beside the squared error against the labels: a
            number, a list to choose from, or ``"auto"``.
        folds: In how many parts the rows are labelled, 2 or more; None takes the teacher's own
            word for rows that it was fitted on.
        transfer: How synthetic rows are drawn: ``"munge"``, ``"mix_neighbours"``,
            ``"resample"``, or None for none.
        transfer_rows: How many, as a multiple of the training rows, above 0.
        parameters: The student's size.
        steps: Optimizer steps of every student.
        batch_size: Rows a step.
        learning_rate: The peak of warm-up and cosine.
        proof: Whether to run the controlled experiment first; it costs a few trainings more and
            needs thirty rows.
        seeds: Of the experiment.
        random_state: Seeds all of it: folds, synthetic rows, weights, the order of batches.

    Attributes:
        student_: The trained ``torch.nn.Module``; it gives values in the unit of ``y``.
        teacher_: The teacher fitted on all rows.
        columns_: How a row becomes the student's numbers (:mod:`attar.columns`).
        alpha_: The weight of the teacher's values.
        experiment_: The :class:`~attar.experiment.TaskExperiment` with table and verdict: hard
            labels against distillation, in squared errors. None without proof,
            ``experiment_reason_`` then says why. Its ``retention`` is None; it has
            ``one_minus_mse_ratio``.
        n_features_in_: How many columns the rows have.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = DistilledRegressor(
        ...     ExtraTreesRegressor(50), parameters=500, steps=200, seeds=2, random_state=0
        ... ).fit(X, y)
        >>> model.predict(X[:3]).shape, bool(model.score(X, y) > 0.4)
        ((3,), True)
        >>> model.experiment_.retention is None
        True

    References:
        Bucila, Caruana, Niculescu-Mizil 2006, *Model Compression* (KDD); the bounded loss: Chen,
        Choi, Yu, Han, Chandraker 2017, *Learning Efficient Object Detection Models with Knowledge
        Distillation* (NeurIPS)
    """

    def __init__(
        self,
        teacher: Any = None,
        student: str = "mlp",
        loss: str = "squared",
        alpha: float | Sequence[float] | str = "auto",
        folds: int | None = 5,
        transfer: str | None = "munge",
        random_state: Any = None,
        *,
        transfer_rows: float = 1.0,
        parameters: int = 20_000,
        steps: int = 2000,
        batch_size: int = 256,
        learning_rate: float = 3e-3,
        proof: bool = True,
        seeds: int = 3,
        quantiles: Sequence[float] | None = None,
    ) -> None:
        self.teacher = teacher
        self.student = student
        self.loss = loss
        self.alpha = alpha
        self.folds = folds
        self.transfer = transfer
        self.random_state = random_state
        self.transfer_rows = transfer_rows
        self.parameters = parameters
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.proof = proof
        self.seeds = seeds
        self.quantiles = quantiles

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> DistilledRegressor:
        """Label, prove, distil.

        Args:
            X: ``[N, D]`` an array, or a DataFrame of pandas or polars; gaps (NaN, None), texts
                and categories as the teacher takes them.
            y: ``[N]`` or ``[N, targets]`` finite numbers.
            sample_weight: ``[N]`` 0 or more; also given to the teacher.

        Raises:
            AttarError: If a parameter is out of range, or X and y have not as many rows.
        """
        if y is None:  # in the words that scikit-learn's own checks look for
            raise AttarError(
                "DistilledRegressor requires y to be passed, but the target y is None."
            )
        X = self._checked_rows(X, reset=True)
        given = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self)
        if given.ndim > 2 or len(given) != length(X):
            raise AttarError(
                "DistilledRegressor: y must be [N] or [N, targets], a row for each of the "
                f"{length(X)} rows of X. Got {given.shape}."
            )
        if len(given) < 2:
            raise AttarError("DistilledRegressor: there must be two rows or more. Got n_samples=1.")
        weights = self._checked_weights(sample_weight, X)
        self._check_parameters(weights)
        if self.loss not in LOSSES:
            raise AttarError(
                f"The 'loss' parameter of DistilledRegressor must be one of {sorted(LOSSES)}. Got "
                f"{self.loss!r} instead."
            )
        if self.student in TREES and (self.quantiles is not None or self.loss != "squared"):
            raise AttarError(
                f"DistilledRegressor: student={self.student!r} learns the mean by its squared "
                "error. For quantiles= or another loss take 'mlp' or 'table_mlp'."
            )
        if self.quantiles is not None:
            _check_levels(self.quantiles)
        if self.quantiles is not None:
            level_parameter(self._make_teacher(0).estimator)  # raises where it can say none
        self._single = given.ndim == 1
        labels = np.array(given[:, None] if self._single else given)  # torch wants its own
        # The student learns values of deviation 1: an error has the unit of its values, squared.
        self._scale = Scale.of(torch.from_numpy(labels))
        kind: Kind = Values(labels.shape[1])
        if self.quantiles is not None:
            if labels.shape[1] > 1:
                raise AttarError("DistilledRegressor: quantiles= goes with one target, y of [N].")
            kind = Quantiles(self.quantiles, _ASKED)
            labels = np.repeat(labels, len(self.quantiles), axis=1)
        self._learn(X, kind, labels, weights)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """``[N]``, or ``[N, targets]``: the student's values, in the unit of ``y``."""
        check_is_fitted(self, "student_")
        if self.quantiles is not None:
            nearest = np.abs(np.asarray(self.quantiles) - 0.5).argmin()
            middle_: NDArray[np.float64] = self.predict_quantiles(X)[:, nearest]
            return middle_
        values: NDArray[np.float64] = self._answers(X).numpy()
        return values[:, 0] if self._single else values

    def predict_quantiles(self, X: Any) -> NDArray[np.float64]:
        """``[N, Q]``: the student's quantiles at the levels of ``quantiles``.

        Raises:
            AttarError: If it learned the mean.
        """
        check_is_fitted(self, "student_")
        if self.quantiles is None:
            raise AttarError(
                "DistilledRegressor.predict_quantiles: this model learned the mean. Make it with "
                "quantiles=[0.1, 0.5, 0.9]."
            )
        values: NDArray[np.float64] = self._answers(X).numpy()
        order = np.argsort(self.quantiles)
        values[:, order] = np.sort(values, axis=1)  # outputs of a network may cross a little
        return values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        teacher = self._make_teacher(0) if self.teacher is None else self.teacher
        told = tags_of(teacher)
        tags.target_tags.multi_output = told is not None and told.target_tags.multi_output
        return tags

    def _default_teacher(self, seed: int) -> Any:
        if self.quantiles is not None:
            return HistGradientBoostingRegressor(loss="quantile", quantile=0.5, random_state=seed)
        return ExtraTreesRegressor(n_estimators=200, min_samples_leaf=2, random_state=seed)

    def _make_teacher(self, seed: int) -> Any:
        made = super()._make_teacher(seed)
        return made if self.quantiles is None else ManyQuantiles(made, _ASKED)

    def _ready(self) -> Any:
        return super()._ready() if self.quantiles is None else None

    @property
    def _loss(self) -> Callable[..., Any]:
        if self.quantiles is None:
            return LOSSES[self.loss]
        return functools.partial(pinball, levels=tuple(self.quantiles))

    def _settle(self) -> None:
        self.alpha_ = middle(self.alpha, [0.5, 0.9])

    def _experiment(self, teacher: Teacher, data: dict[str, ArrayData]) -> Experiment:
        experiment = distill(
            teacher,
            self._students[self.student],
            task="regression",
            train=data["train"],
            validation=data["validation"],
            test=data["test"],
            transfer=data.get("transfer"),
            loss=self._loss,
            alpha=self.alpha,
            parameters=self.parameters,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            seeds=self.seeds,
        )
        setting = experiment.arms["distilled"].setting
        assert setting.alpha is not None
        self.alpha_ = setting.alpha
        return experiment

    def _terms(self) -> list[Term]:
        return terms_of("regression", self._loss, alpha=self.alpha_)

    def _learnt(self, values: NDArray[Any]) -> NDArray[Any]:
        scaled: NDArray[Any] = self._scale.apply(torch.from_numpy(values)).numpy()
        return scaled

    def _shipped(self, student: nn.Module) -> nn.Module:
        return in_unit(student, self._scale.middle, self._scale.spread)

    def _train(self, student: nn.Module, rows: ArrayData, teacher: Teacher, seed: int) -> None:
        if not isinstance(student, TreeEnsemble):
            super()._train(student, rows, teacher, seed)
            return
        grow_values(student, rows, teacher, alpha=self.alpha_, seed=seed)


def _check_levels(levels: Any) -> None:
    owner = "DistilledRegressor"
    if isinstance(levels, str) or not hasattr(levels, "__len__") or not len(levels):
        raise AttarError(
            f"The 'quantiles' parameter of {owner} must be a list of different levels between 0 "
            f"and 1, such as [0.1, 0.5, 0.9]. Got {levels!r} instead."
        )
    for level in levels:
        check_number(owner, "quantiles", level, low=0, high=1, low_open=True, high_open=True)
    if len({float(level) for level in levels}) < len(levels):
        raise AttarError(
            f"The 'quantiles' parameter of {owner} must hold different levels. Got "
            f"{[*levels]} instead."
        )
