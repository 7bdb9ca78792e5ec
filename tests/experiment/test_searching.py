"""``temperature="auto"`` and the like: what an experiment tries, writes down, goes on with."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier

from attar import UNLABELLED, AttarError
from attar.data import ArrayData, Views, shift
from attar.experiment import Experiment, Progress, distill
from attar.experiment.arguments import views_to_choose
from attar.experiment.arms import LOSSES
from attar.experiment.search import search
from attar.experiment.searching import ALPHAS, RATES, TEMPERATURES, between, same, score, spaces
from attar.experiment.summary import summarise
from attar.losses import squared_error
from attar.students import mlp, tree


def rows() -> tuple[np.ndarray, np.ndarray]:
    inputs, labels = load_wine(return_X_y=True)
    labels = labels.copy()
    labels[np.random.default_rng(0).permutation(len(labels))[:80]] = UNLABELLED
    return inputs, labels


def run(**changes: Any) -> Experiment:
    settings: dict[str, Any] = {
        "train": rows(),
        "parameters": 200,
        "seeds": 2,
        "steps": 40,
        "batch_size": 32,
        "learning_rate": 0.01,
        "latency_seconds": 0,
        "temperature": "auto",
        "alpha": "auto",
        "loss": "auto",
        **changes,
    }
    return distill(RandomForestClassifier(20, random_state=0), mlp, **settings)


def test_every_arm_searches_at_the_same_cost_and_one_setting_of_each_is_chosen() -> None:
    experiment = run()
    by_arm: dict[str, list[Any]] = {}
    for trial in experiment.trials:
        by_arm.setdefault(trial.setting.arm, []).append(trial)
    assert set(by_arm) == {"hard", "smoothed", "pseudo", "distilled"}
    for name, trials in by_arm.items():
        whole = sum(1.0 if one.stopped_at is None else one.stopped_at for one in trials)
        assert whole <= 3.0 + 1e-9
        assert whole > 1.5
        assert sum(one.chosen for one in trials) == 1
        assert len({one.setting.key for one in trials}) == len(trials) == 9
        chosen = next(one for one in trials if one.chosen)
        assert chosen.stopped_at is None
        assert experiment.arms[name].setting == chosen.setting
        assert len(experiment.arms[name].runs) == 2
    first = by_arm["distilled"]
    assert {one.setting.loss for one in first} <= set(LOSSES)
    assert {one.setting.temperature for one in first} <= set(TEMPERATURES)


def test_what_was_tried_is_written_down_and_a_search_goes_on_with_the_same_bits(
    tmp_path: Path,
) -> None:
    whole = run(out=tmp_path / "whole")

    class Stop(Exception):  # noqa: N818
        pass

    told = 0

    def stop(progress: Progress) -> None:
        nonlocal told
        told += progress.stage == "train"
        if told == 90:
            raise Stop

    with pytest.raises(Stop):
        run(out=tmp_path / "halves", progress=stop)
    begun = list((tmp_path / "halves" / "search").glob("*.json"))
    assert begun
    halves = run(out=tmp_path / "halves", resume=True)
    assert halves.rows() == whole.rows()
    assert [one.setting for one in halves.trials] == [one.setting for one in whole.trials]
    tried = json.loads((tmp_path / "whole" / "search" / "distilled.json").read_text())
    assert set(tried[0]) == {"point", "scores", "finished"}
    assert sum(one["finished"] for one in tried) == 2
    result = json.loads((tmp_path / "whole" / "result.json").read_text())
    stopped = [one for one in result["trials"] if "stopped_at" in one]
    assert stopped
    assert not any(one["chosen"] for one in stopped)
    # What was given up leaves no weights behind.
    kept = {path.name for path in (tmp_path / "whole" / "arms").iterdir()}
    assert kept == {one.setting.key for one in whole.trials if one.stopped_at is None}
    assert "given up after" in whole.report(tmp_path / "page.html").read_text("utf-8")


def test_what_was_given_stays_and_the_rest_is_looked_for() -> None:
    experiment = run(temperature=3.0, alpha=[0.5, 0.9], loss=["kl", "dkd"], steps=40)
    tried = [one.setting for one in experiment.trials if one.setting.arm == "distilled"]
    assert {one.temperature for one in tried} == {3.0}
    assert {one.alpha for one in tried} <= {0.5, 0.9}
    assert {one.loss for one in tried} == {"kl", "dkd"}


def test_a_name_is_a_loss_and_no_search() -> None:
    experiment = run(temperature=2.0, alpha=0.9, loss="dkd", steps=20)
    tried = [one for one in experiment.trials if one.setting.arm == "distilled"]
    assert len(tried) == 1
    assert not any(one.stopped_at for one in experiment.trials)


def test_where_all_rows_have_labels_alpha_is_looked_for_among_more() -> None:
    given = {"likely": ([4.0], [0.9]), "learning_rate": 0.1, "smoothing": [0.1]}
    found = spaces("auto", "auto", None, unlabelled=False, few_labels=False, **given)  # type: ignore[arg-type]
    assert found is not None
    assert found["distilled"].values == {"temperature": TEMPERATURES, "alpha": ALPHAS}
    assert "pseudo" not in found
    assert found["distilled"].first[0] == {"temperature": 4.0, "alpha": 0.9}
    assert spaces(2.0, [0.5], None, unlabelled=True, few_labels=True, **given) is None  # type: ignore[arg-type]


def test_accuracy_comes_first_and_half_a_row_is_the_most_that_nll_can_do() -> None:
    better = score({"accuracy": 0.91, "nll": 50.0}, 100)
    worse = score({"accuracy": 0.90, "nll": 0.0}, 100)
    assert better > worse > score({"accuracy": 0.90, "nll": 0.1}, 100)
    with pytest.raises(AttarError, match="NLL"):
        score({"accuracy": 0.9, "nll": float("nan")}, 100)


def test_trees_are_not_searched() -> None:
    experiment = distill(
        RandomForestClassifier(20, random_state=0),
        tree,
        train=rows(),
        parameters=20,
        seeds=1,
        temperature="auto",
        latency_seconds=0,
    )
    assert not any(one.stopped_at for one in experiment.trials)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"loss": "best"}, "loss"),
        ({"loss": []}, "loss"),
        ({"loss": 3}, "'loss' parameter.*Got 3"),
        ({"loss": [["kl"]]}, "'loss' parameter"),
        ({"loss": np.array(["kl", "dkd"])}, "'loss' parameter"),
        ({"pseudo_labels": np.array([True, False])}, "'pseudo_labels' parameter.*Got array"),
        ({"views": np.array([1, 2])}, "'views' parameter"),
        ({"loss": ["kl", "hint"]}, "loss"),
        ({"search_cost": 0.5}, "search_cost"),
        ({"temperature": "warm"}, "temperature"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_asked(changes: Any, match: str) -> None:
    with pytest.raises(AttarError, match=match):
        run(**changes)


def emptied(inputs: torch.Tensor, draws: object) -> torch.Tensor:
    """A view in which nothing is left to be seen."""
    return torch.zeros_like(inputs)


@pytest.mark.parametrize("searched", [True, False])
def test_every_arm_chooses_whether_it_learns_from_views(*, searched: bool) -> None:
    given = {} if searched else {"temperature": 2.0, "alpha": 0.9, "loss": "kl"}
    experiment = run(views=[None, Views([emptied], 8)], steps=120, **given)
    assert not experiment.arms["hard"].setting.views
    told = "without views" in summarise(experiment)
    assert told is not experiment.arms["distilled"].setting.views
    for name in experiment.arms:
        tried = [one for one in experiment.trials if one.setting.arm == name]
        assert {one.setting.views for one in tried} == {True, False}
        assert len({one.setting.key for one in tried}) == len(tried)
    if not searched:
        trials = [one.setting.arm for one in experiment.trials]
        assert trials.count("hard") == trials.count("distilled") == 2


@pytest.mark.parametrize("views", ["all", [], [None], [None, None], 3])
def test_what_are_no_views_is_refused(views: object) -> None:
    with pytest.raises(AttarError, match=r"'views' parameter of distill must be Views, \[None"):
        run(views=views)


def test_a_table_has_no_usual_views_and_images_have() -> None:
    table, images = ArrayData(torch.zeros(3, 4)), ArrayData(torch.zeros(3, 1, 8, 8))
    assert views_to_choose("auto", table) == (None, (True,))
    assert views_to_choose("auto", images) == (Views([shift(1)], 32), (True, False))
    # Who cannot be asked anew may know the views that the data has.
    assert views_to_choose("auto", images, anew=False) == (None, (True,))
    own = images.with_views(Views([shift(1)], 3))
    assert views_to_choose("auto", own, anew=False) == (own.views, (True, False))
    assert views_to_choose([Views([shift(1)], 3)], images) == (Views([shift(1)], 3), (True,))


def test_where_few_rows_have_a_label_the_teachers_guesses_are_a_choice() -> None:
    inputs, labels = load_wine(return_X_y=True)
    hidden = labels.copy()
    shuffled = np.random.default_rng(0).permutation(len(labels))
    hidden[shuffled[60:]] = UNLABELLED  # 36 of the others learn, too many to be few
    given = {"temperature": 2.0, "loss": "kl", "pseudo_labels": "auto", "steps": 20}
    many = run(train=(inputs, hidden), **given)
    assert not any(one.setting.pseudo_labels for one in many.trials)
    hidden[shuffled[30:]] = UNLABELLED
    few = run(train=(inputs, hidden), **given)
    tried = [one.setting for one in few.trials if one.setting.arm == "distilled"]
    assert {one.pseudo_labels for one in tried} == {True, False}
    assert not any(
        one.setting.pseudo_labels for one in few.trials if one.setting.arm != "distilled"
    )
    chosen = few.arms["distilled"].setting.pseudo_labels
    words = summarise(few)
    assert f"{'with' if chosen else 'without'} pseudo-labels" in words
    assert (", with pseudo-labels." in words) == chosen


def test_guesses_begin_with_half_the_weight() -> None:
    found = spaces(
        "auto",
        "auto",
        None,
        likely=([2.0, 4.0], [0.9]),
        learning_rate=0.01,
        smoothing=[0.1],
        unlabelled=True,
        few_labels=True,
        pseudo_labels=(False, True),
    )
    assert found is not None
    first = found["distilled"].first
    assert [(one["temperature"], one["alpha"], one["pseudo_labels"]) for one in first] == [
        (2.0, 0.9, False),
        (2.0, 0.5, True),
        (4.0, 0.9, False),
        (4.0, 0.5, True),
    ]
    assert "pseudo_labels" not in found["pseudo"].values


@pytest.mark.parametrize(
    ("value", "message"), [("yes", "True, False or 'auto'"), (True, "every row that teaches")]
)
def test_guesses_that_are_none(value: Any, message: str) -> None:
    inputs, labels = load_wine(return_X_y=True)
    with pytest.raises(AttarError, match=message):
        run(train=(inputs, labels), pseudo_labels=value)
    with pytest.raises(AttarError, match="pseudo_labels is there for classes"):
        run(task="regression", loss=squared_error, pseudo_labels=True)


@pytest.mark.parametrize(("cost", "begun"), [(3.0, 9), (6.0, 18), (21.0, 63)])
@pytest.mark.parametrize("choices", [(True,), (True, False)])
def test_every_arm_begins_as_many_trials(
    cost: float, begun: int, choices: tuple[bool, ...]
) -> None:
    found = spaces(
        "auto",
        "auto",
        None,
        likely=([4.0], [0.9]),
        learning_rate=0.1,
        smoothing=[0.05, 0.1, 0.2, 0.1234],
        unlabelled=True,
        few_labels=False,
        views=choices,
        further=choices,
    )
    assert found is not None
    looks = 10

    def evaluate(point: Any, go_on: Any) -> None:
        for look in range(1, looks + 1):
            if not go_on(look, 0.01 * look - abs(point.get("learning_rate", 1.0) - 0.6)):
                return

    if choices == (True,):
        begun = min(begun, len(TEMPERATURES) * len(ALPHAS))
    assert found["distilled"].begun(cost=cost, looks=looks) == begun
    for space in found.values():
        given: Any = {"looks": looks, "cost": cost, "seed": 0}
        last = space.further(begun)
        points = [one.point for one in search(space.values, space.first, evaluate, **given)]
        more = search(space.values, space.first, evaluate, last=last, **given)
        tried = [one.point for one in more]
        assert len(tried) == len({space.setting(one).key for one in tried}) == begun
        # What a coarser grid had comes first, as it did.
        assert tried[: len(points)] == points


def test_a_finer_grid_lies_between_the_values_of_a_coarse_one() -> None:
    found = between(RATES, 60)
    assert len({*found, *RATES}) == 68
    assert min(RATES) < min(found) < max(found) < max(RATES)
    there = sorted([*found, *RATES])
    assert max(high / low for low, high in itertools.pairwise(there)) < 1.2
    assert between((0.0, 0.1, 0.4), 1) == (0.2,)  # 0 is a strength, and has no ratio


def test_a_run_on_soft_targets_alone_is_tried_once_with_or_without_pseudo_labels() -> None:
    given: Any = {"likely": ([2.0], [0.9]), "learning_rate": 0.1, "smoothing": [0.1]}
    given |= {"unlabelled": True, "few_labels": True, "pseudo_labels": (False, True)}
    found = spaces([1.0, 2.0], [0.5, 1.0], "auto", **given)
    assert found is not None
    space = found["distilled"]

    def evaluate(point: Any, go_on: Any) -> None:
        go_on(1, point["alpha"])

    tried = search(space.values, space.first, evaluate, looks=1, cost=100.0, same=same)
    assert len(tried) == 2 * len(LOSSES) * 3 == space.begun(cost=100.0, looks=1)
    settings = {space.setting(one.point) for one in tried}
    assert len(settings) == len(tried)
    assert not any(one.pseudo_labels for one in settings if one.alpha == 1)
    alone = spaces("auto", 1.0, None, **given)
    assert alone is not None
    assert "pseudo_labels" not in alone["distilled"].values


@pytest.mark.parametrize("alpha", [1, 1.0, [1.0]])
def test_pseudo_labels_beside_nothing_are_refused(alpha: Any) -> None:
    with pytest.raises(AttarError, match="alpha=1 there is no hard loss"):
        run(pseudo_labels=True, alpha=alpha)
