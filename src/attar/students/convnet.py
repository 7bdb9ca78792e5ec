"""The plain student for images: depthwise-separable convolutions with residuals."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from attar.checks import AttarError
from attar.students.family import Family

_SMALLEST, _LARGEST = 8, 224


class ConvNet(nn.Module):
    """A stem, then stages of separable blocks that halve the image, then a global mean.

    Separable convolutions after Howard et al., "MobileNets", 2017; residuals after He et al.,
    "Deep residual learning for image recognition", CVPR 2016. Images of 64 pixels and more are
    halved in the stem; each stage halves again until less than 8 pixels are left, so that 8 x 8
    ends at 4 x 4, and 28 x 28 and 224 x 224 at 7 x 7. Channels double with each halving, up to
    four times the width.

    Args:
        width: Channels of the stem.
        input_shape: ``(C, H, W)`` with H and W from 8 to 224.
        classes: How many logits come out.

    Raises:
        AttarError: If the shape is another one.
    """

    #: Of the family, for messages.
    family: ClassVar[str] = "convnet"

    def __init__(self, width: int, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        _check_shape(self.family, input_shape)
        channels, height, side = input_shape
        smaller = min(height, side)
        stride = 2 if smaller >= 64 else 1
        smaller = -(-smaller // stride)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        blocks: list[nn.Module] = [self.block(width, width)]
        now = width
        while smaller >= 8:
            following = min(2 * now, 4 * width)
            blocks += [self.block(now, following, stride=2), self.block(following, following)]
            now, smaller = following, -(-smaller // 2)
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(now, classes)

    @staticmethod
    def block(before: int, after: int, *, stride: int = 1) -> nn.Module:
        """What the stages are made of: ``[N, before, H, W]`` to ``[N, after, H / stride, ...]``."""
        return Block(before, after, stride=stride)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, C]`` of float images ``[N, C, H, W]``."""
        maps: Tensor = self.blocks(self.stem(images))
        logits: Tensor = self.head(maps.mean(dim=(2, 3)))
        return logits


class Block(nn.Module):
    """A separable convolution, with a residual where the shape stays the same.

    Nothing bends between its two halves, as Chollet, "Xception", CVPR 2017, found best.
    """

    def __init__(self, before: int, after: int, *, stride: int = 1) -> None:
        super().__init__()
        self.residual = before == after and stride == 1
        self.depthwise = nn.Conv2d(
            before, before, 3, stride=stride, padding=1, groups=before, bias=False
        )
        self.spread = nn.BatchNorm2d(before)
        self.pointwise = nn.Conv2d(before, after, 1, bias=False)
        self.mix = nn.BatchNorm2d(after)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps ``[N, after, H / stride, W / stride]``."""
        result: Tensor = self.mix(self.pointwise(self.spread(self.depthwise(maps))))
        return F.relu(result + maps if self.residual else result)


def _check_shape(family: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or not all(_SMALLEST <= side <= _LARGEST for side in shape[1:]):
        raise AttarError(
            f"{family}: needs images of shape (C, H, W) with H and W from {_SMALLEST} to "
            f"{_LARGEST}. Got {shape}. For vectors there is mlp; images without a channel are "
            f"given one by X[:, None]."
        )


#: Sized by the channels of its stem; for images.
convnet = Family("convnet", ConvNet)
