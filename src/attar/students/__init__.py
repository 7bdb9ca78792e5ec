"""Students: families of small networks, each sized by one number.

:func:`fit_to` finds the largest member under a budget of parameters, and :class:`Standardize`
puts the normalisation inside the model, where it ships with it. Any ``nn.Module`` can be a
student; these are here so that none has to be written.
"""

from __future__ import annotations

from attar import needs_torch  # noqa: F401
from attar.students.convnet import convnet
from attar.students.family import Family, count_parameters, fit_to
from attar.students.mlp import mlp
from attar.students.picked import pick_weights
from attar.students.plain_convnet import plain_convnet
from attar.students.resnet import resnet
from attar.students.reused import ReusedClassifier, bottleneck
from attar.students.standardize import Standardize
from attar.students.table_mlp import PiecewiseLinear, table_mlp
from attar.students.text import word_bag
from attar.students.timm_models import PREFIX, timm_models
from attar.students.trees import TreeEnsemble, boosted, tree
from attar.students.unscaled import Unscaled

#: By name, for the command line: those that take numbers or images.
FAMILIES = {"convnet": convnet, "mlp": mlp, "plain_convnet": plain_convnet, "resnet": resnet}
#: By name: those without a network.
TREES = {"boosted": boosted, "tree": tree}
#: By name: those for the rows of a table alone.
TABLES = {**TREES, "table_mlp": table_mlp}


def family_named(name: str) -> Family | None:
    """The family that a name in a file or on the command line stands for; None if there is none.

    Raises:
        AttarError: If it names models of timm (``timm:resnet10t``) that cannot be had.
    """
    if name.startswith(PREFIX):
        return timm_models(*name.removeprefix(PREFIX).split("+"))
    return {**FAMILIES, **TABLES, "word_bag": word_bag}.get(name)


__all__ = [
    "FAMILIES",
    "TABLES",
    "TREES",
    "Family",
    "PiecewiseLinear",
    "ReusedClassifier",
    "Standardize",
    "TreeEnsemble",
    "Unscaled",
    "boosted",
    "bottleneck",
    "convnet",
    "count_parameters",
    "family_named",
    "fit_to",
    "mlp",
    "pick_weights",
    "plain_convnet",
    "resnet",
    "table_mlp",
    "timm_models",
    "tree",
    "word_bag",
]
