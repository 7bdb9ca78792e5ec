from __future__ import annotations

import pytest
import torch
from torch import nn

from attar.experiment.measure import as_module
from attar.teachers import EnsembleTeacher, FunctionTeacher, ModelTeacher, mean_logit
from attar.types import Batch

ROWS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


def networks() -> list[ModelTeacher]:
    torch.manual_seed(0)
    return [ModelTeacher(nn.Linear(3, 4), outputs="logits", name=str(n)) for n in range(3)]


@pytest.mark.parametrize("temperatures", [None, [0.5, 1.0, 3.0]])
def test_an_ensemble_of_networks_is_one_network_that_says_the_same(temperatures):
    teacher = EnsembleTeacher(networks(), weights=[1, 0, 3], temperatures=temperatures)
    module = as_module(teacher)
    assert module is not None
    said = teacher(Batch(ROWS, torch.arange(5))).logits
    torch.testing.assert_close(module(ROWS).log_softmax(dim=1), said.log_softmax(dim=1))


def test_what_is_no_network_or_is_combined_otherwise_is_none():
    function = FunctionTeacher(lambda x: x[:, :2] * 0 + 0.5, name="function")
    assert as_module(function) is None
    assert as_module(EnsembleTeacher([*networks(), function])) is None
    assert as_module(EnsembleTeacher(networks(), combine=mean_logit)) is None
