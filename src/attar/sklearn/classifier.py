"""A small network that learned from a large classifier, as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d
from torch import nn

from attar.checks import AttarError
from attar.data import ArrayData
from attar.data.codes import gaps_of
from attar.experiment import distill
from attar.experiment.arms import automatic
from attar.experiment.growing import at_most_one, grow
from attar.experiment.tasks import terms_of
from attar.losses import Term, hard, kl, sigmoid_kl, soft
from attar.sklearn.distilled import Distilled
from attar.sklearn.estimators import last_of, name_of, tags_of
from attar.sklearn.kinds import Kind, Multiclass, Multilabel
from attar.sklearn.rows import length, middle
from attar.students import TREES, TreeEnsemble

if TYPE_CHECKING:
    from attar.experiment import Experiment
    from attar.types import Teacher


class DistilledClassifier(ClassifierMixin, Distilled):  # type: ignore[misc]  # no stubs
    """A small network that learned from a large classifier, as a scikit-learn classifier.

    ``fit`` labels the rows out of fold with clones of the teacher, lets the teacher label as
    many synthetic rows, proves on rows kept aside whether the soft targets help (and chooses
    T and alpha there), and then trains the student on all rows. Predictions are the student's
    alone; the teacher is not needed any more. A row may have several labels at once (``y`` of
    shape ``[N, L]``): each then has a probability of its own.

    Args:
        teacher: A classifier with ``predict_proba``, fitted or not; it gets the rows as they
            are given. A fitted one labels the synthetic rows itself, and the training rows
            through clones, unless ``folds`` is None. None: a random forest.
        student: A family of :mod:`attar.students`, by name: ``"mlp"``; ``"table_mlp"``, which
            bends at the quantiles of each number; ``"tree"``, a single tree that can be read; or
            ``"boosted"``, a few. For the last two, which take one label a row, ``steps``,
            ``batch_size`` and ``learning_rate`` are nothing, and T is at most 1.
        temperature: T above 0: a number, a list to choose from, or ``"auto"``.
        alpha: The weight of the soft loss in (0, 1]: a number, a list, or ``"auto"``.
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
            needs ten rows of every class.
        seeds: Of the experiment.
        random_state: Seeds all of it: folds, synthetic rows, weights, the order of batches.

    Attributes:
        classes_: The labels, sorted; 0 to L - 1 where a row may have several.
        student_: The trained ``torch.nn.Module``.
        teacher_: The teacher fitted on all rows.
        columns_: How a row becomes the student's numbers (:mod:`attar.columns`).
        temperature_: The T that the student learned at.
        alpha_: The weight of its soft loss.
        experiment_: The :class:`~attar.experiment.Experiment` with table and verdict (of several
            labels a :class:`~attar.experiment.TaskExperiment`); None without proof,
            ``experiment_reason_`` then says why.
        n_features_in_: How many columns the rows have.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.ensemble import ExtraTreesClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> model = DistilledClassifier(
        ...     ExtraTreesClassifier(50), parameters=500, steps=400, seeds=2, random_state=0
        ... ).fit(X, y)
        >>> model.predict(X[:3]), bool(model.score(X, y) > 0.9)
        (array([0, 0, 0]), True)

    References:
        Bucila, Caruana, Niculescu-Mizil 2006, *Model Compression* (KDD); Hinton, Vinyals, Dean
        2015, *Distilling the Knowledge in a Neural Network*, https://arxiv.org/abs/1503.02531
    """

    _teachers_method = "predict_proba"
    _teachers_advice = "wrap it in sklearn.calibration.CalibratedClassifierCV"

    def __init__(
        self,
        teacher: Any = None,
        student: str = "mlp",
        temperature: float | Sequence[float] | str = "auto",
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
    ) -> None:
        self.teacher = teacher
        self.student = student
        self.temperature = temperature
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

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> DistilledClassifier:
        """Label, prove, distil.

        Args:
            X: ``[N, D]`` an array, or a DataFrame of pandas or polars; gaps (NaN, None), texts
                and categories as the teacher takes them.
            y: ``[N]`` labels of any kind; or ``[N, L]`` of 0 and 1, a column a label that may
                apply beside others.
            sample_weight: ``[N]`` 0 or more; also given to the teacher.

        Raises:
            AttarError: If a parameter is out of range, or there are fewer than two classes.
        """
        X = self._checked_rows(X, reset=True)
        kind, codes = self._read_labels(y)
        if len(codes) != length(X):
            raise AttarError(
                f"DistilledClassifier: X and y must have as many rows. Got {length(X)} and "
                f"{len(codes)}."
            )
        weights = self._checked_weights(sample_weight, X)
        self._check_parameters(weights)
        self._learn(X, kind, codes, weights)
        return self

    def _read_labels(self, y: Any) -> tuple[Kind, NDArray[Any]]:
        """What the labels are, and the labels as it has them; sets ``classes_``."""
        _refuse_gaps(y)
        if type_of_target(y) == "multilabel-indicator":
            self._refuse_single()
            if self.student in TREES:
                raise AttarError(
                    f"DistilledClassifier: student={self.student!r} learns one label a row, and y "
                    f"has several. Take 'mlp' or 'table_mlp'."
                )
            several = np.asarray(y.toarray() if hasattr(y, "toarray") else y).astype(np.float64)
            self.classes_ = np.arange(several.shape[1])
            return Multilabel(several.shape[1]), several
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise AttarError("DistilledClassifier: y must have two classes or more. Got one class.")
        return Multiclass(self.classes_), codes

    def _refuse_single(self) -> None:
        """scikit-learn's own classifiers say whether they learn several labels a row."""
        teacher = self._make_teacher(0)
        told = tags_of(teacher)
        own = None if told is None else told.classifier_tags
        known = type(last_of(teacher)).__module__.startswith("sklearn.")
        if known and own is not None and not (own.multi_label or told.target_tags.multi_output):
            raise AttarError(
                f"DistilledClassifier: y has several labels a row, and {name_of(teacher)} learns "
                "one. Wrap it in sklearn.multioutput.MultiOutputClassifier."
            )

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """``[N, C]`` the student's probabilities, in the order of ``classes_``.

        Where a row may have several labels, ``[N, L]``: how likely each is to apply.
        """
        logits = self._answers(X)
        several = self._kind.task == "multilabel"
        found = (logits.sigmoid() if several else logits.softmax(dim=1)).numpy()
        return cast(NDArray[np.float64], found)

    def predict(self, X: Any) -> NDArray[Any]:
        """``[N]`` the most likely label of each row; of several labels ``[N, L]`` of 0 and 1."""
        check_is_fitted(self, "student_")
        if self._kind.task == "multilabel":
            return (self.predict_proba(X) > 0.5).astype(np.int64)
        found: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        teacher = self._make_teacher(0) if self.teacher is None else self.teacher
        told = tags_of(teacher)
        own = None if told is None else told.classifier_tags
        several = own is not None and own.multi_label
        tags.classifier_tags.multi_label = several and self.student not in TREES
        return tags

    def _default_teacher(self, seed: int) -> Any:
        return RandomForestClassifier(n_estimators=200, random_state=seed)

    def _settle(self) -> None:
        found = automatic(len(self.classes_), self.parameters, few_labels=False)
        if self.student in TREES:
            self.temperature_ = at_most_one(self.temperature)[0]
        else:
            self.temperature_ = middle(self.temperature, found[0])
        self.alpha_ = middle(self.alpha, found[1])

    def _experiment(self, teacher: Teacher, data: dict[str, ArrayData]) -> Experiment:
        experiment = distill(
            teacher,
            self._students[self.student],
            task=self._kind.task,
            train=data["train"],
            validation=data["validation"],
            test=data["test"],
            transfer=data.get("transfer"),
            temperature=self.temperature,
            alpha=self.alpha,
            parameters=self.parameters,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            seeds=self.seeds,
            latency_seconds=0,
        )
        setting = experiment.arms["distilled"].setting
        assert setting.temperature is not None
        assert setting.alpha is not None
        self.temperature_, self.alpha_ = setting.temperature, setting.alpha
        return experiment

    def _train(self, student: nn.Module, rows: ArrayData, teacher: Teacher, seed: int) -> None:
        if not isinstance(student, TreeEnsemble):
            super()._train(student, rows, teacher, seed)
            return
        grow(student, rows, teacher, temperature=self.temperature_, alpha=self.alpha_, seed=seed)

    def _terms(self) -> list[Term]:
        if self._kind.task == "multilabel":
            t = self.temperature_
            return terms_of("multilabel", sigmoid_kl, alpha=self.alpha_, temperature=t)
        terms = [soft(kl, self.alpha_, temperature=self.temperature_)]
        return [*terms, hard(1 - self.alpha_)] if self.alpha_ < 1 else terms


def _refuse_gaps(y: Any) -> None:
    """A label that is missing among texts; among numbers scikit-learn looks for it."""
    labels = np.asarray(y)
    if labels.dtype != object or labels.ndim == 0:
        return
    gaps = np.flatnonzero(gaps_of(labels.reshape(-1)))
    if len(gaps):
        raise AttarError(
            f"DistilledClassifier: every row must have a label. That of row {gaps[0]} (counted "
            f"from 0) is missing; {len(gaps)} of {len(labels)} are. Leave these rows out, or "
            "distil with attar.distill, where rows may be unlabelled."
        )
