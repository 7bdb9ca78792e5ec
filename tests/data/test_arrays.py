from __future__ import annotations

import pytest
import torch

from attar.checks import AttarError
from attar.data import ArrayData, Views, join, shift
from attar.types import UNLABELLED, VIEW, Data


def small(**changes) -> ArrayData:
    inputs = torch.arange(24.0).reshape(6, 4)
    labels = torch.tensor([0, 1, 2, UNLABELLED, 1, 0])
    given = {"labels": labels, "rows": torch.tensor([5, 9, 0, 7, 2, 40]), **changes}
    return ArrayData(inputs, **given)


def test_a_batch_equals_naive_loops_over_rows():
    data = small(weights=torch.tensor([1.0, 2, 3, 4, 5, 6]))
    indices = torch.tensor([4, 0, 4, 3])
    batch = data.batch(indices)
    for place, position in enumerate(indices.tolist()):
        assert torch.equal(batch.inputs[place], data.inputs[position])
        assert batch.ids[place] == data.rows[position]
        assert batch.labels[place] == data.labels[position]
        assert batch.weights[place] == position + 1
    assert isinstance(data, Data)
    assert len(batch) == 4


def test_ids_are_the_positions_where_rows_count_from_0_and_the_numbers_elsewhere():
    plain = ArrayData(torch.zeros(5, 2))
    assert plain.batch(torch.tensor([3, 1])).ids.tolist() == [3, 1]
    assert plain.take(torch.tensor([4, 2])).batch(torch.tensor([0, 1])).ids.tolist() == [4, 2]
    assert plain.take(torch.tensor([0, 1])).batch(torch.tensor([1])).ids.tolist() == [1]
    late = ArrayData(torch.zeros(2, 2), rows=torch.tensor([100, 101]))
    assert late.batch(torch.tensor([1])).ids.tolist() == [101]
    assert plain.batch(torch.tensor([3])).labels is None


def test_views_enter_the_ids_and_the_inputs():
    images = torch.ones(4, 1, 5, 5)
    data = ArrayData(images, rows=torch.tensor([3, 2, 1, 0]), views=Views([shift(2)], 8))
    assert data.view_count == 8
    indices = torch.tensor([1, 3])
    assert data.batch(indices, 5).ids.tolist() == [5 * VIEW + 2, 5 * VIEW]
    mixed = data.batch(indices, torch.tensor([0, 5]))
    assert mixed.ids.tolist() == [2, 5 * VIEW]
    assert torch.equal(mixed.inputs[0], images[0])
    assert torch.equal(mixed.inputs[1], data.batch(indices, 5).inputs[1])
    part = data.take(torch.tensor([3]))  # a split sees what the whole data saw
    assert torch.equal(part.batch(torch.tensor([0]), 5).inputs[0], mixed.inputs[1])
    assert data.with_views(None).view_count == 1


@pytest.mark.parametrize("views", [8, -1, torch.tensor([0, 8]), torch.tensor([0, -1])])
def test_a_view_that_there_is_not_is_refused(views):
    data = ArrayData(torch.ones(4, 1, 5, 5), views=Views([shift(2)], 8))
    with pytest.raises(AttarError, match=r"view must lie in \[0, 7\].*Got (8|-1)"):
        data.batch(torch.tensor([0, 1]), views)


def test_views_of_the_wrong_shape_or_type_are_refused():
    data = ArrayData(torch.ones(4, 1, 5, 5), views=Views([shift(2)], 8))
    for views in (torch.tensor([1]), torch.tensor([1.0, 1.0])):
        with pytest.raises(AttarError, match="one a position"):
            data.batch(torch.tensor([0, 1]), views)
    with pytest.raises(AttarError, match=r"view must lie in \[0, 0\].*with_views"):
        small().batch(torch.tensor([0]), 1)


@pytest.mark.parametrize(
    ("indices", "came"),
    [
        (torch.tensor([0, 6]), "position 6"),
        (torch.tensor([0, -1]), "position -1"),  # never the last row by surprise
        (torch.tensor([0.0]), "float32"),
        (torch.tensor([[0]]), r"\(1, 1\)"),
        (torch.tensor([True] * 6), "bool"),
    ],
)
def test_a_position_that_there_is_not_is_refused(indices, came):
    with pytest.raises(AttarError, match=rf"positions \[B\] in \[0, 5\]. Got .*{came}"):
        small().batch(indices)


