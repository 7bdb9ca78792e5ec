from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.tree import DecisionTreeRegressor

from attar.checks import AttarError
from attar.students import TREES, TreeEnsemble, boosted, count_parameters, fit_to, tree
from attar.students.trees import FLOOR, RATE, _below, soft_and_hard


def wine() -> tuple[torch.Tensor, torch.Tensor]:
    inputs, labels = load_wine(return_X_y=True)
    return torch.from_numpy(inputs).float(), torch.from_numpy(labels)


def said(seed: int = 0, rows: int = 178, classes: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(rows, classes, generator=generator)).softmax(dim=1)


def test_a_tree_is_as_large_as_its_splits_and_leaves_say() -> None:
    # 4 splits of a feature and a threshold, 5 leaves of 3 logits
    assert count_parameters(tree.model(4, input_shape=(9,), classes=3)) == 4 * 2 + 5 * 3
    # 7 trees of 15 splits and 16 leaves
    assert count_parameters(boosted.model(7, input_shape=(9,), classes=3)) == 7 * (30 + 48)


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("parameters", [1000, 20_000])
def test_fit_to_finds_the_largest_that_fits(name, parameters) -> None:
    family, shape = TREES[name], {"input_shape": (13,), "classes": 3}
    width = fit_to(family, parameters=parameters, **shape)
    assert count_parameters(family.model(width, **shape)) <= parameters
    assert count_parameters(family.model(width + 1, **shape)) > parameters


def test_a_leaf_says_the_mean_of_what_the_teacher_said_of_its_rows() -> None:
    rows = torch.tensor([[0.0]] * 10 + [[1.0]] * 10)
    targets = torch.tensor([[0.9, 0.1]] * 5 + [[0.7, 0.3]] * 5 + [[0.2, 0.8]] * 10)
    model = TreeEnsemble(1, 2, input_shape=(1,), classes=2)
    model.fit(rows, targets)
    # Ten rows whose mean is 0.8 (0.2), and one that stands for all of them, (0.8 + 0.2) / 2,
    # moved by the share that no class goes below.
    prior = (0.5 + FLOOR / 2) / (1 + FLOOR)
    expected = [(10 * 0.8 + prior) / 11, (10 * 0.2 + prior) / 11]
    got = model(torch.tensor([[0.0], [1.0]])).softmax(dim=1)[:, 0]
    assert got.tolist() == pytest.approx(expected, abs=1e-6)


def test_it_asks_what_scikit_learns_tree_asks() -> None:
    inputs, _ = wine()
    targets = said()
    model = TreeEnsemble(1, 12, input_shape=(13,), classes=3)
    model.fit(inputs, targets, seed=3)
    logits = targets.double().clamp_min(FLOOR).log()
    logits = (logits - logits.mean(dim=1, keepdim=True)).numpy()
    reference = DecisionTreeRegressor(
        max_leaf_nodes=12, min_samples_leaf=5, random_state=np.random.RandomState(3)
    ).fit(inputs.numpy(), logits)
    leaves = reference.apply(inputs.numpy())
    answers = model(inputs)
    for leaf in np.unique(leaves):  # one answer a leaf, and another one in every other leaf
        assert len(torch.unique(answers[torch.from_numpy(leaves == leaf)], dim=0)) == 1
    assert len(torch.unique(answers, dim=0)) == len(np.unique(leaves))


def test_thresholds_are_rounded_down_so_that_every_row_goes_where_it_went() -> None:
    low = np.float32(1.0)
    high = np.nextafter(low, np.float32(2.0))
    # Just below the upper of two neighbours; rounded to the nearest it would be the upper one,
    # which would then go left.
    threshold = np.array([float(high) - 1e-12, 0.5, -3.0])
    got = _below(threshold)
    assert got.tolist() == [1.0, 0.5, -3.0]
    assert got.dtype == np.float32


def test_more_boosted_trees_come_closer_to_the_targets() -> None:
    inputs, labels = wine()
    targets = soft_and_hard(labels, classes=3, smoothing=0.1)
    away = []
    for trees in (1, 5, 30):
        model = boosted.model(trees + 1, input_shape=(13,), classes=3)
        model.fit(inputs, targets)
        away.append(float(-(targets * model(inputs).log_softmax(dim=1)).sum(dim=1).mean()))
    entropy = float(-(targets * targets.log()).sum(dim=1).mean())
    assert away[0] > away[1] > away[2] > entropy
    assert away[2] < entropy + 0.05


def test_boosted_trees_begin_at_the_prior_and_take_newtons_step() -> None:
    inputs = torch.tensor([[0.0]] * 6 + [[1.0]] * 4)
    targets = torch.tensor([[0.9, 0.1]] * 6 + [[0.2, 0.8]] * 4)
    model = TreeEnsemble(2, 2, input_shape=(1,), classes=2)
    model.fit(inputs[inputs[:, 0] == 0], targets[:6])  # no split: the prior stands
    torch.testing.assert_close(model(inputs).softmax(dim=1)[0], targets[0])
    rows, said = inputs.repeat(5, 1), targets.repeat(5, 1)
    model.fit(rows, said)
    prior = said.double().mean(dim=0)
    now = prior.log().repeat(2, 1)
    for _ in range(2):  # a step a tree, in the leaf of 30 rows and in that of 20
        answers = now.softmax(dim=1)
        left = torch.stack([targets[0], targets[-1]]).double() - answers
        counts = torch.tensor([[30.0], [20.0]])
        now = now + RATE / 2 * counts * left / (counts * answers * (1 - answers) + 1)
    torch.testing.assert_close(model(torch.tensor([[0.0], [1.0]])).double(), now)


