"""Every wrong thing that reaches a shipped student, in one place: each says what is wrong with it.

The details are tested beside each part; here the student is a bundle of a table, as it is used.
"""

from __future__ import annotations

import io
import shutil
import zipfile
from contextlib import redirect_stderr

import numpy as np
import onnx
import pytest
import torch

from attar.checks import AttarError
from attar.cli import main
from attar.columns import describe_columns, encode_columns
from attar.data import as_data
from attar.export import ModelFile, runtime, to_onnx, write_bundle

TABLE = {"age": [30.0, 41.0, 25.0], "city": ["Rome", "Oslo", "Rome"]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    columns = describe_columns(TABLE)
    example = torch.from_numpy(encode_columns(TABLE, columns))
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    to_onnx(model, folder / "s.onnx", example=example, classes=["no", "yes"], columns=columns)
    return write_bundle(folder / "s.zip", {"student": ModelFile(folder / "s.onnx")})


@pytest.fixture(scope="module")
def student(bundle):
    return runtime.load(bundle, threads=1)


ROWS = np.float32([[30, 0, 1], [41, 1, 0]])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS[:, :2], r"inputs must have shape \[N, 3\]. Got \(2, 2\)"),
        (ROWS[0], r"a single row needs its batch axis: x\[None\]"),
        (ROWS.astype(str), r"must be float32, .* Got dtype <U"),
        (ROWS.astype(complex), "Got dtype complex128"),
        (np.where(ROWS == 41, np.nan, ROWS), "1 of 2 rows hold NaN.* the first is row 1"),
        (np.where(ROWS == 30, np.inf, ROWS), "1 of 2 rows hold NaN, infinity.*row 0"),
        (ROWS[:0], "no rows"),
        ({"age": [], "city": []}, "no rows"),
        ({"age": [3]}, "the table lacks 'city', which the model was trained on. It has 'age'"),
        ([{"age": 3, "city": "Rome"}, {"age": 3}], "row 1 has no column 'city'"),
        ({"age": [3], "city": ["Paris"]}, "'Paris' in row 0 .* not there in training. Known are"),
        ({"age": ["old"], "city": ["Rome"]}, "'age' must hold numbers.* holds 'old'"),
        ({"age": [float("nan")], "city": ["Rome"]}, "'age' has no number in row 0"),
        ({"age": [1, 2], "city": ["Rome"]}, "all columns must have the same length"),
    ],
    ids=range(14),
)
def test_rows_that_are_not_what_the_student_takes(student, rows, message):
    for ask in (student.predict, student.predict_proba, student.logits):
        with pytest.raises(AttarError, match=message):
            ask(rows)


def test_a_class_that_is_not_known(student):
    with pytest.raises(AttarError, match=r"the label 'maybe', which is not among"):
        as_data((ROWS, ["no", "maybe"]), classes=student.classes)


def test_a_model_that_was_cut_short_inside_its_bundle(bundle, tmp_path):
    with zipfile.ZipFile(bundle) as zipped:
        zipped.extractall(tmp_path / "x")
    path = tmp_path / "x" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(AttarError, match=r"model\.onnx is not the file .* changed or is not whole"):
        runtime.load(tmp_path / "x")
    with pytest.raises(AttarError, match="is not an ONNX model, or it was cut short"):
        runtime.load(path)
    with pytest.raises(AttarError, match="is not an ONNX model, or it was cut short"):
        write_bundle(tmp_path / "y.zip", {"student": ModelFile(path)})


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "beside.bin"])
def test_external_data_is_refused_before_onnxruntime_is_asked(bundle, tmp_path, monkeypatch, place):
    with zipfile.ZipFile(bundle) as zipped:
        model = onnx.load_from_string(zipped.read("model.onnx"))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    path = tmp_path / "s.onnx"
    path.write_bytes(model.SerializeToString())
    monkeypatch.setattr("onnxruntime.InferenceSession", None)  # who asks it gets another error
    for use in (
        lambda: runtime.load(path),
        lambda: write_bundle(tmp_path / "x.zip", {"student": ModelFile(path)}),
    ):
        with pytest.raises(AttarError, match="keeps weights in another file"):
            use()


def test_on_the_command_line_each_is_one_line(bundle, tmp_path):
    (tmp_path / "t.csv").write_text("age\n3\n")
    (tmp_path / "new.csv").write_text("age,city\n3,Paris\n")
    (tmp_path / "none.csv").write_text("age,city\n")
    np.save(tmp_path / "wide.npy", np.zeros((2, 5), np.float32))
    cut = shutil.copy(bundle, tmp_path / "cut.zip")
    with open(cut, "r+b") as file:  # noqa: PTH123
        file.truncate(500)
    for model, rows, message in (
        (bundle, "t.csv", "lacks 'city'"),
        (bundle, "new.csv", "'Paris'"),
        (bundle, "none.csv", "no rows"),
        (bundle, "wide.npy", "shape [N, 3]. Got (2, 5)"),
        (cut, "wide.npy", "cannot be read as a zip"),
    ):
        err = io.StringIO()
        with redirect_stderr(err):
            code = main(["predict", str(model), str(tmp_path / rows)])
        assert code == 2
        assert len(err.getvalue().splitlines()) == 1
        assert message in err.getvalue()
