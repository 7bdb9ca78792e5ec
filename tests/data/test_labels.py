from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from attar.checks import AttarError
from attar.data.labels import encode_labels
from attar.types import UNLABELLED as UN


@pytest.mark.parametrize(
    ("labels", "expected", "names"),
    [
        ([2, 0, 1], [2, 0, 1], ("0", "1", "2")),
        ([2, UN, 0, 1], [2, UN, 0, 1], ("0", "1", "2")),
        ([10, 2, 1], [2, 1, 0], ("1", "2", "10")),  # by size, not as texts
        (["b", None, "a"], [1, UN, 0], ("a", "b")),
        ([True, False, None], [1, 0, UN], ("False", "True")),
        ([True, True], [1, 1], ("False", "True")),  # one missing does not move the other
        ([1.0, float("nan"), 0.0], [1, UN, 0], ("0", "1")),
        ([-1, 1], [0, 1], ("-1", "1")),  # the two classes of an SVM
        ([None, UN], [UN, UN], ()),
        ([], [], ()),
        (np.array(["x", "y"]), [0, 1], ("x", "y")),
        (np.array([[1], [0]]), [1, 0], ("0", "1")),
        (np.array([3, 3], dtype=np.uint8), [0, 0], ("3",)),
        (torch.tensor([1, 0], dtype=torch.int32), [1, 0], ("0", "1")),
        ([np.int64(1), np.int64(0)], [1, 0], ("0", "1")),
        (pd.Series(["b", None, "a"]), [1, UN, 0], ("a", "b")),
        (pd.Series([1, None, 0]), [1, UN, 0], ("0", "1")),
        (pd.Series([1, None, 0], dtype="Int64"), [1, UN, 0], ("0", "1")),
        (pd.Series(["b", "a"], dtype="category"), [1, 0], ("a", "b")),
    ],
)
def test_labels_become_classes(labels, expected, names):
    encoded, classes = encode_labels("you", labels)
    assert encoded.dtype == torch.int64
    assert (encoded.tolist(), classes) == (expected, names)


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (["cat"], ["dog", "cat"], [1]),
        ([1, 0], ["dog", "cat"], [1, 0]),  # names that are no numbers: positions
        ([2, 1], ["1", "2", "3"], [1, 0]),  # names that are numbers: names
        ([1], ["1", "other"], [0]),
        ([1], ["other", "1"], [1]),
        ([0, 2], ["0", "1", "2"], [0, 2]),  # a class that is missing moves none
        ([True], ["no", "yes"], [1]),
        ([True], ["True", "False"], [0]),
        (["2"], ["1", "2"], [1]),
        ([None], ["a", "b"], [UN]),
    ],
)
def test_given_classes_decide(labels, classes, expected):
    encoded, names = encode_labels("you", labels, classes=classes)
    assert encoded.tolist() == expected
    assert names == tuple(classes)


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (["cat", "cow"], ["cat", "dog"], r"you: row 1 has the label 'cow'.*2 classes cat, dog"),
        ([None, 0, 3], ["a", "b", "c"], r"row 2 has the label 3"),
        ([0], ["1", "2"], r"row 0 has the label 0"),  # never a position by surprise
        ([0.5, 1.0], None, r"Row 0 has 0.5, which is not whole"),
        ([float("inf")], None, "not whole"),
        ([0, -1, 1], None, r"Got -1.*marked -100"),
        ([1, "a"], None, r"all of one kind.*Got 1 and 'a'"),
        ([True, 1], None, "all of one kind"),
        ([{"a": 1}], None, "integers, texts or bools"),
        (np.zeros((3, 2)), None, r"Got shape \(3, 2\).*argmax"),
        ("abc", None, "must be a list or an array"),
        (3, None, "must be a list or an array"),
    ],
)
def test_labels_that_name_no_class_are_refused(labels, classes, message):
    with pytest.raises(AttarError, match=message):
        encode_labels("you", labels, classes=classes)
