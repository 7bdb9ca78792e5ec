"""A small network that learned from a large classifier, as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    has_fit_parameter,
    validate_data,
)

from attar.checks import AttarError, check_number
from attar.columns import describe_columns, encode_columns
from attar.data import ArrayData, Batches, mix_neighbours, munge, resample, without_copies
from attar.engine import Distiller, TrainConfig, train
from attar.experiment import distill
from attar.experiment.arms import automatic
from attar.export import Export, to_onnx
from attar.losses import Objective, hard, kl, soft
from attar.sklearn.rows import cut, folds, is_frame, length, middle, name_of, named, take
from attar.students import FAMILIES, Standardize, fit_to
from attar.teachers import GivenTeacher
from attar.teachers.estimator import is_fitted
from attar.types import UNLABELLED

if TYPE_CHECKING:
    from attar.experiment import Experiment

#: What draws synthetic rows, by the name that `transfer=` takes.
SAMPLERS: dict[str, Callable[..., Any]] = {
    "munge": munge,
    "mix_neighbours": mix_neighbours,
    "resample": resample,
}

#: A class needs as many rows for a proof: some to learn from, to choose on and to test on.
_ROWS_FOR_A_PROOF = 10


class DistilledClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # no stubs
    """A small network that learned from a large classifier, as a scikit-learn classifier.

    ``fit`` labels the rows out of fold with clones of the teacher, lets the teacher label as
    many synthetic rows, proves on rows kept aside whether the soft targets help (and chooses
    T and alpha there), and then trains the student on all rows. Predictions are the student's
    alone; the teacher is not needed any more.

    Args:
        teacher: A classifier with ``predict_proba``, fitted or not; it gets the rows as they
            are given. A fitted one labels the synthetic rows itself, and the training rows
            through clones, unless ``folds`` is None. None: a random forest.
        student: A family of :mod:`attar.students`, by name.
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
        classes_: The labels, sorted.
        student_: The trained ``torch.nn.Module``.
        teacher_: The teacher fitted on all rows.
        columns_: How a row becomes the student's numbers (:mod:`attar.columns`).
        temperature_: The T that the student learned at.
        alpha_: The weight of its soft loss.
        experiment_: The :class:`~attar.experiment.Experiment` with table and verdict; None
            without proof, ``experiment_reason_`` then says why.
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
            y: ``[N]`` labels of any kind.
            sample_weight: ``[N]`` 0 or more; also given to the teacher.

        Raises:
            AttarError: If a parameter is out of range, or there are fewer than two classes.
        """
        X = self._checked_rows(X, reset=True)
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        if len(labels) != length(X):
            raise AttarError(
                f"DistilledClassifier: X and y must have as many rows. Got {length(X)} and "
                f"{len(labels)}."
            )
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise AttarError("DistilledClassifier: y must have two classes or more. Got one class.")
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X)
        self._check_parameters(weights)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.columns_ = describe_columns(named(X), lenient=True)
        with torch.random.fork_rng(devices=[]):
            self._prove(X, codes, weights, seed)
            self._distil(X, codes, weights, seed)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """``[N, C]`` the student's probabilities, in the order of ``classes_``."""
        check_is_fitted(self, "student_")
        rows = torch.from_numpy(self._encoded(self._checked_rows(X, reset=False)))
        with torch.no_grad():
            parts = torch.split(rows, 65_536)
            probabilities = torch.cat(
                [self.student_(part).double().softmax(dim=1) for part in parts]
            )
        found: NDArray[np.float64] = probabilities.numpy()
        return found

    def predict(self, X: Any) -> NDArray[Any]:
        """``[N]`` the most likely label of each row."""
        check_is_fitted(self, "student_")
        found: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    def to_onnx(self, path: str | Path) -> Export:
        """Write the student as an ONNX file, with proof that it says the same.

        The file knows the columns: ``attar.export.runtime.load(path).predict`` takes a
        DataFrame or a mapping of columns as they were given to ``fit`` (those of an array are
        called ``"0"``, ``"1"``, ...) and needs numpy and onnxruntime alone.
        """
        check_is_fitted(self, "student_")
        return to_onnx(
            self.student_,
            path,
            example=self._example,
            classes=[str(label) for label in self.classes_],
            columns=self.columns_,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        teacher = self._make_teacher(0) if self.teacher is None else self.teacher
        tags.input_tags.allow_nan = get_tags(teacher).input_tags.allow_nan
        tags.input_tags.string = bool(get_tags(teacher).input_tags.string)
        return tags

    # ---- what a row is ----

    def _checked_rows(self, X: Any, *, reset: bool) -> Any:
        """The rows with scikit-learn's checks made; a frame stays one, for the teacher's sake."""
        if is_frame(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        takes = self.__sklearn_tags__().input_tags
        return validate_data(
            self,
            X,
            reset=reset,
            dtype=None if takes.string else "numeric",
            ensure_all_finite="allow-nan" if takes.allow_nan else True,
        )

    def _encoded(self, X: Any) -> NDArray[np.float32]:
        return encode_columns(named(X), self.columns_)

    # ---- the teacher's part ----

    def _make_teacher(self, seed: int) -> Any:
        if self.teacher is not None:
            return clone(self.teacher)
        return RandomForestClassifier(n_estimators=200, random_state=seed)

    def _fit_teacher(
        self, X: Any, codes: NDArray[Any], weights: NDArray[Any] | None, seed: int
    ) -> Any:
        """A fresh teacher that learned these rows, the labels as they were given."""
        teacher = self._make_teacher(seed)
        given = {"sample_weight": weights} if weights is not None else {}
        return teacher.fit(X, self.classes_[codes], **given)

    def _ask(self, teacher: Any, X: Any) -> NDArray[np.float64]:
        """``[N, C]`` probabilities in the order of ``classes_``; 0 for what it never saw."""
        said = np.asarray(teacher.predict_proba(X), dtype=np.float64)
        answers = np.zeros((len(said), len(self.classes_)))
        answers[:, np.searchsorted(self.classes_, teacher.classes_)] = said
        return answers

    def _soft_targets(
        self, X: Any, codes: NDArray[Any], weights: NDArray[Any] | None, full: Any, seed: int
    ) -> NDArray[np.float64]:
        """``[N, C]`` what the teacher says about rows whose labels it did not see."""
        if self.folds is None:
            return self._ask(full, X)
        answers = np.zeros((len(codes), len(self.classes_)))
        count = min(self.folds, int(np.bincount(codes).max()))
        for seen, held_out in folds(codes, max(2, count), seed):
            part = None if weights is None else weights[seen]
            member = self._fit_teacher(take(X, seen), codes[seen], part, seed)
            answers[held_out] = self._ask(member, take(X, held_out))
            # Nobody can say anything about a class that he never saw: there the label stands.
            unseen = held_out[~np.isin(codes[held_out], codes[seen])]
            answers[unseen] = np.eye(len(self.classes_))[codes[unseen]]
        return answers

    def _synthetic(self, X: Any, seed: int, *kept_apart: Any) -> Any:
        """Rows for the soft loss alone, or None; none of them is one that is kept apart."""
        if self.transfer is None or length(X) < 2:
            return None
        count = max(1, round(self.transfer_rows * length(X)))
        made = SAMPLERS[self.transfer](X, count=count, seed=seed)
        made = without_copies(made, *kept_apart) if kept_apart else made
        return made if length(made) else None

    # ---- the student's part ----

    def _prove(self, X: Any, codes: NDArray[Any], weights: NDArray[Any] | None, seed: int) -> None:
        """The controlled experiment, on rows of which a part is kept aside."""
        self.experiment_: Experiment | None = None
        self.experiment_reason_: str | None = None
        found = automatic(len(self.classes_), self.parameters, unlabelled=False)
        self.temperature_ = middle(self.temperature, found[0])
        self.alpha_ = middle(self.alpha, found[1])
        if not self.proof:
            self.experiment_reason_ = "proof=False"
            return
        rarest = int(np.bincount(codes).min())
        if rarest < _ROWS_FOR_A_PROOF:
            self.experiment_reason_ = (
                f"the rarest class has {rarest} rows; a proof needs {_ROWS_FOR_A_PROOF} of each"
            )
            return
        rest, test = cut(codes, 0.2, seed)
        inner, outer = cut(codes[rest], 0.2, seed + 1)
        learn, choose = rest[inner], rest[outer]
        part = None if weights is None else weights[learn]
        full = self._fit_teacher(take(X, learn), codes[learn], part, seed)
        targets = self._soft_targets(take(X, learn), codes[learn], part, full, seed)
        made = self._synthetic(take(X, learn), seed, take(X, choose), take(X, test))
        order = np.concatenate([learn, choose, test])
        answers = [targets, self._ask(full, take(X, np.concatenate([choose, test])))]
        data = {
            name: self._data(
                take(X, rows), codes[rows], rows, None if weights is None else weights[rows]
            )
            for name, rows in (("train", learn), ("validation", choose), ("test", test))
        }
        if made is not None:
            rows = len(codes) + np.arange(length(made))
            mean = None if part is None else np.full(length(made), part.mean())
            data["transfer"] = self._data(made, None, rows, mean)
            order, answers = np.concatenate([order, rows]), [*answers, self._ask(full, made)]
        self.experiment_ = distill(
            GivenTeacher(
                np.concatenate(answers), rows=order, name=name_of(full), outputs="probabilities"
            ),
            FAMILIES[self.student],
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
        setting = self.experiment_.arms["distilled"].setting
        assert setting.temperature is not None
        assert setting.alpha is not None
        self.temperature_, self.alpha_ = setting.temperature, setting.alpha

    def _distil(self, X: Any, codes: NDArray[Any], weights: NDArray[Any] | None, seed: int) -> None:
        """The student that ships: it learns from all rows, with what was chosen."""
        already = self.teacher is not None and is_fitted(self.teacher)
        full = self.teacher if already else self._fit_teacher(X, codes, weights, seed)
        targets = self._soft_targets(X, codes, weights, full, seed)
        inputs = torch.from_numpy(self._encoded(X))
        labels = torch.from_numpy(codes)
        made = self._synthetic(X, seed)
        self._example = inputs[:256].clone()
        scaler = Standardize.fit(inputs)
        sample_weights = None if weights is None else torch.from_numpy(weights).float()
        if made is not None:
            targets = np.concatenate([targets, self._ask(full, made)])
            inputs = torch.cat([inputs, torch.from_numpy(self._encoded(made))])
            labels = torch.cat([labels, torch.full((length(made),), UNLABELLED)])
            if sample_weights is not None:  # a synthetic row weighs what a row weighs on average
                mean = sample_weights.mean().expand(length(made))
                sample_weights = torch.cat([sample_weights, mean])
        family, shape = FAMILIES[self.student], (inputs.shape[1],)
        count = len(self.classes_)
        width = fit_to(family, parameters=self.parameters, input_shape=shape, classes=count)
        torch.manual_seed(seed)
        student = family.model(width, input_shape=shape, classes=count, scaler=scaler)
        terms = [soft(kl, self.alpha_, temperature=self.temperature_)]
        terms += [hard(1 - self.alpha_)] if self.alpha_ < 1 else []
        teacher = GivenTeacher(targets, name=name_of(full), outputs="probabilities")
        data = ArrayData(
            inputs, labels, classes=[str(i) for i in range(count)], weights=sample_weights
        )
        config = TrainConfig(steps=self.steps, learning_rate=self.learning_rate, seed=seed)
        for _ in train(
            Distiller(student, Objective(terms), teacher),
            Batches(data, self.batch_size, seed=seed),
            config,
        ):
            pass
        self.student_ = student.cpu().eval()
        self.teacher_ = full

    def _data(
        self, X: Any, codes: NDArray[Any] | None, rows: NDArray[Any], weights: Any
    ) -> ArrayData:
        return ArrayData(
            torch.from_numpy(self._encoded(X)),
            None if codes is None else torch.from_numpy(codes),
            rows=torch.from_numpy(rows),
            classes=[str(label) for label in self.classes_],
            weights=None if weights is None else torch.from_numpy(weights).float(),
            columns=self.columns_,
        )

    def _check_parameters(self, weights: NDArray[Any] | None) -> None:
        owner = "DistilledClassifier"
        if self.student not in FAMILIES:
            raise AttarError(
                f"The 'student' parameter of {owner} must be one of {sorted(FAMILIES)}. Got "
                f"{self.student!r} instead."
            )
        if self.transfer is not None and self.transfer not in SAMPLERS:
            raise AttarError(
                f"The 'transfer' parameter of {owner} must be one of {sorted(SAMPLERS)} or None. "
                f"Got {self.transfer!r} instead."
            )
        if self.folds is not None:
            check_number(owner, "folds", self.folds, low=2, whole=True)
        check_number(owner, "transfer_rows", self.transfer_rows, low=0, low_open=True)
        for name in ("parameters", "steps", "batch_size", "seeds"):
            check_number(owner, name, getattr(self, name), low=1, whole=True)
        teacher = self._make_teacher(0)
        if not hasattr(teacher, "predict_proba"):
            raise AttarError(
                f"{owner}: the teacher must have predict_proba, which {name_of(teacher)} has not; "
                "wrap it in sklearn.calibration.CalibratedClassifierCV."
            )
        if weights is not None and not has_fit_parameter(teacher, "sample_weight"):
            raise AttarError(
                f"{owner}: sample_weight was given, and the fit of {name_of(teacher)} takes none."
            )
