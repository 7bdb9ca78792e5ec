from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from attar.checks import AttarError
from attar.data import ArrayData, as_data


@pytest.mark.parametrize(
    "inputs",
    [
        [[1, 2], [3, 4]],
        [[1.0, 2.0], [3.0, 4.0]],
        np.array([[1, 2], [3, 4]]),
        np.array([[1.0, 2.0], [3.0, 4.0]]),
        np.array([[1, 2], [3, 4]], dtype=">f8"),
        np.array([[1, 2], [3, 4]], dtype=np.uint32),
        np.array([[1, 2], [3, 4]], dtype=object),
        np.array([[4, 3], [2, 1]])[::-1, ::-1],
        torch.tensor([[1, 2], [3, 4]]),
        torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.bfloat16),
        [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])],
        [np.array([1, 2]), np.array([3, 4])],
        pd.DataFrame({"a": [1, 3], "b": [2.0, 4.0]}),
    ],
)
def test_numbers_of_any_kind_become_float32(inputs):
    data = as_data((inputs, [1, 0]))
    assert data.inputs.dtype == torch.float32
    assert data.inputs.tolist() == [[1, 2], [3, 4]]
    assert data.labels.tolist() == [1, 0]


def test_bools_become_numbers_and_uint8_stays():
    assert as_data((np.array([[True, False]]), None)).inputs.tolist() == [[1, 0]]
    assert as_data((np.zeros((1, 1, 2, 2), dtype=np.uint8), None)).inputs.dtype == torch.uint8
    assert as_data((torch.zeros(1, 2, dtype=torch.uint8), None)).inputs.dtype == torch.uint8


def test_a_mapping_keeps_whole_numbers():
    data = as_data(({"tokens": np.array([[1, 2]], dtype=np.int32), "x": np.array([[0.5]])}, None))
    assert data.inputs["tokens"].dtype == torch.int64
    assert data.inputs["x"].dtype == torch.float32


def test_a_read_only_array_is_copied_in_silence():
    frozen = np.zeros((2, 2), dtype=np.float32)
    frozen.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = as_data((frozen, None))
    data.inputs[0, 0] = 1
    assert frozen[0, 0] == 0


def test_gradients_do_not_come_along():
    assert not as_data((torch.ones(1, 2, requires_grad=True), None)).inputs.requires_grad


def test_rows_count_on_and_classes_are_those_given():
    data = as_data((np.zeros((2, 3)), ["b", None]), classes=["b", "a"], first_row=10)
    assert data.rows.tolist() == [10, 11]
    assert (data.classes, data.labels.tolist()) == (("b", "a"), [0, -100])
    assert as_data((np.zeros((2, 3)), None), classes=["b", "a"]).classes == ("b", "a")


def test_data_passes_through_unless_it_contradicts():
    data = ArrayData(torch.zeros(2, 1), torch.tensor([0, 1]))
    assert as_data(data) is data
    assert as_data(data, classes=["0", "1"]) is data
    with pytest.raises(AttarError, match=r"has the classes \('0', '1'\), not \('a', 'b'\)"):
        as_data(data, classes=["a", "b"])
    with pytest.raises(AttarError, match="numbers its rows itself"):
        as_data(data, first_row=2)


def test_texts_in_a_dataframe_are_encoded_as_in_training():
    train = as_data((pd.DataFrame({"n": [1, 2], "city": ["Rome", "Oslo"]}), ["a", "b"]))
    assert train.inputs.tolist() == [[1, 0, 1], [2, 1, 0]]
    again = as_data((pd.DataFrame({"city": ["Rome"], "n": [3]}), None), columns=train.columns)
    assert again.inputs.tolist() == [[3, 0, 1]]
    missing = pd.DataFrame({"n": [1], "city": pd.Series([None], dtype="object")})
    with pytest.raises(AttarError, match=r"'city' has no value in row 0"):
        as_data((missing, None), columns=train.columns)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((3, 2)), r"pair \(X, y\).*Got a ndarray of 3"),
        ([1, 2, 3], "Got a list of 3"),
        (None, "Got a NoneType"),
        (([[1, 2], [3]], None), "rows of equal length"),
        (([["a", "b"]], None), r"must hold numbers. Got <U1.*attar.data.table"),
        ((np.array([["a", 1]], dtype=object), None), "must hold numbers. It holds objects"),
        ((np.array(["2020-01-01"], dtype="datetime64[D]")[:, None], None), "must hold numbers"),
        ((np.zeros((2, 2), dtype=complex), None), "must hold numbers"),
        ((torch.zeros(2, 2, dtype=torch.complex64), None), "must hold real numbers"),
        ((np.array([[1e300]]), None), r"1e\+300, which float32 cannot hold"),
        ((np.array([[np.nan], [1.0]]), None), r"finite.*row 0"),
        ((pd.DataFrame({"a": [1.0, None]}), None), r"'a' has no number in row 1"),
        ((pd.DataFrame([[1, 2]], columns=["a", "a"]), None), "different names"),
        ((np.zeros(4), None), r"Got \(4,\)"),
        ((np.zeros((3, 2)), [0, 1]), "X has 3 rows and y has 2"),
    ],
)
def test_what_is_no_data_is_refused(value, message):
    with pytest.raises(AttarError, match=message):
        as_data(value)


@pytest.mark.parametrize("first_row", [-1, 2**40, 1.0, True])
def test_first_row_is_a_row_number(first_row):
    with pytest.raises(AttarError, match="'first_row' parameter of as_data must be an integer"):
        as_data((np.zeros((1, 1)), None), first_row=first_row)
