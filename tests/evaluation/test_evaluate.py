"""Asking a model: order, modes, gradients, kinds of inputs and answers, and its costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from attar import UNLABELLED, AttarError, Batch, Outputs
from attar.evaluation import count_macs, evaluate, predict_logits, scores_from_logits


@dataclass
class Memory:
    """The few attributes of data that evaluation reads."""

    inputs: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ("a", "b", "c")
    as_mapping: bool = False
    view_count: int = 1

    @property
    def rows(self):
        return torch.arange(len(self)) + 100

    def __len__(self):
        return len(self.inputs)

    def batch(self, indices, views=0):
        assert indices.dtype == torch.int64
        x = self.inputs[indices]
        inputs = {"left": x, "right": 2 * x} if self.as_mapping else x
        labels = None if self.labels is None else self.labels[indices]
        return Batch(inputs, self.rows[indices], labels)


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(50, 4, generator=generator)
    return Memory(inputs, torch.randint(0, 3, (50,), generator=generator))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)
    )


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1024])
def test_the_batch_size_changes_nothing(model, data, batch_size):
    logits = predict_logits(model, data, batch_size=batch_size)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(logits, model(data.inputs))
    assert logits.dtype == torch.float32
    assert not logits.requires_grad


def test_every_submodule_is_afterwards_in_the_mode_that_it_was_in(model, data):
    model.train()
    model[1].eval()  # a batch norm frozen on purpose
    statistics = model[1].running_mean.clone()
    predict_logits(model, data)
    assert [module.training for module in model] == [True, False, True, True, True]
    assert model.training
    torch.testing.assert_close(model[1].running_mean, statistics)


def test_the_modes_come_back_also_where_the_model_fails(model, data):
    model.train()
    with pytest.raises(RuntimeError):
        predict_logits(model, Memory(data.inputs[:, :3], data.labels))
    assert model.training
    assert model[3].training


def test_no_random_number_is_drawn(model, data):
    before = torch.get_rng_state()
    predict_logits(model, data)
    assert torch.equal(torch.get_rng_state(), before)


class Wrapped(nn.Module):
    def __init__(self, model, wrap):
        super().__init__()
        self.model, self.wrap = model, wrap

    def forward(self, x):
        return self.wrap(self.model(x))


@pytest.mark.parametrize("wrap", [Outputs, lambda logits: SimpleNamespace(logits=logits)])
def test_an_answer_may_hold_its_logits(model, data, wrap):
    expected = predict_logits(model, data)
    assert torch.equal(predict_logits(Wrapped(model, wrap), data), expected)


class Pair(nn.Module):
    def forward(self, *, left, right):
        return (left + 10 * right)[:, :3]


def test_a_mapping_comes_as_keywords(data):
    data.as_mapping = True
    torch.testing.assert_close(predict_logits(Pair(), data), 21 * data.inputs[:, :3])


def test_what_is_no_module_is_asked_with_the_batch(data):
    seen = []

    def teacher(batch):
        seen.append(batch.ids)
        assert not torch.is_grad_enabled()
        return Outputs(batch.inputs[:, :3].double())

    logits = predict_logits(teacher, data, batch_size=20)
    torch.testing.assert_close(logits, data.inputs[:, :3])
    assert torch.cat(seen).tolist() == list(range(100, 150))


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda logits: (logits,), "must be a tensor of logits.*Got tuple"),
        (lambda logits: logits[:, 0], r"shape \[N, C\]"),
        (lambda logits: logits[1:], "must have 50 rows"),
        (lambda logits: logits.argmax(1), "floating-point logits"),
        (lambda logits: logits.index_fill(0, torch.tensor([7]), math.nan), "the first is id 107"),
    ],
)
def test_broken_answers_are_refused(model, data, wrap, message):
    with pytest.raises(AttarError, match=message):
        predict_logits(Wrapped(model, wrap), data)


def test_broken_data_is_refused(model, data):
    with pytest.raises(AttarError, match="at least one row"):
        predict_logits(model, Memory(data.inputs[:0]))
    with pytest.raises(AttarError, match="'batch_size' parameter of predict_logits"):
        predict_logits(model, data, batch_size=0)
    with pytest.raises(AttarError, match=r"data must have labels.*50 rows without"):
        evaluate(model, Memory(data.inputs))
    with pytest.raises(AttarError, match=r"one column a class.*2 \(yes, no\). Got 3"):
        evaluate(model, Memory(data.inputs, data.labels.clamp(max=1), ("yes", "no")))


def test_evaluate_scores_its_own_predictions(model, data):
    data.labels[:5] = UNLABELLED
    teacher = data.inputs[:, :3].clone()
    scores = evaluate(model, data, teacher_logits=teacher)
    expected = scores_from_logits(
        predict_logits(model, data), data.labels, data.classes, teacher_logits=teacher
    )
    for name in ("rows", "accuracy", "nll", "brier", "ece", "agreement", "errors_own"):
        assert getattr(scores, name) == getattr(expected, name)
    assert scores.rows == 45


def test_a_pair_is_data_too(model, data):
    pair = (data.inputs.numpy(), data.labels.numpy())
    named = evaluate(model, pair, classes=data.classes)
    assert named.to_dict() == evaluate(model, data).to_dict()
    assert torch.equal(predict_logits(model, (data.inputs, None)), predict_logits(model, data))


def test_a_pair_in_which_a_class_is_missing_needs_the_names(model, data):
    rows = data.labels != 2
    names = ["x", "y", "z"]
    pair = (data.inputs[rows], [names[label] for label in data.labels[rows]])
    scores = evaluate(model, pair, classes=names)
    assert set(scores.per_class_accuracy) <= set(names)
    with pytest.raises(AttarError, match=r"one column a class.*2 \(x, y\)"):
        evaluate(model, pair)


def test_the_costs_of_a_module(model, data):
    scores = evaluate(model, data)
    # Linear 4 * 8 + 8, batch norm 8 + 8, linear 8 * 3 + 3.
    assert scores.parameters == 40 + 16 + 27
    # In float32, with the buffers of the batch norm: 8 + 8 floats and one int64.
    assert scores.bytes == 4 * (83 + 16) + 8
    assert scores.macs == 4 * 8 + 8 * 3
    assert scores.latency is None


def test_the_costs_of_a_teacher_are_what_it_says(data):
    class Teacher:
        parameters, bytes = 1234, None

        def __call__(self, batch):
            return Outputs(batch.inputs[:, :3])

    scores = evaluate(Teacher(), data)
    assert (scores.parameters, scores.bytes, scores.macs) == (1234, None, None)
    scores = evaluate(lambda batch: Outputs(batch.inputs[:, :3]), data)
    assert (scores.parameters, scores.bytes, scores.macs) == (None, None, None)


def test_the_time_is_taken_at_batch_1_and_64(model, data):
    latency = evaluate(model, data, time_it=True).latency
    assert sorted(latency.batches) == [1, 64]
    for timing in latency.batches.values():
        assert 0 < timing.p50_ms <= timing.p99_ms
        assert timing.repetitions >= 50


def test_macs_of_a_convolution_are_those_of_one_row():
    # 6 x 6 places, 8 filters of 3 x 3 x 2 numbers; 5 rows do not make it 5 times as many.
    assert count_macs(nn.Conv2d(2, 8, 3), torch.zeros(5, 2, 8, 8)) == 6 * 6 * 8 * 18
    # Depthwise: each channel has its own 3 x 3.
    assert count_macs(nn.Conv2d(8, 8, 3, groups=8), torch.zeros(1, 8, 8, 8)) == 6 * 6 * 8 * 9


def test_macs_leave_the_model_as_it_was(model):
    model.train()
    mean = model[1].running_mean.clone()
    count_macs(model, torch.ones(3, 4))
    assert model.training
    torch.testing.assert_close(model[1].running_mean, mean)


def test_macs_of_a_mapping():
    class Product(nn.Module):
        def forward(self, left, right):
            return left @ right.T

    example = {"left": torch.zeros(3, 4), "right": torch.zeros(3, 4)}
    assert count_macs(Product(), example) == 4
