"""Tables of right and wrong answers whose true accuracies are known.

A latent probit model: the student of arm a and seed s is right on row r where

    mean[a] + row[r] + kin[a, r] + own[a, r] + seed[s] + arm_seed[a, s] + rest[a, r, s] > 0

with independent normal effects. The accuracy over all rows and seeds that could have been
drawn is then exactly ``Phi(mean / sqrt(sum of the variances))``, so ``mean`` follows from the
accuracy wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

#: Arms that learn from the labels alone, and so err on the same rows.
KIN = ("hard", "smoothed")


@dataclass(frozen=True)
class Effects:
    """Variances of the latent effects; with ``rest`` fixed by them, rows sum to 1.

    The defaults give the correlations that ``digits.py`` measures (``results.json`` has both,
    side by side): errors of two seeds of one arm correlate by 0.8, of hard and distilled by
    0.55, of hard and smoothed by 0.7; accuracies of two seeds differ by 0.7 points.

    Attributes:
        row: How hard a row is, for every arm and the teacher.
        kin: What the arms on labels alone have in common beside that; the others, each alone.
        own: What one arm finds hard, in all its seeds.
        seed: How good a seed is, in all arms (they start from the same weights).
        arm_seed: How good a seed is, in one arm.
    """

    row: float = 0.82
    kin: float = 0.11
    own: float = 0.03
    seed: float = 0.0005
    arm_seed: float = 0.0014

    @property
    def rest(self) -> float:
        """Variance of what one seed of one arm does on one row."""
        return 1.0 - self.row - self.kin - self.own

    def without(self, *, arm_by_row: bool, arm_by_seed: bool) -> Effects:
        """The same, with the named effects taken out (rows still sum to 1)."""
        return Effects(
            row=self.row + self.kin + self.own if arm_by_row else self.row,
            kin=0.0 if arm_by_row else self.kin,
            own=0.0 if arm_by_row else self.own,
            seed=self.seed,
            arm_seed=0.0 if arm_by_seed else self.arm_seed,
        )


def draw(
    accuracy: Mapping[str, float],
    effects: Effects,
    *,
    rows: int,
    seeds: int,
    random: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Correctness ``[S, R]`` of every arm; of ``"teacher"``, if asked for, ``[R]``."""

    def normal(variance: float, *shape: int) -> np.ndarray:
        if variance == 0.0:
            return np.zeros(shape, dtype=np.float32)
        return np.sqrt(np.float32(variance)) * random.standard_normal(shape, dtype=np.float32)

    row = normal(effects.row, rows)
    kin = normal(effects.kin, rows)
    luck = normal(effects.seed, seeds, 1)
    tables = {}
    for arm, wanted in accuracy.items():
        if arm == "teacher":
            mean = norm.ppf(wanted)
            tables[arm] = row + normal(1.0 - effects.row, rows) + mean > 0
            continue
        total = 1.0 + effects.seed + effects.arm_seed
        mean = norm.ppf(wanted) * np.sqrt(total)
        profile = row + (kin if arm in KIN else normal(effects.kin, rows))
        profile += normal(effects.own, rows) + np.float32(mean)
        latent = normal(effects.rest, seeds, rows)
        latent += profile
        latent += luck + normal(effects.arm_seed, seeds, 1)
        tables[arm] = latent > 0
    return tables
