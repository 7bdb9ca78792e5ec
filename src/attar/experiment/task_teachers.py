"""What a teacher says where labels are no classes, about every row, out of fold where it must."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attar.checks import AttarError, need
from attar.evaluation import predict_logits
from attar.experiment.inputs import Splits
from attar.export.runtime import load
from attar.teachers import GivenTeacher
from attar.teachers.columns import label_probabilities, log_odds, values_of
from attar.teachers.estimator import flat_rows, fresh, is_fitted
from attar.teachers.fitted import fitted_state
from attar.teachers.protocol import to_numpy
from attar.types import Data

Asked = Callable[[Data], Tensor]


@dataclass(frozen=True)
class _Member:
    """One teacher and its answers, by the name of the split."""

    name: str
    parameters: int | None
    bytes: int | None
    answers: dict[str, Tensor]
    ask: Asked | None


@dataclass(frozen=True)
class Answered:
    """A teacher that has been asked.

    Attributes:
        name: What it is.
        parameters: How many it has; None where that is not known.
        bytes: Its size; None where that is not known.
        answers: Of ``train``, ``validation`` and ``test``: values, or log-odds ``[N, D]``.
        rows: The row numbers of these answers.
        teacher: The same answers, by row number.
        ask: The teacher itself, for whoever wants to time it; None where its answers were given.
    """

    name: str
    parameters: int | None
    bytes: int | None
    answers: dict[str, Tensor]
    rows: Tensor
    teacher: GivenTeacher
    ask: Asked | None

    @property
    def fingerprint(self) -> str:
        """The hash of all answers."""
        return self.teacher.fingerprint()

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Answered:
        """The same teacher with every answer changed."""
        answers = {name: change(value) for name, value in self.answers.items()}
        teacher = _given(answers, self.rows, name=self.name)
        return replace(self, answers=answers, teacher=teacher)

    @property
    def manifest(self) -> dict[str, Any]:
        """What a store would say of it."""
        return {"teacher": {"name": self.name, "fingerprint": self.fingerprint}}


def ask_all(
    teacher: Any,
    splits: Splits,
    task: str,
    *,
    folds: int | None,
    refit: bool,
    levels: tuple[float, ...] | None = None,
    seed: int = 0,
) -> Answered:
    """Ask whatever teaches a regression or several labels about the rows of all splits.

    Args:
        teacher: A regressor, or for several labels a classifier with ``predict_proba``, fitted or
            not; a torch module, a function of numpy inputs, a file that Attar exported, an
            object that answers batches; or a list of these, whose mean (of values, or of
            probabilities) is taken.
        splits: The rows.
        task: ``"regression"`` or ``"multilabel"``.
        folds: Clones that label the labelled rows; None takes the estimator's own word.
        refit: Whether validation or test was cut from rows that a fitted estimator has seen.
        levels: Where quantiles are learnt, theirs: the teacher then gives as many quantiles as it
            likes, at even levels (:func:`~attar.evaluation.quantiles.even_levels`).
        seed: Of the folds.

    Raises:
        AttarError: If it is none of these, or its answer has not one column for each label.
    """
    members = list(teacher) if isinstance(teacher, list | tuple) else [teacher]
    if not members:
        raise AttarError("distill: the list of teachers is empty.")
    found = [_ask_one(one, splits, task, folds, refit=refit, seed=seed) for one in members]
    for one in found if levels is None else ():
        for name, answer in one.answers.items():
            _check_width(one.name, answer, len(getattr(splits, name).classes))
    answers = {
        name: _mean([one.answers[name] for one in found], task)
        for name in ("train", "validation", "test")
    }
    numbers = torch.cat([getattr(splits, name).rows for name in answers])
    name = found[0].name if len(found) == 1 else f"ensemble of {len(found)}"
    return Answered(
        name,
        _sum([one.parameters for one in found]),
        _sum([one.bytes for one in found]),
        answers,
        numbers,
        _given(answers, numbers, name=name),
        _together([one.ask for one in found if one.ask is not None], len(found), task),
    )


def _together(asked: list[Asked], members: int, task: str) -> Asked | None:
    """All members as one; None where one of them cannot be asked."""
    if len(asked) < members:
        return None
    return lambda data: _mean([ask(data) for ask in asked], task)


def _given(answers: dict[str, Tensor], rows: Tensor, *, name: str) -> GivenTeacher:
    return GivenTeacher(torch.cat(list(answers.values())), rows=rows, name=name, outputs="values")


def _ask_one(
    teacher: Any, splits: Splits, task: str, folds: int | None, *, refit: bool, seed: int
) -> _Member:
    method = "predict" if task == "regression" else "predict_proba"
    if hasattr(teacher, "fit") and hasattr(teacher, method):
        return _cross_fitted(teacher, splits, task, folds, refit=refit, seed=seed)
    if isinstance(teacher, str | Path) and Path(teacher).suffix.lower() == ".onnx":
        teacher = _exported(Path(teacher), task)
    asked = _asked(teacher, task, method)
    answers = {}
    for name in ("train", "validation", "test"):
        part: Data = getattr(splits, name)
        answers[name] = asked(part).double()
    called = getattr(teacher, "name", None) or getattr(teacher, "__name__", None)
    name = str(called or type(teacher).__name__)
    again = None if isinstance(teacher, GivenTeacher) or hasattr(teacher, "store") else asked
    return _Member(name, _parameters(teacher), getattr(teacher, "bytes", None), answers, again)


def _exported(path: Path, task: str) -> Any:
    """A student that Attar exported, as a function."""
    student = load(path)
    if student.task != task:
        raise AttarError(
            f"distill: the teacher {path} must be a model of the task {task!r} that Attar "
            f"exported. It is one of {student.task!r}; wrap another model in a function."
        )
    answer = student.values if task == "regression" else student.predict_proba

    def told(inputs: Any) -> Any:
        return answer(inputs)

    told.__name__ = path.name
    return told


def _asked(teacher: Any, task: str, method: str) -> Asked:
    """How to ask a teacher that is not fitted here."""
    if isinstance(teacher, nn.Module) or callable(getattr(teacher, "fingerprint", None)):
        return lambda data: predict_logits(teacher, data, least=1)
    if hasattr(teacher, method):
        return lambda data: _said(teacher, _rows(data), task)
    if callable(teacher) and not isinstance(teacher, type):
        return lambda data: _from_function(teacher, data, task)
    raise AttarError(
        f"distill: a teacher of the task {task!r} must be an estimator with fit and {method}, a "
        "torch module, a function from numpy inputs to an answer [N, D], an .onnx file that Attar "
        f"wrote for that task, or a list of these. Got {type(teacher).__name__}."
    )


def _from_function(function: Any, data: Data, task: str) -> Tensor:
    """Values; or of several labels, probabilities where all lie in [0, 1], else log-odds."""
    said = to_numpy(function(to_numpy(data.batch(torch.arange(len(data))).inputs)))
    said = said.astype(np.float64)
    said = said[:, None] if said.ndim == 1 else said
    if task == "multilabel" and said.size and said.min() >= 0 and said.max() <= 1:
        said = log_odds(said)
    return torch.from_numpy(said)


def _cross_fitted(
    estimator: Any, splits: Splits, task: str, folds: int | None, *, refit: bool, seed: int
) -> _Member:
    """Labelled rows by clones that did not see them, all others by one that saw them all."""
    select = need("sklearn.model_selection", extra="train", purpose="labelling out of fold")
    train, labels = splits.train, splits.train.labels
    assert labels is not None
    known = (~labels.isnan()).all(dim=1).nonzero()[:, 0].numpy()
    if len(known) < max(2, folds or 0):
        raise AttarError(
            f"distill: {len(known)} rows of train have all their labels; the teacher needs at "
            f"least {max(2, folds or 0)} to be fitted{' in folds' if folds else ''}."
        )
    inputs, taught = _rows(train), taught_columns(labels.double().numpy(), task)
    fitted = is_fitted(estimator) and not (refit and folds is not None)
    full = estimator if fitted else fresh(estimator).fit(inputs[known], taught[known])
    answers = {
        name: _said(full, _rows(getattr(splits, name)), task)
        for name in ("train", "validation", "test")
    }
    if folds is not None:
        for seen, held in select.KFold(folds, shuffle=True, random_state=seed).split(known):
            clone = fresh(estimator).fit(inputs[known[seen]], taught[known[seen]])
            answers["train"][known[held]] = _said(clone, inputs[known[held]], task)
    steps = getattr(estimator, "steps", None)
    name = type(steps[-1][1] if steps else estimator).__name__
    called = name if folds is None else f"cross-fitted {name}"
    return _Member(called, None, _size(full), answers, lambda data: _said(full, _rows(data), task))


def may_have_seen(teacher: Any) -> bool:
    """Whether a teacher came ready-made, with rows of its own that nobody here knows."""
    if isinstance(teacher, list | tuple):
        return any(may_have_seen(member) for member in teacher)
    return not hasattr(teacher, "fit")


def taught_columns(labels: NDArray[Any], task: str) -> NDArray[Any]:
    """``[N, D]`` as estimators are fitted on them: whole numbers, and ``[N]`` for one value.

    >>> import numpy as np
    >>> taught_columns(np.array([[1.0], [0.5]]), "regression")
    array([1. , 0.5])
    >>> taught_columns(np.array([[1.0, 0.0]]), "multilabel")
    array([[1, 0]])
    """
    if task == "multilabel":
        whole: NDArray[Any] = np.nan_to_num(labels).astype(np.int64)
        return whole
    taught: NDArray[Any] = labels[:, 0] if labels.shape[1] == 1 else labels
    return taught


def _said(estimator: Any, rows: NDArray[Any], task: str) -> Tensor:
    if task == "regression":
        return torch.from_numpy(values_of(estimator, rows))
    return torch.from_numpy(log_odds(label_probabilities(estimator, rows)))


def _rows(data: Data) -> NDArray[Any]:
    return flat_rows("distill", data.batch(torch.arange(len(data))).inputs)


def _mean(parts: list[Tensor], task: str) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    if task == "regression":
        return torch.stack(parts).mean(dim=0)
    return torch.from_numpy(log_odds(torch.stack(parts).sigmoid().mean(dim=0).numpy()))


def _sum(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _parameters(teacher: Any) -> int | None:
    if isinstance(teacher, nn.Module):
        return sum(parameter.numel() for parameter in teacher.parameters())
    found: int | None = getattr(teacher, "parameters", None)
    return found


def _size(estimator: Any) -> int | None:
    try:
        return fitted_state(estimator)[1]
    except (TypeError, AttributeError, RecursionError):
        return None


def _check_width(teacher: str, answer: Tensor, width: int) -> None:
    if answer.ndim != 2 or answer.shape[1] != width:
        raise AttarError(
            f"distill: the teacher {teacher} must answer with {width} "
            f"column{'s' if width > 1 else ''}, one a label. Got {tuple(answer.shape)}."
        )
