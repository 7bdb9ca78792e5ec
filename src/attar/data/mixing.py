"""Views that are made of two rows: mixup and cutmix, with partners that follow from the id."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attar.checks import AttarError, check_number
from attar.data.draws import Draws
from attar.data.views import Transform, check_images

#: How many shares are drawn from, evenly spread over the quantiles of their distribution.
_LEVELS = 4096
#: Shares are multiples of this: a product with a pixel of 8 bits is then exact.
_STEP = 2.0**-16


def mixup(alpha: float, *, probability: float = 1.0) -> Transform:
    """Each row averaged with another one.

    ``(1 - share) * row + share * partner``, with ``share`` the smaller of lambda and 1 - lambda,
    lambda from Beta(alpha, alpha): the row itself always has the larger share, which over all
    rows comes to the same as the paper's. ``uint8`` inputs are rounded.

    The teacher is best asked about the mixed row itself; a hard loss takes the mean of the losses
    against both labels (:class:`attar.types.Mixture`).

    Args:
        alpha: Above 0; small values mix little (0.2), 1 mixes evenly.
        probability: How many rows are mixed at all, in (0, 1].

    References:
        Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR 2018.
        Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", CVPR
        2022: mixed rows, labelled by the teacher alone.
    """
    return Mixup(alpha, probability)


def cutmix(alpha: float, *, probability: float = 1.0) -> Transform:
    """A box of each image replaced by what another image has there.

    The box has the share 1 - lambda of the area, lambda from Beta(alpha, alpha), and its centre
    anywhere; what lies beyond the border is cut off, and the labels count the pixels that are
    left.

    Args:
        alpha: Above 0; the paper uses 1.
        probability: How many images are mixed at all, in (0, 1].

    References:
        Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable
        features", ICCV 2019.
    """
    return Cutmix(alpha, probability)


@dataclass(frozen=True)
class Mixup:
    """See :func:`mixup`."""

    alpha: float
    probability: float = 1.0
    mixes = True

    def __post_init__(self) -> None:
        _check("mixup", self.alpha, self.probability)

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Inputs ``[B, ...]``, float or uint8, mixed."""
        if not inputs.is_floating_point() and inputs.dtype is not torch.uint8:
            raise AttarError(
                f"mixup: needs inputs that can be averaged, floats or uint8. Got {inputs.dtype}."
            )
        chosen = draws.uniform() < self.probability
        share = draws.choice(smaller_shares(self.alpha)) * chosen
        partner = draws.partner(share)
        wide = inputs.dtype if inputs.dtype is torch.float64 else torch.float32
        weight = share.to(wide).reshape(-1, *[1] * (inputs.ndim - 1))
        own = inputs.to(wide)
        # Written out, one operation after the other: a fused one rounds otherwise at the end of
        # a batch than in its middle.
        mixed = own + weight * (partner.to(wide) - own)
        return (mixed.round() if inputs.dtype is torch.uint8 else mixed).to(inputs.dtype)


@dataclass(frozen=True)
class Cutmix:
    """See :func:`cutmix`."""

    alpha: float
    probability: float = 1.0
    mixes = True

    def __post_init__(self) -> None:
        _check("cutmix", self.alpha, self.probability)

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Images ``[B, C, H, W]`` or ``[B, H, W]``, mixed."""
        check_images("cutmix", images)
        height, width = images.shape[-2:]
        chosen = draws.uniform() < self.probability
        smaller = smaller_shares(self.alpha)
        sides = torch.cat([smaller, 1 - smaller]).sqrt()
        side = draws.integers(0, len(sides))
        top, bottom = _interval(draws, sides, side, height, images.device)
        left, right = _interval(draws, sides, side, width, images.device)
        share = (bottom - top) * (right - left) * chosen / (height * width)
        partner = draws.partner(share)
        down = torch.arange(height, device=images.device)
        across = torch.arange(width, device=images.device)
        in_rows = (down >= top[:, None]) & (down < bottom[:, None]) & chosen[:, None]
        in_columns = (across >= left[:, None]) & (across < right[:, None])
        box = in_rows[:, :, None] & in_columns[:, None, :]  # (B, H, W)
        return torch.where(box if images.ndim == 3 else box[:, None], partner, images)


def _interval(
    draws: Draws, sides: Tensor, side: Tensor, size: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """First and last-but-one ``[B]`` of the pixels of a box along an axis of this size."""
    lengths = (sides * size).to(torch.int64).to(device).index_select(0, side)
    start = draws.integers(0, size) - lengths // 2
    return start.clamp(min=0), (start + lengths).clamp(max=size)


@functools.lru_cache(maxsize=32)
def smaller_shares(alpha: float) -> Tensor:
    """``[4096]`` float64: quantiles of the smaller of x and 1 - x, x from Beta(alpha, alpha).

    A table, not a formula at every draw: functions such as a power round otherwise at the end of
    a batch than in its middle, and an id must name one input, to the bit.

    >>> smaller_shares(1.0)[[0, 2048, 4095]]  # x is uniform, so the smaller one is, up to 1/2
    tensor([6.1035e-05, 2.5006e-01, 4.9994e-01], dtype=torch.float64)
    """
    # Over t = s ** (1 / alpha) the density, which is endless at 0 for alpha below 1, is not.
    ends = np.linspace(0, 0.5**alpha, 4 * _LEVELS + 1)
    density = (1 - ends ** (1 / alpha)) ** (alpha - 1)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    wanted = (np.arange(_LEVELS) + 0.5) / _LEVELS
    shares = np.interp(wanted, mass / mass[-1], ends) ** (1 / alpha)
    return torch.from_numpy(np.round(shares / _STEP) * _STEP)


def _check(owner: str, alpha: float, probability: float) -> None:
    check_number(owner, "alpha", alpha, low=0, low_open=True)
    check_number(owner, "probability", probability, low=0, high=1, low_open=True)
