"""Metrics: values by hand, invariances, slow references, broken inputs."""

from __future__ import annotations

import math

import pytest
import torch

from attar import UNLABELLED, AttarError
from attar.evaluation import accuracy, agreement, brier, ece, kl_to_teacher, nll

LABELLED = [accuracy, nll, brier, ece]
FIDELITY = [agreement, kl_to_teacher]


def logits_of(probabilities):
    return torch.tensor(probabilities, dtype=torch.float64).log()


@pytest.fixture
def example():
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(200, 5, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 5, (200,), generator=generator)


def test_values_by_hand():
    logits = logits_of([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25], [0.1, 0.3, 0.6]])
    labels = torch.tensor([0, 2, 2])
    assert accuracy(logits, labels) == pytest.approx(2 / 3)
    assert nll(logits, labels) == pytest.approx(-math.log(0.7 * 0.25 * 0.6) / 3)
    squares = (0.09 + 0.04 + 0.01) + (0.0625 + 0.25 + 0.5625) + (0.01 + 0.09 + 0.16)
    assert brier(logits, labels) == pytest.approx(squares / 3)
    # One row a bin: |1 - 0.7|, |0 - 0.5|, |1 - 0.6|.
    assert ece(logits, labels) == pytest.approx((0.3 + 0.5 + 0.4) / 3)
    # One bin: |accuracy - mean confidence|.
    assert ece(logits, labels, bins=1) == pytest.approx(2 / 3 - 0.6)


def test_fidelity_by_hand():
    student = logits_of([[0.5, 0.5 - 1e-9], [0.9, 0.1]])
    teacher = logits_of([[0.75, 0.25], [0.2, 0.8]])
    assert agreement(student, teacher) == 0.5
    first = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    second = 0.2 * math.log(0.2 / 0.9) + 0.8 * math.log(0.8 / 0.1)
    assert kl_to_teacher(student, teacher) == pytest.approx((first + second) / 2, rel=1e-7)


def test_kl_is_of_teacher_to_student_and_not_the_reverse():
    sharp, flat = logits_of([[0.99, 0.01]]), logits_of([[0.5, 0.5]])
    assert kl_to_teacher(sharp, flat) == pytest.approx(-0.5 * math.log(4 * 0.99 * 0.01))
    assert kl_to_teacher(sharp, flat) > 2 * kl_to_teacher(flat, sharp)


@pytest.mark.parametrize("classes", [2, 7])
def test_a_model_that_knows_nothing(classes):
    logits, labels = torch.zeros(classes, classes), torch.arange(classes)
    assert nll(logits, labels) == pytest.approx(math.log(classes))
    assert brier(logits, labels) == pytest.approx((classes - 1) / classes)


def test_a_model_that_is_sure():
    labels = torch.tensor([0, 1, 2])
    sure = 1e4 * torch.eye(3)
    assert (accuracy(sure, labels), nll(sure, labels), brier(sure, labels)) == (1.0, 0.0, 0.0)
    assert ece(sure, labels) == 0.0
    wrong = sure.roll(1, dims=1)
    assert nll(wrong, labels) == 1e4  # finite: no log of a probability that underflowed
    assert brier(wrong, labels) == 2.0
    assert ece(wrong, labels) == 1.0


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
def test_ece_is_that_of_a_slow_reference(example, bins):
    logits, labels = example
    sums = [[0, 0.0, 0] for _ in range(bins)]
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        weights = [math.exp(z) for z in row]
        confidence = max(weights) / sum(weights)
        for b in range(bins):
            if b / bins < confidence <= (b + 1) / bins:
                sums[b][0] += 1
                sums[b][1] += confidence
                sums[b][2] += row.index(max(row)) == label
    expected = sum(n / 200 * abs(right / n - sure / n) for n, sure, right in sums if n)
    assert ece(logits, labels, bins=bins) == pytest.approx(expected, abs=1e-12)


