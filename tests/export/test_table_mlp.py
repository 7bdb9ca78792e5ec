from __future__ import annotations

import numpy as np
import pytest
import torch

import attar
from attar.columns import describe_columns, encode_columns
from attar.data import ArrayData
from attar.export import load_student, runtime, to_onnx
from attar.students import table_mlp

TABLE = {
    "size": [1.0, 2.5, None, 4.0, 8.0, 16.0],
    "kind": ["a", "b", "b", None, "c", "a"],
}
COLUMNS = describe_columns(TABLE, lenient=True)
LATER = {"size": [3.0, None, 99.0], "kind": ["b", "new", None]}


@pytest.fixture
def student():
    rows = torch.from_numpy(encode_columns(TABLE, COLUMNS))
    family, encoding = table_mlp.fit(rows, COLUMNS)
    torch.manual_seed(0)
    shape = {"input_shape": (rows.shape[1],), "classes": 3}
    return family.model(8, **shape, scaler=encoding).eval()


@pytest.mark.parametrize("takes", ["encoded", "columns"])
def test_the_file_says_what_the_student_says(student, tmp_path, takes):
    rows = torch.from_numpy(encode_columns(TABLE, COLUMNS))
    classes = ["x", "y", "z"]
    to_onnx(
        student, tmp_path / "s.onnx", example=rows, classes=classes, columns=COLUMNS, takes=takes
    )
    said = runtime.load(tmp_path / "s.onnx").predict_proba(LATER)
    with torch.no_grad():
        expected = student(torch.from_numpy(encode_columns(LATER, COLUMNS))).softmax(1).numpy()
    np.testing.assert_allclose(said, expected, atol=1e-6)


def test_distill_takes_the_family_and_its_student_is_made_again(tmp_path):
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(300, generator=generator) * 10
    kinds = torch.randint(3, (300,), generator=generator)
    rows = {"size": values.tolist(), "kind": [["a", "b", "c"][k] for k in kinds.tolist()]}
    columns = describe_columns(rows, lenient=True)
    labels = (values // 2.5).long() % 2  # stripes
    data = ArrayData(torch.from_numpy(encode_columns(rows, columns)), labels, columns=columns)
    sure = 8.0 * torch.nn.functional.one_hot(labels, 2).float()
    experiment = attar.distill(
        attar.teachers.GivenTeacher(sure.numpy(), name="oracle", outputs="logits"),
        table_mlp,
        train=data,
        parameters=1500,
        steps=60,
        seeds=1,
        smoothing=[0.1],
        evaluations=1,
        learning_rate=0.01,
        latency_seconds=0,
        out=tmp_path / "run",
    )
    assert experiment.arms["distilled"].scores[0].accuracy > 0.7
    again = load_student(tmp_path / "run")
    batch = torch.from_numpy(encode_columns(rows, columns))[:20]
    with torch.no_grad():
        assert torch.equal(again(batch), experiment.student(batch))
