"""A student that ends in its teacher's own classifier."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn import functional as F

from attar.checks import AttarError, check_number
from attar.types import Outputs, ask, dense_logits


class ReusedClassifier(nn.Module):
    """SimKD: a backbone, a projector to the teacher's last feature, the teacher's classifier.

    Only backbone and projector learn, from the teacher's feature alone:
    ``Objective([matched(hint, 1.0, student="projected", teacher="fc:input")])``; the classifier is
    a frozen copy. The whole of it ships: it is larger than the backbone by the projector and by
    the teacher's classifier.

    Args:
        backbone: Gives features, ``[N, D]`` or ``[N, C, H, W]``.
        projector: From these to the shape of the teacher's feature;
            :func:`bottleneck` makes the paper's.
        classifier: The teacher's last layer: from ``[N, D']`` to logits.

    Example:
        >>> student = ReusedClassifier(nn.Linear(2, 3), nn.Linear(3, 8), nn.Linear(8, 4))
        >>> import torch
        >>> said = student(torch.zeros(5, 2))
        >>> said.logits.shape, said.features["projected"].shape
        (torch.Size([5, 4]), torch.Size([5, 8]))
        >>> [name for name, weight in student.named_parameters() if not weight.requires_grad]
        ['classifier.weight', 'classifier.bias']

    References:
        Chen et al. 2022, *Knowledge Distillation with the Reused Teacher Classifier* (CVPR),
        https://arxiv.org/abs/2203.14001
    """

    def __init__(self, backbone: nn.Module, projector: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = projector
        self.classifier = copy.deepcopy(classifier).eval().requires_grad_(False)

    def forward(self, inputs: Tensor) -> Outputs:
        """Logits ``[N, C]``, and the projected feature, pooled where it is a map."""
        feature = dense_logits("ReusedClassifier", ask(self.backbone, inputs))
        projected = self.projector(feature)
        pooled = projected
        if projected.ndim == 4:
            pooled = F.adaptive_avg_pool2d(projected, 1).flatten(1)
        return Outputs(self.classifier(pooled), {"projected": projected, "pooled": pooled})

    def train(self, mode: bool = True) -> ReusedClassifier:
        """The classifier stays as it was in the teacher."""
        super().train(mode)
        self.classifier.eval()
        return self


def bottleneck(before: int, after: int, *, factor: int = 2) -> nn.Sequential:
    """The paper's projector of maps: 1 x 1, 3 x 3, 1 x 1 convolutions through ``after / factor``.

    Args:
        before: Channels of the student's map.
        after: Channels of the teacher's.
        factor: How much narrower it is within.

    Raises:
        AttarError: If a number is out of range.

    Example:
        >>> import torch
        >>> bottleneck(4, 8)(torch.zeros(2, 4, 3, 3)).shape
        torch.Size([2, 8, 3, 3])
    """
    for name, value in (("before", before), ("after", after), ("factor", factor)):
        check_number("bottleneck", name, value, low=1, whole=True)
    if factor > after:
        raise AttarError(f"bottleneck: factor must be at most {after}, after=. Got {factor}.")
    within = after // factor
    layers: list[nn.Module] = []
    for wide, to, size in ((before, within, 1), (within, within, 3), (within, after, 1)):
        layers += [
            nn.Conv2d(wide, to, size, padding=size // 2, bias=False),
            nn.BatchNorm2d(to),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)