def test_ece_bins_are_closed_on_the_right():
    # 0.5 belongs to (0, 0.5], apart from 0.75: |1 - 0.5| / 2 + |0 - 0.75| / 2.
    logits, labels = logits_of([[0.5, 0.25, 0.25], [0.75, 0.125, 0.125]]), torch.tensor([0, 1])
    assert ece(logits, labels, bins=2) == pytest.approx(0.625)
    # In one bin the two would cancel to |1 - 1.25| / 2.
    assert ece(logits, labels, bins=1) == pytest.approx(0.125)


@pytest.mark.parametrize("metric", LABELLED)
def test_labelled_metrics_do_not_see_row_shifts_and_class_order(metric, example):
    logits, labels = example
    expected = metric(logits, labels)
    shifted = logits + torch.linspace(-50, 50, 200, dtype=torch.float64)[:, None]
    assert metric(shifted, labels) == pytest.approx(expected, abs=1e-12)
    order = torch.tensor([3, 0, 4, 1, 2])  # new column j is old class order[j]
    assert metric(logits[:, order], order.argsort()[labels]) == pytest.approx(expected, abs=1e-12)
    rows = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    assert metric(logits[rows], labels[rows]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", FIDELITY)
def test_fidelity_does_not_see_row_shifts_and_class_order(metric, example):
    student, _ = example
    teacher = student.flip(0)
    expected = metric(student, teacher)
    shift = torch.linspace(-50, 50, 200, dtype=torch.float64)[:, None]
    assert metric(student + shift, teacher - 2 * shift) == pytest.approx(expected, abs=1e-12)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert metric(student[:, order], teacher[:, order]) == pytest.approx(expected, abs=1e-12)


def test_a_student_that_is_its_teacher(example):
    logits, _ = example
    assert agreement(logits, logits) == 1.0
    assert kl_to_teacher(logits, logits) == 0.0
    assert kl_to_teacher(logits + 3, logits) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("metric", LABELLED)
def test_unlabelled_rows_are_left_out(metric, example):
    logits, labels = example
    hidden = labels.clone()
    hidden[::3] = UNLABELLED
    kept = hidden != UNLABELLED
    assert metric(logits, hidden) == metric(logits[kept], labels[kept])
    with pytest.raises(AttarError, match=rf"{metric.__name__}: no row is labelled.*All 200"):
        metric(logits, torch.full_like(labels, UNLABELLED))


def test_half_types_are_counted_in_float64():
    # 4,096 rows of nll log 2: a float16 sum would stick at 2,048.
    assert nll(torch.zeros(4096, 2, dtype=torch.float16), torch.zeros(4096, dtype=torch.int64)) == (
        pytest.approx(math.log(2), rel=1e-12)
    )


@pytest.mark.parametrize("metric", LABELLED)
def test_broken_inputs_are_refused(metric, example):
    logits, labels = example
    with pytest.raises(AttarError, match=rf"{metric.__name__}: labels must have 200 rows"):
        metric(logits, labels[:-1])
    with pytest.raises(AttarError, match=r"must lie in \[0, 4\].*Got 5"):
        metric(logits, torch.where(labels == 0, 5, labels))
    with pytest.raises(AttarError, match=r"int64"):
        metric(logits, labels.float())
    with pytest.raises(AttarError, match=r"shape \[N, C\]"):
        metric(logits[:, 0], labels)
    broken = logits.clone()
    broken[17, 2] = math.nan
    with pytest.raises(AttarError, match=r"finite.*row 17"):
        metric(broken, labels)


@pytest.mark.parametrize("metric", FIDELITY)
def test_broken_pairs_are_refused(metric, example):
    logits, _ = example
    with pytest.raises(AttarError, match=rf"{metric.__name__}.*same shape"):
        metric(logits, logits[:, :4])
    with pytest.raises(AttarError, match="at least one row"):
        metric(logits[:0], logits[:0])
    broken = logits.clone()
    broken[3] = -math.inf
    with pytest.raises(AttarError, match=r"teacher logits must be finite.*row 3"):
        metric(logits, broken)


def test_bins_must_be_a_whole_number(example):
    with pytest.raises(AttarError, match="'bins' parameter of ece"):
        ece(*example, bins=0)
