from __future__ import annotations

import datetime
import decimal
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from attar.checks import AttarError
from attar.data import table

CSV = """age,city,member,species
30,Rome,true,cat
41,,false,
25.5,Oslo,true,dog
"""
EXPECTED = [[30, 0, 0, 1, 1], [41, 1, 0, 0, 0], [25.5, 0, 1, 0, 1]]


def written(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def parquet(tmp_path, **columns):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "T.CSV"])
def test_csv_by_hand(tmp_path, name):
    data = table(written(tmp_path, CSV, name), label="species")
    assert data.inputs.dtype == torch.float32
    assert data.inputs.tolist() == EXPECTED
    assert (data.labels.tolist(), data.classes) == ([0, -100, 1], ("cat", "dog"))
    assert json.loads(json.dumps(data.columns)) == [
        {"name": "age", "kind": "number"},
        {"name": "city", "kind": "category", "categories": ["", "Oslo", "Rome"]},
        {"name": "member", "kind": "number"},
    ]


def test_parquet_gives_what_csv_gives(tmp_path):
    path = parquet(
        tmp_path,
        age=pa.array([decimal.Decimal("30.0"), decimal.Decimal("41.0"), decimal.Decimal("25.5")]),
        city=pa.array(["Rome", None, "Oslo"]).dictionary_encode(),
        member=[True, False, True],
        species=["cat", None, "dog"],
    )
    data = table(path, label="species")
    assert data.inputs.tolist() == EXPECTED
    assert data.labels.tolist() == [0, -100, 1]
    assert data.fingerprint() == table(written(tmp_path, CSV), label="species").fingerprint()


def test_another_file_is_encoded_as_the_training_file_was(tmp_path):
    train = table(written(tmp_path, CSV), label="species")
    later = "species,extra,city,member,age\ndog,2020-01-01,Rome,false,7\n"
    data = table(
        written(tmp_path, later, "l.csv"),
        label="species",
        classes=train.classes,
        columns=train.columns,
        first_row=3,
    )
    assert data.rows.tolist() == [3]
    assert data.inputs.tolist() == [[7, 0, 0, 1, 0]]
    assert data.labels.tolist() == [1]
    unlabelled = table(tmp_path / "l.csv", columns=train.columns, classes=train.classes)
    assert unlabelled.labels is None
    assert unlabelled.classes == train.classes


