"""Weights picked from a larger network: which ones, what stays, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from attar.checks import AttarError
from attar.students import Standardize, mlp, pick_weights, plain_convnet


def member(family, width, *, shape=(7,), classes=3, seed=0):
    torch.manual_seed(seed)
    scaler = Standardize(torch.zeros(1) + seed, torch.ones(1))
    return family.model(width, input_shape=shape, classes=classes, scaler=scaler)


@pytest.mark.parametrize(
    ("wide", "narrow", "places"),
    [(8, 4, [0, 2, 4, 6]), (7, 3, [0, 3, 6]), (9, 4, [0, 3, 5, 8]), (5, 5, range(5)), (6, 1, [0])],
)
def test_the_elements_are_those_of_the_published_rule(wide, narrow, places) -> None:
    student, larger = member(mlp, narrow), member(mlp, wide, seed=1)
    pick_weights(student, larger)
    mine, theirs = (
        {name: value.numpy() for name, value in model[1].state_dict().items()}
        for model in (student, larger)
    )
    places = list(places)
    assert np.array_equal(mine["first.weight"], theirs["first.weight"][places])
    assert np.array_equal(mine["first.bias"], theirs["first.bias"][places])
    assert np.array_equal(mine["second.weight"], theirs["second.weight"][np.ix_(places, places)])
    assert np.array_equal(mine["head.weight"], theirs["head.weight"][:, places])
    assert np.array_equal(mine["head.bias"], theirs["head.bias"])


def test_from_one_of_its_own_width_it_is_the_same_function_and_a_copy() -> None:
    student, larger = (member(plain_convnet, 4, shape=(1, 8, 8), seed=seed) for seed in (0, 0))
    with torch.no_grad():
        for tensor in larger.state_dict().values():
            if tensor.is_floating_point() and tensor.ndim and tensor.numel() > 1:
                tensor += torch.rand_like(tensor)  # norms with statistics of their own
    given = {name: value.clone() for name, value in larger.state_dict().items()}
    assert pick_weights(student, larger) is student
    rows = torch.randn(5, 1, 8, 8)
    assert torch.equal(student.eval()(rows), larger.eval()(rows))
    nn.init.zeros_(student[1].head[2].weight)
    assert all(torch.equal(value, given[name]) for name, value in larger.state_dict().items())


def test_norms_come_along_and_the_scaler_stays() -> None:
    student, larger = (
        member(plain_convnet, width, shape=(1, 8, 8), seed=width) for width in (3, 6)
    )
    for part in larger.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.copy_(torch.arange(len(part.running_mean)))
            part.num_batches_tracked.fill_(9)
    norm = pick_weights(student, larger)[1].layers[1]
    assert norm.running_mean.tolist() == [0, 2, 4]
    assert int(norm.num_batches_tracked) == 9
    assert float(student[0].mean) == 3


@pytest.mark.parametrize(
    ("larger", "words"),
    [
        (member(mlp, 4), ["first.weight is (4, 7)", "(5, 7)"]),
        (member(mlp, 9, shape=(6,)), ["first.weight is (9, 6)"]),
        (member(mlp, 9, classes=6), ["1.head.bias gives 3 numbers in the student and 6"]),
        (nn.Sequential(nn.Linear(7, 3)), ["one family and depth", "8 are in one"]),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_written(larger, words) -> None:
    student = member(mlp, 5)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    with pytest.raises(AttarError) as caught:
        pick_weights(student, larger)
    assert all(word in str(caught.value) for word in words), caught.value
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
