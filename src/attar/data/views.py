"""Views: seeded transforms whose id names the exact input.

A stored soft target belongs to the exact input that the teacher saw. So a random shift may not
come from a random generator that moves along: it is a function of the id, and the same id gives
the same input, bit for bit, in any batch, order or process.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from attar.checks import AttarError, check_number
from attar.data.draws import GAMMA, Draws, mix, mix_word, signed
from attar.data.mixture import Part, Pool, combined, mixture_of
from attar.types import VIEW, Mixture

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
            :func:`flip` and :func:`crop`, and, of two rows each, :func:`mixup` and
            :func:`cutmix`. A function of yours must have a name of its own, and
            its name stands for what it does: change the name when you change the function, or a
            store of soft targets cannot tell the difference. One that mixes rows has an
            attribute ``mixes`` that is True, and takes them from ``draws.partner(share)``.
        count: How many views a row has, view 0 included; 1 to 2**22.
        seed: Decides the random numbers; 0 or more.

    A view never depends on how many there are: with more of them, the first ones stay as they
    are. Partners are drawn from the rows of the data that the views are given to. Where rows are
    taken out of it later (:meth:`ArrayData.take`) they stay the same, so that an id names one
    input; ``split`` and ``join`` make data anew, whose partners are its own.

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
    pool: Pool | None = field(default=None, compare=False, repr=False)

    def __init__(self, transforms: Sequence[Transform], count: int, *, seed: int = 0) -> None:
        check_number("Views", "count", count, low=1, high=2**22, whole=True)
        check_number("Views", "seed", seed, low=0, whole=True)
        if callable(transforms):
            raise AttarError(f"Views: transforms must be a list, [{transforms!r}], not a function.")
        object.__setattr__(self, "transforms", tuple(transforms))
        object.__setattr__(self, "count", int(count))
        object.__setattr__(self, "seed", int(seed))
        object.__setattr__(self, "pool", None)
        self.definition  # noqa: B018  (a transform without a name must fail here, not in a run)

    @property
    def definition(self) -> str:
        """What the views are, as a line of text that enters the data's fingerprint."""
        return f"{self.family}, {self.count} of them"

    @property
    def family(self) -> str:
        """What makes them, whatever their number: a view stays the same when others are added."""
        names = ", ".join(_name(transform) for transform in self.transforms)
        partners = "" if self.pool is None else f", partners={self.pool.contents()}"
        return f"Views([{names}], seed={self.seed}{partners})"

    @property
    def mixes(self) -> bool:
        """Whether rows are mixed with others."""
        return any(getattr(transform, "mixes", False) for transform in self.transforms)

    def among(self, pool: Pool) -> Views:
        """The same views, with partners drawn from these rows."""
        other = copy.copy(self)
        object.__setattr__(other, "pool", pool)
        return other

    def see(
        self, inputs: Tensor, ids: Tensor, labels: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Mixture | None]:
        """Inputs and labels in the views that the ids name, and what mixed rows are made of."""
        if not self.mixes:
            return self(inputs, ids), labels, None
        moved = ids >= VIEW
        made, parts = self._apply(inputs, ids)
        # View 0 is the row itself, whatever was drawn for it.
        kept = moved.reshape(-1, *[1] * (inputs.ndim - 1))
        made = torch.where(kept, made, inputs)
        if labels is None or self.pool is None:
            return made, labels, None
        own, *others = parts
        still = (~moved).to(torch.float32)
        parts = [Part(None, torch.where(moved, own.shares, still))] + [
            Part(part.places, torch.where(moved, part.shares, 0.0)) for part in others
        ]
        return made, *mixture_of(parts, labels, self.pool)

    def __call__(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """The inputs ``[B, ...]`` in the views that their ids ``[B]`` name.

        Raises:
            AttarError: If a transform changes the shape or the dtype.
        """
        moved = ids >= VIEW
        if not bool(moved.any()):
            return inputs
        if bool(moved.all()):
            return self._apply(inputs, ids)[0]
        result = inputs.clone()
        result[moved] = self._apply(inputs[moved], ids[moved])[0]
        return result

    def _apply(self, inputs: Tensor, ids: Tensor) -> tuple[Tensor, list[Part]]:
        # Ids differ in few bits, so they are hashed before the key of a draw is mixed in.
        words = mix(ids * signed(GAMMA) + signed(mix_word(self.seed + GAMMA)))
        own = [Part(None, torch.ones(len(ids), device=ids.device))]
        return self._make(inputs, words, own, len(self.transforms))

    def _make(
        self, inputs: Tensor, words: Tensor, parts: list[Part], stop: int
    ) -> tuple[Tensor, list[Part]]:
        """What the first ``stop`` transforms make of inputs, and what that is made of."""
        result = inputs
        for position, transform in enumerate(self.transforms[:stop]):
            key = mix_word(mix_word(self.seed + 2 * GAMMA) + position * GAMMA)
            mixes = self.pool is not None and getattr(transform, "mixes", False)
            draws = Draws(words, key, functools.partial(self._meet, position) if mixes else None)
            result = transform(result, draws)
            if result.shape != inputs.shape or result.dtype != inputs.dtype:
                raise AttarError(
                    f"Views: {_name(transform)} must keep shape and dtype, "
                    f"{tuple(inputs.shape)} {inputs.dtype}. It made {tuple(result.shape)} "
                    f"{result.dtype}; end it with .to(inputs.dtype)."
                )
            parts = combined(parts, draws.met)
        return result, parts

    def _meet(self, position: int, draws: Draws) -> tuple[Tensor, list[Part]]:
        """A partner for each row, as the transforms before this one make it."""
        assert self.pool is not None
        places = draws.integers(0, len(self.pool))
        own = [Part(places, torch.ones(len(places), device=places.device))]
        return self._make(self.pool.read(places), draws.words(), own, position)


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
        check_images("shift", images)
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
        check_images("crop", images)
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
        check_images("flip", images)
        mirrored = (draws.uniform() < 0.5).nonzero()[:, 0]
        flipped = images.index_select(0, mirrored).flip(-1)
        return images.clone().index_copy_(0, mirrored, flipped)


def check_images(owner: str, images: Tensor) -> None:
    """Raise unless these are images ``[B, C, H, W]`` or ``[B, H, W]``."""
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
