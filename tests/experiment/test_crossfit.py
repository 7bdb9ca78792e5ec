"""Networks label out of fold, resumably fold by fold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.model_selection import TimeSeriesSplit
from torch import nn

import attar
from attar.data import ArrayData
from attar.experiment.crossfit import cross_fit_networks


def noise(count: int = 80) -> ArrayData:
    """Labels that the inputs say nothing about: whoever is right has seen them."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randperm(count, generator=generator) % 2
    return ArrayData(torch.randn(count, 60, generator=generator), labels, classes=("no", "yes"))


def make() -> nn.Module:
    return nn.Sequential(nn.Linear(60, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 2))


class Fit:
    """By heart; may be killed before a fold."""

    def __init__(self, stop: int | None = None) -> None:
        self.seen: list[torch.Tensor] = []
        self.stop = stop

    def __call__(self, network: nn.Module, rows: Any) -> None:
        if len(self.seen) == self.stop:
            raise KeyboardInterrupt
        self.seen.append(rows.rows)
        assert network.training
        optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(rows.inputs), rows.labels).backward()
            optimizer.step()


def right(store: attar.Store, data: ArrayData) -> float:
    return float((store.logits(data.rows).argmax(dim=1) == data.labels).float().mean())


def test_a_network_no_longer_labels_what_it_has_seen(tmp_path: Path) -> None:
    data, fit = noise(), Fit()
    network = make()
    fit(network, data)
    with pytest.warns(UserWarning, match="If it was fitted on them"):
        assert right(attar.label(network, data, tmp_path / "by heart"), data) == 1.0
    store = attar.label(make, data, tmp_path / "out", folds=4, fit=Fit())
    # Chance is 1/2; four standard deviations around it are 0.22.
    assert abs(right(store, data) - 0.5) < 0.22
    assert store.manifest["teacher"]["parameters"] == sum(p.numel() for p in network.parameters())


def test_each_row_is_labelled_by_the_network_that_did_not_see_it() -> None:
    data, fit = noise(), Fit()
    teacher = cross_fit_networks(make, fit, data, folds=4)
    everything, *folds = fit.seen
    assert len(everything) == 80
    said = teacher(data.batch(torch.arange(80))).logits
    for rows, member in zip(folds, teacher.members[1:], strict=True):
        held = ~torch.isin(data.rows, rows)
        assert int(held.sum()) == 20
        own = member(data.batch(held.nonzero()[:, 0])).logits
        torch.testing.assert_close(said[held], own.log_softmax(dim=1))


def test_a_killed_call_goes_on_with_the_next_fold(tmp_path: Path) -> None:
    data = noise()
    whole = attar.label(make, data, tmp_path / "whole", folds=4, fit=Fit())
    stopped = Fit(stop=3)
    with pytest.raises(KeyboardInterrupt):
        attar.label(make, data, tmp_path / "killed", folds=4, fit=stopped)
    rest = Fit()
    again = attar.label(make, data, tmp_path / "killed", folds=4, fit=rest)
    assert (len(stopped.seen), len(rest.seen)) == (3, 2)
    assert torch.equal(again.logits(data.rows), whole.logits(data.rows))
    nothing = Fit(stop=0)
    attar.label(make, data, tmp_path / "killed", folds=4, fit=nothing)  # all is there


def test_the_random_state_of_the_caller_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    cross_fit_networks(make, Fit(), noise(), folds=2)
    assert torch.equal(torch.rand(3), expected)


def test_a_trained_network_answers_the_rows_without_a_label(tmp_path: Path) -> None:
    data = noise()
    labels = data.labels.clone()
    labels[60:] = attar.UNLABELLED
    data = data.with_labels(labels)
    full = make().eval()
    store = attar.label(make, data, tmp_path / "s", folds=2, fit=Fit(), full=full)
    said = store.logits(torch.arange(60, 80))
    torch.testing.assert_close(said, full(data.inputs[60:]).detach().log_softmax(dim=1))


def test_rows_that_no_fold_holds_out_stay_out_of_the_store(tmp_path: Path) -> None:
    data = noise()
    with pytest.warns(UserWarning, match=r"no fold holds out 16 of 80 rows \(the first is row 0\)"):
        store = attar.label(
            make, data, tmp_path / "s", folds=TimeSeriesSplit(4), fit=Fit(), keep=tmp_path / "nets"
        )
    assert sorted(store.ids.tolist()) == list(range(16, 80))
    assert sorted(path.name for path in (tmp_path / "nets").iterdir())[-1] == (
        "network-4.safetensors"
    )
    # The store says so itself, also to someone who opens it later.
    again = attar.Store.open(tmp_path / "s")
    assert again.manifest["data"]["left_out"] == [[0, 16]]
    why = r"2 of 3 ids were left out .*, the first is row 3: no fold held them out"
    with pytest.raises(attar.AttarError, match=why):
        again.logits(torch.tensor([20, 3, 15]))
    with pytest.raises(attar.AttarError, match=r"1 of 1 ids are not in .* row 80 in view 0"):
        again.logits(torch.tensor([80]))


def test_networks_of_other_labels_are_refused(tmp_path: Path) -> None:
    data = noise()
    cross_fit_networks(make, Fit(), data, folds=2, keep=tmp_path)
    with pytest.raises(attar.AttarError, match="other folds, rows or labels"):
        cross_fit_networks(make, Fit(), data, folds=3, keep=tmp_path)
    other = data.with_labels(1 - data.labels)
    with pytest.raises(attar.AttarError, match="other folds, rows or labels"):
        cross_fit_networks(make, Fit(), other, folds=2, keep=tmp_path)


@pytest.mark.parametrize(
    ("teacher", "more", "message"),
    [
        (make(), {"folds": 2, "fit": Fit()}, "must be a callable without arguments that makes one"),
        (make(), {"folds": 2}, "give a function that makes one and fit="),
        (make, {"fit": Fit()}, "fit= goes with folds="),
        (make(), {"groups": [0] * 80}, "groups= goes with folds="),
        (lambda: 3, {"folds": 2, "fit": Fit()}, "the factory must give a torch.nn.Module. Got int"),
        (make, {"folds": 2, "fit": lambda n, r: 3}, "fit must give a torch.nn.Module or None"),
    ],
)
def test_what_cannot_be_cross_fitted_is_refused(
    teacher: Any, more: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(attar.AttarError, match=message):
        attar.label(teacher, noise(), tmp_path / "s", **more)
    assert not (tmp_path / "s").exists()
