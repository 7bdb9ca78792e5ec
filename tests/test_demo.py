from __future__ import annotations

from pathlib import Path

import pytest
import torch

from attar import UNLABELLED, demo
from attar.export.runtime import load


def test_the_digits_are_split_once_and_for_all() -> None:
    few, all_labels = demo.digits(), demo.digits(all_labels=True)
    assert (len(few.train), len(few.validation), len(few.test)) == (978, 100, 719)
    assert len(few.labelled) == 150
    assert len(all_labels.labelled) == 978
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(few, part).rows, getattr(all_labels, part).rows)
    rows = torch.cat([few.train.rows, few.validation.rows, few.test.rows])
    assert sorted(rows.tolist()) == list(range(1797))
    assert torch.bincount(few.labelled.labels).min() >= 14


def test_another_draw_keeps_other_labels_and_the_same_test_rows() -> None:
    one, other = demo.digits(labels_seed=0), demo.digits(labels_seed=1)
    assert torch.equal(one.test.rows, other.test.rows)
    assert not torch.equal(one.train.labels, other.train.labels)
    both = (one.train.labels != UNLABELLED) & (other.train.labels != UNLABELLED)
    assert torch.equal(one.train.labels[both], other.train.labels[both])


def test_the_demo_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"width": 12, "members": 2, "steps": 20, "learning_rate": 2e-3}
    monkeypatch.setattr(demo, "TEACHER", small)
    out = tmp_path / "run"
    experiment = demo.run(out, seeds=2, steps=60, latency_seconds=0.01)
    assert list(experiment.arms) == ["hard", "smoothed", "pseudo", "distilled"]
    sizes = experiment.facts["sizes"]
    assert sizes["compression"] > sizes["compression_smallest_member"] > 10
    test = experiment.test
    images = test.batch(torch.arange(len(test))).inputs.numpy()
    student = load(out / "student.onnx")
    predicted = torch.tensor([int(name) for name in student.predict(images)])
    accuracy = float((predicted == test.labels).float().mean())
    arm = experiment.arms["distilled"]
    of_seed = [run.seed for run in arm.runs].index(experiment.student_seed)
    assert accuracy == pytest.approx(arm.scores[of_seed].accuracy)
    assert {path.name for path in out.iterdir()} >= {
        "result.json",
        "summary.md",
        "student.onnx",
        "student.safetensors",
    }
