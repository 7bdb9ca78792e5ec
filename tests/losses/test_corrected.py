from __future__ import annotations

import inspect

import pytest
import torch

from attar.checks import AttarError
from attar.losses import Objective, corrected, dkd, jsd, kl, soft
from attar.types import UNLABELLED, Batch, Outputs


def draw(seed: int) -> torch.Tensor:
    return 3 * torch.randn(40, 5, generator=torch.Generator().manual_seed(seed))


STUDENT, TEACHER = draw(0), draw(1)
LABELS = torch.randint(5, (40,), generator=torch.Generator().manual_seed(2))
LABELS[::7] = UNLABELLED


def put_right(teacher: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Row by row, as the paper says it."""
    rows = []
    for row, label in zip(teacher.tolist(), labels.tolist(), strict=True):
        best = row.index(max(row))
        if label not in (UNLABELLED, best):
            row[best], row[label] = row[label], row[best]
        rows.append(row)
    return torch.tensor(rows)


@pytest.mark.parametrize("loss", [kl, jsd])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_it_is_the_loss_against_the_teacher_put_right(loss, temperature):
    expected = loss(STUDENT, put_right(TEACHER, LABELS), temperature=temperature)
    values = corrected(loss)(STUDENT, TEACHER, labels=LABELS, temperature=temperature)
    assert torch.equal(values, expected)


def test_without_labels_or_errors_it_is_the_loss_itself():
    plain = kl(STUDENT, TEACHER)
    assert torch.equal(corrected(kl)(STUDENT, TEACHER), plain)
    assert torch.equal(corrected(kl)(STUDENT, TEACHER, labels=TEACHER.argmax(dim=1)), plain)


def test_the_teacher_is_left_as_it_was():
    before = TEACHER.clone()
    corrected(kl)(STUDENT, TEACHER, labels=LABELS)
    assert torch.equal(TEACHER, before)


def test_an_objective_hands_over_labels_and_temperature():
    batch = Batch(torch.zeros(40, 1), torch.arange(40), LABELS)
    objective = Objective([soft(corrected(kl), 1.0, temperature=4.0)])
    loss, parts = objective(Outputs(STUDENT), Outputs(TEACHER), batch)
    torch.testing.assert_close(
        loss, kl(STUDENT, put_right(TEACHER, LABELS), temperature=4.0).mean()
    )
    assert list(parts) == ["corrected_kl"]


def test_it_tells_what_it_takes():
    assert set(inspect.signature(corrected(jsd)).parameters) == {
        *inspect.signature(jsd).parameters,
        "labels",
    }


def test_what_does_not_fit_is_refused():
    with pytest.raises(AttarError, match=r"one class a row, shape \[40\]"):
        corrected(kl)(STUDENT, TEACHER, labels=LABELS[:3])
    with pytest.raises(AttarError, match="dkd looks at the labels itself"):
        corrected(dkd)
