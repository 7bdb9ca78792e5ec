"""The file takes the rows of a table as they are: columns in, probabilities out."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import polars
import pytest
import torch

from attar.checks import AttarError
from attar.columns import describe_columns, encode_columns
from attar.export import runtime, to_onnx
from attar.export.raw import RawStudent
from attar.students import Standardize, boosted, mlp, tree
from attar.students.trees import soft_and_hard

CLASSES = ["no", "yes"]


def people(rows: int = 120, *, gaps: bool = True) -> dict[str, Any]:
    random = np.random.default_rng(0)
    table: dict[str, Any] = {
        "city": random.choice(["Rome", "Oslo", "Bonn"], rows).astype(object),
        "age": random.normal(40, 10, rows),
        "inputs": random.normal(size=rows),  # names that the graph has itself
        "probabilities": random.choice(["x", "y"], rows).astype(object),
        "member": random.random(rows) > 0.5,
    }
    if gaps:
        table["age"][::7] = np.nan
        table["city"][::11] = None
    return table


def student(kind: str, rows: dict[str, Any], columns: Any) -> tuple[torch.nn.Module, torch.Tensor]:
    encoded = torch.from_numpy(encode_columns(rows, columns))
    shape: dict[str, Any] = {"input_shape": encoded.shape[1:], "classes": 2}
    torch.manual_seed(0)
    if kind == "mlp":
        return mlp.model(8, **shape, scaler=Standardize.fit(encoded)).eval(), encoded
    model: Any = {"tree": tree, "boosted": boosted}[kind].model(9, **shape)
    labels = torch.from_numpy((np.nan_to_num(rows["age"]) > 40).astype(int))
    model.fit(encoded, soft_and_hard(labels, classes=2, smoothing=0.1))
    return model, encoded


def session_of(path: Any) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def ask(session: onnxruntime.InferenceSession, *values: Any) -> np.ndarray:
    """Without Attar: each value is one column, in the order of the description."""
    given = {}
    for taken, value in zip(session.get_inputs(), values, strict=True):
        kind = object if taken.type == "tensor(string)" else np.float32
        given[taken.name] = np.array(value, dtype=kind).reshape(-1, 1)
    answer: np.ndarray = session.run(["probabilities"], given)[0]
    return answer


@pytest.mark.parametrize("kind", ["mlp", "tree", "boosted"])
@pytest.mark.parametrize("lenient", [True, False])
def test_the_graph_encodes_as_encode_columns_does(tmp_path, kind, lenient):
    rows = people(gaps=lenient)
    columns = describe_columns(rows, lenient=lenient)
    model, encoded = student(kind, rows, columns)
    path = tmp_path / "student.onnx"
    given = {"example": encoded, "classes": CLASSES, "columns": columns, "takes": "columns"}
    export = to_onnx(model, path, **given, temperature=1.3)
    assert export.max_probability_difference < 1e-5
    read = runtime.load(path)
    assert isinstance(read, RawStudent)
    with torch.no_grad():
        expected = (model(encoded) / 1.3).softmax(dim=1)
    np.testing.assert_allclose(read.predict_proba(rows), expected, atol=1e-5)
    values = [np.where([v is None for v in rows["city"]], "", rows["city"]), rows["age"]]
    values += [rows["inputs"], rows["probabilities"], rows["member"]]
    np.testing.assert_allclose(ask(session_of(path), *values), expected, atol=1e-5)


def test_rows_that_training_did_not_have(tmp_path):
    rows = people()
    columns = describe_columns(rows, lenient=True)
    model, encoded = student("tree", rows, columns)
    path = tmp_path / "student.onnx"
    to_onnx(model, path, example=encoded, classes=CLASSES, columns=columns, takes="columns")
    strange = {
        "city": ["Lima", "", None, "Rome"],
        "age": [None, 40.0, np.nan, "41.5"],
        "inputs": [None, 0.0, 1.0, 2.0],  # no gap in training: filled, and not marked
        "probabilities": ["z", "x", "", "y"],
        "member": [True, None, "false", 1],
    }
    with torch.no_grad():
        encoded = torch.from_numpy(encode_columns(strange, columns))
        expected = model(encoded).softmax(dim=1)
    np.testing.assert_allclose(runtime.load(path).predict_proba(strange), expected, atol=1e-6)


def test_what_cannot_be_encoded_is_nan_in_the_graph_and_an_error_in_the_runtime(tmp_path):
    rows = people(gaps=False)
    columns = describe_columns(rows)  # strict
    model, encoded = student("mlp", rows, columns)
    path = tmp_path / "student.onnx"
    to_onnx(model, path, example=encoded, classes=CLASSES, columns=columns, takes="columns")
    answers = ask(
        session_of(path),
        ["Rome", "Lima", "Rome", "Rome"],
        [40, 40, np.nan, np.inf],
        [0, 0, 0, 0],
        ["x", "x", "x", "x"],
        [1, 1, 1, 1],
    )
    assert np.isfinite(answers[0]).all()
    assert np.isnan(answers[1:]).all()
    good = {name: values[:1] for name, values in rows.items()}
    read = runtime.load(path)
    assert read.predict(good).shape == (1,)
    with pytest.raises(AttarError, match="'city' has 'Lima' in row 0"):
        read.predict({**good, "city": ["Lima"]})
    with pytest.raises(AttarError, match="'age' has no number in row 0"):
        read.predict({**good, "age": [None]})
    with pytest.raises(AttarError, match="'age' has inf in row 0"):
        read.predict({**good, "age": [np.inf]})
    with pytest.raises(AttarError, match="lacks 'age'"):
        read.predict({name: value for name, value in good.items() if name != "age"})
    with pytest.raises(AttarError, match="no rows"):
        read.predict({name: [] for name in good})


def test_rows_come_as_frames_lists_and_arrays(tmp_path):
    rows = people()
    columns = describe_columns(rows, lenient=True)
    model, encoded = student("tree", rows, columns)
    path = tmp_path / "student.onnx"
    to_onnx(model, path, example=encoded, classes=CLASSES, columns=columns, takes="columns")
    read = runtime.load(path)
    expected = read.predict_proba(rows)
    frame = pd.DataFrame(rows)
    listed = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
    for given in (frame, polars.from_pandas(frame), listed, frame.to_numpy(dtype=object)):
        np.testing.assert_array_equal(read.predict_proba(given), expected)
    with pytest.raises(AttarError, match=r"\[N, 5\]. Got shape \[120, 4\]"):
        read.predict(frame.to_numpy(dtype=object)[:, 1:])


def test_a_table_of_numbers_is_one_matrix(tmp_path):
    random = np.random.default_rng(0)
    table = random.normal(size=(80, 3)).astype(np.float32)
    table[::5, 1] = np.nan
    rows = {str(i): table[:, i] for i in range(3)}
    columns = describe_columns(rows, lenient=True)
    model, encoded = student("mlp", rows | {"age": table[:, 0]}, columns)
    path = tmp_path / "student.onnx"
    to_onnx(model, path, example=encoded, classes=CLASSES, columns=columns, takes="matrix")
    session = session_of(path)
    assert [(i.name, i.shape[1]) for i in session.get_inputs()] == [("inputs", 3)]
    with torch.no_grad():
        expected = model(encoded).softmax(dim=1)
    got = session.run(["probabilities"], {"inputs": table})[0]
    np.testing.assert_allclose(got, expected, atol=1e-6)
    read = runtime.load(path)
    for given in (table, table.astype(np.float64), rows, table.tolist()):
        np.testing.assert_allclose(read.predict_proba(given), expected, atol=1e-6)
    whole = np.ones((2, 3), dtype=np.int64)  # nothing but finite numbers
    assert read.predict_proba(whole).shape == (2, 2)
    with pytest.raises(AttarError, match=r"\[N, 3\]. Got shape \[3\]"):
        read.predict(table[0])
    with pytest.raises(AttarError, match="'1' has inf in row 0"):
        read.predict(np.array([[0, np.inf, 0]]))


def test_what_the_file_takes_must_fit_its_columns(tmp_path):
    rows = people()
    columns = describe_columns(rows, lenient=True)
    model, encoded = student("tree", rows, columns)
    given = {"example": encoded, "classes": CLASSES}
    path = tmp_path / "student.onnx"
    with pytest.raises(AttarError, match=r"'city' holds texts\. Use takes='columns'"):
        to_onnx(model, path, **given, columns=columns, takes="matrix")
    with pytest.raises(AttarError, match=r"'takes' parameter.*Got 'columns'"):
        to_onnx(model, path, **given, takes="columns")
    with pytest.raises(AttarError, match=r"'takes' parameter.*Got 'rows'"):
        to_onnx(model, path, **given, columns=columns, takes="rows")
    assert not path.exists()