def test_a_mapping_of_tensors_is_indexed_name_by_name():
    tokens = {"input_ids": torch.arange(6).reshape(3, 2), "length": torch.tensor([2, 1, 2])}
    batch = ArrayData(tokens).batch(torch.tensor([2, 1]))
    assert batch.inputs["input_ids"].tolist() == [[4, 5], [2, 3]]
    assert batch.inputs["length"].tolist() == [2, 1]


def test_images_stay_uint8():
    images = torch.randint(0, 256, (3, 1, 2, 2), dtype=torch.uint8)
    assert ArrayData(images).batch(torch.tensor([1])).inputs.dtype == torch.uint8


def test_take_keeps_all_that_belongs_to_a_row_also_by_mask():
    data = small(weights=torch.arange(1.0, 7), classes=("a", "b", "c"), columns=[{"name": "x"}])
    part = data.take(torch.tensor([5, 3]))
    assert part.rows.tolist() == [40, 7]
    assert part.labels.tolist() == [0, UNLABELLED]
    assert part.weights.tolist() == [6, 4]
    assert (part.classes, part.columns, len(part)) == (("a", "b", "c"), [{"name": "x"}], 2)
    assert data.take(data.labelled).rows.tolist() == [5, 9, 0, 2, 40]
    assert len(data.take(torch.tensor([], dtype=torch.int64))) == 0
    with pytest.raises(AttarError, match="given twice"):
        data.take(torch.tensor([1, 1]))
    with pytest.raises(AttarError, match="position 6"):
        data.take(torch.tensor([6]))


def test_labelled_and_class_counts():
    data = small(classes=("a", "b", "c", "d"))
    assert data.labelled.tolist() == [True, True, True, False, True, True]
    assert data.class_counts.tolist() == [2, 2, 1, 0]
    assert ArrayData(torch.zeros(2, 1)).labelled.tolist() == [False, False]
    assert "5 of 6 rows labelled" in repr(data)


def test_with_labels_checks_and_leaves_the_original():
    data = small()
    other = data.with_labels(torch.full((6,), 2))
    assert other.labels.tolist() == [2] * 6
    assert data.labels.tolist() == [0, 1, 2, UNLABELLED, 1, 0]
    assert data.with_labels(None).labels is None
    with pytest.raises(AttarError, match=r"\[0, 2\].*Got 3"):
        data.with_labels(torch.full((6,), 3))
    assert data.with_labels(torch.full((6,), 3), classes=list("abcd")).classes == tuple("abcd")


def test_the_fingerprint_follows_what_the_teacher_sees_and_nothing_else():
    data = small()
    same = data.fingerprint()
    assert small().fingerprint() == same
    assert data.with_labels(None).fingerprint() == same
    assert data.take(torch.arange(6)).fingerprint() == same
    nudged = torch.arange(24.0).reshape(6, 4)
    nudged[5, 3] = torch.nextafter(nudged[5, 3], torch.tensor(0.0))
    views = [Views([shift(1)], 2), Views([shift(2)], 2), Views([shift(1)], 3)]
    others = [
        ArrayData(nudged, rows=data.rows),
        small(rows=torch.tensor([5, 9, 0, 7, 2, 41])),
        ArrayData(data.inputs.double(), rows=data.rows),
        ArrayData(data.inputs.reshape(6, 2, 2), rows=data.rows),
        ArrayData({"inputs": data.inputs, "more": data.inputs}, rows=data.rows),
        data.take(torch.tensor([1, 0, 2, 3, 4, 5])),
        *[data.with_views(v) for v in views],
        data.with_views(Views([shift(1)], 2, seed=1)),
    ]
    prints = [other.fingerprint() for other in others]
    assert len({same, *prints}) == len(prints) + 1
    assert data.with_views(views[0]).with_views(None).fingerprint() == same


@pytest.mark.parametrize("dtype", [torch.bool, torch.bfloat16, torch.uint8, torch.int64])
def test_every_dtype_has_a_fingerprint(dtype):
    one = ArrayData(torch.tensor([[1, 0]]).to(dtype))
    two = ArrayData(torch.tensor([[0, 1]]).to(dtype))
    assert one.fingerprint() != two.fingerprint()


NAN = float("nan")


