"""Wide residual networks (Zagoruyko and Komodakis 2016) for images of 32 x 32 pixels."""

from __future__ import annotations

from torch import Tensor, nn


class WideResNet(nn.Module):
    """WRN-depth-width: three groups of pre-activated blocks, 16, 32 and 64 channels times width.

    Args:
        depth: 6 n + 4, with n blocks a group: 40 or 16.
        width: The factor of the channels.
        classes: How many logits come out.
    """

    def __init__(self, depth: int, width: int, classes: int) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        assert rest == 0
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False)]
        before = 16
        for group, channels in enumerate((16 * width, 32 * width, 64 * width)):
            for number in range(blocks):
                stride = 2 if group > 0 and number == 0 else 1
                layers.append(_Block(before, channels, stride))
                before = channels
        layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.layers = nn.Sequential(*layers, nn.Linear(before, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, C]`` of images ``[N, 3, 32, 32]``."""
        logits: Tensor = self.layers(images)
        return logits


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
        )
        same = before == after and stride == 1
        self.skip = None if same else nn.Conv2d(before, after, 1, stride=stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        active = self.first(images)
        beside = images if self.skip is None else self.skip(active)
        out: Tensor = self.body(active) + beside
        return out
