from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from attar.checks import AttarError
from attar.columns import (
    MOST_CATEGORIES,
    decode_columns,
    describe_columns,
    encode_columns,
    encoded_names,
    encoded_width,
    raw_columns,
)

ROWS = {
    "age": [30, 41, 25],
    "city": ["Rome", "", "Oslo"],
    "member": [True, False, True],
    "height": np.array([1.5, 1.75, 2.0]),
}


def test_encoding_by_hand_and_through_json():
    columns = json.loads(json.dumps(describe_columns(ROWS)))
    assert columns == [
        {"name": "age", "kind": "number"},
        {"name": "city", "kind": "category", "categories": ["", "Oslo", "Rome"]},
        {"name": "member", "kind": "number"},
        {"name": "height", "kind": "number"},
    ]
    encoded = encode_columns(ROWS, columns)
    assert encoded.dtype == np.float32
    assert encoded.tolist() == [
        [30, 0, 0, 1, 1, 1.5],
        [41, 1, 0, 0, 0, 1.75],
        [25, 0, 1, 0, 1, 2.0],
    ]
    assert encoded_width(columns) == encoded.shape[1]


def test_values_as_a_csv_reader_gives_them_are_encoded_alike():
    columns = describe_columns(ROWS)
    texts = {
        "height": [" 1.5", "1.75e0", "2"],
        "member": ["True", "false", "TRUE"],
        "city": ["Rome", None, "Oslo"],
        "age": ["30", "41.0", "25"],
        "unknown": ["left", "a", "side"],
    }
    assert np.array_equal(encode_columns(texts, columns), encode_columns(ROWS, columns))


def test_whole_numbers_may_name_a_category():
    columns = describe_columns({"zip": ["8001", "x"]})
    assert encode_columns({"zip": [8001, np.int64(8001)]}, columns).tolist() == [[1, 0], [1, 0]]
    assert encode_columns({"zip": np.array([8001])}, columns).tolist() == [[1, 0]]


def test_no_rows_give_no_rows():
    assert encode_columns({"age": []}, [{"name": "age", "kind": "number"}]).shape == (0, 1)


def test_the_label_is_skipped():
    assert describe_columns(ROWS, skip=["age", "city", "member"]) == [
        {"name": "height", "kind": "number"}
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"note": [str(i) + "x" for i in range(101)]}, r"'note' has 101 different texts.*the 100"),
        ({"a": [1, "x"]}, r"'a' must hold numbers or texts.*It holds 1, 'x'"),
        ({"a": [None, float("nan")]}, r"'a' has no value in any row"),
        ({"a": [[1], [2]]}, r"'a' must hold numbers or texts"),
        ({"a": np.array(["2020-01-01"], dtype="datetime64[D]")}, r"'a' must hold numbers or texts"),
        ({}, "no column to learn from"),
        ({"a": "text"}, r"'a' must be a list with one value a row"),
    ],
)
def test_columns_that_cannot_be_encoded_are_named(rows, message):
    with pytest.raises(AttarError, match=message):
        describe_columns(rows)


def test_a_hundred_categories_are_taken():
    assert len(describe_columns({"a": [f"{i}x" for i in range(100)]})[0]["categories"]) == 100


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"age": [30, None, None]}, r"'age' has no number in row 1 \(counted from 0; 2 of 3"),
        ({"age": ["30", " ", "1"]}, r"'age' has no number in row 1"),
        ({"age": np.array([1.0, 2.0, np.nan])}, r"'age' has no number in row 2"),
        ({"age": ["30", "old", "1"]}, r"'age' must hold numbers.*Row 1 .*'old'"),
        ({"age": ["30", "1_000", "1"]}, r"Row 1 .*'1_000'"),
        ({"age": [[1], 2, 3]}, r"Row 0 .*\[1\]"),
        ({"age": [1, 2, 1e39]}, r"1e\+39 in row 2 .*float32 cannot hold"),
        ({"age": ["1", "2", "-inf"]}, r"-inf in row 2 .*float32 cannot hold"),
        (
            {"city": ["Rome", "Bern", ""]},
            r"'city' has 'Bern' in row 1 .*Known are '', 'Oslo', 'Rome'",
        ),
        ({"city": ["Rome", 1.5, ""]}, r"'city' must hold texts.*Row 1 .*1.5"),
        ({"city": ["Rome", True, ""]}, r"'city' must hold texts.*Row 1 .*True"),
        ({"city": ["Rome"]}, r"same length.*'city': 1"),
    ],
)
def test_values_unlike_those_of_training_are_named_with_their_row(changed, message):
    with pytest.raises(AttarError, match=message):
        encode_columns({**ROWS, **changed}, describe_columns(ROWS))


