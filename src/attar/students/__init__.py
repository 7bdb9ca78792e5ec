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
from attar.students.plain_convnet import plain_convnet
from attar.students.standardize import Standardize

#: By name, for the command line.
FAMILIES = {"convnet": convnet, "mlp": mlp, "plain_convnet": plain_convnet}

__all__ = [
    "FAMILIES",
    "Family",
    "Standardize",
    "convnet",
    "count_parameters",
    "fit_to",
    "mlp",
    "plain_convnet",
]
