"""Labels that are no classes: values, and several labels a row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from attar import AttarError
from attar.data import ArrayData, as_data, join, mixup, split
from attar.data.label_columns import label_columns
from attar.data.views import Views


def values(rows: int = 10) -> ArrayData:
    labels = torch.arange(2.0 * rows).reshape(rows, 2)
    labels[0] = torch.nan  # not known
    labels[1, 0] = torch.nan  # known by half
    return ArrayData(torch.arange(1.0 * rows)[:, None], labels)


def test_numbers_of_any_form_become_columns():
    for given in ([1, 2.5, None], np.array([1, 2.5, np.nan]), pd.Series([1, 2.5, np.nan])):
        columns, names = label_columns("you", given, task="regression")
        assert columns.dtype == torch.float32
        np.testing.assert_array_equal(columns.numpy(), [[1], [2.5], [np.nan]])
        assert names == ("0",)
    frame = pd.DataFrame({"red": [True, False], "round": [1, 0]})
    columns, names = label_columns("you", frame, task="multilabel")
    assert (columns.tolist(), names) == ([[1, 1], [0, 0]], ("red", "round"))


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        (["a", "b"], "regression", "must hold numbers"),
        ([0, 1], "multilabel", r"\[N, L\], a column a label. Got \(2,\)"),
        ([[0, 2]], "multilabel", "0, 1 or NaN. Got 2"),
        ([1e300], "regression", "float32 cannot hold"),
        ([1], "ranking", "'task' parameter of you"),
    ],
)
def test_what_is_no_such_label_is_refused(labels, task, message):
    with pytest.raises(AttarError, match=message):
        label_columns("you", labels, task=task)


def test_rows_keep_their_values_and_a_row_with_one_known_is_labelled():
    data = values()
    assert data.classes == ("0", "1")
    assert data.labelled.tolist() == [False] + [True] * 9
    assert data.batch(torch.tensor([3])).labels.tolist() == [[6.0, 7.0]]
    assert data.take(torch.tensor([3])).labels.tolist() == [[6.0, 7.0]]
    with pytest.raises(AttarError, match="no classes"):
        _ = data.class_counts


def test_a_split_holds_out_labelled_rows_alone():
    first, second = split(values(), (0.6, 0.4), seed=0)
    assert (len(first), len(second)) == (6, 4)  # 5.4 and 3.6 of nine, and the unlabelled one
    assert 0 in first.rows.tolist()
    assert sorted([*first.rows.tolist(), *second.rows.tolist()]) == list(range(10))


def test_rows_without_labels_join_as_not_known():
    more = ArrayData(torch.zeros(2, 1), rows=torch.tensor([20, 21]))
    both = join(values(), more)
    assert both.labels.shape == (12, 2)
    assert bool(both.labels[10:].isnan().all())


def test_labels_of_another_kind_than_the_task_are_refused():
    with pytest.raises(AttarError, match="'multiclass' needs int64"):
        as_data(values())
    with pytest.raises(AttarError, match=r"'regression' needs floating labels \[N, D\]"):
        as_data(ArrayData(torch.zeros(2, 1), torch.tensor([0, 1])), task="regression")
    data = as_data(([[1], [2]], [0.5, 1.5]), task="regression")
    assert data.labels.tolist() == [[0.5], [1.5]]


def test_wrong_columns_and_mixed_rows_are_refused():
    with pytest.raises(AttarError, match="here 3 rows"):
        ArrayData(torch.zeros(3, 1), torch.zeros(2, 1))
    with pytest.raises(AttarError, match="and 2 columns"):
        ArrayData(torch.zeros(3, 1), torch.zeros(3, 1), classes=["a", "b"])
    with pytest.raises(AttarError, match="finite"):
        ArrayData(torch.zeros(1, 1), torch.tensor([[torch.inf]]))
    with pytest.raises(AttarError, match="classes alone"):
        values().with_views(Views([mixup(0.5)], 2))
