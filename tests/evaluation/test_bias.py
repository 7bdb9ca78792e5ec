from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from attar import UNLABELLED, AttarError, Outputs
from attar.data import ArrayData, Batches
from attar.engine import Distiller, TrainConfig, train
from attar.evaluation import bias_shift, correct_bias, predict_logits
from attar.export import to_onnx
from attar.export.runtime import load
from attar.losses import Objective, hard, kl, soft
from attar.students import Standardize, mlp


def some(rows: int = 200, classes: int = 4, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=draw)
    logits = torch.randn(rows, classes, generator=draw)
    logits[torch.arange(rows), labels] += 1.5
    return logits, labels


def nll(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return float(nn.functional.cross_entropy(logits.double(), labels))


def test_the_shift_of_two_classes_by_hand() -> None:
    # One row at z = (0, 0): the probability of class 1 is 0.8 where its logit is log 4 higher.
    logits = torch.zeros(1, 2)
    assert bias_shift(logits, priors={1: 0.8}).tolist() == pytest.approx([0, math.log(4)])
    # All classes: only differences count, and the shift adds up to 0.
    both = bias_shift(logits, priors=[0.2, 0.8])
    assert both.tolist() == pytest.approx([-math.log(2), math.log(2)])


def test_a_constant_logit_gives_the_ratio_of_the_priors() -> None:
    trained, meant = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.2, 0.3, 0.5])
    shift = bias_shift(trained.log().expand(5, 3), priors=meant.tolist())
    ratio = (meant / trained).log().double()
    assert torch.allclose(shift - shift[0], ratio - ratio[0], atol=1e-6)


@pytest.mark.parametrize("classes", [None, [2], [0, 3]])
def test_the_mean_probabilities_become_the_shares(classes: list[int] | None) -> None:
    logits, labels = some()
    logits[:, 2] -= 6
    shift = bias_shift(logits, labels, classes=classes)
    chosen = classes or [0, 1, 2, 3]
    shares = (logits + shift).softmax(dim=1).mean(dim=0)[chosen]
    counted = (torch.bincount(labels).double() / len(labels))[chosen]
    assert torch.allclose(shares, counted, atol=1e-9)
    assert all(shift[c] == 0 for c in range(4) if c not in chosen)
    # The same numbers as priors, without a label: the labels tell how frequent, and no more.
    priors = dict(zip(chosen, counted.tolist(), strict=True))
    assert torch.allclose(bias_shift(logits, priors=priors), shift)


def test_no_shift_of_these_classes_has_a_lower_likelihood() -> None:
    logits, labels = some()
    shift = bias_shift(logits, labels, classes=[1, 3])
    best = nll(logits + shift, labels)
    for one in (1, 3):
        for move in (-0.05, 0.05):
            other = shift.clone()
            other[one] += move
            assert nll(logits + other, labels) > best


@pytest.mark.parametrize("by", ["nll", "errors"])
def test_what_was_taken_from_a_class_is_given_back(by: str) -> None:
    logits, labels = some()
    taken = torch.tensor([0.0, 0.0, 40.0, 0.0])  # hopelessly far off, and still found
    first = bias_shift(logits, labels, classes=[2], by=by)
    second = bias_shift(logits - taken, labels, classes=[2], by=by)
    assert torch.allclose(second - first, taken.double(), atol=1e-4)


def test_fewest_errors_are_found_as_by_trying_all() -> None:
    for seed in range(5):
        logits, labels = some(60, 3, seed=seed)
        logits[:, 1] -= 2
        shift = bias_shift(logits, labels, classes=[1], by="errors")
        errors = [
            int(((logits + torch.tensor([0, b, 0])).argmax(dim=1) != labels).sum())
            for b in np.linspace(-8, 8, 4001)
        ]
        found = int(((logits + shift).argmax(dim=1) != labels).sum())
        assert found <= min(errors)


def test_rows_without_a_label_are_not_counted() -> None:
    logits, labels = some()
    more = torch.cat([logits, torch.full((50, 4), 9.0)])
    partly = torch.cat([labels, torch.full((50,), UNLABELLED)])
    expected = bias_shift(logits, labels, classes=[0])
    assert torch.equal(bias_shift(more, partly, classes=[0]), expected)


class Bare(nn.Module):
    """No bias anywhere, and an answer with a name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4, bias=False)

    def forward(self, inputs: torch.Tensor) -> Outputs:
        return Outputs(self.layer(inputs))


class Backwards(nn.Module):
    """The layer that comes last by name acts first."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4, bias=False)
        self.body = nn.Linear(3, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.body(inputs)))


