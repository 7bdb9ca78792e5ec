from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from attar.checks import AttarError
from attar.columns import describe_columns
from attar.export import runtime

# Three features, two classes: the weights are such that the answers are seen at once.
WEIGHTS = np.array([[1, 0], [0, 1], [0, 0]], dtype=np.float32)
ROWS = np.array([[3, 0, 9], [0, 1, 9]], dtype=np.float32)


def linear(
    *,
    dtype: str = "float32",
    rows: str | int = "batch",
    features: str | int = 3,
    outputs: tuple[str, ...] = ("logits", "probabilities"),
    properties: dict[str, str] | None = None,
    scale: float = 1,
) -> onnx.ModelProto:
    """A linear classifier as an ONNX graph, written by hand: no torch has part in it."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    known = {
        "logits": helper.make_node("MatMul", ["numbers", "weights"], ["logits"]),
        "probabilities": helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    }
    nodes = [helper.make_node("Cast", ["inputs"], ["numbers"], to=TensorProto.FLOAT)]
    nodes += known.values()
    shown = [helper.make_tensor_value_info(name, 1, [rows, 2]) for name in outputs]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("inputs", kind, [rows, features])],
        shown,
        [numpy_helper.from_array(WEIGHTS * np.float32(scale), "weights")],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    helper.set_model_props(model, properties or {})
    return model


def student(**choices) -> runtime.Student:
    return runtime.loads(linear(**choices).SerializeToString(), name="linear.onnx", threads=1)


NAMED = {"attar.classes": json.dumps(["left", "right"]), "attar.version": "0.1.0"}


def test_the_answers_are_those_of_the_weights():
    left_or_right = student(properties=NAMED | {"attar.metadata": '{"accuracy": 0.9}'})
    assert left_or_right.predict(ROWS).tolist() == ["left", "right"]
    np.testing.assert_array_equal(left_or_right.logits(ROWS), [[3, 0], [0, 1]])
    sure = 1 / (1 + np.exp(-np.array([3.0, 1.0])))
    np.testing.assert_allclose(
        left_or_right.predict_proba(ROWS), [[sure[0], 1 - sure[0]], [1 - sure[1], sure[1]]], 1e-6
    )
    assert left_or_right.classes == ("left", "right")
    assert left_or_right.metadata == {"accuracy": 0.9}
    assert left_or_right.input_shape == (3,)
    assert left_or_right.version == "0.1.0"
    assert repr(left_or_right) == "Student('linear.onnx', input [N, 3], 2 classes)"


@pytest.mark.parametrize(
    "rows",
    [
        ROWS.tolist(),
        [[3, 0, 9], [0, 1, 9]],
        ROWS.astype(np.float64),
        ROWS.astype(np.float16),
        ROWS.astype(">f4"),
        ROWS.astype(np.int64),
        ROWS.astype(np.uint8),
        np.asfortranarray(ROWS),
        np.repeat(ROWS, 2, axis=0)[::2],
        torch.from_numpy(ROWS),
        pd.DataFrame(ROWS),
    ],
    ids=lambda rows: f"{type(rows).__name__} {getattr(rows, 'dtype', '')}",
)
def test_everything_that_holds_the_same_numbers_gets_the_same_answer(rows):
    np.testing.assert_array_equal(student().logits(rows), [[3, 0], [0, 1]])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS[0], r"shape \[N, 3\]. Got \(3,\): a single row needs its batch axis: x\[None\]"),
        (ROWS[:, :2], r"shape \[N, 3\]. Got \(2, 2\)\.$"),
        (ROWS[None], r"shape \[N, 3\]. Got \(1, 2, 3\)\.$"),
        (1.0, r"shape \[N, 3\]. Got \(\)\.$"),
        (ROWS[:0], r"Got \(0, 3\): no rows"),
        ([], r"Got \(0,\): no rows"),
        (ROWS.astype(object), r"must be float32.*Got dtype object.*x\.astype\('float32'\)"),
        (ROWS.astype(str), "Got dtype <U"),
        (ROWS.astype(complex), "Got dtype complex128"),
        (ROWS.astype("datetime64[s]"), "Got dtype datetime64"),
        (np.where(ROWS == 1, np.nan, ROWS), "must be finite float32.*1 of 2 rows.*is row 1"),
        (np.where(ROWS == 9, -np.inf, ROWS), "2 of 2 rows hold NaN, infinity.*is row 0"),
        (ROWS.astype(np.float64) * 1e300, "or a larger number, the first is row 0"),
        ([[1, 2, 3], [1, 2]], "must be an array. Got list, of which numpy says"),
        (torch.zeros(1, 3, requires_grad=True), "must be an array. Got Tensor"),
        ({"a": [1.0]}, r"without columns and takes an array of shape \[N, 3\].*columns: a"),
    ],
)
def test_what_is_not_rows_of_finite_numbers_is_refused(rows, message):
    for ask in (student().predict, student().predict_proba, student().logits):
        with pytest.raises(AttarError, match=f"^linear.onnx: .*{message}"):
            ask(rows)


def test_a_student_of_bytes_takes_whole_numbers_in_their_range():
    images = student(dtype="uint8")
    np.testing.assert_array_equal(images.logits([[3, 255, 9]]), [[3, 255]])
    np.testing.assert_array_equal(images.logits(np.array([[True, False, True]])), [[1, 0]])
    with pytest.raises(AttarError, match=r"range \[0, 255\]. Got numbers from -1 to 256"):
        images.predict([[-1, 256, 0]])
    with pytest.raises(AttarError, match=r"must be uint8.*Got dtype float32"):
        images.predict(ROWS)


def test_an_input_that_overflows_inside_the_model_is_told():
    with pytest.raises(AttarError, match=r"answers NaN, first for row 1.*too large for the model"):
        student(scale=4).predict_proba([[1, 0, 0], [3e38, -3e38, 0]])


def test_named_columns_are_encoded_as_in_training():
    columns = describe_columns({"age": [30], "city": ["Rome", "Oslo"]})  # age, Oslo, Rome
    table = {"city": ["Oslo", "Rome"], "age": ["0.5", 3], "more": [0, 0]}
    by_name = student(properties={"attar.columns": json.dumps(columns)})
    expected = [[0.5, 1], [3, 0]]
    records = [
        dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)
    ]
    for rows in (table, records, pd.DataFrame(table), np.array([[0.5, 1, 0], [3, 0, 1]])):
        np.testing.assert_array_equal(by_name.logits(rows), expected)
    with pytest.raises(AttarError, match="row 1 has no column 'age'; row 0 has it"):
        by_name.predict([records[0], {"city": "Rome"}])
    with pytest.raises(AttarError, match="lacks 'age'"):
        by_name.predict({"city": ["Rome"]})
    with pytest.raises(AttarError, match="'Paris' in row 0"):
        by_name.predict({"city": ["Paris"], "age": [1]})
    with pytest.raises(AttarError, match="must be a list with one value a row"):
        by_name.predict({"city": "Rome", "age": 1})
    with pytest.raises(AttarError, match="no rows"):
        by_name.predict({"city": [], "age": []})


def test_an_onnx_file_of_another_maker_has_numbered_classes():
    other = student(outputs=("logits",))
    assert other.classes == ("0", "1")
    assert other.metadata == {}
    assert other.columns is None
    assert other.version is None
    assert other.predict(ROWS).tolist() == ["0", "1"]
    with pytest.raises(AttarError, match="no output named 'probabilities', only logits"):
        other.predict_proba(ROWS)
    named = student(outputs=("probabilities",))
    assert named.predict(ROWS).tolist() == ["0", "1"]
    with pytest.raises(AttarError, match="no output named 'logits', only probabilities"):
        named.logits(ROWS)


def test_a_fixed_number_of_rows_and_free_features():
    assert student(rows=2).predict(ROWS).tolist() == ["0", "1"]
    with pytest.raises(AttarError, match=r"shape \[2, 3\]. Got \(1, 3\)"):
        student(rows=2).predict(ROWS[:1])
    free = student(features="any")
    assert free.input_shape == (None,)
    assert free.predict(ROWS).tolist() == ["0", "1"]
    with pytest.raises(AttarError, match=r"cannot answer an input of shape \(2, 2\)"):
        free.predict(ROWS[:, :2])


def test_models_that_are_no_classifiers_are_refused():
    shapes = [helper.make_tensor_value_info(name, 1, ["batch", "any"]) for name in ("x", "y")]
    same = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "same", *[[s] for s in shapes]
    )
    model = helper.make_model(same, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    with pytest.raises(AttarError, match="fixed number of classes C"):
        runtime.loads(model.SerializeToString())
    two = linear()
    two.graph.input.append(helper.make_tensor_value_info("more", 1, ["batch", 1]))
    with pytest.raises(AttarError, match=r"one input of numbers.*more: tensor"):
        runtime.loads(two.SerializeToString())


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"attar.classes": '["only one"]'}, r"must name its 2 classes. Got \['only one'\]"),
        ({"attar.classes": "7"}, "must name its 2 classes. Got 7"),
        ({"attar.metadata": '{"accuracy": '}, "the metadata 'attar.metadata' is no JSON"),
    ],
)
def test_metadata_that_was_tampered_with_is_refused(properties, message):
    with pytest.raises(AttarError, match=message):
        student(properties=properties)


def test_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "student.onnx"
    with pytest.raises(AttarError, match=r"student\.onnx cannot be read: No such file"):
        runtime.load(path)
    with pytest.raises(AttarError, match="is no bundle"):
        runtime.load(tmp_path)
    model = linear(properties=NAMED)
    model.producer_name = "attar"
    whole = model.SerializeToString()
    for length in range(len(whole)):  # cut anywhere: never half a model
        path.write_bytes(whole[:length])
        with pytest.raises(AttarError, match=r"student\.onnx: "):
            runtime.load(path)
    path.write_bytes(whole)
    assert runtime.load(str(path)).classes == ("left", "right")
    for threads in (0, 1.5, True):
        with pytest.raises(AttarError, match="'threads' parameter of load must be an integer"):
            runtime.load(path, threads=threads)


def test_an_operator_that_onnxruntime_does_not_know():
    model = linear()
    model.graph.node[1].op_type = "MatMulOfTheFuture"
    with pytest.raises(AttarError, match=r"onnxruntime cannot read this model: .*OfTheFuture"):
        runtime.loads(model.SerializeToString())


def test_many_threads_may_ask_one_student():
    shared = student()
    inputs = [np.full((1 + i % 5, 3), float(i)) for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(shared.logits, inputs))
    for rows, answer in zip(inputs, answers, strict=True):
        np.testing.assert_array_equal(answer, rows[:, :2])


def test_production_loads_nothing_that_trains(tmp_path):
    path = tmp_path / "student.onnx"
    path.write_bytes(linear().SerializeToString())
    script = (
        "import sys; from attar.export import runtime; "
        f"print(*runtime.load({str(path)!r}).predict([[3, 0, 9], [0, 1, 9]])); "
        "print(*({'torch', 'onnx', 'sklearn', 'safetensors', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0 1\n\n"
    assert done.stderr == ""
