from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from attar.checks import AttarError
from attar.export import load_weights, save_weights


def network(width: int = 5) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 3))


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_what_is_saved_comes_back_bit_by_bit(tmp_path):
    model, other = network(), network()
    model.train()(torch.randn(8, 4))  # the statistics of the batch norm are weights too
    path = tmp_path / "deep" / "student.safetensors"
    save_weights(model, path, metadata={"accuracy": np.float64(0.5), "arms": [1, None]})
    assert not same(model, other)
    assert load_weights(other, path) == {"accuracy": 0.5, "arms": [1, None]}
    assert same(model, other)
    assert [file.name for file in path.parent.iterdir()] == ["student.safetensors"]


def test_tied_and_transposed_weights_come_back(tmp_path):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.second = nn.Linear(4, 4)
            self.second.weight = self.first.weight
            self.register_buffer("view", torch.randn(4, 6).t()[1:])

    model, other = Tied(), Tied()
    save_weights(model, tmp_path / "tied")
    load_weights(other, tmp_path / "tied")
    assert same(model, other)
    assert other.second.weight is other.first.weight


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"0.weight": torch.zeros(5, 4)}, "8 missing in the file: 0.bias, 1.weight, 1.bias, ..."),
        ({**network().state_dict(), "extra": torch.zeros(1)}, "1 not in the model: extra"),
        (
            network(6).state_dict(),
            r"0.weight \(\[6, 4\] float32 in the file, \[5, 4\] float32 in the model\)",
        ),
        (
            {**network().state_dict(), "0.bias": torch.zeros(5).double()},
            r"1 of another shape or type: 0.bias \(\[5\] float64 in the file",
        ),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(tmp_path, tensors, message):
    model = network()
    before = copy.deepcopy(model)
    path = tmp_path / "student.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    with pytest.raises(AttarError, match=f"does not fit the model.*{message}"):
        load_weights(model, path)
    assert same(model, before)


def test_a_file_of_another_maker_has_no_metadata(tmp_path):
    model, other = network(), network()
    save_file(model.state_dict(), tmp_path / "plain")
    assert load_weights(other, tmp_path / "plain") == {}
    assert same(model, other)


def test_the_same_weights_give_the_same_bytes(tmp_path):
    model = network()
    for name in range(8):
        save_weights(model, tmp_path / str(name), metadata={"b": "ü\u2028", "a": [1, 2]})
    assert len({(tmp_path / str(name)).read_bytes() for name in range(8)}) == 1
    other = network()
    assert load_weights(other, tmp_path / "0") == {"b": "ü\u2028", "a": [1, 2]}
    assert same(model, other)


def test_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "student.safetensors"
    with pytest.raises(AttarError, match=r"is no safetensors file: .*No such file"):
        load_weights(network(), path)
    save_weights(network(), path)
    whole = path.read_bytes()
    for length in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(AttarError, match=r"student.safetensors is no safetensors file"):
            load_weights(network(), path)
    torch.save(network().state_dict(), path)  # a pickle: it must not even be tried
    with pytest.raises(AttarError, match="is no safetensors file"):
        load_weights(network(), path)


def test_what_safetensors_cannot_hold_is_refused_before_writing(tmp_path):
    class Odd(nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {"steps": 3}

        def set_extra_state(self, state: object) -> None:
            raise AssertionError

    with pytest.raises(AttarError, match=r"tensors alone. Got dict for '_extra_state' of Odd"):
        save_weights(Odd(2, 2), tmp_path / "x")
    with pytest.raises(AttarError, match="metadata must fit into JSON"):
        save_weights(network(), tmp_path / "x", metadata={"nll": float("inf")})
    assert list(tmp_path.iterdir()) == []
