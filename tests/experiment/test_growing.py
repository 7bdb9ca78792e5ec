"""Trees take part in the experiment as networks do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.ensemble import ExtraTreesClassifier

from attar import UNLABELLED, AttarError
from attar.data import ArrayData, munge
from attar.experiment import distill
from attar.experiment.growing import grow, grow_values
from attar.export import load_student, runtime
from attar.students import TREES, TreeEnsemble, tree
from attar.teachers import GivenTeacher


@pytest.mark.parametrize("name", ["tree", "boosted"])
def test_the_experiment_judges_trees(tmp_path, name):
    inputs, labels = load_wine(return_X_y=True)
    experiment = distill(
        ExtraTreesClassifier(20, random_state=0),
        TREES[name],
        train=(inputs, labels),
        transfer=(munge(inputs, count=100), None),
        temperature="auto",
        parameters=300,
        seeds=2,
        latency_seconds=0,
        out=tmp_path / "run",
    )
    assert list(experiment.arms) == ["hard", "smoothed", "pseudo", "distilled"]
    assert experiment.verdict in ("BEATS", "NO GAIN", "WORSE", "INCONCLUSIVE")
    tried = {t.setting.temperature for t in experiment.trials if t.setting.arm == "distilled"}
    assert tried == {1.0, 0.5, 0.25}
    assert experiment.arms["hard"].scores[0].accuracy > 0.7
    rows = torch.from_numpy(inputs).float()
    assert torch.equal(load_student(tmp_path / "run")(rows), experiment.student(rows))
    student = runtime.load(tmp_path / "run" / "student.onnx")
    np.testing.assert_allclose(student.logits(rows.numpy()), experiment.student(rows), atol=1e-5)


def test_a_run_that_goes_on_reads_its_trees_back(tmp_path):
    inputs, labels = load_wine(return_X_y=True)

    def go(**more):
        teacher = ExtraTreesClassifier(5, random_state=0)
        data = {"train": (inputs, labels), "out": tmp_path / "run"}
        return distill(teacher, tree, **data, parameters=100, seeds=2, latency_seconds=0, **more)

    first = go()
    (tmp_path / "run" / "result.json").unlink()
    kept = sorted((tmp_path / "run" / "arms").rglob("student.safetensors"))
    kept[0].with_name("run.json").unlink()  # this one was not finished
    second = go(resume=True)
    for arm, result in first.arms.items():
        assert torch.equal(result.logits, second.arms[arm].logits)


def data(labels: list[int]) -> ArrayData:
    return ArrayData(
        torch.arange(len(labels)).float()[:, None], torch.tensor(labels), classes=["a", "b"]
    )


def test_a_lower_temperature_sharpens_the_teachers_answers():
    teacher = GivenTeacher([[0.6, 0.4]] * 20, outputs="probabilities")
    said = []
    for temperature in (1.0, 0.5, 0.25):
        student = TreeEnsemble(1, 2, input_shape=(1,), classes=2)
        grow(student, data([-100] * 20), teacher, temperature=temperature)
        said.append(float(student(torch.zeros(1, 1)).softmax(dim=1)[0, 0]))
    # 0.6 ** 2 / (0.6 ** 2 + 0.4 ** 2), and to the fourth
    assert said == pytest.approx([0.6, 0.36 / 0.52, 0.1296 / 0.1552], abs=2e-3)


def test_rows_without_a_label_hear_the_teacher_alone():
    teacher = GivenTeacher([[0.9, 0.1]] * 20, outputs="probabilities")
    student = TreeEnsemble(1, 2, input_shape=(1,), classes=2)
    grow(student, data([1] * 10 + [-100] * 10), teacher, alpha=0.5)
    said = student(torch.tensor([[0.0], [19.0]])).softmax(dim=1)[:, 0]
    # (0.5 * 0.9, shrunk by one row) where the label is "b"; 0.9 where there is none
    assert said.tolist() == pytest.approx([0.45, 0.9], abs=0.03)


def test_inputs_by_name_are_refused():
    rows = ArrayData({"ids": torch.zeros(3, 2)}, torch.tensor([0, 1, 0]))
    with pytest.raises(AttarError, match="trees take one tensor"):
        grow(TreeEnsemble(1, 2, input_shape=(2,), classes=2), rows)


def test_the_teachers_guess_may_stand_for_a_missing_label():
    said = np.array([[0.8, 0.2], [0.3, 0.7]])
    rows = ArrayData(torch.tensor([[0.0], [1.0]]), torch.tensor([1, UNLABELLED]))
    teacher = GivenTeacher(said, rows=rows.rows, outputs="probabilities")
    found = {}
    for guess in (False, True):
        student = tree.model(2, input_shape=(1,), classes=2)
        grow(student, rows, teacher, alpha=0.5, pseudo_labels=guess)
        found[guess] = student(rows.inputs).softmax(dim=1).tolist()
    # One leaf for both: the mean of (0.4, 0.6) and of what the second row was told.
    assert found[False][0] == pytest.approx([(0.4 + 0.3) / 2, (0.6 + 0.7) / 2], abs=1e-3)
    assert found[True][0] == pytest.approx([(0.4 + 0.15) / 2, (0.6 + 0.85) / 2], abs=1e-3)


def test_values_are_mixed_where_both_are_known_and_else_taken_as_they_are():
    inputs = torch.tensor([[0.0]] * 5 + [[1.0]] * 5 + [[2.0]] * 5)
    labels = torch.tensor([[1.0]] * 5 + [[5.0]] * 5 + [[float("nan")]] * 5)
    said = np.array([[3.0]] * 5 + [[5.0]] * 5 + [[9.0]] * 5)
    data = ArrayData(inputs, labels, classes=["value"])
    teacher = GivenTeacher(said, outputs="values")
    places = torch.tensor([[0.0], [1.0], [2.0]])
    model = TreeEnsemble(1, 3, input_shape=(1,), classes=1)
    grow_values(model, data, teacher, alpha=0.75)
    assert model(places)[:, 0].tolist() == pytest.approx([2.5, 5.0, 9.0])
    grow_values(model, data)  # labels alone: the last rows say nothing
    assert model(places)[:, 0].tolist() == pytest.approx([1.0, 5.0, 5.0])
    named = ArrayData({"a": inputs}, labels, classes=["value"])
    with pytest.raises(AttarError, match="trees take one tensor"):
        grow_values(model, named)
