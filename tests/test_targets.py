"""What sparse targets keep of a distribution, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from attar.checks import AttarError
from attar.targets import best
from attar.types import Outputs, SampledTargets, SparseTargets, TopKTargets, dense_logits


def draw(rows: int, classes: int, *, seed: int = 0, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, classes, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kept_probabilities_and_the_rest_are_exact_at_every_recorded_temperature(temperature):
    logits = draw(6, 50)
    known = TopKTargets.of(logits, 5, temperatures=[4.0, 0.5, 1.0]).at(temperature)
    for row, values in enumerate(logits.tolist()):
        powers = [math.exp(value / temperature) for value in values]
        order = sorted(range(50), key=lambda c: -values[c])
        assert known.indices[row].tolist() == order[:5]
        expected = [powers[c] / sum(powers) for c in order]
        assert known.probabilities[row].tolist() == pytest.approx(expected[:5], rel=1e-9)
        assert known.log_probabilities[row].exp().tolist() == pytest.approx(expected[:5], rel=1e-9)
        assert float(known.rest[row]) == pytest.approx(sum(expected[5:]), rel=1e-9)
        parts = [*expected[:5], sum(expected[5:])]
        assert float(known.negative_entropy[row]) == pytest.approx(
            sum(p * math.log(p) for p in parts), rel=1e-9
        )


def test_a_constant_added_to_a_row_changes_nothing():
    logits = draw(4, 20)
    here = TopKTargets.of(logits, 3, temperatures=[2.0]).at(2.0)
    there = TopKTargets.of(logits + 100.0, 3, temperatures=[2.0]).at(2.0)
    torch.testing.assert_close(here, there)


def test_a_servers_log_probabilities_can_be_given_as_they_are():
    logs = draw(4, 20).log_softmax(dim=1)
    values, indices = logs.topk(3, dim=1)
    targets = TopKTargets(values, indices, torch.zeros(4, 1), (1.0,), 20)
    torch.testing.assert_close(targets.at(1.0).probabilities, values.exp())


def test_the_dense_view_spreads_the_rest_evenly():
    logits = draw(5, 12)
    for temperature in (1.0, 3.0):
        targets = TopKTargets.of(logits, 4, temperatures=[1.0, 3.0])
        p = targets.dense(temperature).div(temperature).softmax(dim=1)
        true = (logits / temperature).softmax(dim=1)
        kept = targets.indices
        torch.testing.assert_close(p.gather(1, kept), true.gather(1, kept))
        others = torch.ones_like(p).scatter(1, kept, 0.0).bool()
        rest = true[others].reshape(5, 8).mean(dim=1, keepdim=True).expand(5, 8)
        torch.testing.assert_close(p[others].reshape(5, 8), rest)
        assert targets.dense(temperature).shape == targets.shape == (5, 12)


def test_all_classes_kept_are_the_softmax_at_any_temperature():
    logits = draw(5, 12)
    targets = TopKTargets.of(logits, 12)
    for temperature in (0.3, 1.0, 7.0):
        dense = targets.dense(temperature)
        expected = (logits / temperature).softmax(dim=1)
        torch.testing.assert_close((dense / temperature).softmax(dim=1), expected)
        assert targets.at(temperature).rest is None


def test_a_certain_teacher_leaves_a_rest_of_nothing_and_finite_logits():
    logits = torch.tensor([[1e4, 0.0, -1e4, 5.0]])
    targets = TopKTargets.of(logits, 2)
    assert targets.at(1.0).rest.tolist() == [0.0]
    assert targets.at(1.0).negative_entropy.tolist() == [0.0]
    assert targets.dense(1.0).isfinite().all()
    assert targets.dense(1.0).softmax(dim=1)[0].tolist() == pytest.approx([1, 0, 0, 0])


def test_equal_logits_are_kept_in_the_order_of_their_indices():
    logits = torch.tensor([[1.0, 3.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0, 2.0]])
    values, indices = best(logits, 2)
    assert indices.tolist() == [[1, 2], [0, 1]]
    assert values.tolist() == [[3.0, 3.0], [2.0, 2.0]]
    wide = torch.zeros(3, 5000)
    wide[:, 4000] = 1.0
    assert best(wide, 4)[1].tolist() == [[4000, 0, 1, 2]] * 3
    assert TopKTargets.of(logits, 3).argmax().tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_logits_are_raised(dtype):
    logits = draw(4, 30).to(dtype)
    targets = TopKTargets.of(logits, 5)
    assert targets.logits.dtype == torch.float32
    expected = logits.float().softmax(dim=1).gather(1, targets.indices)
    torch.testing.assert_close(targets.at(1.0).probabilities, expected)


def test_draws_follow_the_distribution():
    logits = draw(1, 12, scale=1.5).expand(4000, 12)
    p = (logits[0] / 2.0).softmax(dim=0)
    targets = SampledTargets.of(logits, torch.arange(4000), 5, temperatures=[1.0, 2.0])
    counts = torch.nn.functional.one_hot(targets.indices[:, 1], 12).sum(dim=1).double()
    # Systematic draws: 5 p rounded up or down, never further off.
    assert ((counts - 5 * p).abs() < 1.0).all()
    # The mean over 4,000 rows lies within 5 standard errors, class by class.
    error = counts.std(dim=0) / math.sqrt(4000)
    assert ((counts.mean(dim=0) - 5 * p).abs() <= 5 * error + 1e-12).all()
    assert (counts.std(dim=0) > 0).sum() >= 10
    entropy = -(p * p.log()).sum()
    torch.testing.assert_close(targets.entropy[:, 1], entropy.float().expand(4000))


def test_draws_hang_on_seed_id_and_logits_alone():
    logits, ids = draw(40, 30), torch.arange(40) * 2**40 + 5
    whole = SampledTargets.of(logits, ids, 6, temperatures=[1.0, 3.0], seed=4)
    some = torch.tensor([31, 2, 17])
    part = SampledTargets.of(logits[some], ids[some], 6, temperatures=[3.0, 1.0], seed=4)
    assert torch.equal(part.indices, whole.indices[some])
    other = SampledTargets.of(logits, ids, 6, temperatures=[1.0, 3.0], seed=5)
    assert not torch.equal(other.indices, whole.indices)
    far = SampledTargets.of(logits, ids, 6, seed=2**62 + 1)
    assert far.indices.shape == (40, 1, 6)
    same = SampledTargets.of(logits[:1].expand(40, 30), ids, 6)
    assert len(torch.unique(same.indices[:, 0], dim=0)) > 5  # rows differ by their id


def test_the_dense_view_of_draws_is_their_share():
    targets = SampledTargets(torch.tensor([[[2, 0, 2, 2]]]), torch.zeros(1, 1), (2.0,), 4)
    p = (targets.dense(2.0) / 2.0).softmax(dim=1)
    torch.testing.assert_close(p, torch.tensor([[0.25, 0.0, 0.75, 0.0]]))


@pytest.mark.parametrize(
    "targets",
    [
        TopKTargets.of(torch.arange(8.0).reshape(2, 4), 2, temperatures=[2.0, 1.0]),
        SampledTargets.of(
            torch.arange(8.0).reshape(2, 4), torch.arange(2), 3, temperatures=[2.0, 1.0]
        ),
    ],
)
def test_what_the_kinds_share(targets):
    assert isinstance(targets, SparseTargets)
    assert targets.shape == (2, 4)
    assert len(targets) == 2
    assert targets.temperatures == (1.0, 2.0)
    assert targets.to("cpu").device == torch.device("cpu")
    assert targets.to("meta").device == torch.device("meta")
    with pytest.raises(AttarError, match=r"says nothing at temperature 3.*made for 1, 2\. Use one"):
        targets.at(3.0)
    with pytest.raises(AttarError, match=r"made for 1, 2"):
        targets.dense(1.5)
    with pytest.raises(AttarError, match=r"evaluate: the logits of all classes .* 4 classes"):
        dense_logits("evaluate", Outputs(targets))


def test_wrong_shapes_and_numbers_are_named():
    logits, indices, sums = (
        torch.zeros(2, 3),
        torch.zeros(2, 3, dtype=torch.int64),
        torch.zeros(2, 1),
    )
    with pytest.raises(AttarError, match=r"same shape \[B, k\].*Got \(2, 3\) and \(2, 2\)"):
        TopKTargets(logits, indices[:, :2], sums, (1.0,), 5)
    with pytest.raises(AttarError, match=r"k from 1 to the 2 classes"):
        TopKTargets(logits, indices, sums, (1.0,), 2)
    with pytest.raises(AttarError, match=r"log_sum_exp must have shape \[2, 2\].*Got \(2, 1\)"):
        TopKTargets(logits, indices, sums, (1.0, 2.0), 5)
    with pytest.raises(AttarError, match=r"indices must have shape \[B, 1, n\].*Got \(2, 3\)"):
        SampledTargets(indices, sums, (1.0,), 5)
    with pytest.raises(AttarError, match=r"'k' parameter of TopKTargets.of .*\[1, 3\].*Got 4"):
        TopKTargets.of(logits, 4)
    with pytest.raises(AttarError, match=r"'draws' parameter of SampledTargets.of .*Got 0"):
        SampledTargets.of(logits, torch.arange(2), 0)
    for bad in ([], [1.0, 1.0]):
        with pytest.raises(AttarError, match="must name one or more temperatures, each once"):
            TopKTargets.of(logits, 2, temperatures=bad)
    with pytest.raises(AttarError, match=r"'temperatures' parameter .*Got 0.0"):
        TopKTargets.of(logits, 2, temperatures=[0.0])
