"""Early words: each speaks where something was broken on purpose, and is silent elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from attar import UNLABELLED, Batch, Outputs
from attar.data import ArrayData
from attar.experiment import early
from attar.teachers import ModelTeacher

NAMES = ("plane", "car", "bird", "cat")
TURNED = torch.tensor([1, 2, 3, 0])


def teacher(labels: Tensor, accuracy: float, seed: int) -> Tensor:
    """Logits that are right on about this share of the rows."""
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(labels), generator=generator) >= accuracy
    said = torch.where(wrong, (labels + 1 + wrong.cumsum(0) % 3) % 4, labels)
    return 4.0 * nn.functional.one_hot(said, 4) + torch.rand(len(labels), 4, generator=generator)


LABELS = torch.arange(400) % 4
HELD_OUT = torch.arange(200) % 4


def order(rows: Tensor, held_out: Tensor, labels: Tensor = LABELS) -> str | None:
    return early.another_order(rows, labels, held_out, HELD_OUT, NAMES)


@pytest.mark.parametrize("accuracy", [1.0, 0.9, 0.7])
def test_classes_in_another_order_are_named_with_the_order_that_suits(accuracy: float) -> None:
    rows, held_out = teacher(LABELS, accuracy, 0), teacher(HELD_OUT, accuracy, 1)
    assert order(rows, held_out) is None
    text = order(rows[:, TURNED], held_out[:, TURNED])  # column 0 holds what is class 1
    assert text is not None
    assert "'plane' the label is 'car', 'car' 'bird', 'bird' 'cat', 'cat' 'plane'" in text


def test_two_classes_that_change_places_are_enough() -> None:
    swapped = torch.tensor([0, 1, 3, 2])
    text = order(teacher(LABELS, 0.95, 0)[:, swapped], teacher(HELD_OUT, 0.95, 1)[:, swapped])
    assert text is not None
    assert "'bird' the label is 'cat', 'cat' 'bird':" in text
    assert "plane" not in text


def test_an_order_that_fits_by_accident_is_not_spoken_of() -> None:
    # A teacher that knows nothing: some order always suits the rows that it was looked for on.
    for seed in range(20):
        assert order(teacher(LABELS, 0.25, seed), teacher(HELD_OUT, 0.25, 100 + seed)) is None


def test_a_class_that_the_teacher_never_says_does_not_make_another_order() -> None:
    rows, held_out = teacher(LABELS, 0.95, 0), teacher(HELD_OUT, 0.95, 1)
    rows[:, 2], held_out[:, 2] = -9.0, -9.0
    assert order(rows, held_out) is None


def test_unlabelled_and_few_rows_tell_nothing_of_an_order() -> None:
    rows, held_out = teacher(LABELS, 1.0, 0)[:, TURNED], teacher(HELD_OUT, 1.0, 1)[:, TURNED]
    labels = LABELS.clone()
    labels[29:] = UNLABELLED
    assert order(rows, held_out, labels) is None
    labels[29] = LABELS[29]
    assert order(rows, held_out, labels) is not None


def test_classes_that_are_never_predicted_are_named() -> None:
    said = LABELS.clone()
    said[said == 2] = 1
    text = early.never_predicted(said, LABELS, NAMES)
    assert text is not None
    assert text.startswith(
        "the teacher never predicts 1 of 4 classes ('bird'), though 100 labelled"
    )
    assert early.never_predicted(LABELS, LABELS, NAMES) is None
    once = torch.cat([said, torch.tensor([2])])  # on an unlabelled row, say
    assert early.never_predicted(once, LABELS, NAMES) is None


def test_a_class_of_few_rows_may_stay_unpredicted() -> None:
    labels = torch.cat([torch.zeros(50), torch.ones(9)]).long()
    said = torch.zeros(59, dtype=torch.int64)
    assert early.never_predicted(said, labels, NAMES) is None
    assert early.never_predicted(said, torch.cat([labels, labels[-1:]]), NAMES) is not None
    assert early.never_predicted(said, torch.full((59,), UNLABELLED), NAMES) is None


def test_a_long_list_of_classes_is_cut() -> None:
    labels = torch.arange(100) % 10
    text = early.never_predicted(torch.zeros(100).long(), labels, [str(i) for i in range(10)])
    assert text is not None
    assert "9 of 10 classes ('1', '2', '3', '4', '5' and 4 more), though 90" in text


def test_a_teacher_no_better_than_one_class_is_named() -> None:
    labels = (torch.arange(100) < 30).long()  # class 0 on 70 of 100
    always = torch.tensor([[1.0, 0.0]]).expand(100, 2)
    text = early.no_better_than_one_class(always, labels, NAMES[:2])
    assert text is not None
    assert "right on 70.0 % of validation, and always saying 'plane' would be on 70.0 %" in text
    better = always.clone()
    better[0] = torch.tensor([0.0, 1.0])
    assert early.no_better_than_one_class(better, labels, NAMES[:2]) is None
    assert early.no_better_than_one_class(always[:29], labels[:29], NAMES[:2]) is None


class Scaled(nn.Module):
    """Right on inputs in its own units; elsewhere its bias decides."""

    def __init__(self, scale: float, middle: float) -> None:
        super().__init__()
        self.scale, self.middle = scale, middle
        self.asked = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.asked += 1
        value = inputs.float().flatten(1).mean(dim=1, keepdim=True) / self.scale - self.middle
        return torch.cat([-value, value], dim=1)


def pictures(channels: int = 1) -> ArrayData:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    shade = (
        torch.randint(0, 40, (200, 1, 1, 1), generator=generator)
        + 100 * labels[:, None, None, None]
    )
    grain = torch.randint(0, 60, (200, channels, 4, 4), generator=generator)
    return ArrayData((shade + grain).to(torch.uint8), labels)


@pytest.mark.parametrize(
    ("module", "way"),
    [
        (Scaled(1.0, 0.39), "divided by 255"),
        (Scaled(1.0, 0.0), "standardised"),
        (Scaled(1.0, -0.21), "from -1 to 1"),
    ],
)
def test_other_units_of_the_inputs_are_found(module: nn.Module, way: str) -> None:
    data = pictures()
    like = data.batch(torch.arange(200)).inputs
    text = early.otherwise_normalised(ModelTeacher(module, outputs="logits"), data, like=like)
    assert text is not None
    assert "right on 50.0 % of 200 rows of validation as they are, and on" in text
    # Standardised data may suit a threshold that was meant for another unit as well.
    assert repr(way) in text or "100.0 % of the same rows" in text


def test_units_that_suit_are_not_spoken_of_and_a_good_teacher_is_asked_once() -> None:
    data, module = pictures(), Scaled(255.0, 0.39)
    like = data.batch(torch.arange(200)).inputs
    assert early.otherwise_normalised(ModelTeacher(module), data, like=like) is None
    assert module.asked == 1


def test_a_teacher_that_refuses_other_units_is_left_alone() -> None:
    def picky(batch: Batch) -> Outputs:
        if batch.inputs.dtype != torch.uint8:
            raise RuntimeError("bytes, please")
        return Outputs(torch.zeros(len(batch), 2))

    data = pictures()
    like = data.batch(torch.arange(200)).inputs
    assert early.otherwise_normalised(picky, data, like=like) is None


def test_photographs_are_tried_as_most_networks_want_them() -> None:
    data = pictures(channels=3)
    like = data.batch(torch.arange(200)).inputs
    ways = early._other_units(like)
    white = torch.full((1, 3, 1, 1), 255.0)
    expected = torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    torch.testing.assert_close(ways["standardised as for ImageNet"](white).flatten(), expected)
    assert ways["from -1 to 1"](white).flatten().tolist() == [1.0, 1.0, 1.0]
    halves = early._other_units(torch.tensor([[0.0, 0.5], [1.0, 0.25]]))
    assert set(halves) == {"standardised", "times 255", "from -1 to 1"}
    assert set(early._other_units(torch.tensor([[-3.0], [2.0]]))) == {"standardised"}


def test_a_teacher_that_is_no_better_than_hard_labels_is_advised_against() -> None:
    teacher_right, student_right = torch.arange(200) < 180, torch.arange(200) < 184
    text = early.no_better_than_hard(teacher_right, student_right)
    assert text is not None
    assert "90.0 % of validation" in text
    assert "on 92.0 %: there is no gap to recover" in text
    assert early.no_better_than_hard(student_right, teacher_right) is None
    assert early.no_better_than_hard(teacher_right[:29], student_right[:29]) is None


def test_a_student_that_fits_not_even_its_own_rows_is_too_small() -> None:
    own, teacher_right = torch.arange(500) < 300, torch.arange(200) < 190
    text = early.too_small(own, teacher_right, views=8)
    assert text is not None
    assert "60.0 % of the rows that it learnt from, in 8 views, and the teacher on 95.0 %" in text
    assert "too small for 8 views a row, or takes too few steps" in text
    assert "views" not in (early.too_small(own, teacher_right) or "")
    # 3 points below is no sign, and neither is what 30 rows show by accident.
    assert early.too_small(torch.arange(500) < 460, teacher_right) is None
    assert early.too_small(torch.arange(30) < 26, torch.arange(30) < 29) is None
