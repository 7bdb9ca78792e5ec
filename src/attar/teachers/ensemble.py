"""Several teachers as one: three ways to combine them, with weights for all rows or for some."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from attar.checks import AttarError
from attar.store.pace import Way
from attar.teachers.combine import mean_log_probability, mean_logit, mean_probability
from attar.teachers.protocol import NamedTeacher, select
from attar.types import VIEW, Batch, Outputs, dense_logits

#: ``(logits [M, N, C], weights [M] or [N, M])`` -> logits ``[N, C]``.
Combine = Callable[[Tensor, Tensor], Tensor]

_KNOWN = (mean_probability, mean_log_probability, mean_logit)


class EnsembleTeacher:
    """Teachers of any kinds, combined at temperature 1, or each at its own.

    A member whose weight is zero for a row is not asked about it. So a member that saw the
    label of a row in its own training can be kept from labelling it (cross-fitting): give
    ``row_weights`` for those rows.

    Args:
        teachers: At least one; whatever :func:`as_teacher` takes. All answer for the same
            classes.
        weights: ``[M]`` weights, 0 or more, not all 0; divided by their sum. All the same if None.
        combine: :func:`mean_probability`, :func:`mean_log_probability`, :func:`mean_logit`, or a
            function of logits ``[M, N, C]`` and weights (``[M]`` or ``[N, M]``, sum 1 over M).
        row_weights: Row numbers ``[R]`` int64, and the weights ``[R, M]`` that hold for these rows
            in every view, instead of ``weights``.
        temperatures: ``[M]``, above 0: each member's logits are divided by its own before they are
            combined, so that members which are too sure or not sure enough count as they are
            right (:func:`weigh` fits them). All 1 if None.
        name: What to call it.

    Raises:
        AttarError: If a weight is negative or not finite, or all weights of a row are 0, or a
            temperature is not above 0.

    Example:
        >>> from attar.teachers import FunctionTeacher
        >>> sure = FunctionTeacher(lambda x: x * 0 + [0.9, 0.1], name="sure")
        >>> torn = FunctionTeacher(lambda x: x * 0 + [0.5, 0.5], name="torn")
        >>> both = EnsembleTeacher([sure, torn], row_weights=(torch.tensor([1]), [[0.0, 1.0]]))
        >>> both(Batch(torch.zeros(2, 2), torch.tensor([0, 1]))).logits.exp()
        tensor([[0.7000, 0.3000],
                [0.5000, 0.5000]])
    """

    def __init__(
        self,
        teachers: Sequence[Any],
        *,
        weights: Any = None,
        combine: Combine = mean_probability,
        row_weights: tuple[Any, Any] | None = None,
        temperatures: Any = None,
        name: str | None = None,
    ) -> None:
        from attar.teachers.convert import as_teacher  # convert makes ensembles of lists

        if not isinstance(teachers, Sequence) or not len(teachers):
            raise AttarError(
                f"EnsembleTeacher: give a list of at least one teacher. Got {teachers!r}."
            )
        self.members: tuple[NamedTeacher, ...] = tuple(as_teacher(item) for item in teachers)
        self.combine = combine
        self.name = name or f"ensemble of {len(self.members)} ({self.members[0].name}, ...)"
        count = len(self.members)
        given = torch.ones(count) if weights is None else weights
        self.weights = _normalised("weights", given, (count,))
        self.temperatures = _temperatures(temperatures, count)
        self._rows: Tensor | None = None
        if row_weights is not None:
            self._set_row_weights(*row_weights)

    def _set_row_weights(self, rows: Any, weights: Any) -> None:
        numbers = torch.as_tensor(rows)
        good = numbers.ndim == 1 and numbers.dtype == torch.int64 and len(numbers) > 0
        if not good or len(torch.unique(numbers)) != len(numbers) or int(numbers.min()) < 0:
            raise AttarError(
                "EnsembleTeacher: row_weights must be a pair of row numbers [R], int64 and all "
                "different, and weights [R, M]."
            )
        shape = (len(numbers), len(self.members))
        table = _normalised("row_weights", weights, shape)
        order = torch.argsort(numbers)
        self._rows, self._row_weights = numbers[order].cpu(), table[order]

    @property
    def has_row_weights(self) -> bool:
        """Whether some rows have weights of their own."""
        return self._rows is not None

    @property
    def active(self) -> tuple[NamedTeacher, ...]:
        """The members that answer about a new row: those whose weight is not zero."""
        pairs = zip(self.members, self.weights.tolist(), strict=True)
        return tuple(member for member, weight in pairs if weight > 0)

    @property
    def smallest(self) -> NamedTeacher | None:
        """The active member with the fewest parameters, else bytes; None if neither is known."""
        for measure in ("parameters", "bytes"):
            sizes = [getattr(member, measure) for member in self.active]
            if None not in sizes:
                return self.active[sizes.index(min(sizes))]
        return None

    @property
    def parameters(self) -> int | None:
        """Those of all active members; None if one is unknown."""
        return _sum([member.parameters for member in self.active])

    @property
    def bytes(self) -> int | None:
        """The size of all active members; None if one is unknown."""
        return _sum([member.bytes for member in self.active])

    @property
    def verified(self) -> bool:
        """Whether the fingerprint covers all that decides the answers."""
        own = self.combine in _KNOWN
        return own and all(getattr(member, "verified", True) for member in self.members)

    @property
    def outputs(self) -> str:
        """What the members give if they all give the same, else ``"logits"``.

        ``"auto"`` while a member has not decided.
        """
        kinds = {getattr(member, "outputs", "logits") for member in self.members}
        if "auto" in kinds:
            return "auto"
        return str(kinds.pop()) if len(kinds) == 1 else "logits"

    def __call__(self, batch: Batch) -> Outputs:
        """Logits ``[N, C]`` float32 on the device of ``batch.ids``.

        Raises:
            AttarError: If members answer for different numbers of classes.
        """
        weights = self._weights_of(batch.ids)
        with torch.no_grad():
            answers = [self._ask(index, batch, weights) for index in range(len(self.members))]
            widths = {
                a.shape[1]: m.name
                for a, m in zip(answers, self.members, strict=True)
                if a is not None
            }
            if len(widths) > 1:
                raise AttarError(
                    f"EnsembleTeacher: all members must answer for the same classes. Got "
                    f"{' and '.join(f'{n} from {name!r}' for n, name in widths.items())}."
                )
            silent = torch.zeros(len(batch), *widths, device=batch.ids.device)
            stacked = torch.stack([silent if answer is None else answer for answer in answers])
            return Outputs(self.combine(stacked, weights.to(stacked.device)).float())

    def _ask(self, index: int, batch: Batch, weights: Tensor) -> Tensor | None:
        """The answer ``[N, C]`` of one member, zeros in the rows where it has no say."""
        wanted = weights[..., index] > 0
        if bool(wanted.all()):
            return self._said(index, batch)
        if not bool(wanted.any()):
            return None
        place = wanted.nonzero().reshape(-1).to(batch.ids.device)
        said = self._said(index, select(batch, place))
        return said.new_zeros(len(batch), said.shape[1]).index_copy_(0, place, said)

    def _said(self, index: int, batch: Batch) -> Tensor:
        said = dense_logits("EnsembleTeacher", self.members[index](batch)).float()
        temperature = float(self.temperatures[index])
        return said if temperature == 1 else said / temperature

    def _weights_of(self, ids: Tensor) -> Tensor:
        """``[M]``, or ``[N, M]`` where rows have weights of their own."""
        if self._rows is None:
            return self.weights
        rows = ids.cpu() % VIEW
        place = torch.searchsorted(self._rows, rows).clamp_(max=len(self._rows) - 1)
        own = self._rows.index_select(0, place) == rows
        return torch.where(own[:, None], self._row_weights.index_select(0, place), self.weights)

    def probe(self, batch: Batch) -> None:
        """Let the members that are recognised by their answers be asked about these rows."""
        for member in self.members:
            probe = getattr(member, "probe", None)
            if callable(probe):
                probe(batch)

    def ways(self, example: Batch, backends: Mapping[str, Any] = {}) -> dict[str, Way]:
        """The ways in which every member can be asked; none where one cannot be asked for nothing.

        Args:
            example: A few rows.
            backends: As in :meth:`ModelTeacher.ways`.
        """
        each = []
        for member in self.members:
            ways = getattr(member, "ways", None)
            if not callable(ways):
                return {}
            each.append(ways(example, backends))
        shared = [name for name in each[0] if all(name in ways for ways in each)]
        return {name: self._in_way([ways[name] for ways in each]) for name in shared}

    def _in_way(self, ways: Sequence[Way]) -> Way:
        def make() -> EnsembleTeacher:
            other = copy.copy(self)
            other.members = tuple(way.make() for way in ways)  # type: ignore[misc]
            return other

        exact = all(way.exact for way in ways)
        return Way(make, exact=exact, slow_start=any(way.slow_start for way in ways))

    def fingerprint(self) -> str:
        """The hash of the members' fingerprints, weights, temperatures and way of combining."""
        digest = hashlib.sha256(b"ensemble")
        for member in self.members:
            digest.update(f"\n{member.fingerprint()}".encode())
        digest.update(f"\n{getattr(self.combine, '__qualname__', 'custom')}\n".encode())
        digest.update(self.weights.numpy().astype("<f8").tobytes())
        if self._rows is not None:
            digest.update(self._rows.numpy().astype("<i8").tobytes())
            digest.update(self._row_weights.numpy().astype("<f8").tobytes())
        if bool((self.temperatures != 1).any()):
            digest.update(b"\ntemperatures\n" + self.temperatures.numpy().astype("<f8").tobytes())
        return digest.hexdigest()


