from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from attar import UNLABELLED, AttarError
from attar.data import ArrayData, Views, shift
from attar.experiment.inputs import make_splits, plan_student, size_of
from attar.students import mlp


def pair(rows: int = 100, *, unlabelled: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.arange(float(rows * 3)).reshape(rows, 3)
    labels = torch.arange(rows) % 2
    if unlabelled:
        labels[-unlabelled:] = UNLABELLED
    return inputs, labels


def test_what_is_not_given_is_held_out_of_the_labelled_rows() -> None:
    splits = make_splits(pair(200, unlabelled=100))
    assert (len(splits.test), len(splits.validation)) == (20, 16)
    assert len(splits.labelled) == 64
    assert splits.unlabelled_rows == 100
    rows = torch.cat([splits.train.rows, splits.validation.rows, splits.test.rows])
    assert sorted(rows.tolist()) == list(range(200))
    assert torch.bincount(splits.test.labels).tolist() == [10, 10]


def test_splits_made_here_are_seeded() -> None:
    one, same, other = (make_splits(pair(), seed=s) for s in (0, 0, 1))
    assert torch.equal(one.test.rows, same.test.rows)
    assert not torch.equal(one.test.rows.sort().values, other.test.rows.sort().values)


def test_pairs_are_numbered_one_after_the_other() -> None:
    splits = make_splits(pair(10), pair(4), pair(6), (-pair(5)[0] - 1, None))
    assert splits.train.rows.tolist() == list(range(15))
    assert splits.validation.rows.tolist() == list(range(15, 19))
    assert splits.test.rows.tolist() == list(range(19, 25))
    assert splits.unlabelled_rows == 5


def test_labels_of_a_transfer_set_are_not_used() -> None:
    inputs, labels = pair(6)
    splits = make_splits(pair(10), pair(4), pair(4), transfer=(inputs - 100, labels))
    assert splits.train.labels[10:].tolist() == [UNLABELLED] * 6
    assert splits.transfer is None
    assert splits.taught is splits.train


def test_a_transfer_set_is_seen_in_the_views_of_train() -> None:
    inputs, labels = torch.zeros(8, 1, 8, 8), torch.arange(8) % 2
    train = ArrayData(inputs, labels, views=Views((shift(1),), 4))
    splits = make_splits(train, (inputs, labels), (inputs, labels), transfer=(inputs + 1, None))
    assert len(splits.train) == 16
    assert splits.train.view_count == 4
    assert splits.test.view_count == splits.validation.view_count == 1


def _shifted(rows: int) -> ArrayData:
    return ArrayData(*pair(rows), rows=torch.arange(500, 500 + rows))


def test_a_row_in_two_splits_is_refused() -> None:
    data = ArrayData(*pair(20))
    with pytest.raises(AttarError, match="5 row numbers of test are in another split too"):
        make_splits(data.take(torch.arange(15)), _shifted(5), data.take(torch.arange(10, 20)))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ((pair(10)[0], None), "train has no labelled row"),
        ((pair(10)[0], torch.full((10,), UNLABELLED)), "train has no labelled row"),
    ],
)
def test_a_baseline_needs_labels(train: object, message: str) -> None:
    with pytest.raises(AttarError, match=message):
        make_splits(train)


def test_a_test_set_without_labels_is_refused() -> None:
    with pytest.raises(AttarError, match="every row of test needs a label"):
        make_splits(pair(10), pair(4), (pair(4)[0], None))


def test_frames_of_all_splits_are_encoded_alike() -> None:
    pandas = pytest.importorskip("pandas")

    def frame(colours: list[str]) -> object:
        return pandas.DataFrame({"size": np.arange(len(colours)), "colour": colours})

    labels = [0, 1, 0, 1]
    splits = make_splits(
        (frame(["red", "blue", "red", "green"]), labels),
        (frame(["red", "red", "blue", "green"]), labels),
        (frame(["green", "green", "green", "blue"]), labels),
    )
    assert splits.train.columns[1]["categories"] == ["blue", "green", "red"]
    assert splits.test.batch(torch.arange(4)).inputs[:, 1:].tolist() == [
        [0, 1, 0],
        [0, 1, 0],
        [0, 1, 0],
        [1, 0, 0],
    ]


def test_shrink_is_a_fraction_of_the_teacher() -> None:
    data = ArrayData(*pair(10))
    plan = plan_student(mlp, data, shrink=10, teacher_parameters=1000)
    assert 50 < size_of(plan) <= 100
    assert plan.recipe == {"family": "mlp", "width": 7, "input_shape": [3]}


def test_measuring_a_student_draws_no_random_numbers() -> None:
    plan = plan_student(mlp, ArrayData(*pair(10)), parameters=100)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    size_of(plan)
    assert torch.equal(before, torch.get_rng_state())


def test_a_module_is_copied_and_the_plan_says_so() -> None:
    module = nn.Linear(3, 2)
    plan = plan_student(module, ArrayData(*pair(10)))
    assert plan.shared_start
    assert plan.make() is not module
    assert torch.equal(plan.make().weight, module.weight)


@pytest.mark.parametrize(
    ("student", "numbers", "message"),
    [
        (mlp, {}, "either parameters=20_000 or shrink=10"),
        (mlp, {"parameters": 100, "shrink": 10}, "either parameters"),
        (mlp, {"shrink": 10}, "this one has none"),
        (mlp, {"parameters": 0}, "'parameters' parameter of distill must be an integer"),
        (lambda: nn.Linear(3, 2), {"parameters": 10}, "size a family"),
        (lambda: 3, {}, r"must return a torch.nn.Module. Got int"),
        ("mlp", {}, "student must be a family"),
    ],
)
def test_students_that_do_not_fit_are_refused(
    student: object, numbers: dict[str, float], message: str
) -> None:
    with pytest.raises(AttarError, match=message):
        plan_student(student, ArrayData(*pair(10)), **numbers)


def test_labels_of_a_single_class_are_refused():
    with pytest.raises(AttarError, match="two classes or more"):
        make_splits((torch.zeros(40, 2), torch.zeros(40, dtype=torch.int64)))
