"""Views: seeded transforms whose id names the exact input.

A stored soft target belongs to the exact input that the teacher saw. So a random shift may not
come from a random generator that moves along: it is a function of the id, and the same id gives
the same input, bit for bit, in any batch, order or process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from attar.checks import AttarError, check_number
from attar.types import VIEW

_WORD = 2**64
_GAMMA = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_TOP_BIT = 2**63


def _signed(word: int) -> int:
    """The int64 with the bits of this 64-bit word."""
    word %= _WORD
    return word - _WORD if word >= _TOP_BIT else word


def _mix(words: Tensor) -> Tensor:
    """The finaliser of splitmix64 on int64 tensors, whose products wrap as those of uint64 do."""
    # Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    # `>>` keeps the sign on int64, so the bits that it drags in are masked off.
    words = (words ^ ((words >> 30) & (2**34 - 1))) * _signed(_FIRST)
    words = (words ^ ((words >> 27) & (2**37 - 1))) * _signed(_SECOND)
    return words ^ ((words >> 31) & (2**33 - 1))


def _mix_word(word: int) -> int:
    """:func:`_mix` of one Python integer."""
    word %= _WORD
    word = (word ^ (word >> 30)) * _FIRST % _WORD
    word = (word ^ (word >> 27)) * _SECOND % _WORD
    return word ^ (word >> 31)


class Draws:
    """The random numbers of one transform: one a row and call, decided by the row's id.

    Args:
        words: ``[B]`` int64, the hashed ids.
        key: What tells this transform (and seed) from the others.
    """

    def __init__(self, words: Tensor, key: int) -> None:
        self._words = words
        self._key = key
        self._drawn = 0

    def _next(self) -> Tensor:
        self._drawn += 1
        return _mix(self._words ^ _signed(_mix_word(self._key + self._drawn * _GAMMA)))

    def integers(self, low: int, high: int) -> Tensor:
        """``[B]`` int64, uniform over ``low, ..., high - 1``."""
        if high <= low:
            raise AttarError(f"Draws.integers: high must be above low. Got {low} and {high}.")
        return (self._next() & (_TOP_BIT - 1)) % (high - low) + low

    def uniform(self) -> Tensor:
        """``[B]`` float64, uniform over [0, 1)."""
        return ((self._next() >> 11) & (2**53 - 1)).to(torch.float64) * 2.0**-53


#: What makes a view: inputs ``[B, ...]`` and their random numbers -> inputs ``[B, ...]``.
Transform = Callable[[Tensor, Draws], Tensor]


@dataclass(frozen=True, init=False)
class Views:
    """Further forms of each row, named by the id: ``id = view * 2**40 + row``.

    View 0 is the row itself and comes back untouched. In any other view the transforms are
    applied in their order, with random numbers that are a hash of (seed, id, transform, draw).

    Args:
        transforms: Functions ``(inputs [B, ...], draws) -> inputs``, row by row: what comes out
            for a row may depend on that row and its draws alone. Attar's own are :func:`shift`,
            :func:`flip` and :func:`crop`. A function of yours must have a name of its own, and
            its name stands for what it does: change the name when you change the function, or a
            store of soft targets cannot tell the difference.
        count: How many views a row has, view 0 included; 1 to 2**22.
        seed: Decides the random numbers; 0 or more.

    Example:
        >>> views = Views([shift(1)], 8)
        >>> image = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
        >>> views(image, torch.tensor([0])).flatten().tolist()  # view 0
        [1, 2, 3, 4]
        >>> views(image, torch.tensor([3 * 2**40])).flatten().tolist()  # view 3 of row 0
        [2, 0, 4, 0]
    """

    transforms: tuple[Transform, ...]
    count: int
    seed: int

    def __init__(self, transforms: Sequence[Transform], count: int, *, seed: int = 0) -> None:
        check_number("Views", "count", count, low=1, high=2**22, whole=True)
        check_number("Views", "seed", seed, low=0, whole=True)
        if callable(transforms):
            raise AttarError(f"Views: transforms must be a list, [{transforms!r}], not a function.")
        object.__setattr__(self, "transforms", tuple(transforms))
        object.__setattr__(self, "count", int(count))
        object.__setattr__(self, "seed", int(seed))
        self.definition  # noqa: B018  (a transform without a name must fail here, not in a run)

    @property
    def definition(self) -> str:
        """What the views are, as a line of text that enters the data's fingerprint."""
        return f"{self.family}, {self.count} of them"

    @property
    def family(self) -> str:
        """What makes them, whatever their number: a view stays the same when others are added."""
        names = ", ".join(_name(transform) for transform in self.transforms)
        return f"Views([{names}], seed={self.seed})"

    def __call__(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """The inputs ``[B, ...]`` in the views that their ids ``[B]`` name.

        Raises:
            AttarError: If a transform changes the shape or the dtype.
        """
        moved = ids >= VIEW
        if not bool(moved.any()):
            return inputs
        if bool(moved.all()):
            return self._apply(inputs, ids)
        result = inputs.clone()
        result[moved] = self._apply(inputs[moved], ids[moved])
        return result

    def _apply(self, inputs: Tensor, ids: Tensor) -> Tensor:
        # Ids differ in few bits, so they are hashed before the key of a draw is mixed in.
        words = _mix(ids * _signed(_GAMMA) + _signed(_mix_word(self.seed + _GAMMA)))
        result = inputs
        for position, transform in enumerate(self.transforms):
            key = _mix_word(_mix_word(self.seed + 2 * _GAMMA) + position * _GAMMA)
            result = transform(result, Draws(words, key))
            if result.shape != inputs.shape or result.dtype != inputs.dtype:
                raise AttarError(
                    f"Views: {_name(transform)} must keep shape and dtype, "
                    f"{tuple(inputs.shape)} {inputs.dtype}. It made {tuple(result.shape)} "
                    f"{result.dtype}; end it with .to(inputs.dtype)."
                )
        return result


def _name(transform: Transform) -> str:
    """What stands for a transform in the definition: its repr, or a function's full name."""
    if not callable(transform):
        raise AttarError(
            f"Views: a transform must be a function of (inputs, draws), such as shift(2). "
            f"Got {transform!r}."
        )
    function = getattr(transform, "__qualname__", None)
    name = repr(transform) if function is None else f"{transform.__module__}.{function}"
    if "<lambda>" in name or " at 0x" in name:
        raise AttarError(
            f"Views: a transform must have a name that stays the same from run to run, since it "
            f"tells stored soft targets of one transform from those of another. Got {name}. "
            f"Give a function made with `def`, or a frozen dataclass with __call__."
        )
    return name


def shift(pixels: int) -> Transform:
    """Move images by up to ``pixels`` in each direction; what comes in is zero.

    Right where the border is empty, as around a handwritten digit. Where it is not, as in a
    photograph, :func:`crop` fills with what is there.

    Args:
        pixels: The furthest move, at least 1; every whole (dy, dx) up to it is equally likely.
    """
    return Shift(pixels)


def crop(padding: int) -> Transform:
    """Continue images beyond their border by reflection, then cut them at a random place.

    He et al., "Deep residual learning for image recognition", CVPR 2016 (there with zeros,
    which is :func:`shift`).

    Args:
        padding: Pixels added on each side, at least 1 and less than height and width.
    """
    return Crop(padding)


def flip() -> Transform:
    """Mirror images left to right, each with probability 1/2. Wrong for letters and digits."""
    return Flip()


@dataclass(frozen=True)
class Shift:
    """See :func:`shift`."""

    pixels: int

    def __post_init__(self) -> None:
        check_number("shift", "pixels", self.pixels, low=1, whole=True)

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Images ``[B, C, H, W]`` or ``[B, H, W]``, moved."""
        _check_images("shift", images)
        reach = self.pixels
        top, left = draws.integers(0, 2 * reach + 1), draws.integers(0, 2 * reach + 1)
        return _windows(F.pad(images, (reach, reach, reach, reach)), top, left, images.shape)


@dataclass(frozen=True)
class Crop:
    """See :func:`crop`."""

    padding: int

    def __post_init__(self) -> None:
        check_number("crop", "padding", self.padding, low=1, whole=True)

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Images ``[B, C, H, W]`` or ``[B, H, W]``, cut anew."""
        _check_images("crop", images)
        height, width = images.shape[-2:]
        if self.padding >= min(height, width):
            raise AttarError(
                f"crop: the padding must be less than height and width, {height} and {width}, "
                f"since it reflects the image. Got {self.padding}."
            )
        padded = _reflected(_reflected(images, -1, self.padding), -2, self.padding)
        reach = 2 * self.padding + 1
        return _windows(padded, draws.integers(0, reach), draws.integers(0, reach), images.shape)


@dataclass(frozen=True)
class Flip:
    """See :func:`flip`."""

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Images ``[B, C, H, W]`` or ``[B, H, W]``, some of them mirrored."""
        _check_images("flip", images)
        mirrored = (draws.uniform() < 0.5).nonzero()[:, 0]
        flipped = images.index_select(0, mirrored).flip(-1)
        return images.clone().index_copy_(0, mirrored, flipped)


def _check_images(owner: str, images: Tensor) -> None:
    if images.ndim not in (3, 4):
        raise AttarError(
            f"{owner}: needs images [B, C, H, W] or [B, H, W]. Got shape {tuple(images.shape)}. "
            f"For flattened images, reshape the data before it is given views."
        )


def _reflected(images: Tensor, axis: int, padding: int) -> Tensor:
    """Images continued on both ends of an axis: 2 1 | 0 1 2 3 | 2 1. F.pad takes floats only."""
    size = images.shape[axis]
    before = images.narrow(axis, 1, padding).flip(axis)
    after = images.narrow(axis, size - 1 - padding, padding).flip(axis)
    return torch.cat([before, images, after], dim=axis)


def _windows(padded: Tensor, top: Tensor, left: Tensor, shape: torch.Size) -> Tensor:
    """Cut a window of this shape from each image, its corner at (top, left)."""
    height, width = shape[-2:]
    area, stride = padded.shape[-2] * padded.shape[-1], padded.shape[-1]
    channels = padded.numel() // (shape[0] * area)
    # In memory a window is one run of height * stride values, from which the columns beyond its
    # width are then dropped: one copy of a run an image instead of an index for every pixel.
    run = height * stride
    flat = F.pad(padded.reshape(-1), (0, stride))
    runs = flat.as_strided((len(flat) - run + 1, run), (1, 1))  # the run from every place
    starts = torch.arange(shape[0] * channels, device=flat.device) * area
    starts += (top * stride + left).repeat_interleave(channels)
    return runs.index_select(0, starts).view(*shape[:-1], stride)[..., :width].contiguous()