def test_a_lenient_table_takes_gaps_and_later_what_is_new(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("age,city,fee\n30,Rome,low\n,Oslo,low\n40,Rome,high\n")
    with pytest.raises(AttarError, match=r"'age' has no number in row 1 .*lenient=True"):
        table(path, label="fee")
    train = table(path, label="fee", lenient=True)
    # age, age is missing, Oslo, Rome
    assert train.inputs.tolist() == [[30, 0, 0, 1], [35, 1, 1, 0], [40, 0, 0, 1]]
    later = tmp_path / "later.csv"
    later.write_text("age,city\n,Lima\n")
    assert table(later, columns=train.columns).inputs.tolist() == [[35, 1, 0, 0]]


def test_categories_that_look_like_numbers_stay_texts(tmp_path):
    train = table(written(tmp_path, "zip,y\n007,a\n12b,b\n"), label="y")
    data = table(written(tmp_path, "zip\n007\n", "l.csv"), columns=train.columns)
    assert data.inputs.tolist() == [[1, 0]]


def test_labels_of_other_kinds(tmp_path):
    whole = table(written(tmp_path, "x,y\n1,10\n2,\n3,9\n"), label="y")
    assert (whole.labels.tolist(), whole.classes) == ([1, -100, 0], ("9", "10"))
    truth = table(written(tmp_path, "x,y\n1,true\n2,false\n"), label="y")
    assert (truth.labels.tolist(), truth.classes) == ([1, 0], ("False", "True"))
    nothing = table(written(tmp_path, "x,y\n1,\n2,\n"), label="y", classes=("a", "b"))
    assert nothing.labels.tolist() == [-100, -100]
    spaces = table(written(tmp_path, "x,y\n1,a\n2,  \n"), label="y")
    assert spaces.labels.tolist() == [0, -100]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age,species\n1,cat\n,dog\n", r"'age' has no number in row 1"),
        ("age,species\nNaN,cat\n", r"'age' has no value in any row"),
        ("species\ncat\n", "no column to learn from"),
        ("age,kind\n1,cat\n", "no column 'species'. It has age, kind"),
        ("age,species,age\n1,cat,2\n", "more than one column of the name 'age'"),
        ("age,species\n", "has no rows"),
        ("", "cannot be read"),
        ("age,species\n1,cat\n2\n", "cannot be read"),
        ("age,species\n1e60,cat\n", "float32 cannot hold"),
        ("day,species\n2020-01-01,cat\n", r"'day' holds date32.*number of days"),
        ("age,species\n1,2.5\n", r"the column 'species': labels must name classes.*2.5"),
    ],
)
def test_a_file_that_cannot_be_learned_from_is_refused(tmp_path, text, message):
    with pytest.raises(AttarError, match=message):
        table(written(tmp_path, text), label="species")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("city,member\nRome,true\n", r"lacks 'age', which the model was trained on"),
        ("age,city,member\n1,Bern,true\n", r"'city' has 'Bern' in row 0.*Known are"),
        ("age,city,member\nold,Rome,true\n", r"'age' must hold numbers.*'old'"),
        ("age,city,member\n1,Rome,true\n,Rome,true\n", r"'age' has no number in row 1"),
    ],
)
def test_a_file_unlike_the_training_file_is_refused(tmp_path, text, message):
    columns = table(written(tmp_path, CSV), label="species").columns
    with pytest.raises(AttarError, match=message):
        table(written(tmp_path, text, "l.csv"), columns=columns)


def test_files_that_are_no_tables_are_refused(tmp_path):
    with pytest.raises(AttarError, match=r"must be a .csv, .csv.gz or .parquet"):
        table(tmp_path / "t.xlsx")
    with pytest.raises(AttarError, match=r"absent.csv cannot be read"):
        table(tmp_path / "absent.csv")
    for name in ("t.parquet", "t.csv.gz"):
        (tmp_path / name).write_bytes(b"neither one nor the other")
        with pytest.raises(AttarError, match=f"{name} cannot be read"):
            table(tmp_path / name)
    (tmp_path / "latin.csv").write_bytes("city,y\nZürich,1\n".encode("latin-1"))
    with pytest.raises(AttarError, match=r"latin.csv"):
        table(tmp_path / "latin.csv", label="y")


def test_columns_of_lists_and_times_are_refused_and_left_aside_where_not_asked_for(tmp_path):
    path = parquet(tmp_path, x=[1.0, 2.0], bits=[[1], [2]], at=[datetime.datetime(2020, 1, 1)] * 2)
    with pytest.raises(AttarError, match=r"'bits' holds list"):
        table(path)
    assert table(path, columns=[{"name": "x", "kind": "number"}]).inputs.tolist() == [[1], [2]]


def test_several_columns_are_learnt_of_other_tasks(tmp_path):
    path = tmp_path / "songs.csv"
    path.write_text("beats,calm,loud\n60,1,0\n140,0,1\n90,,0\n")
    data = table(path, label=["calm", "loud"], task="multilabel")
    assert data.classes == ("calm", "loud")
    assert data.inputs.tolist() == [[60.0], [140.0], [90.0]]
    assert data.labels.nan_to_num(nan=-1).tolist() == [[1, 0], [0, 1], [-1, 0]]
    with pytest.raises(AttarError, match="no column 'sad'"):
        table(path, label=["calm", "sad"], task="multilabel")
    with pytest.raises(AttarError, match=r"one column names the class\. Got calm, loud"):
        table(path, label=["calm", "loud"])
