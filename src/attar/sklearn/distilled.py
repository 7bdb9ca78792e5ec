"""What the distilled estimators share: the way from rows and a teacher to a student."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)
from torch import Tensor, nn

from attar.checks import AttarError, check_number
from attar.columns import describe_columns, encode_columns
from attar.data import ArrayData, Batches, join, mix_neighbours, munge, resample, without_copies
from attar.engine import Distiller, TrainConfig, train
from attar.experiment.arms import as_choices
from attar.experiment.inputs import plan_student
from attar.export import Export, to_onnx
from attar.export.tables import Takes
from attar.losses import Objective, Term
from attar.sklearn.coded import Coded, wants_codes
from attar.sklearn.estimators import can, last_of, name_of, tags_of, with_weights
from attar.sklearn.kinds import Kind
from attar.sklearn.rows import is_frame, length, named, take
from attar.students import FAMILIES, TABLES, Family
from attar.teachers.estimator import fresh, is_fitted, seeded

if TYPE_CHECKING:
    from attar.experiment import Experiment
    from attar.types import Teacher

#: What draws synthetic rows, by the name that `transfer=` takes.
SAMPLERS: dict[str, Callable[..., Any]] = {
    "munge": munge,
    "mix_neighbours": mix_neighbours,
    "resample": resample,
}

Weights = NDArray[Any] | None


class Distilled(BaseEstimator):  # type: ignore[misc]  # no stubs
    """A small network that learned from a large model: what is the same for every task.

    A subclass has the parameters ``teacher``, ``student``, ``folds``, ``transfer``,
    ``random_state``, ``transfer_rows``, ``parameters``, ``steps``, ``batch_size``,
    ``learning_rate``, ``proof`` and ``seeds``, and says what its labels are (a
    :class:`~attar.sklearn.kinds.Kind`), what the student is trained with, and how the controlled
    experiment is run.
    """

    #: By name, what may be the student.
    _students: Mapping[str, Family] = {**FAMILIES, **TABLES}  # only read
    #: What the teacher must be able to do, and what to do where it cannot.
    _teachers_method, _teachers_advice = "predict", "give a fitted or unfitted regressor"

    teacher: Any
    student: str
    folds: int | None
    transfer: str | None
    random_state: Any
    transfer_rows: float
    parameters: int
    steps: int
    batch_size: int
    learning_rate: float
    proof: bool
    seeds: int

    # ---- what a subclass says ----

    @abstractmethod
    def _default_teacher(self, seed: int) -> Any:
        """The teacher where none is given."""

    @abstractmethod
    def _experiment(self, teacher: Teacher, data: dict[str, ArrayData]) -> Experiment:
        """The controlled experiment; what it chose is kept for :meth:`_terms`."""

    @abstractmethod
    def _settle(self) -> None:
        """What is trained with where nothing is chosen by an experiment."""

    @abstractmethod
    def _terms(self) -> list[Term]:
        """What the student that ships is trained with."""

    def _learnt(self, values: NDArray[Any]) -> NDArray[Any]:
        """Labels or answers as the student that ships learns them."""
        return values

    def _shipped(self, student: nn.Module) -> nn.Module:
        """The trained student as it answers, what :meth:`_learnt` did turned back."""
        return student

    # ---- the way ----

    def _learn(self, X: Any, kind: Kind, labels: NDArray[Any], weights: Weights) -> None:
        """Label, prove, distil: everything of ``fit`` behind its checks."""
        self._kind = kind
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.columns_ = describe_columns(named(X), lenient=True)
        with torch.random.fork_rng(devices=[]):
            self._prove(X, labels, weights, seed)
            self._distil(X, labels, weights, seed)

    def _answers(self, X: Any) -> Tensor:
        """``[N, outputs]`` float64, what the student says, before any softmax or sigmoid."""
        check_is_fitted(self, "student_")
        rows = torch.from_numpy(self._encoded(self._checked_rows(X, reset=False)))
        # In float32 an answer would depend, in its seventh digit, on the rows that are asked with.
        exact = copy.deepcopy(self.student_).double()
        with torch.no_grad():
            return torch.cat([exact(part.double()) for part in torch.split(rows, 65_536)])

    def to_onnx(self, path: str | Path, *, takes: Takes = "encoded") -> Export:
        """Write the student as an ONNX file, with proof that it says the same.

        The file knows the columns: ``attar.export.runtime.load(path).predict`` takes a
        DataFrame or a mapping of columns as they were given to ``fit`` (those of an array are
        called ``"0"``, ``"1"``, ...) and needs numpy and onnxruntime alone.

        Args:
            path: Where to write; a file that is there is replaced.
            takes: What the graph itself takes, for who runs it without Attar: the encoded numbers,
                or raw rows, ``"columns"`` or ``"matrix"``, as in :func:`attar.export.to_onnx`.
        """
        check_is_fitted(self, "student_")
        return to_onnx(
            self.student_,
            path,
            example=self._example,
            classes=self._kind.names,
            columns=self.columns_,
            task=self._kind.task,
            takes=takes,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        teacher = self._make_teacher(0) if self.teacher is None else self.teacher
        told = tags_of(teacher)
        tags.input_tags.allow_nan = told is not None and told.input_tags.allow_nan
        tags.input_tags.string = told is not None and bool(told.input_tags.string)
        return tags

    # ---- what a row is ----

    def _checked_rows(self, X: Any, *, reset: bool) -> Any:
        """The rows with scikit-learn's checks made; a frame stays one, for the teacher's sake."""
        if is_frame(X):
            owner, names = type(self).__name__, [str(name) for name in X.columns]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise AttarError(f"{owner}: X has more than one column of the name {twice[0]!r}.")
            if length(X) == 0:
                raise AttarError(f"{owner}: X must have one row or more. Got none.")
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

    def _data(
        self, X: Any, labels: NDArray[Any] | None, numbers: NDArray[Any], weights: Weights
    ) -> ArrayData:
        return ArrayData(
            torch.from_numpy(self._encoded(X)),
            None if labels is None else torch.from_numpy(labels),
            rows=torch.from_numpy(numbers),
            classes=self._kind.names,
            weights=None if weights is None else torch.from_numpy(weights).float(),
            columns=self.columns_,
        )

    # ---- the teacher's part ----

    def _ready(self) -> Any:
        """The teacher where it came fitted, else None."""
        return self.teacher if self.teacher is not None and is_fitted(self.teacher) else None

    def _make_teacher(self, seed: int) -> Any:
        return (
            self._default_teacher(seed)
            if self.teacher is None
            else seeded(fresh(self.teacher), seed)
        )

    def _fit_teacher(self, X: Any, labels: NDArray[Any], weights: Weights, seed: int) -> Any:
        """A fresh teacher that learned these rows, the labels as they were given."""
        teacher, taught = self._make_teacher(seed), self._kind.taught(labels)
        given = with_weights(type(self).__name__, teacher, weights)
        if self._kind.task == "multiclass" and wants_codes(teacher, taught):
            teacher = Coded(teacher)
        return teacher.fit(X, taught, **given)

    def _soft_targets(
        self, X: Any, labels: NDArray[Any], weights: Weights, full: Any, seed: int
    ) -> NDArray[np.float64]:
        """``[N, outputs]`` what the teacher says about rows whose labels it did not see."""
        kind = self._kind
        if self.folds is None:
            return kind.ask(full, X)
        answers = np.zeros((len(labels), kind.width))
        for seen, held_out in kind.folds(labels, self.folds, seed):
            part = None if weights is None else weights[seen]
            member = self._fit_teacher(take(X, seen), labels[seen], part, seed)
            answers[held_out] = kind.ask(member, take(X, held_out))
            without, stands = kind.unseen(labels[held_out], labels[seen])
            if without.any():
                answers[held_out[without]] = stands[without]
        return answers

    def _synthetic(self, X: Any, seed: int, *kept_apart: Any) -> Any:
        """Rows for the soft loss alone, or None; none of them is one that is kept apart."""
        if self.transfer is None or length(X) < 2:
            return None
        count = max(1, round(self.transfer_rows * length(X)))
        made = SAMPLERS[self.transfer](X, count=count, seed=seed)
        made = without_copies(made, *kept_apart) if kept_apart else made
        return made if length(made) else None

    def _taught_rows(
        self,
        X: Any,
        labels: NDArray[Any],
        weights: Weights,
        numbers: NDArray[Any],
        made: Any,
        *,
        free: int,
    ) -> dict[str, ArrayData]:
        """The rows that are learnt from, and the synthetic ones, numbered from ``free`` on."""
        data = {"train": self._data(X, labels, numbers, weights)}
        if made is not None:
            further = free + np.arange(length(made))
            # A synthetic row weighs what a row weighs on average.
            mean = None if weights is None else np.full(length(made), weights.mean())
            data["transfer"] = self._data(made, None, further, mean)
        return data

    # ---- the student's part ----

    def _prove(self, X: Any, labels: NDArray[Any], weights: Weights, seed: int) -> None:
        """The controlled experiment, on rows of which a part is kept aside."""
        kind = self._kind
        self.experiment_: Experiment | None = None
        self.experiment_reason_: str | None = kind.too_few(labels) if self.proof else "proof=False"
        self._settle()
        if self.experiment_reason_ is not None:
            return
        rest, test = kind.cut(labels, 0.2, seed)
        inner, outer = kind.cut(labels[rest], 0.2, seed + 1)
        learn, choose = rest[inner], rest[outer]
        part = None if weights is None else weights[learn]
        full = self._fit_teacher(take(X, learn), labels[learn], part, seed)
        answers = [
            self._soft_targets(take(X, learn), labels[learn], part, full, seed),
            kind.ask(full, take(X, np.concatenate([choose, test]))),
        ]
        made = self._synthetic(take(X, learn), seed, take(X, choose), take(X, test))
        data = self._taught_rows(take(X, learn), labels[learn], part, learn, made, free=len(labels))
        for name, rows in (("validation", choose), ("test", test)):
            own = None if weights is None else weights[rows]
            data[name] = self._data(take(X, rows), labels[rows], rows, own)
        numbers = [learn, choose, test]
        if made is not None:
            answers.append(kind.ask(full, made))
            numbers.append(data["transfer"].rows.numpy())
        teacher = kind.as_teacher(
            np.concatenate(answers), numbers=np.concatenate(numbers), name=name_of(full)
        )
        self.experiment_ = self._experiment(teacher, data)

    def _distil(self, X: Any, labels: NDArray[Any], weights: Weights, seed: int) -> None:
        """The student that ships: it learns from all rows, with what was chosen."""
        full = self._ready()
        if full is None:
            full = self._fit_teacher(X, labels, weights, seed)
        targets = self._soft_targets(X, labels, weights, full, seed)
        made = self._synthetic(X, seed)
        count = len(labels)
        learnt = self._learnt(labels)
        data = self._taught_rows(X, learnt, weights, np.arange(count), made, free=count)
        rows = data["train"]
        assert isinstance(rows.inputs, Tensor)
        self._example = rows.inputs[:256].clone()
        plan = plan_student(self._students[self.student], rows, parameters=self.parameters)
        if made is not None:
            targets = np.concatenate([targets, self._kind.ask(full, made)])
            rows = join(rows, data["transfer"])
        torch.manual_seed(seed)
        student = plan.make()
        teacher = self._kind.as_teacher(self._learnt(targets), name=name_of(full))
        self._train(student, rows, teacher, seed)
        self.student_ = self._shipped(student.cpu()).eval()
        self.teacher_ = full

    def _train(self, student: nn.Module, rows: ArrayData, teacher: Teacher, seed: int) -> None:
        """Step by step; a subclass whose students are built in one go does otherwise."""
        config = TrainConfig(steps=self.steps, learning_rate=self.learning_rate, seed=seed)
        batches = Batches(rows, min(self.batch_size, len(rows)), seed=seed)
        for _ in train(Distiller(student, Objective(self._terms()), teacher), batches, config):
            pass

    # ---- the door ----

    def _checked_weights(self, sample_weight: Any, X: Any) -> Weights:
        if sample_weight is None:
            return None
        weights: Weights = _check_sample_weight(sample_weight, X)
        assert weights is not None
        below = np.flatnonzero(weights < 0)
        if len(below):
            raise AttarError(
                f"{type(self).__name__}: sample_weight must be 0 or more. Got {weights[below[0]]} "
                f"in row {below[0]} (counted from 0)."
            )
        return weights

    def _check_parameters(self, weights: Weights) -> None:
        owner = type(self).__name__
        if self.student not in self._students:
            raise AttarError(
                f"The 'student' parameter of {owner} must be one of {sorted(self._students)}. Got "
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
        check_number(owner, "learning_rate", self.learning_rate, low=0, low_open=True)
        for name, high in (("temperature", 1e3), ("alpha", 1.0)):
            if hasattr(self, name):
                as_choices(name, getattr(self, name), auto=[1.0], low=0, high=high, owner=owner)
        if not isinstance(self.proof, bool | np.bool_):
            raise AttarError(
                f"The 'proof' parameter of {owner} must be True or False. Got {self.proof!r} "
                "instead."
            )
        teacher = self._make_teacher(0)
        if not can(teacher, self._teachers_method):
            hard = getattr(last_of(teacher), "voting", None) == "hard"
            advice = "make it with voting='soft'" if hard else self._teachers_advice
            raise AttarError(
                f"{owner}: the teacher must have {self._teachers_method}, which {name_of(teacher)} "
                f"has not; {advice}."
            )
        with_weights(owner, teacher, weights)  # refuses what takes none