def test_of_values_a_leaf_says_the_mean_and_a_boosted_tree_takes_a_step_from_it() -> None:
    inputs = torch.tensor([[0.0]] * 6 + [[1.0]] * 6)
    targets = torch.tensor([[1.0, 10.0]] * 3 + [[3.0, 10.0]] * 3 + [[6.0, -2.0]] * 6)
    weights = torch.tensor([1.0] * 3 + [3.0] * 3 + [2.0] * 6)
    both = torch.tensor([[0.0], [1.0]])
    means = torch.tensor([[2.5, 10.0], [6.0, -2.0]])
    single = TreeEnsemble(1, 2, input_shape=(1,), classes=2)
    single.fit(inputs, targets, weights=weights, values=True)
    torch.testing.assert_close(single(both), means)
    three = TreeEnsemble(3, 2, input_shape=(1,), classes=2)
    three.fit(inputs, targets, weights=weights, values=True)
    start = means.mean(dim=0)  # both halves weigh the same
    torch.testing.assert_close(three(both), means + (1 - RATE) ** 3 * (start - means))


def test_trees_take_a_unit_into_their_leaves_and_are_read_in_it() -> None:
    inputs = torch.arange(20.0)[:, None]
    model = TreeEnsemble(1, 2, input_shape=(1,), classes=1)
    model.fit(inputs, (inputs > 9).float(), values=True)
    euros = model.in_unit(torch.tensor([100.0]), torch.tensor([20.0]))
    torch.testing.assert_close(euros(inputs), 100 + 20 * model(inputs))
    lines = ["age <= 9.5", "  -> 100", "age > 9.5", "  -> 120"]
    assert euros.rules(["age"], values=True).splitlines() == lines
    several = TreeEnsemble(3, 2, input_shape=(1,), classes=1)
    several.fit(inputs, (inputs > 9).float(), values=True)
    moved = several.in_unit(torch.tensor([100.0]), torch.tensor([20.0]))
    torch.testing.assert_close(moved(inputs), 100 + 20 * several(inputs))


@pytest.mark.parametrize("name", TREES)
def test_weights_count_as_repetition_and_none_as_absence(name) -> None:
    inputs, _ = wine()
    targets = said()
    shape = {"input_shape": (13,), "classes": 3}
    heavy = torch.ones(178)
    heavy[100:] = 0
    models = []
    for rows, some, weights in ((inputs, targets, heavy), (inputs[:100], targets[:100], None)):
        model = TREES[name].model(6, **shape)
        model.fit(rows, some, weights=weights)
        models.append(model(inputs))
    torch.testing.assert_close(*models)


@pytest.mark.parametrize("name", TREES)
def test_the_same_seed_gives_the_same_bits(name) -> None:
    inputs, _ = wine()
    made = []
    for _ in range(2):
        model = TREES[name].model(9, input_shape=(13,), classes=3)
        model.fit(inputs, said(), seed=5)
        made.append(model.state_dict())
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])


@pytest.mark.parametrize("name", TREES)
def test_weights_are_read_back_into_a_fresh_one(name) -> None:
    inputs, _ = wine()
    model = TREES[name].model(9, input_shape=(13,), classes=3)
    model.fit(inputs, said())
    again = TREES[name].model(9, input_shape=(13,), classes=3)
    again.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(again(inputs), model(inputs))
    assert TREES[name].restore(model.state_dict())[1] is None


def test_rows_that_are_all_alike_end_in_one_leaf() -> None:
    model = TreeEnsemble(2, 4, input_shape=(2,), classes=2)
    model.fit(torch.zeros(10, 2), torch.tensor([[0.3, 0.7]]).repeat(10, 1))
    assert model.depth <= 1
    assert model(torch.ones(3, 2)).softmax(dim=1)[:, 1].tolist() == pytest.approx([0.7] * 3)
    assert model.rules().startswith("->")


def test_it_can_be_fitted_again() -> None:
    inputs, _ = wine()
    model = tree.model(20, input_shape=(13,), classes=3)
    model.fit(inputs, said(1))
    model.fit(inputs[:20], said(2)[:20])  # fewer leaves: nothing of the first is left
    fresh = tree.model(20, input_shape=(13,), classes=3)
    fresh.fit(inputs[:20], said(2)[:20])
    assert torch.equal(model(inputs), fresh(inputs))


def test_the_rules_name_columns_and_classes() -> None:
    inputs, labels = wine()
    model = tree.model(2, input_shape=(13,), classes=3)
    model.fit(inputs, soft_and_hard(labels, classes=3))
    names = [f"column {i}" for i in range(13)]
    lines = model.rules(names, ["red", "white", "green"]).splitlines()
    assert sum("column" in line for line in lines) == 4  # two splits, each said both ways
    assert sum(line.lstrip().startswith("->") for line in lines) == 3


def test_where_there_is_no_label_the_teacher_stands_alone() -> None:
    answers = torch.tensor([[0.6, 0.4], [0.6, 0.4]])
    mixed = soft_and_hard(torch.tensor([1, -100]), classes=2, said=answers, alpha=0.75)
    torch.testing.assert_close(mixed, torch.tensor([[0.45, 0.55], [0.6, 0.4]]))
    hard = soft_and_hard(torch.tensor([1]), classes=2, smoothing=0.2)
    torch.testing.assert_close(hard, torch.tensor([[0.1, 0.9]]))


def test_other_shapes_are_refused() -> None:
    model = tree.model(3, input_shape=(13,), classes=3)
    with pytest.raises(
        AttarError, match=r"must be \[N, 13\] and \[N, 3\]. Got \[5, 13\].*\[5, 2\]"
    ):
        model.fit(torch.zeros(5, 13), torch.full((5, 2), 0.5))
