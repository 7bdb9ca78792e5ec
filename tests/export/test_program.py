"""The .pt2 file: proven, for any number of rows, without the code of the model."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from attar.checks import AttarError
from attar.export import to_pt2


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
            nn.Linear(4 * 6 * 6, 3),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.float() / 255)


class Branches(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.float() if x.float().mean() > 3 else -x.float())


class Noisy(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(super().forward(x), 0.5, training=True)


@pytest.fixture
def images():
    return torch.randint(0, 256, (9, 1, 8, 8), dtype=torch.uint8)


def test_it_answers_as_the_model_elsewhere_and_for_any_number_of_rows(tmp_path, images):
    model = Net().train()
    path = tmp_path / "s.pt2"
    export = to_pt2(
        model, path, example=images, classes=["a", "b", "c"], metadata={"nll": 1}, temperature=2.5
    )
    assert (export.rows_checked, export.bytes) == (9, path.stat().st_size)
    assert export.max_probability_difference < 1e-6
    assert export.temperature == 2.5
    assert model.training  # it was not touched
    many = torch.randint(0, 256, (70, 1, 8, 8), dtype=torch.uint8)
    np.save(tmp_path / "rows.npy", many.numpy())
    script = (  # a process that knows nothing of Net
        "import sys, numpy as np, torch; about = {'attar.json': ''}\n"
        "program = torch.export.load('s.pt2', extra_files=about).module()\n"
        "rows = torch.from_numpy(np.load('rows.npy'))\n"
        "parts = [program(some) for some in (rows[:1], rows[1:3], rows[3:])]\n"
        "np.savez('said.npz', *[torch.cat(one).detach().numpy() for one in zip(*parts)])\n"
        "print(about['attar.json'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    about = json.loads(done.stdout)
    assert about == {"classes": ["a", "b", "c"], "temperature": 2.5, "metadata": {"nll": 1}}
    said = np.load(tmp_path / "said.npz")
    with torch.no_grad():
        expected = model.eval()(many) / 2.5
    np.testing.assert_allclose(said["arr_0"], expected, atol=1e-5)
    np.testing.assert_allclose(said["arr_1"], expected.softmax(dim=1), atol=1e-6)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Branches(), "torch.export cannot follow Branches for any number of rows"),
        (Noisy(), "the exported file does not answer as the model does"),
        (nn.Linear(3, 3), "the model cannot answer the example"),
        (torch.relu, "must be a torch module"),
    ],
    ids=["branches", "noisy", "shape", "function"],
)
def test_a_model_that_cannot_be_shipped_leaves_nothing(tmp_path, images, model, message, capfd):
    with pytest.raises(AttarError, match=f"^to_pt2: .*{message}"):
        to_pt2(model, tmp_path / "s.pt2", example=images, classes=["a", "b", "c"])
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": "abc"}, "classes must be names"),
        ({"example": torch.zeros(4)}, "at least one row"),
        ({"temperature": 0.0}, "'temperature' parameter of to_pt2"),
        ({"metadata": {"x": float("inf")}}, "metadata must fit into JSON"),
    ],
)
def test_arguments_are_checked_first(tmp_path, images, arguments, message):
    given = {"example": images, "classes": ["a", "b", "c"], **arguments}
    with pytest.raises(AttarError, match=message):
        to_pt2(Net(), tmp_path / "s.pt2", **given)
    assert list(tmp_path.iterdir()) == []
