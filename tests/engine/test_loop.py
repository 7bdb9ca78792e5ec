from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from attar import AttarError, Batch, Outputs
from attar.data import ArrayData, Batches
from attar.engine import Distiller, NonFiniteLossError, Record, TrainConfig, train
from attar.losses import Objective, hard, kl, soft
from attar.types import UNLABELLED


def rows(count: int = 64, *, labelled: int | None = None) -> ArrayData:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, 5, generator=generator)
    labels = (inputs.sum(dim=1) > 0).long()
    if labelled is not None:
        labels[labelled:] = UNLABELLED
    return ArrayData(inputs, labels, classes=("no", "yes"))


def teacher(batch: Batch) -> Outputs:
    total = batch.inputs.sum(dim=1)
    return Outputs(torch.stack([-total, total], dim=1))


def student(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def run(model: nn.Module, **numbers: object) -> list[Record]:
    config = TrainConfig(**{"steps": 60, "log_every": 10, "learning_rate": 0.01, **numbers})  # type: ignore[arg-type]
    distiller = Distiller(model, Objective([soft(kl, 0.9, temperature=2.0), hard(0.1)]), teacher)
    return list(train(distiller, Batches(rows(), 16), config))


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_step_is_the_adamw_step_of_a_hand_written_loop() -> None:
    model, by_hand = student(), student()
    model.eval()  # the loop must switch dropout on itself
    config = TrainConfig(steps=7, log_every=7, weight_decay=0.1, max_gradient_norm=0.5, warmup=0)
    batches = Batches(rows(), 16, seed=5)
    list(train(Distiller(model, Objective([hard(1.0)])), batches, config))

    by_hand.train()
    matrices = [p for p in by_hand.parameters() if p.ndim > 1]
    vectors = [p for p in by_hand.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    )
    torch.manual_seed(0)
    for step in range(7):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * 0.5 * (1 + math.cos(math.pi * step / 7))
        batch = batches.at(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(by_hand(batch.inputs), batch.labels).backward()
        nn.utils.clip_grad_norm_(by_hand.parameters(), 0.5)
        optimizer.step()
    torch.testing.assert_close(weights(model), weights(by_hand), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("limit", [1e-3, 1e3])
def test_the_short_way_and_accelerates_own_do_the_same(
    limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = student(), student()
    one = run(short, max_gradient_norm=limit)
    monkeypatch.setattr("attar.engine.loop._PLAIN", ())
    other = run(long, max_gradient_norm=limit)
    torch.testing.assert_close(weights(short), weights(long), rtol=1e-3, atol=1e-5)
    norms = [r.gradient_norm for r in one]
    assert norms == pytest.approx([r.gradient_norm for r in other], rel=1e-3)
    assert norms[0] is not None
    assert 1e-3 < norms[0] < 1e3  # so the first limit scales and the second does not


def test_two_runs_with_one_seed_give_the_same_bits() -> None:
    first, second, other = student(), student(), student()
    assert [r.loss for r in run(first)] == [r.loss for r in run(second)]
    assert torch.equal(weights(first), weights(second))
    run(other, seed=1)  # another seed, other dropout
    assert not torch.equal(weights(first), weights(other))


def test_records_say_what_happened() -> None:
    records = run(student(), steps=25)
    assert [r.step for r in records] == [10, 20, 25]
    assert records[-1].loss < records[0].loss
    for record in records:
        parts = record.parts
        assert record.loss == pytest.approx(0.9 * parts["kl"] + 0.1 * parts["hard"], rel=1e-5)
    assert not torch.is_tensor(records[0].loss)


def test_rows_without_labels_leave_no_trace_in_the_hard_part() -> None:
    model = student()
    objective = Objective([soft(kl, 0.5, temperature=2.0), hard(0.5)])
    config = TrainConfig(steps=8, log_every=4)
    data = rows(64, labelled=0)
    records = list(train(Distiller(model, objective, teacher), Batches(data, 16), config))
    assert all(r.parts["hard"] is None and math.isfinite(r.loss) for r in records)
    assert bool(torch.isfinite(weights(model)).all())


def test_the_schedule_warms_up_and_ends_near_zero() -> None:
    config = TrainConfig(steps=100, learning_rate=1.0, warmup=0.1)
    rates = [config.learning_rate_at(step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == 1.0
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] < 0.001


def scripted(values: list[float]) -> Iterator[dict[str, float]]:
    for value in values:
        yield {"accuracy": value, "nll": 1.0}


def test_the_best_weights_are_kept_and_patience_stops() -> None:
    script = scripted([0.5, 0.8, 0.7, 0.6, 0.9])
    seen = []

    def validate(model: nn.Module) -> dict[str, float]:
        assert not model.training
        seen.append(weights(model).clone())
        return next(script)

    model = student()
    config = TrainConfig(steps=100, log_every=5, evaluate_every=10, patience=2)
    distiller = Distiller(model, Objective([hard(1.0)]))
    records = list(train(distiller, Batches(rows(), 16), config, validate=validate))
    assert records[-1].step == 40  # 0.7 and 0.6 were no better than 0.8
    assert [r.best for r in records if r.validation] == [True, True, False, False]
    assert torch.equal(weights(model), seen[1])
    assert not torch.equal(weights(model), seen[3])


def test_a_tie_in_accuracy_is_broken_by_the_likelihood() -> None:
    values = iter([{"accuracy": 0.5, "nll": 1.0}, {"accuracy": 0.5, "nll": 0.9}])
    config = TrainConfig(steps=20, log_every=10, evaluate_every=10)
    distiller = Distiller(student(), Objective([hard(1.0)]))
    records = list(
        train(distiller, Batches(rows(), 16), config, validate=lambda model: next(values))
    )
    assert [r.best for r in records] == [True, True]


def test_a_loss_that_is_not_finite_stops_with_the_step() -> None:
    def broken(batch: Batch) -> Outputs:
        logits = teacher(batch).logits
        broken.calls += 1
        return Outputs(logits * (math.nan if broken.calls == 13 else 1))

    broken.calls = 0
    distiller = Distiller(student(), Objective([soft(kl, 1.0)]), broken)
    config = TrainConfig(steps=40, log_every=5, learning_rate=0.02)
    with pytest.raises(NonFiniteLossError, match=r"nan at step 13 .*lower learning_rate"):
        list(train(distiller, Batches(rows(), 16), config))


def test_an_objective_with_a_soft_term_needs_a_teacher() -> None:
    with pytest.raises(AttarError, match="needs a teacher, and none was given"):
        Distiller(student(), Objective([soft(kl, 1.0)]))


def test_the_teacher_is_no_child_of_what_trains() -> None:
    big = nn.Linear(5, 2)
    distiller = Distiller(student(), Objective([soft(kl, 1.0)]), lambda b: Outputs(big(b.inputs)))
    before = weights(big).clone()
    list(train(distiller, Batches(rows(), 16), TrainConfig(steps=5)))
    assert torch.equal(before, weights(big))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"steps": 0}, "'steps' parameter of TrainConfig must be an integer in the range"),
        ({"learning_rate": 0.0}, r"'learning_rate' .* range \(0"),
        ({"warmup": 1.0}, r"'warmup' .* range \[0, 1\)"),
        ({"evaluate_every": 0}, "'evaluate_every' parameter of TrainConfig must be an integer"),
        ({"patience": 0}, "'patience'"),
        ({"max_gradient_norm": -1.0}, "'max_gradient_norm'"),
    ],
)
def test_wrong_numbers_are_refused(numbers: dict[str, float], message: str) -> None:
    with pytest.raises(AttarError, match=message):
        TrainConfig(**{"steps": 10, **numbers})  # type: ignore[arg-type]
