from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from attar import Outputs
from attar.checks import AttarError
from attar.export import quantize, quantize_aware, runtime, to_onnx
from attar.export.rounding import RoundedActivation, RoundedLayer, settled, with_rounding
from attar.students import Standardize, convnet, mlp, plain_convnet


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_an_activation_is_rounded_to_the_steps_of_its_range():
    rounding = RoundedActivation()
    rounding(torch.tensor([-1.0, 0.0, 1.55]))  # the first batch sets the range: steps of 0.01
    rounding.eval()
    scale, zero = rounding.grid()
    assert float(scale) == pytest.approx(0.01)
    assert int(zero) == 100
    got = rounding(torch.tensor([0.012, 0.0, 9.0, -9.0]))
    torch.testing.assert_close(got, torch.tensor([0.01, 0.0, 1.55, -1.0]))
    rounding.train()
    rounding(torch.tensor([-3.0, 0.0]))  # the second is half of two
    assert float(rounding.low) == pytest.approx(-2.0)


def test_a_layers_weights_are_rounded_channel_by_channel_and_learn_through_it():
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[127.0, 3.4], [1.27, 0.034]]))
    rounded = RoundedLayer(layer, 127)
    said = rounded(torch.eye(2))
    torch.testing.assert_close(said.T, torch.tensor([[127.0, 3.0], [1.27, 0.03]]))
    said.sum().backward()
    torch.testing.assert_close(layer.weight.grad, torch.ones(2, 2))  # straight through


@pytest.mark.parametrize("family", [convnet, plain_convnet, mlp], ids=lambda f: f.name)
def test_without_rounding_the_copy_is_the_student(family):
    """Folding batch normalisation changes nothing; only the rounding does, and it is small."""
    scaler = Standardize.fit(torch.rand(50, 1, 8, 8) * 255)
    student = family.model(8, input_shape=(1, 8, 8), classes=4, scaler=scaler)
    inputs = torch.rand(64, 1, 8, 8) * 255
    for _ in range(3):
        student.train()(inputs)  # batch normalisation with statistics of its own
    student.eval()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    copy = with_rounding(student)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in copy.modules())
    layers = sum(isinstance(m, nn.Conv2d | nn.Linear) for m in student.modules())
    assert sum(isinstance(m, RoundedLayer) for m in copy.modules()) == layers
    with torch.no_grad():
        copy.train()(inputs)  # the ranges
        rounded, plain = copy.eval()(inputs), student(inputs)
        for module in copy.modules():
            if isinstance(module, RoundedActivation):
                module.forward = lambda values: values
            elif isinstance(module, RoundedLayer):
                module.forward = module.layer.forward
        torch.testing.assert_close(copy(inputs), plain, rtol=1e-4, atol=1e-5)
    assert 0 < float((rounded - plain).abs().max()) < 0.2 * float(plain.std()) + 0.05
    for name, value in student.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_where_values_meet_they_are_rounded_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.a(x) + self.b(x)

    copy = with_rounding(Twice())
    # x once for both layers, and each side of the sum.
    assert sum(isinstance(m, RoundedActivation) for m in copy.modules()) == 3


def test_settled_answers_as_the_trained_one():
    student = convnet.model(4, input_shape=(1, 8, 8), classes=3)
    for narrow in (False, True):
        copy = with_rounding(student, reduce_range=narrow)
        inputs = torch.rand(32, 1, 8, 8)
        copy.train()(inputs)
        with torch.no_grad():
            torch.testing.assert_close(settled(copy)(inputs), copy.eval()(inputs))


