from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from attar import UNLABELLED, AttarError
from attar.experiment.arms import (
    Setting,
    as_choices,
    automatic,
    candidates,
    entropy_smoothing,
)
from attar.losses import kl
from attar.types import Batch, Outputs


def entropy(smoothing: float, classes: int) -> float:
    other = smoothing / classes
    top = 1 - smoothing + other
    return -top * math.log(top) - (classes - 1) * other * math.log(other)


@pytest.mark.parametrize("smoothing", [0.01, 0.1, 0.5, 0.9])
def test_the_smoothing_of_an_entropy_is_found(smoothing: float) -> None:
    classes = 7
    target = torch.full((4, classes), smoothing / classes, dtype=torch.float64)
    target[:, 2] += 1 - smoothing
    assert entropy_smoothing(target.log()) == pytest.approx(smoothing, abs=1e-6)


def test_it_is_the_mean_entropy_that_counts() -> None:
    sure, unsure = torch.tensor([[40.0, 0.0, 0.0]]), torch.zeros(1, 3)
    found = entropy_smoothing(torch.cat([sure, unsure]))
    assert entropy(found, 3) == pytest.approx(math.log(3) / 2, abs=1e-4)


def settings(
    temperatures: list[float], alphas: list[float], *, pseudo: bool = True
) -> dict[str, list[Setting]]:
    return candidates(
        temperatures,
        alphas,
        learning_rate=0.01,
        smoothing=[0.1, 0.2, 0.3, 0.4],
        unlabelled=pseudo,
    )


@pytest.mark.parametrize(
    ("temperatures", "alphas"),
    [([4.0], [0.9]), ([1, 2, 4], [0.5, 0.9]), ([1, 2, 3, 4], [0.1, 0.5, 0.7, 0.9])],
)
def test_no_arm_has_fewer_trials_than_the_distilled_one(
    temperatures: list[float], alphas: list[float]
) -> None:
    arms = settings(temperatures, alphas)
    wanted = len(temperatures) * len(alphas)
    assert len(arms["distilled"]) == wanted
    assert len(arms["hard"]) == len(arms["pseudo"]) == wanted
    assert len(arms["smoothed"]) == max(4, wanted)
    for some in arms.values():
        assert len({setting.key for setting in some}) == len(some)


def test_with_soft_targets_alone_nobody_asks_for_pseudo_labels() -> None:
    arms = candidates(
        [2.0],
        [0.5, 1.0],
        learning_rate=0.01,
        smoothing=[0.1],
        unlabelled=True,
        pseudo_labels=(False, True),
    )
    tried = [(one.alpha, one.pseudo_labels) for one in arms["distilled"]]
    assert sorted(tried) == [(0.5, False), (0.5, True), (1.0, False)]
    assert len(arms["hard"]) == len(arms["pseudo"]) == 3


def test_all_labels_need_no_pseudo_labels() -> None:
    assert set(settings([4.0], [0.9], pseudo=False)) == {"hard", "smoothed", "distilled"}


def test_only_the_setting_differs_between_the_arms() -> None:
    for some in settings([4.0], [0.9]).values():
        assert some[0].learning_rate == 0.01


def test_alpha_one_has_no_hard_term() -> None:
    loss = lambda student, teacher, *, temperature: (student - teacher).square().sum(dim=1)  # noqa: E731
    whole = Setting("distilled", 0.1, temperature=2.0, alpha=1.0).objective(loss)
    part = Setting("distilled", 0.1, temperature=2.0, alpha=0.7).objective(loss)
    assert [term.weight for term in whole.terms] == [1.0]
    assert [term.weight for term in part.terms] == pytest.approx([0.7, 0.3])


def test_the_hard_term_may_take_the_teachers_argmax_for_a_label() -> None:
    said = Outputs(torch.tensor([[3.0, 0.0], [0.0, 3.0]]))
    batch = Batch(torch.zeros(2, 1), torch.arange(2), torch.tensor([0, UNLABELLED]))
    found = {}
    for guess in (False, True):
        setting = Setting("distilled", 0.1, temperature=1.0, alpha=0.5, pseudo_labels=guess)
        found[guess] = setting.objective(kl)(Outputs(torch.zeros(2, 2)), said, batch)
    # Every row costs log 2 in the hard term, with one known label and with one that is guessed.
    assert float(found[True][0]) == pytest.approx(float(found[False][0]))
    student = Outputs(torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
    setting = Setting("distilled", 0.1, temperature=1.0, alpha=0.5, pseudo_labels=True)
    loss, parts = setting.objective(kl)(student, said, batch)
    wrong = 2 + math.log(1 + math.exp(-2))  # -log of what the student gives the teacher's class
    assert float(parts["pseudo"].mean) == pytest.approx((math.log(2) + wrong) / 2, rel=1e-5)
    both = float(parts["kl"].mean + parts["pseudo"].mean)
    assert float(loss) == pytest.approx(0.5 * both, rel=1e-5)


def test_keys_tell_settings_apart() -> None:
    assert replace(Setting("distilled", 1e-3), pseudo_labels=True).key != "distilled-lr0.001"
    assert Setting("distilled", 1e-3, temperature=4.0, alpha=0.9).key == "distilled-T4-a0.9-lr0.001"
    assert Setting("hard", 1e-3).key == "hard-lr0.001"


@pytest.mark.parametrize(
    ("value", "message"),
    [("best", "or 'auto'"), ([], "empty list"), (0.0, "in the range"), ([4.0, -1], "Got -1")],
)
def test_wrong_choices_are_refused(value: object, message: str) -> None:
    with pytest.raises(AttarError, match=message):
        as_choices("temperature", value, auto=[2.0], low=0, high=100)


def test_auto_knows_size_and_classes() -> None:
    many, _ = automatic(1000, 10**7, few_labels=False)
    small, _ = automatic(10, 3000, few_labels=False)
    large, alphas = automatic(10, 10**6, few_labels=True)
    assert max(many) <= max(small) < max(large)
    assert alphas == [0.9]
