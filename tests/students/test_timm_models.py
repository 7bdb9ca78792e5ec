"""With a stand-in for timm, whose own requirement torchvision wants a torch of its own build."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from attar.checks import AttarError, MissingExtraError
from attar.export import load_student
from attar.export.weights import save_weights
from attar.students import Standardize, count_parameters, family_named, fit_to, timm_models

SMALL = ("mobilenetv3_small_050", "mobilenetv3_small_075")
WIDTHS = dict(zip(SMALL, (4, 6), strict=True))
GIVEN = {"input_shape": (1, 32, 32), "classes": 5}


def create_model(name, *, pretrained, in_chans, num_classes):
    assert not pretrained
    width = WIDTHS[name]
    return nn.Sequential(
        nn.Conv2d(in_chans, width, 3, bias=False),
        nn.BatchNorm2d(width),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, num_classes),
    )


@pytest.fixture(autouse=True)
def timm(monkeypatch):
    stand_in = SimpleNamespace(is_model=lambda name: name in WIDTHS, create_model=create_model)
    monkeypatch.setitem(sys.modules, "timm", stand_in)


def test_models_are_sized_by_their_place():
    family = timm_models(*SMALL)
    first, second = (count_parameters(family.model(width, **GIVEN)) for width in (1, 2))
    assert first < second
    assert fit_to(family, parameters=second - 1, **GIVEN) == 1
    assert fit_to(family, parameters=10**9, **GIVEN) == 2


def test_one_is_built_again_from_its_name(tmp_path):
    torch.manual_seed(0)
    family, rows = timm_models(SMALL[0]), torch.randn(4, 1, 32, 32)
    model = family.model(1, **GIVEN, scaler=Standardize.fit(rows)).eval()
    told = {"name": "it", "family": family.name, "width": 1, "input_shape": [1, 32, 32]}
    save_weights(model, tmp_path / "s.safetensors", metadata={**told, "classes": list("abcde")})
    built = load_student(tmp_path / "s.safetensors")
    assert torch.equal(built(rows), model(rows))
    assert model(rows).shape == (4, 5)


@pytest.mark.parametrize("name", ["hf-hub:someone/something", "../x", "no_such_net", "", "a.b.c"])
def test_a_name_that_is_none_of_timms_is_refused_and_nothing_is_fetched(name):
    with pytest.raises(AttarError, match="no model of that name"):
        timm_models(name)
    with pytest.raises(AttarError, match="no model of that name"):
        family_named(f"timm:{SMALL[0]}+{name}")


def test_rows_that_are_no_images_are_refused():
    with pytest.raises(AttarError, match=r"mobilenetv3_small_050: needs images .* Got \(64,\)"):
        timm_models(SMALL[0]).model(1, input_shape=(64,), classes=3)


def test_without_timm_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"needs timm, .*pip install 'attar\[timm\]'"):
        timm_models(SMALL[0])
