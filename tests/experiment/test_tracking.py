from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from accelerate import tracking
from accelerate.tracking import GeneralTracker
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from attar import AttarError
from attar.checks import MissingExtraError
from attar.experiment import Experiment, Progress, distill
from attar.experiment.tracker import NAMES
from attar.experiment.tracking import check_trackers
from attar.students import mlp

#: Records of a run: one every step, as 20 steps are few.
STEPS = 20


def run(track: Any, out: Path | None, **changes: Any) -> Experiment:
    settings = {
        "train": load_wine(return_X_y=True),
        "parameters": 200,
        "seeds": 2,
        "steps": STEPS,
        "smoothing": [0.1],
        "latency_seconds": 0,
        "folds": 2,
        **changes,
    }
    teacher = RandomForestClassifier(5, random_state=0)
    return distill(teacher, mlp, track=track, out=out, **settings)


class Book(GeneralTracker):
    """A tracker of a user's own: keeps all that it is told; may fail at a call."""

    name = "book"
    requires_logging_directory = False

    def __init__(self, *, fails_at: int | None = None) -> None:
        super().__init__()
        self.points: list[tuple[str, int | None, Any]] = []
        self.config: dict[str, Any] = {}
        self.calls, self.fails_at = 0, fails_at
        self.finished = 0

    @property
    def tracker(self) -> Book:
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.config |= values

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.calls += 1
        if self.calls == self.fails_at:
            raise ConnectionError("no route to the server")
        self.points += [(name, step, value) for name, value in values.items()]

    def finish(self) -> None:
        self.finished += 1

    def curve(self, name: str) -> list[int | None]:
        return [step for known, step, _ in self.points if known == name]

    def value(self, name: str) -> Any:
        (found,) = [value for known, _, value in self.points if known == name]
        return found


LOSS = "distilled-T4-a0.9-lr0.001/seed-1/train/loss"


def test_a_tracker_of_ones_own_gets_every_curve_the_scores_and_the_verdict() -> None:
    book = Book()
    experiment = run(book, None)
    for arm in experiment.arms.values():
        for one in arm.runs:
            prefix = f"{arm.setting.key}/seed-{one.seed}"
            logged = [v for name, _, v in book.points if name == f"{prefix}/train/loss"]
            assert logged == [record.loss for record in one.records]
            assert book.curve(f"{prefix}/train/loss") == list(range(1, STEPS + 1))
            validated = [record.step for record in one.records if record.validation]
            assert book.curve(f"{prefix}/validation/accuracy") == validated
    assert len(book.curve("distilled-T4-a0.9-lr0.001/seed-0/train/kl")) == STEPS
    assert book.value("distilled/accuracy") == experiment.arms["distilled"].mean("accuracy")
    assert book.value("hard/seed-1/nll") == experiment.arms["hard"].scores[1].nll
    assert book.value("verdict") == experiment.verdict
    assert book.value("summary").startswith(f"# {experiment.verdict}")
    assert book.config["steps"] == STEPS
    assert book.finished == 1


def stops(seed: int) -> Any:
    """A progress that ends the process, as it were, in the middle of a run."""

    def progress(p: Progress) -> None:
        if p.message == f"distilled student, seed {seed}" and p.done % STEPS == 15:
            raise KeyboardInterrupt

    return progress


def test_a_resumed_run_logs_nothing_twice_and_leaves_nothing_out(tmp_path: Path) -> None:
    first, second, third = Book(), Book(), Book()
    with pytest.raises(KeyboardInterrupt):
        run(first, tmp_path / "run", progress=stops(1))
    assert 0 < len(first.curve(LOSS)) < STEPS
    assert first.finished == 1
    run(second, tmp_path / "run", resume=True)
    assert first.curve(LOSS) + second.curve(LOSS) == list(range(1, STEPS + 1))
    names = {(name, step) for name, step, _ in first.points}
    assert not names & {(name, step) for name, step, _ in second.points}
    run(third, tmp_path / "run", resume=True)
    assert third.points == []


def test_a_tracker_that_is_named_later_gets_the_whole_story(tmp_path: Path) -> None:
    run(None, tmp_path / "run")
    assert not (tmp_path / "run" / "tracking.json").exists()
    book = Book()
    run(book, tmp_path / "run", resume=True)
    assert book.curve(LOSS) == list(range(1, STEPS + 1))
    assert isinstance(book.value("retention"), float)


