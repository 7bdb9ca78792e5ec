"""What an experiment adds to the rows: told before the teacher is asked, and only if it can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import attar
from attar.data import ArrayData, Views, shift
from attar.experiment import Progress
from attar.experiment.inputs import make_splits
from attar.experiment.targets import answers_anything
from attar.experiment.widening import widened
from attar.teachers import EnsembleTeacher, GivenTeacher


def images(count: int = 40) -> ArrayData:
    pixels = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return ArrayData(pixels, torch.arange(count) % 2)


def even(inputs: np.ndarray) -> np.ndarray:
    return np.full((len(inputs), 2), 0.5)


def told(data: ArrayData, teacher: Any, **how: Any) -> tuple[list[str], int, tuple[bool, ...]]:
    """What is told, how many inputs there are to learn from, and the choice of views."""
    said: list[Progress] = []
    splits = make_splits(data)
    how = {"views": "auto", "between": True, **how}
    found, in_views = widened(splits, teacher, seed=0, tell=said.append, **how)
    return [one.message for one in said], found.train.view_count * len(found.train), in_views


def test_what_the_teacher_is_asked_about_is_told() -> None:
    lines, count, in_views = told(images(), even)
    assert count == 26 * 32
    assert lines == ["The teacher is asked about 832 inputs: 26 training rows, each in 32 views"]
    assert in_views == (True, False)
    table = ArrayData(torch.rand(40, 3), torch.arange(40) % 2)
    lines, count, _ = told(table, even)
    assert count == 3 * 26
    words = "26 training rows and 52 rows drawn between them"
    assert lines == [f"The teacher is asked about 78 inputs: {words}"]
    assert told(table, even, views=None, between=False) == ([], 26, (True,))


def test_a_teacher_of_answers_teaches_about_what_it_holds() -> None:
    given = GivenTeacher(np.full((40, 2), 0.5))
    lines, count, in_views = told(images(), given)
    assert (count, in_views) == (26, (True,))
    assert lines == [
        "The teacher holds answers and cannot be asked about new inputs: the student learns "
        "without views"
    ]
    lines, count, _ = told(ArrayData(torch.rand(40, 3), torch.arange(40) % 2), given)
    assert count == 26
    assert "without rows between the rows" in lines[0]
    assert told(images(), given, views=None, between=False)[0] == []


def test_an_experiment_by_the_recipe_with_a_store_as_teacher(tmp_path: Any) -> None:
    data = images().with_views(Views([shift(1)], 3))
    for name, rows, views in (("plain", images(), 1), ("seen", data, 3)):
        store = attar.label(even, rows, tmp_path / name)
        found = attar.distill(
            store,
            attar.students.mlp,
            train=rows,
            parameters=200,
            steps=4,
            seeds=1,
            latency_seconds=0,
            **attar.RECIPE,
        )
        assert found.facts["views"] == views
        tried = {one.setting.views for one in found.trials if one.setting.arm == "distilled"}
        assert tried == ({True} if views == 1 else {True, False})


@pytest.mark.parametrize(
    ("teacher", "anew"),
    [
        (even, True),
        ("teacher.onnx", True),
        ("soft-targets", False),
        ("s3://bucket/soft-targets", False),
        ([even, GivenTeacher([[0.1, 0.9]])], False),
        (EnsembleTeacher([even, even]), True),
        (EnsembleTeacher([even, GivenTeacher([[0.1, 0.9]])]), False),
    ],
)
def test_who_can_be_asked_about_new_inputs(teacher: Any, anew: bool) -> None:
    assert answers_anything(teacher) is anew
