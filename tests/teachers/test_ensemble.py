"""EnsembleTeacher: mixed kinds, weights by row, and members that are not asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from attar.checks import AttarError
from attar.data import ArrayData
from attar.store import label
from attar.teachers import (
    EnsembleTeacher,
    EstimatorTeacher,
    FunctionTeacher,
    ModelTeacher,
    StoredTeacher,
    mean_log_probability,
    mean_logit,
    mean_probability,
)
from attar.types import VIEW, Batch, Outputs


class Says:
    """Always the same probabilities; remembers which ids it was asked about."""

    parameters: int | None = None
    bytes: int | None = None

    def __init__(self, *probabilities: float, parameters: int | None = None) -> None:
        self.row = torch.tensor(probabilities).log()
        self.name = f"says {probabilities}"
        self.parameters = parameters
        self.asked: list[int] = []

    def __call__(self, batch: Batch) -> Outputs:
        assert len(batch.inputs) == len(batch.ids)
        self.asked.extend(batch.ids.tolist())
        return Outputs(self.row.expand(len(batch), -1))

    def fingerprint(self) -> str:
        return self.name


def batch(ids: list[int]) -> Batch:
    return Batch(torch.zeros(len(ids), 2), torch.tensor(ids))


def test_three_ways_by_hand() -> None:
    members = [Says(0.9, 0.1), Says(0.5, 0.5)]
    for combine, expected in (
        (mean_probability, [0.7, 0.3]),
        (mean_log_probability, [0.75, 0.25]),
        (mean_logit, [0.75, 0.25]),
    ):
        said = EnsembleTeacher(members, combine=combine)(batch([0, 1])).logits
        torch.testing.assert_close(torch.softmax(said, dim=1), torch.tensor([expected] * 2))
    weighted = EnsembleTeacher(members, weights=[3.0, 1.0])(batch([0])).logits
    torch.testing.assert_close(weighted.exp(), torch.tensor([[0.8, 0.2]]))


def test_a_member_without_weight_is_not_asked() -> None:
    first, second = Says(0.9, 0.1), Says(0.5, 0.5)
    said = EnsembleTeacher([first, second], weights=[0.0, 2.0])(batch([4, 5])).logits
    torch.testing.assert_close(said.exp(), torch.full((2, 2), 0.5))
    assert first.asked == []
    assert second.asked == [4, 5]


def test_rows_are_labelled_only_by_those_who_may() -> None:
    members = [Says(0.9, 0.1), Says(0.5, 0.5), Says(0.2, 0.8)]
    own = (torch.tensor([7, 3]), torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]))
    ensemble = EnsembleTeacher(members, weights=[1, 0, 0], row_weights=own)
    ids = [3, 8, 7 + 2 * VIEW, 3 + VIEW, 0]  # in every view
    said = ensemble(batch(ids)).logits.exp()
    mixed, alone = [0.55, 0.45], [0.9, 0.1]
    torch.testing.assert_close(said, torch.tensor([mixed, alone, [0.5, 0.5], mixed, alone]))
    assert members[0].asked == [3, 8, 3 + VIEW, 0]
    assert members[1].asked == [7 + 2 * VIEW]
    assert members[2].asked == [3, 3 + VIEW]


def test_a_batch_is_cut_with_all_that_belongs_to_it() -> None:
    seen: list[Batch] = []

    class Looks(Says):
        def __call__(self, batch: Batch) -> Outputs:
            seen.append(batch)
            return Outputs(self.row.expand(len(batch), -1))

    own = (torch.tensor([1]), [[1.0, 0.0]])
    other = FunctionTeacher(lambda x: np.tile([0.9, 0.1], (len(x["a"]), 1)), name="other")
    ensemble = EnsembleTeacher([Looks(0.5, 0.5), other], weights=[0, 1], row_weights=own)
    whole = Batch(
        {"a": torch.arange(3), "b": torch.arange(3) * 2},
        torch.tensor([0, 1, 2]),
        labels=torch.tensor([5, 6, 7]),
        weights=torch.tensor([0.1, 0.2, 0.3]),
    )
    ensemble(whole)
    (part,) = seen
    assert part.inputs["a"].tolist() == [1]
    assert part.inputs["b"].tolist() == [2]
    assert part.labels is not None
    assert part.labels.tolist() == [6]
    assert part.weights is not None
    assert part.weights.tolist() == [pytest.approx(0.2)]


def test_kinds_are_mixed(tmp_path: Path) -> None:
    X = np.random.default_rng(0).random((30, 2)).astype(np.float32)
    data = ArrayData(torch.from_numpy(X), torch.arange(30) % 2)
    linear = nn.Linear(2, 2)
    estimator = LogisticRegression().fit(X, np.arange(30) % 2)
    store = label(ModelTeacher(linear), data, tmp_path / "s")
    ensemble = EnsembleTeacher(
        [linear, estimator, store, lambda x: np.tile([0.3, 0.7], (len(x), 1))]
    )
    assert [type(member) for member in ensemble.members] == [
        ModelTeacher,
        EstimatorTeacher,
        StoredTeacher,
        FunctionTeacher,
    ]
    said = ensemble(data.batch(torch.arange(30))).logits.exp()
    net = torch.softmax(linear(torch.from_numpy(X)), dim=1).detach()
    expected = (
        2 * net + torch.from_numpy(estimator.predict_proba(X)) + torch.tensor([0.3, 0.7])
    ) / 4
    torch.testing.assert_close(said, expected.float(), atol=1e-5, rtol=1e-4)
    assert not ensemble.verified
    labelled = label(ensemble, data, tmp_path / "all")  # the function is probed
    torch.testing.assert_close(labelled.logits(data.rows).exp(), said)


def test_size_is_that_of_the_members_that_answer() -> None:
    small, big, unknown = Says(1, 0, parameters=10), Says(1, 0, parameters=30), Says(1, 0)
    assert EnsembleTeacher([big, small]).parameters == 40
    assert EnsembleTeacher([big, small]).smallest is small
    assert EnsembleTeacher([big, small], weights=[1, 0]).parameters == 30
    assert EnsembleTeacher([big, small], weights=[1, 0]).smallest is big
    assert EnsembleTeacher([big, unknown]).parameters is None
    assert EnsembleTeacher([big, unknown]).smallest is None
    assert EnsembleTeacher([big, small]).bytes is None


def test_fingerprint_follows_members_weights_and_way() -> None:
    a, b = Says(0.9, 0.1), Says(0.5, 0.5)
    own: Any = (torch.tensor([1, 2]), [[1.0, 0.0], [0.0, 1.0]])
    other: Any = (torch.tensor([2, 1]), [[1.0, 0.0], [0.0, 1.0]])
    made = [
        EnsembleTeacher([a, b]),
        EnsembleTeacher([b, a]),
        EnsembleTeacher([a]),
        EnsembleTeacher([a, b], weights=[1, 3]),
        EnsembleTeacher([a, b], combine=mean_logit),
        EnsembleTeacher([a, b], row_weights=own),
        EnsembleTeacher([a, b], row_weights=other),
    ]
    assert len({teacher.fingerprint() for teacher in made}) == len(made)
    assert EnsembleTeacher([a, b], weights=[2, 2]).fingerprint() == made[0].fingerprint()
    flipped: Any = (torch.tensor([2, 1]), [[0.0, 1.0], [1.0, 0.0]])
    assert EnsembleTeacher([a, b], row_weights=flipped).fingerprint() == made[5].fingerprint()
    assert made[0].verified
    assert not EnsembleTeacher([a, b], combine=lambda z, w: z[0]).verified


def test_bad_ensembles_are_refused() -> None:
    a, b, three = Says(0.9, 0.1), Says(0.5, 0.5), Says(0.2, 0.3, 0.5)
    with pytest.raises(AttarError, match=r"same classes. Got 2 from .* and 3 from"):
        EnsembleTeacher([a, three])(batch([0]))
    with pytest.raises(AttarError, match=r"at least one teacher"):
        EnsembleTeacher([])
    with pytest.raises(AttarError, match=r"'weights'.*shape \(2,\).*Got \(3,\)"):
        EnsembleTeacher([a, b], weights=[1, 1, 1])
    with pytest.raises(AttarError, match=r"'weights'.*0 or more.*-1 to 2"):
        EnsembleTeacher([a, b], weights=[-1, 2])
    with pytest.raises(AttarError, match=r"'weights'.*finite"):
        EnsembleTeacher([a, b], weights=[1, float("nan")])
    with pytest.raises(AttarError, match=r"all 0"):
        EnsembleTeacher([a, b], weights=[0, 0])
    with pytest.raises(AttarError, match=r"'row_weights'.*all 0"):
        EnsembleTeacher([a, b], row_weights=(torch.tensor([3]), [[0.0, 0.0]]))
    with pytest.raises(AttarError, match=r"'row_weights'.*shape \(1, 2\)"):
        EnsembleTeacher([a, b], row_weights=(torch.tensor([3]), [[1.0]]))
    with pytest.raises(AttarError, match=r"all different"):
        EnsembleTeacher([a, b], row_weights=(torch.tensor([3, 3]), torch.ones(2, 2)))


def test_each_member_at_its_own_temperature() -> None:
    a, b = Says(0.8, 0.2), Says(0.5, 0.5)
    own = EnsembleTeacher([a, b], temperatures=[0.5, 1.0])
    squares = torch.tensor([0.64, 0.04]) / 0.68  # of a's probabilities
    torch.testing.assert_close(own(batch([0])).logits.exp()[0], (squares + 0.5) / 2)
    assert own.fingerprint() != EnsembleTeacher([a, b]).fingerprint()
    ones = EnsembleTeacher([a, b], temperatures=[1.0, 1.0])
    assert ones.fingerprint() == EnsembleTeacher([a, b]).fingerprint()
    for wrong in ([1.0], [1.0, 0.0], [1.0, -1.0], [1.0, float("nan")]):
        with pytest.raises(AttarError, match="2 finite numbers above 0, one a member"):
            EnsembleTeacher([a, b], temperatures=wrong)