@pytest.mark.parametrize("call", [1, 30, 6 * STEPS + 1])
def test_a_tracker_that_fails_costs_its_curves_alone(tmp_path: Path, call: int) -> None:
    failing, other, later = Book(fails_at=call), Book(), Book()
    other.name = "other"
    with pytest.warns(UserWarning, match="book failed .* no route to the server"):
        experiment = run([failing, other], tmp_path / "run")
    assert (tmp_path / "run" / "result.json").exists()
    assert failing.calls == call  # it was not asked again
    assert len(other.curve(LOSS)) == STEPS
    if call <= 6 * STEPS:  # a failure at the very end comes after the folder was written
        assert any("book failed" in text for text in experiment.warnings)
    run([later], tmp_path / "run", resume=True)  # what was lost is logged now
    assert [p[:2] for p in failing.points + later.points] == [p[:2] for p in other.points]


def test_a_tracker_that_does_not_start_ends_it_before_anything_is_trained(tmp_path: Path) -> None:
    class Closed(Book):
        def start(self) -> None:
            raise ConnectionError("no route to the server")

    with pytest.raises(AttarError, match=r"book does not start: ConnectionError: no route"):
        run(Closed(), tmp_path / "run")
    assert not (tmp_path / "run" / "targets").exists()


def scalars(folder: Path, tag: str) -> list[int]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.step for event in events.Scalars(tag)]


def test_tensorboard_shows_a_run_a_student(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run("tensorboard", out, progress=stops(0))
    experiment = run("tensorboard", out, resume=True)
    board = out / "tensorboard"
    for arm in experiment.arms.values():
        for seed in (0, 1):
            student = board / arm.setting.key / f"seed-{seed}"
            assert scalars(student, "train/loss") == list(range(1, STEPS + 1))
    whole = EventAccumulator(str(board / "experiment"))
    whole.Reload()
    assert whole.Scalars("retention")[0].value == pytest.approx(experiment.retention)
    (text,) = whole.Tensors("summary/text_summary")
    assert experiment.verdict.encode() in text.tensor_proto.string_val[0]


def test_mlflow_nests_the_students_and_keeps_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "store").as_uri())
    try:
        with pytest.raises(KeyboardInterrupt):
            run("mlflow", tmp_path / "run", progress=stops(1))
        assert mlflow.active_run() is None
        experiment = run("mlflow", tmp_path / "run", resume=True)
        client = mlflow.MlflowClient()
        (folder,) = client.search_experiments(filter_string="name = 'attar'")
        runs = {r.data.tags["mlflow.runName"]: r for r in client.search_runs(folder.experiment_id)}
        assert len(runs) == 7  # three arms of two seeds, and the whole
        (title,) = {r.data.tags["attar.experiment"] for r in runs.values()}
        whole = runs.pop(f"{title}/experiment")
        assert {r.data.tags["mlflow.parentRunId"] for r in runs.values()} == {whole.info.run_id}
        student = runs[f"{title}/distilled-T4-a0.9-lr0.001/seed-1"]
        points = client.get_metric_history(student.info.run_id, "train/loss")
        assert [point.step for point in points] == list(range(1, STEPS + 1))
        assert student.data.params["temperature"] == "4.0"
        assert whole.data.params["verdict"] == experiment.verdict
        assert whole.data.metrics["retention"] == pytest.approx(experiment.retention)
        files = {file.path for file in client.list_artifacts(whole.info.run_id)}
        assert files >= {"report.html", "summary.md", "result.json", "student.onnx"}
    finally:
        mlflow.set_tracking_uri(before)


def test_what_is_no_tracker_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(AttarError, match=r"tensorboard, mlflow, wandb, trackio.*'boards'"):
        run("boards", tmp_path / "run")
    with pytest.raises(AttarError, match=r"give out="):
        run("tensorboard", None)
    with pytest.raises(AttarError, match="twice"):
        run([Book(), Book()], tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_library_that_is_missing_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_available_trackers", [])
    with pytest.raises(MissingExtraError, match=f"pip install {name}"):
        check_trackers(name)


def test_the_note_of_what_was_logged_names_the_tracker(tmp_path: Path) -> None:
    run(Book(), tmp_path / "run", seeds=1)
    noted = json.loads((tmp_path / "run" / "tracking.json").read_text("utf-8"))
    assert noted["book"]["runs"]["hard-lr0.001/seed-0"]["step"] == STEPS
    assert noted["book"]["title"].startswith("run-")
