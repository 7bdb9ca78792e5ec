"""What a student is trained with: losses, and the objective that weighs and reduces them.

The losses are pure functions from logits ``[N, C]`` to one number a row ``[N]``, in nats (those of
a regression from values ``[N, D]``);
:class:`Objective` is the one place that weighs them and takes the mean over the rows. Losses
between inner activations take features instead, which :class:`WithFeatures` has a network give.
"""

from __future__ import annotations

from attar import needs_torch  # noqa: F401
from attar.losses.contrastive import ContrastiveLoss
from attar.losses.corrected import corrected
from attar.losses.features import (
    attention_transfer,
    hint,
    matched,
    rkd_angle,
    rkd_distance,
    similarity_preserving,
)
from attar.losses.listening import WithFeatures
from attar.losses.logits import cross_entropy, jsd, kl, logit_mse, reverse_kl
from attar.losses.multilabel import binary_cross_entropy, sigmoid_kl
from attar.losses.objective import Objective, Part, Term, hard, pseudo, soft, supervised
from attar.losses.values import bounded_squared_error, pinball, squared_error
from attar.losses.variants import (
    dist,
    dkd,
    skewed_kl,
    skewed_reverse_kl,
    standardized,
    weighted_kl,
)

__all__ = [
    "ContrastiveLoss",
    "Objective",
    "Part",
    "Term",
    "WithFeatures",
    "attention_transfer",
    "binary_cross_entropy",
    "bounded_squared_error",
    "corrected",
    "cross_entropy",
    "dist",
    "dkd",
    "hard",
    "hint",
    "jsd",
    "kl",
    "logit_mse",
    "matched",
    "pinball",
    "pseudo",
    "reverse_kl",
    "rkd_angle",
    "rkd_distance",
    "sigmoid_kl",
    "similarity_preserving",
    "skewed_kl",
    "skewed_reverse_kl",
    "soft",
    "squared_error",
    "standardized",
    "supervised",
    "weighted_kl",
]
