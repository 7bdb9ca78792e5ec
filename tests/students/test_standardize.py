from __future__ import annotations

import pytest
import torch

from attar.checks import AttarError
from attar.students import Standardize, count_parameters


def test_vectors_a_feature_at_a_time_by_hand():
    scaler = Standardize.fit(torch.tensor([[1.0, 10], [3, 30], [5, 50]]))
    assert scaler.mean.tolist() == [3, 30]
    assert torch.allclose(scaler.std, torch.tensor([8 / 3, 800 / 3]).sqrt())
    assert torch.allclose(scaler(torch.tensor([[3.0, 50]])), torch.tensor([[0, 1.5**0.5]]))


def test_images_a_channel_at_a_time():
    images = torch.randint(0, 256, (50, 3, 4, 5), dtype=torch.uint8)
    scaler = Standardize.fit(images)
    assert scaler.mean.shape == scaler.std.shape == (3, 1, 1)
    out = scaler(images)
    assert out.dtype == torch.float32
    assert torch.allclose(out.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(out.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)
    assert Standardize.fit(images[:, 0]).mean.shape == (1, 1)


@pytest.mark.parametrize("shape", [(23, 7), (23, 2, 3, 5), (23, 3, 5)])
def test_pieces_give_what_the_whole_gives(shape, monkeypatch):
    inputs = torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * 5 + 100
    axes = {2: 0, 3: (0, 1, 2), 4: (0, 2, 3)}[len(shape)]
    monkeypatch.setattr("attar.students.standardize._CHUNK", 40)  # few rows, the last piece short
    scaler = Standardize.fit(inputs)
    double = inputs.double()
    assert torch.allclose(scaler.mean.flatten().double(), double.mean(axes).flatten(), rtol=1e-6)
    std = double.std(axes, correction=0).flatten()
    assert torch.allclose(scaler.std.flatten().double(), std, rtol=1e-6)


def test_a_large_offset_does_not_eat_the_spread():
    # In float32 the usual E[x^2] - E[x]^2 gives nonsense here.
    column = torch.tensor([[10_000.0], [10_001], [10_002]])
    assert float(Standardize.fit(column).std) == pytest.approx((2 / 3) ** 0.5, rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 7.0, 0.1, -1e30, 1e-30])
def test_a_constant_feature_gives_zero_and_does_not_explode(value):
    inputs = torch.full((1000, 1), value)
    scaler = Standardize.fit(inputs)
    assert float(scaler.std) == 1
    assert float(scaler(inputs).abs().max()) <= 1e-6 * abs(value)


def test_features_of_any_scale_are_served():
    inputs = torch.tensor([[1e-12, 1e12], [3e-12, 3e12]])
    assert torch.allclose(Standardize.fit(inputs)(inputs), torch.tensor([[-1.0, -1], [1, 1]]))


def test_nothing_is_trained_and_all_is_saved():
    scaler = Standardize.fit(torch.tensor([[1.0], [3.0]]))
    assert count_parameters(scaler) == 0
    assert {k: v.tolist() for k, v in scaler.state_dict().items()} == {"mean": [2], "std": [1]}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Standardize.fit(torch.zeros(0, 3)), r"at least one row. Got \(0, 3\)"),
        (lambda: Standardize.fit(torch.zeros(3)), r"Got \(3,\)"),
        (lambda: Standardize.fit({"x": torch.zeros(1, 1)}), "Got dict"),
        (lambda: Standardize.fit(torch.tensor([[float("nan")]])), "must be finite"),
        (lambda: Standardize(torch.zeros(2), torch.ones(3)), r"same shape. Got \(2,\) and \(3,\)"),
        (lambda: Standardize(torch.zeros(1), torch.zeros(1)), "std above 0"),
        (lambda: Standardize(torch.zeros(1), torch.full((1,), float("inf"))), "finite"),
    ],
)
def test_broken_statistics_are_refused(make, message):
    with pytest.raises(AttarError, match=message):
        make()
