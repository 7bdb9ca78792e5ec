"""Logits or probabilities: decided once, and a contradiction is not let through."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

from attar.checks import AttarError
from attar.teachers.outputs import OutputKind, log_probabilities, looks_like_probabilities


def test_probabilities_become_their_logarithms() -> None:
    kind = OutputKind("auto", owner="it")
    logits = kind(torch.tensor([[0.2, 0.8], [0.5, 0.5]], dtype=torch.float64))
    assert kind.decided == "probabilities"
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, torch.tensor([[0.2, 0.8], [0.5, 0.5]]).log())


def test_logits_pass_as_they_are() -> None:
    kind = OutputKind("auto", owner="it")
    answer = torch.tensor([[3.0, -1.0], [0.2, 0.8]])
    assert torch.equal(kind(answer), answer)
    assert kind.decided == "logits"
    log_probabilities_are_logits = torch.tensor([[0.2, 0.8]]).log()
    assert torch.equal(kind(log_probabilities_are_logits), log_probabilities_are_logits)


def test_zeros_are_floored_and_the_row_still_sums_to_one() -> None:
    logits = log_probabilities(torch.tensor([[1.0, 0.0, 0.0]]), floor=1e-3)
    torch.testing.assert_close(logits.exp().sum(dim=1), torch.ones(1))
    assert float(logits[0, 1]) == pytest.approx(math.log(1e-3 / 1.002), abs=1e-5)
    softened = torch.softmax(logits / 20.0, dim=1)
    assert bool(torch.isfinite(softened).all())
    # Order is kept: what was smaller than the floor does not overtake what was larger.
    small = log_probabilities(torch.tensor([[0.99899, 1e-3, 1e-5, 0.0]]), floor=1e-4)
    assert small[0, 1] > small[0, 2]
    assert small[0, 2] == small[0, 3]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([[0.3, 0.7]], True),
        ([[0.3004, 0.7]], True),
        ([[0.302, 0.7]], False),
        ([[1.2, -0.2]], False),
        ([[math.nan, 1.0]], False),
        ([[0.0, 1.0]], True),
    ],
)
def test_what_looks_like_probabilities(answer: list[list[float]], expected: bool) -> None:
    assert looks_like_probabilities(torch.tensor(answer)) is expected


def test_probabilities_first_then_logits_raises() -> None:
    kind = OutputKind("auto", owner="the teacher 'x'")
    kind(torch.tensor([[0.25, 0.75]]))
    with pytest.raises(AttarError, match=r"'x'.*first answer was taken for probabilities.*-2 to 3"):
        kind(torch.tensor([[-2.0, 3.0]]))


def test_logits_first_then_probabilities_raises_when_it_cannot_be_chance() -> None:
    kind = OutputKind("auto", owner="it")
    kind(torch.tensor([[-2.0, 3.0]]))
    kind(torch.full((2, 2), 0.5))  # two rows of logits may look like that
    with pytest.raises(AttarError, match=r"taken for logits, but.*all of its 8 rows"):
        kind(torch.full((8, 2), 0.5))
    forced = OutputKind("logits", owner="it")
    assert torch.equal(forced(torch.full((8, 2), 0.5)), torch.full((8, 2), 0.5))


def test_forced_probabilities_are_held_to_it() -> None:
    kind = OutputKind("probabilities", owner="it")
    with pytest.raises(AttarError, match=r"must be probabilities.*sums from 2 to 2"):
        kind(torch.ones(1, 2))


def test_scores_that_are_neither_get_a_warning() -> None:
    kind = OutputKind("auto", owner="it")
    with pytest.warns(UserWarning, match=r"do not sum to 1"):
        kind(torch.tensor([[0.9, 0.8]] * 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        OutputKind("logits", owner="it")(torch.tensor([[0.9, 0.8]] * 8))
        OutputKind("auto", owner="it")(torch.tensor([[0.9, 0.8]]))  # a row may fall there


def test_bad_parameters_are_named() -> None:
    with pytest.raises(AttarError, match=r"'outputs' parameter of it.*'probs'"):
        OutputKind("probs", owner="it")  # type: ignore[arg-type]
    with pytest.raises(AttarError, match=r"'floor' parameter of it"):
        OutputKind("auto", owner="it", floor=1.0)


def test_a_first_answer_that_is_not_finite_decides_nothing() -> None:
    kind = OutputKind("auto", owner="it")
    with pytest.raises(AttarError, match=r"finite.*id 5"):
        kind(torch.tensor([[math.nan, 1.0]]), ids=torch.tensor([5]))
    assert kind.decided == "auto"
