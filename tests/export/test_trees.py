"""Trees as ONNX: one operator, the same answers, the size of what is there."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from sklearn.datasets import load_wine

from attar.export import load_student, runtime, save_weights, to_onnx
from attar.students import TREES, TreeEnsemble
from attar.students.trees import soft_and_hard

NAMES = ["red", "white", "green"]


def fitted(name: str, width: int = 12) -> tuple[TreeEnsemble, torch.Tensor]:
    inputs, labels = (torch.from_numpy(x) for x in load_wine(return_X_y=True))
    model = TREES[name].model(width, input_shape=(13,), classes=3)
    assert isinstance(model, TreeEnsemble)
    model.fit(inputs.float(), soft_and_hard(labels, classes=3, smoothing=0.1))
    return model, inputs.float()


@pytest.mark.parametrize("name", ["tree", "boosted"])
@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_the_file_answers_as_the_trees_do(tmp_path, name, temperature):
    model, inputs = fitted(name)
    path = tmp_path / "trees.onnx"
    export = to_onnx(model, path, example=inputs, classes=NAMES, temperature=temperature)
    assert export.max_probability_difference < 1e-6
    student = runtime.load(path)
    generator = torch.Generator().manual_seed(0)
    strange = inputs * 3 * torch.randn(inputs.shape, generator=generator)
    for rows in (inputs, strange):
        expected = model(rows) / temperature
        np.testing.assert_allclose(student.logits(rows.numpy()), expected, atol=1e-5)
        np.testing.assert_allclose(
            student.predict_proba(rows.numpy()), expected.softmax(dim=1), atol=1e-6
        )


def test_it_is_one_operator_of_the_standard(tmp_path):
    model, inputs = fitted("boosted")
    path = tmp_path / "trees.onnx"
    to_onnx(model, path, example=inputs, classes=NAMES)
    graph = onnx.load(path)
    assert [node.op_type for node in graph.graph.node] == ["TreeEnsembleRegressor", "Softmax"]
    assert {(o.domain, o.version) for o in graph.opset_import} == {("", 18), ("ai.onnx.ml", 3)}


def test_room_that_was_not_needed_is_not_in_the_file(tmp_path):
    sizes = []
    for width in (30, 3000):  # more splits than there are rows to split
        model, inputs = fitted("tree", width)
        export = to_onnx(model, tmp_path / f"{width}.onnx", example=inputs, classes=NAMES)
        sizes.append(export.bytes)
    assert sizes[0] == sizes[1]


def test_a_single_leaf_is_a_file_too(tmp_path):
    model = TreeEnsemble(2, 4, input_shape=(2,), classes=2)
    rows = torch.zeros(10, 2)
    model.fit(rows, torch.tensor([[0.3, 0.7]]).repeat(10, 1))
    to_onnx(model, tmp_path / "leaf.onnx", example=rows, classes=["a", "b"])
    student = runtime.load(tmp_path / "leaf.onnx")
    np.testing.assert_allclose(student.predict_proba(np.ones((1, 2)))[0], [0.3, 0.7], atol=1e-6)


def test_the_weights_alone_bring_it_back(tmp_path):
    model, inputs = fitted("boosted")
    told = {"name": "boosted(12)", "family": "boosted", "width": 12, "input_shape": [13]}
    save_weights(model, tmp_path / "trees.safetensors", metadata={**told, "classes": NAMES})
    assert torch.equal(load_student(tmp_path / "trees.safetensors")(inputs), model(inputs))
