"""What a student is trained with: losses, and the objective that weighs and reduces them.

The losses are pure functions from logits ``[N, C]`` to one number a row ``[N]``, in nats;
:class:`Objective` is the one place that weighs them and takes the mean over the rows.
"""

from __future__ import annotations

from attar import needs_torch  # noqa: F401
from attar.losses.logits import cross_entropy, jsd, kl, logit_mse, reverse_kl
from attar.losses.objective import Objective, Part, Term, hard, pseudo, soft
from attar.losses.variants import (
    dist,
    dkd,
    skewed_kl,
    skewed_reverse_kl,
    standardized,
    weighted_kl,
)

__all__ = [
    "Objective",
    "Part",
    "Term",
    "cross_entropy",
    "dist",
    "dkd",
    "hard",
    "jsd",
    "kl",
    "logit_mse",
    "pseudo",
    "reverse_kl",
    "skewed_kl",
    "skewed_reverse_kl",
    "soft",
    "standardized",
    "weighted_kl",
]
