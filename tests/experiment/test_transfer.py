from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier

from attar import UNLABELLED, AttarError
from attar.data import ArrayData, Views, shift
from attar.experiment import distill
from attar.experiment.inputs import Splits, make_splits
from attar.experiment.transfer import find_rows
from attar.students import mlp


def pair(rows: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(float(rows * 3)).reshape(rows, 3), torch.arange(rows) % 4


def judged_on(start: int) -> ArrayData:
    inputs, labels = pair(4)
    return ArrayData(inputs, labels, rows=torch.arange(start, start + 4), classes=list("0123"))


def splits_with(transfer: object, train: object = None) -> Splits:
    return make_splits(train or pair(), judged_on(100), judged_on(200), transfer)


@pytest.mark.parametrize("kind", ["mask", "numpy mask", "pair", "pair without labels", "taken"])
def test_a_part_of_the_training_rows_is_all_that_the_distilled_student_sees(kind: str) -> None:
    inputs, labels = pair()
    known = labels != 3
    transfer = {
        "mask": known,
        "numpy mask": known.numpy(),
        "pair": (inputs[known], labels[known]),
        "pair without labels": (inputs[known].numpy(), None),
        "taken": ArrayData(inputs, labels).take(known.nonzero()[:, 0]),
    }[kind]
    splits = splits_with(transfer)
    assert len(splits.train) == len(splits.labelled) == 20  # the hard arm learns from all
    assert splits.taught.rows.tolist() == known.nonzero()[:, 0].tolist()
    assert splits.taught.classes == ("0", "1", "2", "3")  # also of those that are missing
    soft_only = kind == "pair without labels"
    expected = [UNLABELLED] * 15 if soft_only else labels[known].tolist()
    assert splits.taught.labels.tolist() == expected
    assert splits.unlabelled_rows == (15 if soft_only else 0)
    seen = splits.taught.batch(torch.arange(15)).inputs
    assert torch.equal(seen, inputs[known])


def test_the_order_of_the_transfer_set_does_not_matter_and_copies_are_counted() -> None:
    inputs = torch.tensor([[1.0], [2.0], [1.0], [3.0]])
    data = ArrayData(inputs)
    assert find_rows(data, ArrayData(inputs[[3, 0, 2]])).tolist() == [3, 0, 2]
    assert find_rows(data, ArrayData(inputs[[3, 3]])) is None
    assert find_rows(data, ArrayData(inputs.to(torch.uint8))) is None
    mapping = ArrayData({"a": inputs, "b": inputs.flip(0)})
    assert find_rows(mapping, ArrayData({"a": inputs[1:2], "b": inputs[2:3]})).tolist() == [1]
    assert find_rows(mapping, ArrayData({"a": inputs[1:2], "b": inputs[1:2]})) is None


def test_rows_of_which_one_is_new_are_further_rows() -> None:
    inputs = pair()[0]
    more = torch.cat([inputs[:3], -inputs[:1] - 1])
    splits = splits_with((more, None))
    assert splits.transfer is None
    assert len(splits.train) == 24
    assert splits.unlabelled_rows == 4


def test_rows_held_out_to_judge_on_leave_the_transfer_set() -> None:
    inputs, labels = pair(100)
    splits = make_splits((inputs, labels), transfer=labels != 3)
    assert set(splits.taught.rows.tolist()) < set(splits.train.rows.tolist())
    held_out = torch.cat([splits.test.rows, splits.validation.rows])
    assert not torch.isin(splits.taught.rows, held_out).any()
    assert len(splits.taught) == 48  # three classes of 25, less a fifth, less a fifth of the rest


def test_a_part_is_seen_in_the_views_of_train() -> None:
    images = torch.arange(8 * 64.0).reshape(8, 1, 8, 8)
    train = ArrayData(images, torch.arange(8) % 4, views=Views((shift(1),), 4))
    assert splits_with(torch.arange(8) < 5, train).taught.view_count == 4


@pytest.mark.parametrize(
    ("transfer", "message"),
    [
        (torch.ones(19, dtype=torch.bool), "one bool for each of the 20 training rows"),
        (torch.zeros(20, dtype=torch.bool), "choose at least one. Got 20, 0 of them"),
        (np.arange(20), r"a mask of bools, one for each training row. Got torch.int64"),
        (ArrayData(pair()[0] + 1), "20 of the 20 rows of transfer have the row numbers"),
        (
            ArrayData(pair(8)[0], rows=torch.arange(16, 24)),
            "4 of the 8 rows of transfer .* from 20 on",
        ),
        (ArrayData(torch.zeros(2, 5)), "2 of the 2 rows of transfer have the row numbers"),
    ],
)
def test_what_is_no_transfer_set_is_refused(transfer: object, message: str) -> None:
    with pytest.raises(AttarError, match=message):
        splits_with(transfer)


def test_a_transfer_set_that_is_all_held_out_is_refused() -> None:
    mask = torch.zeros(100, dtype=torch.bool)
    held_out = make_splits(pair(100)).test.rows
    mask[held_out] = True
    with pytest.raises(AttarError, match="no row of transfer is left"):
        make_splits(pair(100), transfer=mask)


def test_distil_without_a_class_and_without_labels(tmp_path) -> None:
    X, y = load_wine(return_X_y=True)
    settings = {
        "train": (X, y),
        "parameters": 200,
        "seeds": [0],
        "steps": 60,
        "learning_rate": 0.01,
        "latency_seconds": 0,
        "out": tmp_path / "run",
    }
    forest = RandomForestClassifier(20, random_state=0)
    known = y != 2
    experiment = distill(forest, mlp, transfer=(X[known], None), **settings)
    assert list(experiment.arms) == ["hard", "smoothed", "pseudo", "distilled"]
    taught = experiment.facts["rows"]["transfer"]
    assert taught < experiment.facts["rows"]["labelled"]
    assert f"has seen {taught} of them" in experiment.summary()
    of_that_class = experiment.test.labels == 2
    hard, distilled = (
        experiment.arms[name].logits[0].softmax(dim=1)[of_that_class, 2].mean()
        for name in ("hard", "distilled")
    )
    assert distilled < hard - 0.2  # it was told little of that class
    with pytest.raises(AttarError, match=r"holds another experiment .*transfer was"):
        distill(forest, mlp, transfer=known, resume=True, **settings)
