"""What a student may cost: limits in words, and costs as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from attar.checks import AttarError, check_number

#: The costs in the order in which they are shown, and what people call them.
COSTS = {
    "parameters": "parameters",
    "bytes": "size of the file",
    "macs": "multiply-adds",
    "latency_ms": "time of one answer",
}

# Word -> the cost, and unit -> what it is in the cost's own unit.
_COUNT = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_SIZE = {"": 1.0, "B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9}
_SIZE |= {"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
_TIME = {"us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3}
_WORDS: dict[str, tuple[str, dict[str, float]]] = {
    "latency": ("latency_ms", _TIME),
    "size": ("bytes", _SIZE),
    "params": ("parameters", _COUNT),
    "parameters": ("parameters", _COUNT),
    "macs": ("macs", _COUNT),
}
_FORM = re.compile(r"\s*([a-z]+)\s*=\s*([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([A-Za-zµμ]*)\s*")

FORMS = "latency=200us, size=100kB, params=20000 or macs=1M"


@dataclass(frozen=True)
class Costs:
    """What a student costs; None where it is not known.

    Attributes:
        parameters: Numbers that it learns.
        bytes: Of its ONNX file.
        macs: Multiply-adds of one answer, as :func:`attar.evaluation.count_macs` counts them.
        latency_ms: Median time of one answer through ONNX Runtime, one row on one thread, in
            milliseconds.
    """

    parameters: int | None = None
    bytes: int | None = None
    macs: int | None = None
    latency_ms: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Budget:
    """Upper limits of what a student may cost; None where there is no limit.

    Attributes:
        parameters: See :class:`Costs`, as the others.
        bytes: Of the ONNX file.
        macs: Of one answer.
        latency_ms: Milliseconds, the median at batch 1.

    Example:
        >>> budget = Budget.of("latency=200us, size=100kB")
        >>> budget.limits
        {'bytes': 100000, 'latency_ms': 0.2}
        >>> budget.broken(Costs(parameters=90_000, bytes=360_000, latency_ms=0.1))
        {'bytes': 3.6}
        >>> str(budget)
        'size of the file at most 100 kB, time of one answer at most 200 µs'
    """

    parameters: int | None = None
    bytes: int | None = None
    macs: int | None = None
    latency_ms: float | None = None

    def __post_init__(self) -> None:
        for name, value in self.limits.items():
            check_number("Budget", name, value, low=0, low_open=True)

    @classmethod
    def of(cls, value: Any) -> Budget:
        """From words, a list of them, a budget, or None (no limits).

        Args:
            value: ``"latency=200us"``, ``"size=100kB"``, ``"params=20000"``, ``"macs=1M"``, several
                with commas between or in a list.

        Raises:
            AttarError: If a word is none of these, or names a cost twice.
        """
        if value is None or isinstance(value, Budget):
            return value or cls()
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
            raise AttarError(f"a budget must be words such as {FORMS}. Got {value!r}.")
        limits: dict[str, float] = {}
        for word in (part for several in words for part in several.split(",")):
            name, limit = _limit(word)
            if name in limits:
                raise AttarError(f"a budget names each cost once. Got another limit: {word!r}.")
            limits[name] = limit
        return cls(**{n: v if n == "latency_ms" else math.floor(v) for n, v in limits.items()})  # type: ignore[arg-type]

    @property
    def limits(self) -> dict[str, float]:
        """The limits there are, by cost, in the order of :data:`COSTS`."""
        found = {name: getattr(self, name) for name in COSTS}
        return {name: value for name, value in found.items() if value is not None}

    def broken(self, costs: Costs, *, slack: Mapping[str, float] | None = None) -> dict[str, float]:
        """How many times over its limit each cost is that breaks it; a cost not known breaks none.

        Args:
            costs: What a student costs.
            slack: By cost, a factor by which a limit may be passed.
        """
        over = {}
        for name, limit in self.limits.items():
            value = getattr(costs, name)
            if value is not None and value > limit * (slack or {}).get(name, 1.0):
                over[name] = value / limit
        return over

    def to_dict(self) -> dict[str, float]:
        """The limits, ready for JSON."""
        return self.limits

    def __str__(self) -> str:
        said = [f"{COSTS[name]} at most {say(name, v)}" for name, v in self.limits.items()]
        return ", ".join(said) or "no limit"


def say(name: str, value: float | None) -> str:
    """A cost as a person reads it.

    >>> say("latency_ms", 0.0123), say("bytes", 103_400), say("macs", 1_250_000)
    ('12.3 µs', '103 kB', '1.25 M')
    >>> say("parameters", 20_410), say("bytes", None)
    ('20,410', '–')
    """
    if value is None:
        return "–"
    if name == "parameters":
        return f"{value:,.0f}"
    if name == "latency_ms":
        return f"{_digits(1e3 * value)} µs" if value < 0.9995 else f"{_digits(value)} ms"
    units = ("", "k", "M", "G") if name == "macs" else ("B", "kB", "MB", "GB")
    place = 0
    while value >= 999.5 and place < len(units) - 1:
        value, place = value / 1e3, place + 1
    return f"{_digits(value)} {units[place]}".rstrip()


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _limit(word: str) -> tuple[str, float]:
    """One limit of a budget: the cost and the number."""
    found = _FORM.fullmatch(word)
    known = None if found is None else _WORDS.get(found[1])
    if found is None or known is None:
        raise AttarError(f"a budget must be words such as {FORMS}. Got {word.strip()!r}.")
    name, units = known
    if found[3] not in units:
        listed = ", ".join(unit for unit in units if unit and unit != "μs")
        raise AttarError(
            f"the unit of {found[1]} must be one of {listed}. Got {found[3] or 'none'} in "
            f"{word.strip()!r}."
        )
    value = float(found[2]) * units[found[3]]
    if not 0 < value < 1e18:
        raise AttarError(f"a budget must be above 0 and finite. Got {word.strip()!r}.")
    if value < 1 and name != "latency_ms":  # these are counted
        raise AttarError(f"a budget of {found[1]} must be at least 1. Got {word.strip()!r}.")
    return name, value
