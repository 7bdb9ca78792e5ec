"""The small residual family for images: full convolutions, with a way around each pair."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from attar.students.convnet import ConvNet
from attar.students.family import Family


class ResNet(ConvNet):
    """A small ResNet: the stages of :class:`~attar.students.convnet.ConvNet`, of basic blocks.

    He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016, with one
    block in the first stage and two in each further one. A member has about eight times the
    parameters of a ``convnet`` of its width, and each of its operations is large, which is what
    a processor does fast.

    Args:
        width: Channels of the stem.
        input_shape: ``(C, H, W)`` with H and W from 8 to 224.
        classes: How many logits come out.

    Raises:
        AttarError: If the shape is another one.
    """

    family: ClassVar[str] = "resnet"

    @staticmethod
    def block(before: int, after: int, *, stride: int = 1) -> nn.Module:
        """Two 3 x 3 convolutions and the way around them."""
        return BasicBlock(before, after, stride=stride)


class BasicBlock(nn.Module):
    """Two convolutions, and the input added; by a 1 x 1 convolution where the shape changes."""

    def __init__(self, before: int, after: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.mix = nn.BatchNorm2d(after)
        self.around: nn.Module = nn.Identity()
        if before != after or stride != 1:
            self.around = nn.Sequential(
                nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps ``[N, after, H / stride, W / stride]``."""
        result: Tensor = self.mix(self.second(F.relu(self.norm(self.first(maps)))))
        return F.relu(result + self.around(maps))


#: Sized by the channels of its stem; for images.
resnet = Family("resnet", ResNet)