@pytest.mark.parametrize("make", [lambda: nn.Linear(3, 4), Bare, Backwards])
def test_a_copy_is_corrected_whatever_its_last_layer(make) -> None:
    torch.manual_seed(0)
    student = make().train()
    data = ArrayData(torch.randn(100, 3), torch.arange(100) % 4)
    before = predict_logits(student, data)
    corrected = correct_bias(student, data, classes=[1, 2])
    after = predict_logits(corrected.student, data)
    assert torch.allclose(after, before + corrected.shift.float(), atol=1e-5)
    assert corrected.shift.abs().max() > 0.01
    assert torch.equal(predict_logits(student, data), before)
    assert student.training
    assert not corrected.student.training
    assert isinstance(corrected.student, nn.Linear) == isinstance(student, nn.Linear)
    shares = after.double().softmax(dim=1).mean(dim=0)
    assert torch.allclose(corrected.shares_after, shares, atol=1e-6)
    assert corrected.shares_after[1:3].tolist() == pytest.approx([0.25, 0.25])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": ["d"]}, "'d' is none of the classes, which are a, b, c"),
        ({"classes": [3]}, "different numbers from 0 to 2"),
        ({"classes": [0, 0]}, "different numbers from 0 to 2"),
        ({"classes": []}, "one or more different numbers"),
        ({"classes": ["c"]}, "class 2 is on none of the labelled rows"),
        ({"by": "luck"}, "by must be 'nll' or 'errors'. Got 'luck'"),
        ({"priors": [0.5, 0.5]}, "or 3 shares, one a class. Got 2"),
        ({"priors": {"a": 0.0}}, "between 0 and 1"),
        ({"priors": {"a": 0.6, "b": 0.5}}, "with the sum below 1"),
        ({"priors": [0.5, 0.5, 0.5]}, "with the sum 1"),
        ({"priors": {"a": 0.2}, "classes": ["b"]}, "one for each of the classes in question"),
        ({"priors": {"a": float("nan")}}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_corrected_is_refused(arguments: dict, message: str) -> None:
    data = ArrayData(torch.randn(20, 3), torch.arange(20) % 2, classes=("a", "b", "c"))
    with pytest.raises(AttarError, match=message):
        correct_bias(nn.Identity(), data, **arguments)


def test_without_labels_there_must_be_priors() -> None:
    with pytest.raises(AttarError, match="priors= must say how frequent"):
        correct_bias(nn.Identity(), ArrayData(torch.zeros(2, 3)))
    with pytest.raises(AttarError, match="by='errors' counts errors, so data needs labels"):
        correct_bias(nn.Identity(), ArrayData(torch.zeros(2, 3)), priors={0: 0.1}, by="errors")


def test_digits_without_threes_are_corrected_and_the_file_holds_it(tmp_path) -> None:
    digits = load_digits()
    images = torch.from_numpy(digits.images[:, None]).to(torch.uint8)
    data = ArrayData(images, torch.from_numpy(digits.target))
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    known, validation, test = (data.take(part) for part in order.split([900, 300, 597]))
    scaler = Standardize.fit(images)

    def taught(width: int, objective: Objective, rows: ArrayData, teacher=None) -> nn.Module:
        torch.manual_seed(0)
        model = mlp.model(width, input_shape=(1, 8, 8), classes=10, scaler=scaler)
        config = TrainConfig(steps=500, learning_rate=3e-3)
        for _ in train(Distiller(model, objective, teacher), Batches(rows, 64), config):
            pass
        return model

    big = taught(100, Objective([hard(1.0)]), known)
    answer = predict_logits(big, data)
    rows = known.take(known.labels != 3)
    student = taught(
        40,
        Objective([soft(kl, 1.0, temperature=4.0)]),
        rows.with_labels(None),
        lambda batch: Outputs(answer[batch.ids]),
    )
    corrected = {
        "none": student,
        "by labels": correct_bias(student, validation, classes=["3"]).student,
        "by priors": correct_bias(student, validation.with_labels(None), priors={"3": 0.1}).student,
        "by errors": correct_bias(student, validation, classes=["3"], by="errors").student,
    }
    threes = test.labels == 3
    right = {
        name: (predict_logits(model, test).argmax(dim=1) == test.labels)
        for name, model in corrected.items()
    }
    of_threes = {name: float(r[threes].double().mean()) for name, r in right.items()}
    errors = {name: int((~r).sum()) for name, r in right.items()}
    for name in ("by labels", "by priors", "by errors"):
        assert of_threes[name] > of_threes["none"] + 0.05, of_threes
        assert errors[name] < errors["none"], errors

    path = tmp_path / "student.onnx"
    fixed = corrected["by priors"]
    to_onnx(fixed, path, example=validation.inputs, classes=test.classes)
    from_file = load(path).predict_proba(test.inputs.numpy())
    assert np.allclose(from_file, predict_logits(fixed, test).softmax(dim=1), atol=1e-5)
