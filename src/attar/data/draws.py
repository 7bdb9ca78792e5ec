"""Random numbers that are a function of an id: the same in any batch, order or process."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attar.checks import AttarError
from attar.data.mixture import Part

_WORD = 2**64
GAMMA = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_TOP_BIT = 2**63


def signed(word: int) -> int:
    """The int64 with the bits of this 64-bit word."""
    word %= _WORD
    return word - _WORD if word >= _TOP_BIT else word


def mix(words: Tensor) -> Tensor:
    """The finaliser of splitmix64 on int64 tensors, whose products wrap as those of uint64 do."""
    # Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    # `>>` keeps the sign on int64, so the bits that it drags in are masked off.
    words = (words ^ ((words >> 30) & (2**34 - 1))) * signed(_FIRST)
    words = (words ^ ((words >> 27) & (2**37 - 1))) * signed(_SECOND)
    return words ^ ((words >> 31) & (2**33 - 1))


def mix_word(word: int) -> int:
    """:func:`mix` of one Python integer."""
    word %= _WORD
    word = (word ^ (word >> 30)) * _FIRST % _WORD
    word = (word ^ (word >> 27)) * _SECOND % _WORD
    return word ^ (word >> 31)


#: Positions in the pool ``[B]`` and hashed words ``[B]`` -> those rows, as the transforms before
#: this one make them, and what they are made of.
Meet = Callable[["Draws"], tuple[Tensor, list[Part]]]


class Draws:
    """The random numbers of one transform: one a row and call, decided by the row's id.

    Args:
        words: ``[B]`` int64, the hashed ids.
        key: What tells this transform (and seed) from the others.
        meet: Gives another row for each; None where there are none to give.
    """

    def __init__(self, words: Tensor, key: int, meet: Meet | None = None) -> None:
        self._words = words
        self._key = key
        self._drawn = 0
        self._meet = meet
        #: What was mixed in: the parts of the partners, and the share ``[B]`` of each partner.
        self.met: list[tuple[list[Part], Tensor]] = []

    def _next(self) -> Tensor:
        self._drawn += 1
        return mix(self._words ^ signed(mix_word(self._key + self._drawn * GAMMA)))

    def integers(self, low: int, high: int) -> Tensor:
        """``[B]`` int64, uniform over ``low, ..., high - 1``."""
        if high <= low:
            raise AttarError(f"Draws.integers: high must be above low. Got {low} and {high}.")
        return (self._next() & (_TOP_BIT - 1)) % (high - low) + low

    def uniform(self) -> Tensor:
        """``[B]`` float64, uniform over [0, 1)."""
        return ((self._next() >> 11) & (2**53 - 1)).to(torch.float64) * 2.0**-53

    def words(self) -> Tensor:
        """``[B]`` int64: new words, for the draws of whoever is met."""
        return mix(self._words + self._next())

    def choice(self, values: Tensor) -> Tensor:
        """``[B]``: one of these values ``[M]`` each, all equally likely."""
        return values.to(self._words.device).index_select(0, self.integers(0, len(values)))

    def partner(self, share: Tensor) -> Tensor:
        """Another row of the data for each, in the same form, to be mixed in.

        The row is drawn from all rows of the data that the views were given to, and went
        through the transforms before this one, with draws of its own.

        Args:
            share: ``[B]`` in [0, 1]: how much of the result is the partner's; 0 where nothing is
                mixed. The labels are mixed by it.

        Returns:
            ``[B, ...]``, as the inputs.

        Raises:
            AttarError: If the transform does not say that it mixes (an attribute ``mixes`` that
                is True), or the views were given to no data.
        """
        if self._meet is None:
            raise AttarError(
                "Draws.partner: a transform that mixes rows needs the attribute mixes = True, and "
                "data to take them from: ArrayData(..., views=...) or data.with_views(...)."
            )
        inputs, parts = self._meet(self)
        self.met.append((parts, share))
        return inputs