@pytest.mark.parametrize(
    ("inputs", "given", "message"),
    [
        (torch.tensor([[1.0], [NAN]]), {}, r"finite. 1 of 2 rows.*row 1"),
        ({"x": torch.tensor([[1.0], [float("inf")]])}, {}, r"x must be finite"),
        (torch.zeros(3), {}, r"\[N, \.\.\.\].*Got \(3,\).*reshape\(-1, 1\)"),
        ([[1.0]], {}, r"must be a tensor. Got list; attar.data.as_data"),
        ({}, {}, "mapping of tensors. Got {}"),
        ({"a": torch.zeros(2, 1), "b": torch.zeros(3, 1)}, {}, r"same number of rows.*'b': 3"),
        (torch.zeros(2, 1), {"labels": torch.tensor([0])}, r"labels .*shape \[2\].*Got \(1,\)"),
        (torch.zeros(2, 1), {"labels": [0, 1]}, r"labels must be a tensor.*Got list"),
        (torch.zeros(2, 1), {"labels": torch.tensor([0.0, 1.0])}, "labels must be int64"),
        (torch.zeros(2, 1), {"labels": torch.tensor([0, -1])}, r"Got -1"),
        (
            torch.zeros(2, 1),
            {"labels": torch.tensor([0, 2]), "classes": ["a", "b"]},
            r"\[0, 1\].*Got 2",
        ),
        (torch.zeros(2, 1), {"classes": "ab"}, "list of names. Got the text 'ab'"),
        (torch.zeros(2, 1), {"classes": [0, 1]}, "must be names"),
        (torch.zeros(2, 1), {"classes": ["a", "a"]}, "all be different"),
        (
            torch.zeros(3, 1),
            {"rows": torch.tensor([4, 7, 4])},
            r"all be different.*4 comes 2 times",
        ),
        (torch.zeros(2, 1), {"rows": torch.tensor([0, -1])}, r"\[0, 2\*\*40\)"),
        (torch.zeros(2, 1), {"rows": torch.tensor([0, VIEW])}, r"\[0, 2\*\*40\)"),
        (torch.zeros(2, 1), {"rows": torch.tensor([0.0, 1.0])}, "rows must be int64"),
        (torch.zeros(2, 1), {"weights": torch.tensor([1.0, -1.0])}, "weights must be finite"),
        (torch.zeros(2, 1), {"weights": torch.tensor([1.0, NAN])}, "weights must be finite"),
        (torch.zeros(2, 1), {"weights": torch.zeros(2)}, "not all 0"),
        (torch.zeros(2, 1), {"views": shift(1)}, r"must be attar.data.Views\(.*Got Shift"),
        ({"x": torch.zeros(2, 1)}, {"views": Views([shift(1)], 2)}, "not for a mapping"),
    ],
)
def test_what_comes_in_is_checked_at_the_door(inputs, given, message):
    with pytest.raises(AttarError, match=message):
        ArrayData(inputs, **given)


def test_join_keeps_row_numbers_and_marks_rows_without_labels():
    first = small(weights=torch.full((6,), 2.0), classes=("a", "b", "c"))
    second = ArrayData(torch.ones(2, 4), rows=torch.tensor([100, 1]))
    both = join(first, second)
    assert both.rows.tolist() == [5, 9, 0, 7, 2, 40, 100, 1]
    assert both.labels.tolist() == [0, 1, 2, UNLABELLED, 1, 0, UNLABELLED, UNLABELLED]
    assert both.weights.tolist() == [2.0] * 6 + [1.0] * 2
    assert both.classes == ("a", "b", "c")
    assert torch.equal(both.inputs[6:], second.inputs)
    assert join(second, first).classes == ("a", "b", "c")
    unlabelled = second.take(torch.tensor([0])), second.take(torch.tensor([1]))
    assert join(*unlabelled).labels is None


def test_join_takes_mappings():
    first = ArrayData({"x": torch.zeros(1, 2)}, rows=torch.tensor([1]))
    second = ArrayData({"x": torch.ones(1, 2)}, rows=torch.tensor([0]))
    assert join(first, second).inputs["x"].tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (ArrayData(torch.zeros(2, 4)), r"1 row number in common.*first_row=41"),
        (ArrayData(torch.zeros(1, 3), rows=torch.tensor([99])), r"same kinds of rows.*\(3,\)"),
        (ArrayData(torch.zeros(1, 4).double(), rows=torch.tensor([99])), "float64"),
        (
            ArrayData(
                torch.zeros(1, 4), torch.tensor([0]), rows=torch.tensor([99]), classes=["other"]
            ),
            r"same classes. Got \('0', '1', '2'\) and \('other',\)",
        ),
        (
            ArrayData(torch.zeros(1, 4), rows=torch.tensor([99]), views=Views([shift(1)], 2)),
            "same views",
        ),
    ],
)
def test_join_refuses_what_does_not_belong_together(second, message):
    with pytest.raises(AttarError, match=message):
        join(small(), second)