def _normalised(name: str, value: Any, shape: tuple[int, ...]) -> Tensor:
    """Weights with sum 1 over the members, the last dimension; float32 on the CPU."""
    weights = torch.as_tensor(value, dtype=torch.float64).detach().cpu()
    if tuple(weights.shape) != shape:
        raise AttarError(
            f"The '{name}' parameter of EnsembleTeacher must have the shape {shape}, one weight a "
            f"member. Got {tuple(weights.shape)}."
        )
    total = weights.sum(dim=-1, keepdim=True)
    if not bool(torch.isfinite(weights).all()) or float(weights.min()) < 0:
        raise AttarError(
            f"The '{name}' parameter of EnsembleTeacher must be finite and 0 or more. Got values "
            f"from {float(weights.min()):.4g} to {float(weights.max()):.4g}."
        )
    if not bool((total > 0).all()):
        raise AttarError(
            f"The '{name}' parameter of EnsembleTeacher must leave each row a member to answer; "
            f"the weights of one are all 0."
        )
    return (weights / total).float()


def _temperatures(value: Any, count: int) -> Tensor:
    """``[M]`` float32 on the CPU, above 0."""
    given = torch.ones(count) if value is None else torch.as_tensor(value).detach().cpu().float()
    if tuple(given.shape) != (count,) or not bool((torch.isfinite(given) & (given > 0)).all()):
        raise AttarError(
            f"The 'temperatures' parameter of EnsembleTeacher must be {count} finite numbers above "
            f"0, one a member. Got {value!r}."
        )
    return given


def _sum(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
