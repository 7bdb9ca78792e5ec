"""Three ways to combine, by hand and with loops; weights fitted against a grid."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from attar.checks import AttarError
from attar.teachers import fit_weights, mean_log_probability, mean_logit, mean_probability


def example() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 4, generator=generator, dtype=torch.float64) * 3
    weights = torch.rand(5, 3, generator=generator, dtype=torch.float64)
    return logits, weights / weights.sum(dim=1, keepdim=True)


def softmax(row: list[float]) -> list[float]:
    top = max(row)
    powers = [math.exp(value - top) for value in row]
    return [power / sum(powers) for power in powers]


def test_by_hand() -> None:
    two = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]]).log()
    half = torch.tensor([0.5, 0.5])
    torch.testing.assert_close(mean_probability(two, half).exp(), torch.tensor([[0.7, 0.3]]))
    # sqrt(.9 * .5) : sqrt(.1 * .5) = 3 : 1
    torch.testing.assert_close(mean_log_probability(two, half).exp(), torch.tensor([[0.75, 0.25]]))
    logits = torch.tensor([[[4.0, 0.0]], [[0.0, 2.0]]])
    assert mean_logit(logits, torch.tensor([0.25, 0.75])).tolist() == [[1.0, 1.5]]


def test_against_loops_with_weights_of_each_row() -> None:
    logits, weights = example()
    for n in range(5):
        members = [softmax(logits[m, n].tolist()) for m in range(3)]
        w = weights[n].tolist()
        arithmetic = [sum(w[m] * members[m][c] for m in range(3)) for c in range(4)]
        geometric = [math.prod(members[m][c] ** w[m] for m in range(3)) for c in range(4)]
        geometric = [value / sum(geometric) for value in geometric]
        mean = [sum(w[m] * float(logits[m, n, c]) for m in range(3)) for c in range(4)]
        for function, expected in (
            (mean_probability, [math.log(p) for p in arithmetic]),
            (mean_log_probability, [math.log(p) for p in geometric]),
            (mean_logit, mean),
        ):
            said = function(logits, weights)[n]
            torch.testing.assert_close(said, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("combine", [mean_probability, mean_log_probability, mean_logit])
def test_what_holds_for_every_way(combine: object) -> None:
    logits, weights = example()
    assert callable(combine)

    def p(z: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return F.softmax(combine(z, w), dim=-1)

    first = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    wild = logits.clone()
    wild[1:] = 1e4  # a member without weight changes nothing, whatever it says
    torch.testing.assert_close(p(wild, first), F.softmax(logits[0], dim=-1))
    same = logits[:1].expand(3, 5, 4)
    torch.testing.assert_close(p(same, weights), F.softmax(logits[0], dim=-1))
    order = [2, 0, 1]
    torch.testing.assert_close(p(logits[order], weights[:, order]), p(logits, weights))
    torch.testing.assert_close(
        p(logits[..., [3, 1, 0, 2]], weights), p(logits, weights)[:, [3, 1, 0, 2]]
    )
    shift = torch.randn(3, 5, 1, dtype=torch.float64)  # logits are known up to a constant a row
    torch.testing.assert_close(p(logits + shift, weights), p(logits, weights))
    shared = weights[0]
    torch.testing.assert_close(p(logits, shared), p(logits, shared.expand(5, 3)))


def test_mean_of_logits_and_of_log_probabilities_give_the_same_probabilities() -> None:
    """As their docstrings say: they differ by a constant a row."""
    logits, weights = example()
    difference = mean_logit(logits, weights) - mean_log_probability(logits, weights)
    torch.testing.assert_close(difference, difference[:, :1].expand(-1, 4))
    assert not torch.allclose(difference, torch.zeros_like(difference))
    apart = F.softmax(mean_logit(logits, weights), -1) - mean_probability(logits, weights).exp()
    assert float(apart.abs().max()) > 0.05


def validation(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A good member and one that helps a little."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (200,), generator=generator)
    signal = F.one_hot(labels, 3).float()
    noise = torch.randn(2, 200, 3, generator=generator)
    return torch.stack([2.0 * signal + noise[0], 1.0 * signal + noise[1]]), labels


@pytest.mark.parametrize("combine", [mean_probability, mean_log_probability, mean_logit])
def test_fitted_weights_are_the_best_of_a_grid(combine: object) -> None:
    assert callable(combine)
    logits, labels = validation()

    def nll(w: float) -> float:
        mixed = combine(logits.double(), torch.tensor([w, 1 - w], dtype=torch.float64))
        return float(F.cross_entropy(mixed, labels))

    grid = [nll(step / 1000) for step in range(1001)]
    fitted = fit_weights(logits, labels, combine=combine)
    assert float(fitted.sum()) == pytest.approx(1.0, abs=1e-6)
    assert nll(float(fitted[0])) <= min(grid) + 1e-9
    assert float(fitted[0]) == pytest.approx(grid.index(min(grid)) / 1000, abs=2e-3)
    assert torch.equal(fitted, fit_weights(logits, labels, combine=combine))


def test_fitted_weights_at_the_edge_and_in_easy_cases() -> None:
    _, labels = validation()
    right = F.one_hot(labels, 3).float() * 3
    weights = fit_weights(torch.stack([right, -right, -right]), labels)
    assert float(weights[0]) > 0.999
    twins = fit_weights(torch.stack([right, right]), labels)
    torch.testing.assert_close(twins, torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(fit_weights(right[None], labels), torch.ones(1))


def test_unlabelled_rows_are_left_out() -> None:
    logits, labels = validation()
    partly = torch.where(torch.arange(200) < 50, -100, labels)
    expected = fit_weights(logits[:, 50:], labels[50:])
    torch.testing.assert_close(fit_weights(logits, partly), expected)


def test_what_cannot_be_fitted_is_refused() -> None:
    logits, labels = validation()
    with pytest.raises(AttarError, match=r"\[M, N, C\]"):
        fit_weights(logits[0], labels)
    with pytest.raises(AttarError, match=r"200 in all. Got 3"):
        fit_weights(logits, labels[:3])
    with pytest.raises(AttarError, match=r"no row is labelled"):
        fit_weights(logits, torch.full_like(labels, -100))
    with pytest.raises(AttarError, match=r"labels must lie"):
        fit_weights(logits, labels + 1)
    with pytest.raises(AttarError, match=r"finite"):
        fit_weights(logits * math.inf, labels)
