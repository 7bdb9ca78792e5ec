"""What the arms have in common before they look for anything of their own."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier

from attar import UNLABELLED
from attar.experiment import distill
from attar.students import mlp

BOTH_WAYS = pytest.mark.parametrize(
    "given", [{"temperature": "auto"}, {"temperature": [1.0, 2.0, 4.0]}]
)


@BOTH_WAYS
def test_all_arms_begin_with_the_learning_rate_of_hard_labels(given: dict[str, Any]) -> None:
    found = distill(
        RandomForestClassifier(20, random_state=0),
        mlp,
        train=load_wine(return_X_y=True),
        parameters=200,
        seeds=2,
        steps=40,
        batch_size=32,
        learning_rate=1e-4,  # far too low: a higher one is better
        latency_seconds=0,
        **given,
    )
    rate = found.arms["hard"].setting.learning_rate
    assert rate > 1e-4
    tried = [one.setting for one in found.trials if one.setting.arm in ("distilled", "smoothed")]
    assert len(tried) > 4
    assert {one.learning_rate for one in tried} == {rate}


@BOTH_WAYS
def test_soft_targets_begin_with_the_rate_of_their_own_rows(given: dict[str, Any]) -> None:
    inputs, labels = load_wine(return_X_y=True)
    labels[::3] = UNLABELLED
    found = distill(
        RandomForestClassifier(20, random_state=0),
        mlp,
        train=(inputs, labels),
        parameters=200,
        seeds=2,
        steps=40,
        batch_size=32,
        learning_rate=1.0,  # far too high
        latency_seconds=0,
        **given,
    )

    def rates(arm: str) -> set[float]:
        return {one.setting.learning_rate for one in found.trials if one.setting.arm == arm}

    hard, pseudo = (found.arms[arm].setting.learning_rate for arm in ("hard", "pseudo"))
    assert rates("smoothed") == {hard}
    assert rates("distilled") == {pseudo}
    assert 1.0 in rates("hard") & rates("pseudo")  # both look from there, whatever the other found
