"""The one place that weighs losses and takes their mean over the rows.

Nothing here reads a value back from the device, and rows are left out by multiplying, not by
indexing: a training step is queued without waiting for the one before.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attar.checks import AttarError, check_number
from attar.losses.logits import cross_entropy
from attar.types import UNLABELLED, Batch, Mixture, Outputs, TopKTargets, dense_logits

#: What a term computes: the losses ``[N]`` and the rows ``[N]`` (bool) that count, None for all.
TermFunction = Callable[[Outputs, Outputs | None, Batch], tuple[Tensor, Tensor | None]]

#: Stands for an empty normaliser: small beside any sum of weights, and 1 / 1e-30 is a float32.
_TINY = 1e-30


class Part(NamedTuple):
    """What one term gave for a batch, detached, so that a log can add up batches exactly.

    Attributes:
        sum: Scalar; the losses of the term's rows, times their sample weights, added up.
        count: The sum of these rows' sample weights (their number, where there are none); a
            number where it is known without the device.
    """

    sum: Tensor
    count: Tensor | float  # type: ignore[assignment]  # a tuple's own count() is not missed

    @property
    def mean(self) -> Tensor:
        """The mean loss over the term's rows, not yet times the term's weight; 0 without rows."""
        mean: Tensor = self.sum / _never_zero(self.count)
        return mean


@dataclass(frozen=True)
class Term:
    """One loss of an :class:`Objective` and its weight.

    Made by :func:`hard`, :func:`supervised`, :func:`soft` and :func:`pseudo`; by hand for a loss
    that needs more than logits, such as features, or that counts only some rows.

    Attributes:
        name: Names the part in logs.
        weight: Multiplies the mean over the rows; 0 or more.
        function: Called with the student's outputs, the teacher's (or None) and the batch;
            returns the losses ``[N]`` and the rows ``[N]`` (bool) that count, None for all. The
            losses of the other rows must be finite; they are multiplied by 0.
        needs_teacher: Whether the function needs the teacher's outputs.

    Raises:
        AttarError: If the weight is negative or not a finite number.

    Example:
        >>> def feature_distance(student, teacher, batch):
        ...     apart = student.features["last"] - teacher.features["last"]
        ...     return apart.square().mean(dim=1), None
        >>> Term("features", 0.5, feature_distance, needs_teacher=True).weight
        0.5
    """

    name: str
    weight: float
    function: TermFunction
    needs_teacher: bool = False

    def __post_init__(self) -> None:
        check_number(f"the term {self.name!r}", "weight", self.weight, low=0.0)


def hard(weight: float, *, smoothing: float = 0.0) -> Term:
    """Cross-entropy against the labels, the mean over the labelled rows alone.

    A row that a view has mixed of two (mixup, cutmix) has the mean of the losses against both
    labels, weighted by their shares, and counts where both are known.

    Args:
        weight: Of this term, 0 or more; beside a soft term of weight alpha usually 1 - alpha.
        smoothing: Label smoothing, from 0 to 1; see :func:`~attar.losses.cross_entropy`.

    Raises:
        AttarError: If the weight or the smoothing is out of range; when used, if the batch has
            no labels at all (None), since such a term would silently teach nothing.

    Example:
        >>> labels = torch.tensor([0, UNLABELLED])
        >>> batch = Batch(torch.zeros(2, 1), torch.arange(2), labels)
        >>> loss, parts = Objective([hard(0.5)])(Outputs(torch.zeros(2, 4)), None, batch)
        >>> loss  # 0.5 * log 4: the row without a label counts for nothing
        tensor(0.6931)
    """
    check_number("hard", "smoothing", smoothing, low=0.0, high=1.0)

    def function(
        student: Outputs, teacher: Outputs | None, batch: Batch
    ) -> tuple[Tensor, Tensor | None]:
        labels = batch.labels
        if labels is None:
            raise AttarError(
                "hard: the batch has no labels (None). Leave the hard term out of the objective, "
                f"or give labels, {UNLABELLED} for the rows whose class is not known."
            )
        logits = dense_logits("hard", student)
        if batch.mixture is not None:
            return _mixed(logits, batch.mixture, smoothing=smoothing), batch.mixture.known
        return cross_entropy(logits, labels, smoothing=smoothing), labels != UNLABELLED

    return Term("hard", weight, function)


def supervised(loss: Callable[[Tensor, Tensor], Tensor], weight: float) -> Term:
    """A loss against labels that are no classes: values, or several labels a row.

    What :func:`hard` is for classes. A row counts where any of its labels is known (not NaN).

    Args:
        loss: ``(student, labels) -> [N]`` on ``[N, D]``, where a NaN among the labels counts for
            nothing: :func:`~attar.losses.squared_error`,
            :func:`~attar.losses.binary_cross_entropy`, or your own.
        weight: Of this term, 0 or more; beside a soft term of weight alpha usually 1 - alpha.

    Raises:
        AttarError: If the weight is out of range; when used, if the batch has no labels of that
            kind.

    Example:
        >>> from attar.losses import squared_error
        >>> labels = torch.tensor([[1.0], [torch.nan]])
        >>> batch = Batch(torch.zeros(2, 1), torch.arange(2), labels)
        >>> loss, parts = Objective([supervised(squared_error, 0.5)])(
        ...     Outputs(torch.tensor([[3.0], [9.0]])), None, batch
        ... )
        >>> loss  # 0.5 * (3 - 1)^2: the row without a label counts for nothing
        tensor(2.)
    """
    name = name_of(loss)

    def function(
        student: Outputs, teacher: Outputs | None, batch: Batch
    ) -> tuple[Tensor, Tensor | None]:
        labels = batch.labels
        if labels is None or not labels.is_floating_point():
            came = "none" if labels is None else f"{labels.dtype} of shape {list(labels.shape)}"
            raise AttarError(
                f"supervised({name}): the batch must have floating-point labels [N, D], NaN where "
                f"not known. Got {came}. For classes there is hard()."
            )
        return loss(dense_logits(name, student), labels), ~labels.isnan().all(dim=1)

    return Term(name, weight, function)


def soft(loss: Callable[..., Tensor], weight: float, *, temperature: float = 1.0) -> Term:
    """A loss between the student's and the teacher's logits, the mean over all rows.

    The teacher's are handed over as they are: sparse targets reach the loss as sparse targets.
    :func:`~attar.losses.kl` takes them; a loss that needs every class says so.

    Args:
        loss: ``(student, teacher) -> [N]`` on logits ``[N, C]``: :func:`~attar.losses.kl`, one
            of its siblings, or your own. It is called with ``temperature=`` and, for one like
            :func:`~attar.losses.dkd`, with the batch's ``labels=``, where it has such a
            parameter. To set others: ``functools.partial(jsd, beta=0.1)``.
        weight: Of this term, 0 or more; usually alpha.
        temperature: T, above 0.

    Raises:
        AttarError: If the weight or the temperature is out of range, or a temperature other
            than 1 is given for a loss that has no such parameter.

    Example:
        >>> from attar.losses import kl
        >>> batch = Batch(torch.zeros(1, 1), torch.arange(1))
        >>> student = Outputs(torch.tensor([[0.0, 0.0]]))
        >>> teacher = Outputs(torch.tensor([[2.0, 0.0]]))
        >>> objective = Objective([soft(kl, 0.5, temperature=4.0)])
        >>> loss, parts = objective(student, teacher, batch)
        >>> loss, parts["kl"].mean
        (tensor(0.2424), tensor(0.4848))
    """
    check_number("soft", "temperature", temperature, low=0.0, low_open=True)
    name = name_of(loss)
    takes_labels = has_parameter(loss, "labels")
    if has_parameter(loss, "temperature"):
        loss = functools.partial(loss, temperature=temperature)
    elif temperature != 1.0:
        raise AttarError(
            f"soft: temperature={temperature} was given, but the loss {name!r} has no parameter "
            "'temperature', so it would be ignored. Add one to the loss, or leave it out here."
        )

    def function(
        student: Outputs, teacher: Outputs | None, batch: Batch
    ) -> tuple[Tensor, Tensor | None]:
        assert teacher is not None  # the objective has seen to it
        if takes_labels:
            return loss(student.logits, teacher.logits, labels=batch.labels), None
        return loss(student.logits, teacher.logits), None

    return Term(name, weight, function, needs_teacher=True)


def pseudo(weight: float) -> Term:
    """Cross-entropy against the label where there is one, else the teacher's most likely class.

    What soft targets have to beat: it uses the same rows and the same teacher, and none of what
    the teacher says about the other classes. Targets that keep the k best classes know the most
    likely one; sampled ones do not, and raise.

    Args:
        weight: Of this term, 0 or more.

    Raises:
        AttarError: If the weight is out of range.

    Example:
        >>> student = Outputs(torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
        >>> teacher = Outputs(torch.tensor([[0.0, 9.0], [0.0, 9.0]]))
        >>> batch = Batch(torch.zeros(2, 1), torch.arange(2), torch.tensor([0, UNLABELLED]))
        >>> loss, parts = Objective([pseudo(1.0)])(student, teacher, batch)
        >>> loss  # (1.3133 for the label 0 + 0.3133 for the teacher's 1) / 2
        tensor(0.8133)

    References:
        Lee 2013, *Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for
        Deep Neural Networks*
    """

    def function(
        student: Outputs, teacher: Outputs | None, batch: Batch
    ) -> tuple[Tensor, Tensor | None]:
        assert teacher is not None  # the objective has seen to it
        targets, logits = _choice(teacher), dense_logits("pseudo", student)
        if batch.mixture is not None:
            known = _mixed(logits, batch.mixture)
            return torch.where(batch.mixture.known, known, cross_entropy(logits, targets)), None
        if batch.labels is not None:
            targets = torch.where(batch.labels == UNLABELLED, targets, batch.labels)
        return cross_entropy(logits, targets), None

    return Term("pseudo", weight, function, needs_teacher=True)


def _mixed(logits: Tensor, mixture: Mixture, *, smoothing: float = 0.0) -> Tensor:
    """``[N]`` cross-entropy against all labels of a mixed row, weighted by their shares."""
    columns = zip(mixture.labels.unbind(dim=1), mixture.shares.unbind(dim=1), strict=True)
    losses = [
        share * cross_entropy(logits, labels, smoothing=smoothing) for labels, share in columns
    ]
    return torch.stack(losses).sum(dim=0)


def _choice(teacher: Outputs) -> Tensor:
    """``[N]`` the teacher's most likely class."""
    if isinstance(teacher.logits, TopKTargets):
        return teacher.logits.argmax()
    return dense_logits("pseudo", teacher).argmax(dim=1)


class Objective:
    """The weighted sum of some terms, each of them a mean over its own rows.

    A term contributes ``weight * sum(w_i * l_i) / sum(w_i)`` over the rows that it counts (for
    :func:`hard`: the labelled ones), with ``w_i`` the batch's sample weights, or 1. Where it
    counts none it contributes 0, with zero gradient.

    Args:
        terms: One or more. Where a name comes twice, the second part is called ``name_2``.

    Attributes:
        terms: The terms, as given.
        needs_teacher: Whether one of them needs the teacher's outputs.

    Raises:
        AttarError: If there is no term, or one is not a :class:`Term`.

    Example:
        >>> from attar.losses import kl
        >>> objective = Objective([hard(0.1), soft(kl, 0.9, temperature=4.0)])
        >>> student = Outputs(torch.tensor([[0.0, 0.0], [0.0, 0.0]]))
        >>> teacher = Outputs(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
        >>> batch = Batch(torch.zeros(2, 1), torch.arange(2), torch.tensor([0, UNLABELLED]))
        >>> loss, parts = objective(student, teacher, batch)
        >>> for name, part in parts.items():
        ...     print(name, part.sum, part.count)
        hard tensor(0.6931) tensor(1.)
        kl tensor(0.4848) 2
        >>> loss  # 0.1 * 0.6931 / 1 + 0.9 * 0.4848 / 2
        tensor(0.2875)
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = tuple(terms)
        if not self.terms or not all(isinstance(term, Term) for term in self.terms):
            raise AttarError(
                "Objective: terms must be a list of one or more terms, such as "
                f"[hard(0.1), soft(kl, 0.9, temperature=4.0)]. Got {terms!r}."
            )
        self.needs_teacher = any(term.needs_teacher for term in self.terms)
        self._named = _with_names_of_their_own(self.terms)

    def __call__(
        self,
        student: Outputs,
        teacher: Outputs | None,
        batch: Batch,
        *,
        share: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Part]]:
        """The loss of a batch and its parts.

        Args:
            student: With logits ``[N, C]``.
            teacher: The same for the same rows; None where no term needs it.
            batch: The rows, with their labels and sample weights.
            share: Where several processes train and average their gradients: the mean of a
                scalar over the processes. Each term is divided by the mean of its normaliser
                instead of its own, so that the average is the mean over all their rows, also
                where one process has more labelled rows than another.

        Returns:
            The scalar to call ``backward()`` on, and each term's :class:`Part`: of this process
            alone, before the term's weight, detached.

        Raises:
            AttarError: If a term needs the teacher and there is none, or a loss does not give
                one value a row.
        """
        if teacher is None and self.needs_teacher:
            raise AttarError(
                f"Objective: the term {next(t.name for t in self.terms if t.needs_teacher)!r} "
                "needs the teacher's outputs, and got None. Pass the teacher's Outputs, or leave "
                "the term out."
            )
        rows = (len(student.logits),)
        loss: Tensor | None = None
        parts: dict[str, Part] = {}
        for name, term in self._named:
            losses, counted = term.function(student, teacher, batch)
            if losses.shape != rows:
                raise AttarError(
                    f"Objective: the loss of the term {name!r} must have one value a row, shape "
                    f"[{rows[0]}], not yet averaged: the mean over the rows is taken here. Got "
                    f"shape {list(losses.shape)}."
                )
            if losses.itemsize < 4:  # a sum over the rows in a half type would lose digits
                losses = losses.float()
            mean, parts[name] = _weigh(losses, counted, batch.weights, term.weight, share)
            loss = mean if loss is None else loss + mean
        assert loss is not None  # there is a term
        return loss, parts


def _weigh(
    losses: Tensor,
    counted: Tensor | None,
    weights: Tensor | None,
    weight: float,
    share: Callable[[Tensor], Tensor] | None,
) -> tuple[Tensor, Part]:
    """The weighted mean of the losses ``[N]`` over the counted rows, and its part.

    The gradient passes a single operation, the product with each row's coefficient: every small
    operation that it passes costs more time on the way back than on the way here.
    """
    values = losses.detach()
    if counted is None and weights is None and share is None:
        rows = losses.shape[0]
        coefficients = values.new_full((rows,), weight / _never_zero(rows))
        return losses.dot(coefficients), Part(values.sum(), rows)

    factors = _factors(values, counted, weights)
    count = factors.sum()
    normaliser = count if share is None else share(count)
    coefficients = factors * (weight / _never_zero(normaliser))
    return losses.dot(coefficients), Part(values.dot(factors), count)


def _factors(values: Tensor, counted: Tensor | None, weights: Tensor | None) -> Tensor:
    """What each row's loss is multiplied by, ``[N]``: its sample weight, 0 if it does not count."""
    if counted is None:
        return torch.ones_like(values) if weights is None else weights.type_as(values)
    rows = counted.type_as(values)
    return rows if weights is None else rows * weights.type_as(values)


def _never_zero(count: Any) -> Any:
    """What to divide by: a term without rows has the sum 0, and is to have the mean 0.

    The floor lies far below 1 because the mean of a count over processes, or a sum of sample
    weights, may well be a fraction.
    """
    return count.clamp(min=_TINY) if isinstance(count, Tensor) else max(count, _TINY)


def name_of(loss: Callable[..., Tensor]) -> str:
    """What a loss is called in logs."""
    while isinstance(loss, functools.partial):
        loss = loss.func
    return str(getattr(loss, "__name__", type(loss).__name__))


def has_parameter(loss: Callable[..., Tensor], name: str) -> bool:
    """Whether a loss can be called with an argument of this name."""
    try:
        return name in inspect.signature(loss).parameters
    except ValueError:  # a built-in function without a signature
        return False


def _with_names_of_their_own(terms: Sequence[Term]) -> tuple[tuple[str, Term], ...]:
    """Each term with a name that no other has: ``kl``, ``kl_2``, ``kl_3``."""
    named: dict[str, Term] = {}
    for term in terms:
        name, number = term.name, 1
        while name in named:
            number += 1
            name = f"{term.name}_{number}"
        named[name] = term
    return tuple(named.items())
