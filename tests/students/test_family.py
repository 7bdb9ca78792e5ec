from __future__ import annotations

import pytest
import torch
from torch import nn

from attar.checks import AttarError
from attar.students import (
    FAMILIES,
    Family,
    Standardize,
    convnet,
    count_parameters,
    family_named,
    fit_to,
    mlp,
    word_bag,
)

SHAPES = {"mlp": (784,), **dict.fromkeys(("convnet", "plain_convnet", "resnet"), (1, 28, 28))}


def size(family: Family, width: int, shape: tuple[int, ...], classes: int = 10) -> int:
    return count_parameters(family.model(width, input_shape=shape, classes=classes))


def test_the_sizes_of_the_literature():
    # 784-800-800-10, Hinton, Vinyals and Dean (2015)
    assert size(mlp, 800, (784,)) == 784 * 800 + 800 + 800 * 800 + 800 + 800 * 10 + 10


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("parameters", [1000, 12_345, 50_000, 1_000_000])
def test_fit_to_finds_the_largest_member(name, parameters):
    family, shape = FAMILIES[name], SHAPES[name]
    width = fit_to(family, parameters=parameters, input_shape=shape, classes=10)
    assert size(family, width, shape) <= parameters < size(family, width + 1, shape)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_budget_that_is_met_exactly_is_used(name):
    family, shape = FAMILIES[name], SHAPES[name]
    for width in (1, 2, 3, 17):
        budget = size(family, width, shape)
        given = {"input_shape": shape, "classes": 10}
        assert fit_to(family, parameters=budget, **given) == width
        if width > 1:
            assert fit_to(family, parameters=budget - 1, **given) == width - 1


def test_a_budget_below_the_smallest_names_it():
    smallest = size(mlp, 1, (784,))
    with pytest.raises(AttarError, match=rf"smallest mlp .*\(784,\).* has {smallest} parameters"):
        fit_to(mlp, parameters=smallest - 1, input_shape=(784,), classes=10)


def test_a_huge_budget_takes_no_memory():
    width = fit_to(mlp, parameters=10**12, input_shape=(784,), classes=10)
    assert 999_000 < width < 1_000_000


@pytest.mark.parametrize("largest", [1, 2, 3, 5, 8, 9])
def test_a_family_with_a_largest_member_ends_there(largest):
    family = Family("short", mlp.build, largest=largest)
    given = {"input_shape": (4,), "classes": 3}
    assert fit_to(family, parameters=10**9, **given) == largest
    smallest = count_parameters(family.model(1, **given))
    assert fit_to(family, parameters=smallest, **given) == 1
    with pytest.raises(AttarError, match=rf"'width' parameter of short .*\[1, {largest}\]"):
        family.model(largest + 1, **given)


def test_a_family_of_names_goes_without_a_scaler():
    scaler = Standardize.fit(torch.rand(4, 6))
    given = {"input_shape": (6,), "classes": 2, "scaler": scaler}
    assert isinstance(mlp.model(2, **given), nn.Sequential)
    assert not isinstance(word_bag.model(2, **given), nn.Sequential)


def test_a_name_stands_for_its_family():
    assert all(family_named(name) is family for name, family in FAMILIES.items())
    assert family_named("word_bag") is word_bag
    assert family_named("transformer") is None


def test_fit_to_draws_no_random_numbers():
    before = torch.get_rng_state()
    fit_to(convnet, parameters=50_000, input_shape=(3, 32, 32), classes=10)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_seed_decides_the_weights(name):
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(FAMILIES[name].model(4, input_shape=(1, 8, 8), classes=3).state_dict())
    same, again, other = models
    assert all(torch.equal(same[key], again[key]) for key in same)
    assert not all(torch.equal(same[key], other[key]) for key in same)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_scaler_lets_raw_images_in_and_adds_no_parameters(name):
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    scaler = Standardize.fit(images)
    model = FAMILIES[name].model(4, input_shape=(1, 8, 8), classes=3, scaler=scaler).eval()
    assert count_parameters(model) == size(FAMILIES[name], 4, (1, 8, 8), classes=3)
    bare = model[1]
    assert torch.equal(model(images), bare(scaler(images)))


def test_shared_weights_count_once():
    layer = nn.Linear(3, 3)
    assert count_parameters(nn.Sequential(layer, layer)) == 12


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"width": 0}, "'width' parameter of mlp"),
        ({"width": 2.0}, "'width' parameter of mlp"),
        ({"classes": 0}, "'classes' parameter of mlp"),
    ],
)
def test_numbers_out_of_range_are_refused(given, message):
    given = {"width": 2, "input_shape": (4,), "classes": 2, **given}
    with pytest.raises(AttarError, match=message):
        mlp.model(given.pop("width"), **given)
    with pytest.raises(AttarError, match="'parameters' parameter of fit_to"):
        fit_to(mlp, parameters=0, input_shape=(4,), classes=2)