@pytest.fixture(scope="module")
def trained():
    """A student that rounding hurts: one channel's weights are far larger than the others."""
    torch.manual_seed(0)
    inputs = torch.randn(1500, 16)
    teacher = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 3)).eval()
    with torch.no_grad():
        logits = 3 * teacher(inputs)
    student = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 3))
    optimizer = torch.optim.AdamW(student.parameters(), 1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(student(inputs), logits.softmax(dim=1)).backward()
        optimizer.step()
    return inputs, logits, student.eval()


def aware(trained, path, **choices):
    inputs, logits, student = trained
    labels = logits.argmax(dim=1)
    choices = {
        "train": (inputs[:1000], labels[:1000]),
        "teacher": lambda batch: Outputs(logits[batch.ids]),
        "validation": (inputs[1000:], labels[1000:]),
        "seconds": 0.0,
        "max_drop": 3.0,
        "temperature": 1.0,
        "epochs": 2,
        "batch_size": 50,
    } | choices
    return quantize_aware(student, path, **choices)


def test_the_file_is_the_trained_network(tmp_path, trained):
    path = tmp_path / "int8.onnx"
    seen = []
    result = aware(trained, path, metadata={"accuracy": 0.5}, progress=seen.append)
    assert seen[-1].step == 40
    assert result.method == "qat"
    assert result.parity is not None
    assert result.parity < 0.05
    student = runtime.load(path)
    inputs, logits, _ = trained
    right = student.logits(inputs[1000:]).argmax(axis=1) == logits[1000:].argmax(dim=1).numpy()
    assert result.validation.accuracy == right.mean()
    assert student.metadata["quantization"]["parity"] == result.parity
    assert student.metadata["accuracy"] == 0.5
    graph = onnx.load(path).graph
    whole = [numpy_helper.to_array(t) for t in graph.initializer if t.data_type == 3]
    assert sorted(w.size for w in whole if w.ndim == 2) == [72, 384]
    assert not [t for t in graph.initializer if t.data_type == 1 and len(t.dims) == 2]
    for weights in whole:
        assert weights.min(initial=0) >= -127


def test_training_with_rounding_wins_back_what_rounding_lost(tmp_path, trained):
    """A first layer that is scaled so that int8 is coarse for it; the logits stay the same."""
    inputs, logits, student = trained
    labels = logits.argmax(dim=1)
    hurt = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 3))
    hurt.load_state_dict(student.state_dict())
    scale = torch.logspace(-2.5, 2.5, 24)[:, None]
    with torch.no_grad():  # relu(s x) / s = relu(x): activations of very different sizes
        hurt[0].weight *= scale
        hurt[0].bias *= scale[:, 0]
        hurt[2].weight /= scale.T
    to_onnx(hurt, tmp_path / "float.onnx", example=inputs[:100], classes=("0", "1", "2"))
    held = (inputs[1000:], labels[1000:])
    static = quantize(
        tmp_path / "float.onnx",
        tmp_path / "static.onnx",
        train=(inputs[:1000], None),
        validation=held,
        max_drop=100,
        seconds=0,
    )
    result = aware(
        (inputs, logits, hurt),
        tmp_path / "qat.onnx",
        epochs=30,
        learning_rate=1e-2,
        max_drop=100,
        tolerance=1.0,
    )
    assert static.validation.drop > 5
    assert result.validation.drop < static.validation.drop / 2


def test_seven_bits(tmp_path, trained):
    aware(trained, tmp_path / "seven.onnx", reduce_range=True, epochs=1)
    graph = onnx.load(tmp_path / "seven.onnx").graph
    whole = [numpy_helper.to_array(t) for t in graph.initializer if t.data_type == 3]
    assert max(np.abs(weights.astype(int)).max(initial=0) for weights in whole) == 63


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("student", "message"),
    [
        (nn.Sequential(nn.Linear(16, 3), Branching()), "cannot be traced by torch.fx"),
        (nn.Sequential(nn.Identity(), nn.AvgPool1d(5, 5)), "no convolution and no linear layer"),
    ],
)
def test_what_cannot_be_rounded(student, message):
    with pytest.raises(AttarError, match=message):
        with_rounding(student)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"epochs": 0}, "'epochs' parameter of quantize_aware"),
        ({"alpha": 1.5}, "'alpha' parameter of quantize_aware"),
        ({"max_drop": -1.0}, "'max_drop' parameter of quantize"),
        ({"tolerance": -1.0}, "'tolerance' parameter of quantize_aware"),
        ({"validation": (torch.zeros(3, 16), None)}, "must have labels"),
        ({"tolerance": 0.0, "epochs": 1}, "does not answer as the trained network does"),
    ],
)
def test_what_is_refused(tmp_path, trained, choices, message):
    with pytest.raises(AttarError, match=message):
        aware(trained, tmp_path / "int8.onnx", **choices)
    assert not list(tmp_path.iterdir())
