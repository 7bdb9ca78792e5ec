"""Weights, means and normalisers: what a batch's loss is made of."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attar.checks import AttarError
from attar.losses import (
    Objective,
    Part,
    Term,
    cross_entropy,
    hard,
    jsd,
    kl,
    logit_mse,
    pseudo,
    soft,
)
from attar.types import UNLABELLED, Batch, Outputs


def draw(rows: int, classes: int = 4, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(rows, classes, generator=generator, dtype=torch.float64)


def batch_of(labels: list[int] | None, weights: list[float] | None = None, rows: int = 0) -> Batch:
    rows = rows or len(labels or [])
    return Batch(
        inputs=torch.zeros(rows, 1),
        ids=torch.arange(rows),
        labels=None if labels is None else torch.tensor(labels),
        weights=None if weights is None else torch.tensor(weights),
    )


def part(batch: Batch, rows: slice) -> Batch:
    return Batch(
        batch.inputs[rows],
        batch.ids[rows],
        None if batch.labels is None else batch.labels[rows],
        None if batch.weights is None else batch.weights[rows],
    )


def test_by_hand():
    # Row 1 is labelled: q = (1/4, 3/4), label 1. Teacher (1/2, 1/2) on row 1, equal on row 2.
    student = Outputs(torch.tensor([[0.0, math.log(3.0)], [1.0, 1.0]]))
    teacher = Outputs(torch.zeros(2, 2))
    objective = Objective([hard(0.25), soft(kl, 0.75)])
    loss, parts = objective(student, teacher, batch_of([1, UNLABELLED]))
    cross = math.log(4 / 3)
    divergence = 0.5 * math.log(2.0) + 0.5 * math.log(2 / 3)
    assert loss.item() == pytest.approx(0.25 * cross + 0.75 * divergence / 2, rel=1e-5)
    assert list(parts) == ["hard", "kl"]
    assert parts["hard"].sum.item() == pytest.approx(cross, rel=1e-5)
    assert float(parts["hard"].count) == 1
    assert parts["kl"].mean.item() == pytest.approx(divergence / 2, rel=1e-5)
    assert parts["kl"].count == 2


def test_it_is_the_plain_formula_of_distillation():
    student, teacher = draw(16).requires_grad_(), draw(16, seed=1)
    labels = torch.randint(0, 4, (16,), generator=torch.Generator().manual_seed(2))
    objective = Objective([hard(0.1), soft(kl, 0.9, temperature=4.0)])
    loss, _ = objective(Outputs(student), Outputs(teacher), batch_of(labels.tolist()))
    soft_loss = F.kl_div(
        F.log_softmax(student / 4, 1), F.softmax(teacher / 4, 1), reduction="batchmean"
    )
    plain = 0.9 * 16 * soft_loss + 0.1 * F.cross_entropy(student, labels)
    torch.testing.assert_close(loss, plain)
    (ours,) = torch.autograd.grad(loss, student)
    (theirs,) = torch.autograd.grad(plain, student)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_hard_mean_is_over_the_labelled_rows(smoothing):
    student = draw(4)
    labels = [2, UNLABELLED, 0, UNLABELLED]
    loss, parts = Objective([hard(1.0, smoothing=smoothing)])(
        Outputs(student), None, batch_of(labels)
    )
    alone = cross_entropy(student[[0, 2]], torch.tensor([2, 0]), smoothing=smoothing)
    torch.testing.assert_close(loss, alone.mean())
    assert float(parts["hard"].count) == 2


@pytest.mark.parametrize("weights", [None, [0.3, 0.1, 2.0]])
def test_without_a_labelled_row_the_hard_term_is_nothing(weights):
    student, teacher = draw(3).requires_grad_(), draw(3, seed=1)
    batch = batch_of([UNLABELLED] * 3, weights)
    both = Objective([hard(0.5), soft(kl, 0.5)])
    loss, parts = both(Outputs(student), Outputs(teacher), batch)
    alone, _ = Objective([soft(kl, 0.5)])(Outputs(student), Outputs(teacher), batch)
    assert loss.item() == alone.item()
    (ours,) = torch.autograd.grad(loss, student)
    (theirs,) = torch.autograd.grad(alone, student)
    assert torch.equal(ours, theirs)
    assert parts["hard"].sum.item() == parts["hard"].mean.item() == 0

    loss, _ = Objective([hard(1.0)])(Outputs(student), None, batch)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_sample_weights_weigh_rows_within_their_term():
    student, teacher = draw(3), draw(3, seed=1)
    labels, weights = [1, UNLABELLED, 3], [0.5, 4.0, 1.5]
    objective = Objective([hard(0.3), soft(kl, 0.7, temperature=2.0)])
    loss, parts = objective(Outputs(student), Outputs(teacher), batch_of(labels, weights))
    crosses = cross_entropy(student, torch.tensor([1, 0, 3]))
    divergences = kl(student, teacher, temperature=2.0)
    expected_hard = (0.5 * crosses[0] + 1.5 * crosses[2]) / 2.0
    expected_soft = (0.5 * divergences[0] + 4 * divergences[1] + 1.5 * divergences[2]) / 6.0
    torch.testing.assert_close(loss, 0.3 * expected_hard + 0.7 * expected_soft)
    assert float(parts["hard"].count) == pytest.approx(2.0)
    assert float(parts["kl"].count) == pytest.approx(6.0)


def test_a_row_of_weight_two_is_a_row_that_comes_twice():
    student, teacher = draw(3), draw(3, seed=1)
    objective = Objective([hard(0.4), soft(jsd, 0.6)])
    weighted, _ = objective(
        Outputs(student), Outputs(teacher), batch_of([0, 1, UNLABELLED], [2.0, 1.0, 1.0])
    )
    twice = [0, 0, 1, 2]
    repeated, _ = objective(
        Outputs(student[twice]), Outputs(teacher[twice]), batch_of([0, 0, 1, UNLABELLED])
    )
    torch.testing.assert_close(weighted, repeated)


def test_weights_far_below_one_are_divided_out():
    student, labels = draw(2), [1, 0]
    expected, _ = Objective([hard(1.0)])(Outputs(student), None, batch_of(labels))
    loss, _ = Objective([hard(1.0)])(Outputs(student), None, batch_of(labels, [1e-6, 1e-6]))
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0, 0.25, 3.0, 1.0]])
@pytest.mark.parametrize("labels", [[1, 0, 3, UNLABELLED, UNLABELLED, 2], [UNLABELLED] * 5 + [1]])
def test_share_makes_the_mean_over_processes_exact(labels, weights):
    """Two processes with different numbers of rows and of labelled rows, simulated."""
    student, teacher = draw(6).requires_grad_(), draw(6, seed=1)
    objective = Objective([hard(0.3), soft(kl, 0.7, temperature=2.0), pseudo(0.1)])
    whole = batch_of(labels, weights)
    loss, _ = objective(Outputs(student), Outputs(teacher), whole)
    (slope,) = torch.autograd.grad(loss, student)

    shards = (slice(0, 4), slice(4, 6))
    # First, what each process would ask the others about; then, with their mean as the answer.
    asked: list[list[Tensor]] = []
    for rows in shards:
        mine: list[Tensor] = []
        objective(
            Outputs(student[rows]),
            Outputs(teacher[rows]),
            part(whole, rows),
            share=lambda count, mine=mine: mine.append(count) or count,
        )
        asked.append(mine)
    losses = []
    for rows in shards:
        answers = iter([(a + b) / 2 for a, b in zip(*asked, strict=True)])
        shard_loss, parts = objective(
            Outputs(student[rows]),
            Outputs(teacher[rows]),
            part(whole, rows),
            share=lambda _, answers=answers: next(answers),
        )
        losses.append(shard_loss)
        own = (torch.tensor(labels[rows]) != UNLABELLED).double()
        if weights is not None:
            own *= torch.tensor(weights[rows], dtype=torch.float64)
        assert float(parts["hard"].count) == pytest.approx(own.sum().item())
    mean = (losses[0] + losses[1]) / 2
    torch.testing.assert_close(mean, loss)
    (shared,) = torch.autograd.grad(mean, student)
    torch.testing.assert_close(shared, slope)


def test_parts_carry_no_gradient_and_add_up_over_batches():
    student, teacher = draw(6).requires_grad_(), draw(6, seed=1)
    objective = Objective([hard(0.1), soft(kl, 0.9)])
    whole = batch_of([1, UNLABELLED, 0, UNLABELLED, UNLABELLED, 2])
    _, all_at_once = objective(Outputs(student), Outputs(teacher), whole)
    pieces = [
        objective(Outputs(student[rows]), Outputs(teacher[rows]), part(whole, rows))[1]
        for rows in (slice(0, 2), slice(2, 6))
    ]
    for name, expected in all_at_once.items():
        assert not expected.sum.requires_grad
        assert not torch.as_tensor(expected.count).requires_grad
        added = Part(
            pieces[0][name].sum + pieces[1][name].sum, pieces[0][name].count + pieces[1][name].count
        )
        torch.testing.assert_close(added.mean, expected.mean)


def test_a_part_without_rows_has_the_mean_zero():
    assert Part(torch.tensor(0.0), torch.tensor(0.0)).mean.item() == 0
    assert Part(torch.tensor(0.0), 0).mean.item() == 0
    assert Part(torch.tensor(3.0), torch.tensor(2.0)).mean.item() == 1.5


def test_an_empty_batch_gives_zero_and_no_nan():
    student = torch.zeros(0, 4, requires_grad=True)
    batch = Batch(torch.zeros(0, 1), torch.arange(0), torch.zeros(0, dtype=torch.int64))
    objective = Objective([hard(0.5), soft(kl, 0.5)])
    loss, _ = objective(Outputs(student), Outputs(torch.zeros(0, 4)), batch)
    assert loss.item() == 0


def test_pseudo_takes_the_label_and_else_the_choice_of_the_teacher():
    student = draw(3)
    teacher = torch.tensor([[0.0, 0.0, 0.0, 9.0]] * 3, dtype=torch.float64)
    loss, parts = Objective([pseudo(1.0)])(
        Outputs(student), Outputs(teacher), batch_of([1, UNLABELLED, 0])
    )
    torch.testing.assert_close(loss, cross_entropy(student, torch.tensor([1, 3, 0])).mean())
    assert parts["pseudo"].count == 3
    loss, _ = Objective([pseudo(1.0)])(Outputs(student), Outputs(teacher), batch_of(None, rows=3))
    torch.testing.assert_close(loss, cross_entropy(student, torch.tensor([3, 3, 3])).mean())


def test_terms_of_one_name_get_parts_of_their_own():
    objective = Objective(
        [
            soft(kl, 0.5, temperature=1.0),
            Term("kl_2", 0.1, lambda s, t, b: (s.logits[:, 0], None)),
            soft(kl, 0.5, temperature=4.0),
            soft(kl, 0.5, temperature=8.0),
        ]
    )
    student, teacher = draw(3), draw(3, seed=1)
    _, parts = objective(Outputs(student), Outputs(teacher), batch_of([0, 0, 0]))
    assert list(parts) == ["kl", "kl_2", "kl_3", "kl_4"]
    for name, temperature in (("kl", 1.0), ("kl_3", 4.0), ("kl_4", 8.0)):
        expected = kl(student, teacher, temperature=temperature).mean()
        torch.testing.assert_close(parts[name].mean, expected)


def test_a_loss_of_ones_own_is_called_as_it_is_written():
    def with_one_and_its_own_default(student, teacher, *, temperature=3.0):
        return torch.full((len(student),), temperature)

    def without(student, teacher):
        return (student - teacher).abs().sum(dim=1)

    student, teacher = draw(3), draw(3, seed=1)
    objective = Objective(
        [
            soft(with_one_and_its_own_default, 1.0, temperature=7.0),
            soft(without, 1.0),
            soft(functools.partial(jsd, beta=0.1), 1.0, temperature=2.0),
        ]
    )
    _, parts = objective(Outputs(student), Outputs(teacher), batch_of([0, 0, 0]))
    assert list(parts) == ["with_one_and_its_own_default", "without", "jsd"]
    assert parts["with_one_and_its_own_default"].mean.item() == 7.0
    torch.testing.assert_close(parts["without"].mean, without(student, teacher).mean())
    expected = jsd(student, teacher, beta=0.1, temperature=2.0).mean()
    torch.testing.assert_close(parts["jsd"].mean, expected)


def test_a_term_may_count_some_rows_by_a_rule_of_its_own():
    def first_class_only(student, teacher, batch):
        return student.logits.square().sum(dim=1), batch.labels == 0

    student = draw(4)
    objective = Objective([Term("first", 2.0, first_class_only)])
    loss, _ = objective(Outputs(student), None, batch_of([0, 1, 0, 2], [1.0, 5.0, 3.0, 5.0]))
    squares = student.square().sum(dim=1)
    torch.testing.assert_close(loss, 2.0 * (squares[0] + 3 * squares[2]) / 4)


@pytest.mark.parametrize("weighted", [False, True])
def test_nothing_waits_for_the_device(weighted):
    """Tensors of the meta device have no values: whatever reads one raises."""
    student = torch.zeros(4, 3, device="meta", requires_grad=True)
    labels = torch.zeros(4, dtype=torch.int64, device="meta")
    weights = torch.ones(4, device="meta") if weighted else None
    objective = Objective(
        [hard(0.1), hard(0.1, smoothing=0.1), soft(kl, 0.9), soft(jsd, 0.1), pseudo(0.1)]
    )
    batch = Batch(torch.zeros(4, 1), torch.arange(4), labels, weights)
    teacher = Outputs(torch.zeros(4, 3, device="meta"))
    for share in (None, lambda count: count / 2):
        loss, parts = objective(Outputs(student), teacher, batch, share=share)
        loss.backward()
        assert all(found.mean.device.type == "meta" for found in parts.values())


def test_losses_in_a_half_type_are_added_up_in_float32():
    # In float16 the sum of 4096 ones and a half would stop at 4096 or be rounded to it.
    objective = Objective([Term("ones", 1.0, lambda s, t, b: (s.logits[:, 0].half(), None))])
    logits = torch.ones(4097, 2)
    logits[0] = 0.5
    _, parts = objective(Outputs(logits), None, batch_of(None, rows=4097))
    assert parts["ones"].sum.item() == 4096.5


def test_a_soft_term_without_a_teacher_is_named():
    objective = Objective([hard(0.1), soft(kl, 0.9)])
    assert objective.needs_teacher
    assert not Objective([hard(1.0)]).needs_teacher
    with pytest.raises(AttarError, match=r"the term 'kl' needs the teacher.*Pass"):
        objective(Outputs(torch.zeros(2, 3)), None, batch_of([0, 1]))
    with pytest.raises(AttarError, match="'pseudo' needs the teacher"):
        Objective([pseudo(1.0)])(Outputs(torch.zeros(2, 3)), None, batch_of([0, 1]))


def test_a_hard_term_without_labels_is_named():
    with pytest.raises(AttarError, match=r"hard: the batch has no labels \(None\).*-100"):
        Objective([hard(1.0)])(Outputs(torch.zeros(2, 3)), None, batch_of(None, rows=2))


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf, "0.5", None])
def test_a_bad_weight_is_named(weight):
    for make in (hard, pseudo, lambda w: soft(kl, w)):
        with pytest.raises(AttarError, match=r"'weight' parameter of the term '\w+' must be"):
            make(weight)


def test_other_bad_arguments_are_named():
    with pytest.raises(AttarError, match="'smoothing' parameter of hard"):
        hard(1.0, smoothing=-0.1)
    with pytest.raises(AttarError, match="'temperature' parameter of soft"):
        soft(kl, 1.0, temperature=0.0)
    with pytest.raises(AttarError, match=r"soft: temperature=4.0 .*'logit_mse' has no parameter"):
        soft(logit_mse, 1.0, temperature=4.0)
    with pytest.raises(AttarError, match=r"Objective: terms must be .*Got \[\]"):
        Objective([])
    with pytest.raises(AttarError, match="Objective: terms must be"):
        Objective([kl])


@pytest.mark.parametrize(
    "reduce", [lambda x: x.mean(), lambda x: x.sum(dim=1, keepdim=True), lambda x: x]
)
def test_a_loss_that_is_not_one_number_a_row_is_named(reduce):
    def mine(student, teacher):
        return reduce((student - teacher) ** 2)

    with pytest.raises(AttarError, match=r"the term 'mine' must have one value a row, shape \[3\]"):
        Objective([soft(mine, 1.0)])(Outputs(draw(3)), Outputs(draw(3)), batch_of([0, 0, 0]))
