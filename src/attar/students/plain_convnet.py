"""The plain convolutional family: more parameters and more accuracy; what makes a good teacher."""

from __future__ import annotations

from torch import Tensor, nn

from attar.checks import AttarError
from attar.students.family import Family

_SMALLEST = 8


class PlainConvNet(nn.Module):
    """Full 3 x 3 convolutions, halved by max-pooling until less than 4 pixels are left.

    After Simonyan and Zisserman, "Very deep convolutional networks", ICLR 2015, with the batch
    normalisation of Ioffe and Szegedy 2015. Two convolutions in the first stage, one in each
    further one; channels double up to eight times the width; a dropout of 0.3 before the head.
    On a processor it is faster than separable convolutions of the same accuracy, since each of
    its operations is large.

    Args:
        width: Channels of the first stage.
        input_shape: ``(C, H, W)`` with H and W of 8 or more.
        classes: How many logits come out.

    Raises:
        AttarError: If the shape is another one.
    """

    def __init__(self, width: int, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        if len(input_shape) != 3 or min(input_shape[1:]) < _SMALLEST:
            raise AttarError(
                f"plain_convnet: needs images of shape (C, H, W) with H and W of {_SMALLEST} or "
                f"more. Got {tuple(input_shape)}. For vectors there is mlp."
            )
        before, height, side = input_shape
        layers: list[nn.Module] = _layer(before, width)
        now, stage = width, 0
        while min(height, side) >= 4:
            following = width * 2 ** min(stage, 3)
            layers += [*_layer(now, following), nn.MaxPool2d(2)]
            now, stage, height, side = following, stage + 1, height // 2, side // 2
        self.layers = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(now * height * side, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, C]`` of float images ``[N, C, H, W]``."""
        logits: Tensor = self.head(self.layers(images))
        return logits


def _layer(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


#: Sized by the channels of its first stage; for images.
plain_convnet = Family("plain_convnet", PlainConvNet)
