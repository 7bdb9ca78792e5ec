"""Models of timm as a family: any names of its list, from small to large."""

from __future__ import annotations

import re

from torch import nn

from attar.checks import AttarError, need
from attar.students.family import Family

#: How a family of timm's models is called where a name is needed, as in ``timm:resnet10t``.
PREFIX = "timm:"

# What timm lists, and nothing that it would take for an address to download from.
_NAME = re.compile(r"[a-z0-9_]+")


def timm_models(*names: str) -> Family:
    """A family of models of `timm`, sized by their place among the names given.

    ``timm_models("mobilenetv3_small_050", "mobilenetv3_small_100")`` is a family of two. The
    networks are fresh: no weights are downloaded.

    Args:
        names: From small to large, as ``timm.list_models()`` gives them.

    Returns:
        A family whose width 1 is the first model, 2 the second, and so on. For images
        ``(C, H, W)``, of sizes that the models take (most want 32 pixels and more).

    Raises:
        AttarError: If a name is none of timm's, or timm is not installed
            (``pip install 'attar[timm]'``).
    """
    timm = need("timm", extra="timm", purpose="A student of timm")
    if not names:
        raise AttarError("timm_models: give at least one name of timm.list_models().")
    for name in names:
        if not (isinstance(name, str) and _NAME.fullmatch(name) and timm.is_model(name)):
            raise AttarError(
                f"timm_models: timm has no model of that name. Got {str(name)[:60]!r}; "
                "timm.list_models('*small*') lists some."
            )

    def build(width: int, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        if len(input_shape) != 3:
            raise AttarError(
                f"{names[width - 1]}: needs images of shape (C, H, W). Got {tuple(input_shape)}."
            )
        made: nn.Module = timm.create_model(
            names[width - 1], pretrained=False, in_chans=input_shape[0], num_classes=classes
        )
        return made

    return Family(PREFIX + "+".join(names), build, largest=len(names))
