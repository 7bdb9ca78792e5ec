"""A student comes back into PyTorch and answers as its file does."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from attar.checks import AttarError
from attar.export import load_student, read_bundle, runtime, save_weights, write_bundle
from attar.export.bundle import ModelFile
from attar.export.onnx import to_onnx
from attar.export.rebuild import Recipe
from attar.students import FAMILIES, Standardize


def answers(model, rows):
    with torch.no_grad():
        return model(torch.from_numpy(rows)).numpy()


def test_a_bundle_and_a_run_give_the_student_back(experiment, zipped, rows, tmp_path):
    run = experiment.save(tmp_path / "run")
    for path in (zipped, run, run / "student.safetensors"):
        model = load_student(path)
        assert not model.training
        np.testing.assert_array_equal(answers(model, rows), answers(experiment.student, rows))
        np.testing.assert_allclose(
            answers(model, rows), runtime.load(zipped).logits(rows), atol=1e-5
        )
        model.train()
        model(torch.from_numpy(rows)).sum().backward()  # it can be trained further


def test_a_calibrated_bundle_comes_back_calibrated(experiment, rows, tmp_path):
    path = experiment.bundle(tmp_path / "x.zip", calibrate=True)
    temperature = read_bundle(path).manifest["models"][0]["temperature"]
    assert temperature == experiment.calibration.temperature != 1
    model = load_student(path)
    np.testing.assert_allclose(
        answers(model, rows), answers(experiment.student, rows) / temperature, rtol=1e-6
    )
    np.testing.assert_allclose(answers(model, rows), runtime.load(path).logits(rows), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_built_from_its_name_and_size(family, tmp_path):
    shape = (12,) if family == "mlp" else (3, 16, 16)
    torch.manual_seed(0)
    rows = torch.randn(20, *shape)
    model = FAMILIES[family].model(5, input_shape=shape, classes=4, scaler=Standardize.fit(rows))
    model(rows)  # the batch norms take some statistics
    told = {"name": "it", "family": family, "width": 5, "input_shape": list(shape)}
    about = {**told, "classes": ["a", "b", "c", "d"], "temperature": 2.0}
    save_weights(model.eval(), tmp_path / "s.safetensors", metadata=about)
    built = load_student(tmp_path / "s.safetensors")
    np.testing.assert_array_equal(answers(built, rows.numpy()), answers(model, rows.numpy()) / 2)


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def test_a_module_of_ones_own_is_given_and_filled(tmp_path):
    torch.manual_seed(0)
    model, rows = Own().eval(), torch.randn(6, 3)
    to_onnx(model, tmp_path / "s.onnx", example=rows, classes=["a", "b"], temperature=4.0)
    save_weights(model, tmp_path / "s.safetensors")
    path = write_bundle(
        tmp_path / "x.zip",
        {"student": ModelFile(tmp_path / "s.onnx")},
        name="own",
        weights=(tmp_path / "s.safetensors").read_bytes(),
    )
    with pytest.raises(
        AttarError, match=r"x\.zip: the student own is of no family.*model=YourModule\(\)"
    ):
        load_student(path)
    built = load_student(path, model=Own())
    np.testing.assert_array_equal(answers(built, rows.numpy()), answers(model, rows.numpy()) / 4)
    with pytest.raises(AttarError, match=r"load_weights: .* does not fit the model"):
        load_student(path, model=nn.Linear(3, 2))
    with pytest.raises(AttarError, match="of no family"):
        load_student(tmp_path / "s.safetensors")


def test_what_cannot_be_rebuilt(experiment, zipped, tmp_path):
    without = experiment.bundle(tmp_path / "x.zip", weights=False)
    with pytest.raises(AttarError, match=r"has no weights for PyTorch.*without --no-weights"):
        load_student(without)
    with pytest.raises(AttarError, match="is no bundle"):
        load_student(tmp_path)
    (tmp_path / "s.safetensors").write_bytes(b"no")
    with pytest.raises(AttarError, match=r"s\.safetensors is no safetensors file"):
        load_student(tmp_path / "s.safetensors")
    save_weights(Own(), tmp_path / "o.safetensors")
    recipe = Recipe("it", "x", "mlp", 5, (3,), ("a", "b"))
    with pytest.raises(AttarError, match=r"it: o\.safetensors does not hold the weights of x"):
        recipe.build(tmp_path / "o.safetensors")
    with zipfile.ZipFile(zipped) as file:  # weights of another size than bundle.json says
        told = json.loads(file.read("bundle.json"))["student"]
        (tmp_path / "w.safetensors").write_bytes(file.read("student.safetensors"))
    told["width"] += 1
    with pytest.raises(AttarError, match="does not fit the model"):
        Recipe.of("it", told, ["a", "b", "c"]).build(tmp_path / "w.safetensors")
