"""Early words in an experiment: told before the training, kept in the folder and the result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from attar.experiment import Experiment, Progress, distill
from attar.experiment.progress import quietly

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(900, 2, generator=GENERATOR)
LABELS = (INPUTS[:, 0] > 0).long() + 2 * (INPUTS[:, 1] > 0).long()
PARTS = {"train": slice(0, 400), "validation": slice(400, 600), "test": slice(600, 900)}


class Quadrants(nn.Module):
    """Knows the four classes, in an order and in units of its own."""

    def __init__(self, order: tuple[int, ...] = (0, 1, 2, 3), shift: float = 0.0) -> None:
        super().__init__()
        self.order, self.shift = list(order), shift
        self.sure = nn.Parameter(torch.tensor(3.0))
        self.asked = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.asked += 1
        x, y = (self.sure * (inputs - self.shift)).unbind(dim=1)
        return torch.stack([-x - y, x - y, y - x, x + y], dim=1)[:, self.order]


def run(teacher: nn.Module, **changes: object) -> tuple[Experiment, list[Progress]]:
    told: list[Progress] = []
    settings = {
        **{name: (INPUTS[part], LABELS[part]) for name, part in PARTS.items()},
        "seeds": 2,
        "steps": 40,
        "learning_rate": 0.05,
        "latency_seconds": 0,
        "progress": told.append,
        **changes,
    }
    student = changes.pop("student", lambda: nn.Linear(2, 4))
    settings.pop("student", None)
    return distill(teacher, student, **settings), told


def early(told: list[Progress]) -> list[str]:
    return [one.message for one in told if one.stage == "early"]


def test_a_sound_experiment_has_no_early_words(tmp_path: Path) -> None:
    # Labels that a teacher of all rows would say better than a few of them teach.
    experiment, told = run(Quadrants(), steps=10, learning_rate=0.003, out=tmp_path / "run")
    kept = json.loads((tmp_path / "run" / "early.json").read_text())
    said = {word["about"] for word in kept["words"]}
    assert said <= {"too small"}  # ten steps are few
    assert kept["format"] == 1
    assert kept["cost"]["steps"] == 10
    assert kept["cost"]["runs"] == 1 + 1 + 4 + 1 + 1 + 1
    assert experiment.warnings == [word["text"] for word in kept["words"]]
    assert len(early(told)) == len(said)


def test_classes_in_another_order_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    experiment, told = run(Quadrants(order=(0, 1, 3, 2)), out=tmp_path / "run")
    first = next(place for place, one in enumerate(told) if one.stage == "train")
    text = next(one.message for one in told[:first] if "another order" in one.message)
    assert text.startswith("Warning: the teacher's classes seem to be in another order")
    assert text.removeprefix("Warning: ") in experiment.warnings
    stored = json.loads((tmp_path / "run" / "result.json").read_text())
    assert text.removeprefix("Warning: ") in stored["warnings"]
    assert "another order" in (tmp_path / "run" / "summary.md").read_text()
    kept = json.loads((tmp_path / "run" / "early.json").read_text())
    assert "order of classes" in [word["about"] for word in kept["words"]]


def test_rows_of_test_that_are_learnt_from_are_told_before_anything_is_trained() -> None:
    test = (torch.cat([INPUTS[600:800], INPUTS[:100]]), torch.cat([LABELS[600:800], LABELS[:100]]))
    experiment, told = run(Quadrants(), test=test)
    assert early(told)[0].startswith("Warning: 100 of 300 rows of test have the very inputs")
    assert told[-1].stage != "early"
    assert "100 of 300 rows of test" in experiment.warnings[0]


def test_a_run_that_goes_on_says_the_same_and_asks_the_teacher_no_more(tmp_path: Path) -> None:
    first, told = run(Quadrants(shift=3.0), out=tmp_path / "run")
    teacher = Quadrants(shift=3.0)
    again, told_again = run(teacher, out=tmp_path / "run", resume=True)
    assert early(told) == early(told_again) != []
    assert first.warnings == again.warnings
    assert teacher.asked < 3  # what it costs is measured at the end; no units are tried


def test_a_teacher_with_nothing_to_teach_is_told_after_the_first_student() -> None:
    # Right on three classes of four; the student on hard labels learns them all.
    class Three(Quadrants):
        def forward(self, inputs: Tensor) -> Tensor:
            logits = super().forward(inputs).clone()
            logits[:, 3] = -9.0
            return logits

    experiment, told = run(Three(), steps=80)
    messages = [(one.stage, one.message) for one in told]
    never = next(i for i, (_, text) in enumerate(messages) if "never predicts 1 of 4" in text)
    hard = next(i for i, (stage, _) in enumerate(messages) if stage == "train")
    advice = next(i for i, (_, text) in enumerate(messages) if "not advised" in text)
    smoothed = next(i for i, (_, text) in enumerate(messages) if text.startswith("smoothed"))
    assert never < hard < advice < smoothed
    assert experiment.gap_recovered is None
    assert [text for text in experiment.warnings if "not advised" in text] != []


def test_a_student_too_small_for_the_task_is_told() -> None:
    class Narrow(nn.Module):  # sees one of the two inputs
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.layer(inputs[:, :1])

    _, told = run(Quadrants(), student=Narrow, steps=60)
    assert any("too small for the task" in text for text in early(told))


def test_without_a_listener_the_log_has_the_words(caplog: pytest.LogCaptureFixture) -> None:
    quietly(Progress("early", "Warning: the teacher never predicts 1 of 4 classes"))
    quietly(Progress("test", "Opening the test set"))
    assert caplog.messages == ["distill: the teacher never predicts 1 of 4 classes"]