def test_a_missing_text_is_unknown_where_training_had_none():
    with pytest.raises(AttarError, match=r"'city' has no value in row 0"):
        encode_columns({"city": [None]}, describe_columns({"city": ["a"]}))


def test_missing_columns_are_listed():
    with pytest.raises(AttarError, match=r"lacks 'age', 'city', which.*It has 'member', 'height'"):
        encode_columns({k: ROWS[k] for k in ("member", "height")}, describe_columns(ROWS))


def test_a_description_of_another_kind_is_refused():
    with pytest.raises(AttarError, match=r"'number' or 'category'.*'date'"):
        encode_columns({"a": [1]}, [{"name": "a", "kind": "date"}])


def test_production_needs_numpy_alone():
    code = (
        "import sys, attar.columns; "
        "print(sorted(m for m in ('torch', 'pandas', 'pyarrow', 'sklearn') if m in sys.modules))"
    )
    source = str(Path(sys.modules["attar.columns"].__file__).parents[1])
    out = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {source!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == "[]"


def test_a_lenient_description_takes_gaps_and_new_texts():
    training = {
        "age": [30, None, 41, 45],
        "fee": [1.0, 2.0, 3.0, 4.0],
        "city": ["Rome", "Oslo", None, "Rome"],
        "empty": [None] * 4,
    }
    columns = describe_columns(training, lenient=True)
    assert columns == [
        {"name": "age", "kind": "number", "fill": 41.0, "mark": True},
        {"name": "fee", "kind": "number", "fill": 2.5, "mark": False},
        {
            "name": "city",
            "kind": "category",
            "categories": ["", "Oslo", "Rome"],
            "unknown": "ignore",
        },
        {"name": "empty", "kind": "number", "fill": 0.0, "mark": True},
    ]
    assert json.loads(json.dumps(columns)) == columns
    later = {
        "age": [None, 20],
        "fee": [float("nan"), 7],
        "city": ["Lima", "Oslo"],
        "empty": [None, 3],
    }
    assert encode_columns(later, columns).tolist() == [
        #  age, gap, fee, "", Oslo, Rome, empty, gap
        [41, 1, 2.5, 0, 0, 0, 0, 1],
        [20, 0, 7, 0, 1, 0, 3, 0],
    ]
    assert encoded_width(columns) == 8


def test_of_very_many_texts_a_lenient_description_keeps_the_most_frequent():
    names = [f"n{i:03d}" for i in range(150)]
    columns = describe_columns({"name": names + names[:MOST_CATEGORIES]}, lenient=True)
    assert columns[0]["categories"] == names[:MOST_CATEGORIES]


def test_gaps_and_new_categories_are_none_when_decoded() -> None:
    rows = {"age": [30.0, None, 41.0], "city": ["Rome", "Oslo", None], "size": [1.0, 2.0, 3.0]}
    columns = describe_columns(rows, lenient=True)
    later = {"age": [None, 35.0], "city": ["Lima", "Rome"], "size": [5.0, None]}
    decoded = decode_columns(encode_columns(later, columns), columns)
    # The gap in size was not there in training: it is filled, and nothing marks it.
    assert decoded == [[None, None, 5.0], [35.0, "Rome", 2.0]]
    assert len(encoded_names(columns)) == encode_columns(later, columns).shape[1]


def test_raw_columns_are_checked_as_encoded_ones_are() -> None:
    columns = describe_columns({"age": [30, 41], "city": ["Rome", "Oslo"]})
    age, city = raw_columns({"city": ["Oslo"], "age": ["35"]}, columns)
    assert (age.dtype, age.tolist(), city.tolist()) == (np.float32, [[35.0]], [["Oslo"]])
    for strange in ({"age": [None], "city": ["Rome"]}, {"age": [1], "city": ["Lima"]}):
        with pytest.raises(AttarError) as encoding:
            encode_columns(strange, columns)
        with pytest.raises(AttarError) as raw:
            raw_columns(strange, columns)
        assert str(raw.value) == str(encoding.value)
