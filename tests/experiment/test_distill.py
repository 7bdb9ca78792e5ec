from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from torch import nn

import attar
from attar import UNLABELLED, AttarError, Outputs
from attar.data import ArrayData
from attar.experiment import Experiment, Progress, distill
from attar.experiment.folder import settle
from attar.export.runtime import load
from attar.students import mlp
from attar.teachers import ModelTeacher


def wine(*, unlabelled: int = 0) -> tuple[np.ndarray, np.ndarray]:
    inputs, labels = load_wine(return_X_y=True)
    labels = labels.copy()
    if unlabelled:
        labels[np.random.default_rng(0).permutation(len(labels))[:unlabelled]] = UNLABELLED
    return inputs, labels


def run(teacher: object = None, **changes: object) -> Experiment:
    settings = {
        "train": wine(unlabelled=80),
        "parameters": 200,
        "seeds": 2,
        "steps": 40,
        "batch_size": 32,
        "learning_rate": 0.01,
        "latency_seconds": 0,
        **changes,
    }
    if teacher is None:
        teacher = RandomForestClassifier(20, random_state=0)
    return distill(teacher, settings.pop("student", mlp), **settings)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_every_arm_starts_alike_and_takes_the_same_steps() -> None:
    experiment = run()
    assert list(experiment.arms) == ["hard", "smoothed", "pseudo", "distilled"]
    assert {run.records[-1].step for arm in experiment.arms.values() for run in arm.runs} == {40}
    for arm in experiment.arms.values():
        assert [run.seed for run in arm.runs] == [0, 1]
        assert len({run.setting for run in arm.runs}) == 1


def test_two_runs_give_the_same_numbers() -> None:
    first, second = run(), run()
    assert torch.equal(first.arms["distilled"].logits, second.arms["distilled"].logits)
    assert first.comparison == second.comparison


def test_settings_are_chosen_on_validation_alone() -> None:
    experiment = run(temperature=[1.0, 8.0], alpha=[0.5, 0.9])
    tried = [t for t in experiment.trials if t.setting.arm == "distilled"]
    assert len(tried) == 4
    best = max(tried, key=lambda t: (t.validation["accuracy"], -t.validation["nll"]))
    assert best.chosen
    assert experiment.arms["distilled"].setting == best.setting
    assert sum(t.chosen for t in experiment.trials) == 4  # one an arm
    for arm in ("hard", "smoothed", "pseudo"):
        assert len([t for t in experiment.trials if t.setting.arm == arm]) == 4


def test_the_test_rows_are_looked_at_only_after_all_training() -> None:
    events: list[str] = []
    inputs, labels = wine()
    order = np.random.default_rng(0).permutation(len(labels))
    inputs, labels = inputs[order], labels[order]
    test = Watched(
        torch.tensor(inputs[:40], dtype=torch.float32),
        torch.tensor(labels[:40]),
        rows=torch.arange(1000, 1040),
        classes=("0", "1", "2"),
    )
    test.events = events

    def progress(p: Progress) -> None:
        events.append(p.stage)

    teacher = RandomForestClassifier(20, random_state=0).fit(inputs[40:], labels[40:])
    run(teacher, train=(inputs[40:], labels[40:]), test=test, progress=progress, seeds=2)
    after_labelling = events[len(events) - events[::-1].index("label") :]
    assert "read" in after_labelling
    assert "train" not in after_labelling[after_labelling.index("read") :]


class Watched(ArrayData):
    events: list[str]

    def batch(self, indices: torch.Tensor, views: torch.Tensor | int = 0) -> attar.Batch:
        self.events.append("read")
        return super().batch(indices, views)

    def with_views(self, views: object) -> Watched:
        return self


def test_experiments_that_share_targets_ask_the_teacher_once(tmp_path: Path) -> None:
    asked: list[int] = []
    inputs, labels = wine()
    weights = np.random.default_rng(0).normal(size=(inputs.shape[1], 3)) / inputs.std(0)[:, None]

    def teacher(rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return rows @ weights

    teacher = attar.as_teacher(teacher, outputs="logits", name="linear", classes=("0", "1", "2"))
    shared = {"train": (inputs, labels), "targets": tmp_path / "targets", "steps": 8}
    small = run(teacher, **shared, parameters=100)
    rows = sum(asked)
    large = run(teacher, **shared, parameters=200)
    assert rows == sum(asked) == len(labels)
    assert torch.equal(small.teacher_logits, large.teacher_logits)
    assert sorted(p.name for p in (tmp_path / "targets").iterdir()) == [
        "test",
        "train",
        "validation",
    ]


def test_the_folder_holds_what_is_needed_and_agrees_with_the_student(tmp_path: Path) -> None:
    experiment = run(out=tmp_path / "run", latency_seconds=0.01)
    folder = tmp_path / "run"
    result = json.loads((folder / "result.json").read_text())
    assert result["verdict"] == experiment.verdict
    assert result["rows"] == {"labelled": 62, "unlabelled": 80, "validation": 16, "test": 20}
    assert (folder / "summary.md").read_text().startswith(f"# {experiment.verdict}")
    assert set(result["latency"]) == {"student", "teacher"}
    assert result["teacher_runtime"] == "as called"
    student = load(folder / "student.onnx")
    rows = torch.from_numpy(np.load(folder / "example.npy"))
    torch.testing.assert_close(
        torch.from_numpy(student.logits(rows.numpy())), experiment.student(rows).detach()
    )
    saved = np.load(folder / "answers" / "distilled.npy")
    assert saved.shape == (2, 20, 3)
    labels = np.load(folder / "answers" / "labels.npy")
    accuracy = (saved.argmax(-1) == labels).mean()
    assert accuracy == pytest.approx(experiment.arms["distilled"].mean("accuracy"))
    assert accuracy == pytest.approx(result["comparison"]["accuracy"]["distilled"])


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(AttarError, match=r"exists already and is not overwritten.*resume=True"):
        run(out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


class StoppedError(Exception):
    pass


def test_a_stopped_experiment_goes_on_to_the_same_result(tmp_path: Path) -> None:
    whole = run()
    for stop_at in (3, 150, 290):

        def progress(p: Progress, stop_at: int = stop_at) -> None:
            if p.stage == "train" and p.done > stop_at:
                raise StoppedError

        with pytest.raises(StoppedError):
            run(out=tmp_path / "run", resume=stop_at > 3, progress=progress)
    resumed = run(out=tmp_path / "run", resume=True)
    for name, arm in whole.arms.items():
        assert torch.equal(arm.logits, resumed.arms[name].logits), name
    assert resumed.comparison == whole.comparison
    assert not list((tmp_path / "run").rglob("checkpoint*"))


def test_another_experiment_may_not_reuse_the_folder(tmp_path: Path) -> None:
    run(out=tmp_path / "run")
    for changes, message in (
        ({"steps": 41}, "steps was 40, is 41"),
        ({"learning_rate": 0.02}, r"\(learning_rate was 0.01, is 0.02\)"),
        ({"temperature": "auto"}, r"\(temperature was \S+, is auto\)"),
        ({"loss": attar.losses.reverse_kl}, "loss was 'kl', is 'reverse_kl'"),
        ({"evaluations": 5}, "evaluate_every was 4, is 8"),
        ({"teacher": RandomForestClassifier(21, random_state=0)}, "teacher"),
    ):
        with pytest.raises(AttarError, match=message):
            run(out=tmp_path / "run", resume=True, **changes)


def test_what_differs_is_said_in_a_few_words(tmp_path: Path) -> None:
    settings = {"distilled": ["ArmSpace(" + 99 * "1.0, " + ")"], "hard": ["Setting()"]}
    settle(tmp_path, {"settings": settings, "rows": 9}, words={"temperature": "auto", "alpha": 0.9})
    settle(tmp_path, {"settings": settings, "rows": 9}, words={"temperature": "auto", "alpha": 0.9})
    other = {**settings, "distilled": ["Setting(1)", "Setting(2)"]}
    words: dict[str, object] = {"temperature": [1.0, 2.0], "alpha": 0.9}
    with pytest.raises(AttarError, match=r"\(temperature was auto, is \[1, 2\]\)\. Repeat"):
        settle(tmp_path, {"settings": other, "rows": 9}, words=words)
    with pytest.raises(AttarError, match=r"\(other settings of distilled; rows was 9, is 'aaa"):
        settle(tmp_path, {"settings": other, "rows": 500 * "a"})
    with pytest.raises(AttarError) as raised:
        settle(tmp_path, {"settings": other, "rows": 500 * "a"}, words=words)
    assert len(str(raised.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("student", ["mpl", None, 3])
def test_what_is_no_student_leaves_no_folder(tmp_path: Path, student: object) -> None:
    families = "boosted, convnet, mlp, plain_convnet, resnet, table_mlp, tree"
    with pytest.raises(AttarError, match=rf"attar.students \({families}.* Got {student!r}"):
        run(student=student, out=tmp_path / "run")
    with pytest.raises(AttarError, match="has its size already"):
        run(student=lambda: torch.nn.Linear(13, 3), parameters=200, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_changed_labels_are_another_experiment(tmp_path: Path) -> None:
    inputs, labels = wine()
    first, second = torch.from_numpy(inputs).float(), torch.from_numpy(inputs + 1000).float()

    def teacher(rows: np.ndarray) -> np.ndarray:
        return np.stack([rows[:, 0], rows[:, 1], rows[:, 2]], axis=1)

    named = attar.teachers.FunctionTeacher(teacher, name="columns", outputs="logits")
    splits = {"validation": (second[:30], labels[:30]), "test": (second[30:60], labels[30:60])}
    run(named, train=(first, labels), out=tmp_path / "run", **splits)
    labels[:2] = 2
    with pytest.raises(AttarError, match=r"holds another experiment \(labels was"):
        run(named, train=(first, labels), out=tmp_path / "run", resume=True, **splits)


def test_one_seed_gives_no_verdict() -> None:
    experiment = run(seeds=1)
    assert experiment.verdict == "INCONCLUSIVE"
    assert "±" not in experiment.table()
    assert "inf" not in experiment.summary()


def test_compression_counts_parameters_of_whole_and_smallest() -> None:
    big, small = nn.Linear(13, 3), nn.Sequential(nn.Linear(13, 50), nn.Linear(50, 3))
    experiment = run([ModelTeacher(big), ModelTeacher(small)], seeds=1)
    sizes = experiment.facts["sizes"]
    student = sizes["student_parameters"]
    assert sizes["compression"] == pytest.approx((42 + 853) / student)
    assert sizes["compression_smallest_member"] == pytest.approx(42 / student)
    assert experiment.compression == sizes["compression"]


def test_a_teacher_that_fitted_its_rows_is_warned_about() -> None:
    inputs, labels = wine()
    labels = np.random.default_rng(1).permutation(labels)  # nothing can be learnt, only fitted
    known = {tuple(np.float32(row)): label for row, label in zip(inputs, labels, strict=True)}
    seen = {tuple(np.float32(row)) for row in inputs[:120]}

    def lookup(rows: np.ndarray) -> np.ndarray:
        answers = np.zeros((len(rows), 3))
        for i, row in enumerate(rows):
            answers[i, known[tuple(row)] if tuple(row) in seen else 0] = 9.0
        return answers

    experiment = run(
        attar.teachers.FunctionTeacher(lookup, name="lookup", outputs="logits"),
        train=(inputs[:120], labels[:120]),
        validation=(inputs[120:140], labels[120:140]),
        test=(inputs[140:], labels[140:]),
        seeds=1,
    )
    assert any("it has fitted the rows that it labels" in text for text in experiment.warnings)
    assert "Warning" in experiment.summary()


def test_estimators_label_out_of_fold_by_default() -> None:
    inputs, labels = wine()
    labels = np.random.default_rng(1).permutation(labels)
    forest = RandomForestClassifier(30, random_state=0).fit(inputs, labels)
    honest = run(forest, train=(inputs, labels), seeds=1)
    own_word = run(forest, train=(inputs, labels), seeds=1, folds=None)
    assert not honest.warnings
    # In sample the forest says back the random labels that it was fitted on, test rows included;
    # fitted anew on the rows that are left for training, it is as good as chance.
    assert own_word.teacher.accuracy > 0.9
    assert any("came ready-made" in text for text in own_word.warnings)
    assert honest.teacher.accuracy < 0.6


def test_the_estimators_of_a_list_label_out_of_fold_too() -> None:
    inputs, labels = wine()
    labels = np.random.default_rng(1).permutation(labels)
    forests = [RandomForestClassifier(20, random_state=i).fit(inputs, labels) for i in range(2)]
    experiment = run(forests, train=(inputs, labels), seeds=1)
    assert experiment.teacher.accuracy < 0.6
    assert not experiment.warnings


def test_a_store_must_know_every_row_before_anything_is_trained(tmp_path: Path) -> None:
    inputs, labels = wine()
    forest = RandomForestClassifier(10, random_state=0).fit(inputs, labels)
    some = np.random.default_rng(0).permutation(len(labels))[:120]
    store = attar.label(forest, (inputs[some], labels[some]), tmp_path / "store")
    told: list[str] = []
    with pytest.raises(AttarError, match=r"58 of|missing|not"):
        run(store, train=(inputs, labels), progress=lambda p: told.append(p.stage))
    assert "train" not in told


class Unexportable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(13, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits = self.linear(inputs)
        return torch.tensor(np.asarray(logits.tolist(), dtype=np.float32)) + 0 * logits


def test_a_student_that_onnx_cannot_express_loses_nothing_else(tmp_path: Path) -> None:
    inputs, labels = wine(unlabelled=80)
    experiment = distill(
        RandomForestClassifier(10, random_state=0),
        Unexportable,
        train=(inputs, labels),
        seeds=1,
        steps=5,
        latency_seconds=0.01,
        out=tmp_path / "run",
    )
    assert (tmp_path / "run" / "result.json").exists()
    assert any("not exported" in text for text in experiment.warnings)


def test_shuffled_soft_targets_do_not_beat_hard_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 5, generator=generator)
    labels = (inputs[:, 0] > 0).long()
    wrong = torch.randn(400, 2, generator=generator)

    def teacher(batch: attar.Batch) -> Outputs:
        return Outputs(wrong[batch.ids])

    teacher.fingerprint = lambda: "shuffled"  # type: ignore[attr-defined]
    experiment = run(teacher, train=ArrayData(inputs, labels), seeds=3, steps=100)
    assert experiment.verdict in ("WORSE", "INCONCLUSIVE", "NO GAIN")
    assert experiment.gap_recovered is None
    assert experiment.comparison.gap_reason


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0}, "'temperature' parameter of distill must be a number"),
        ({"alpha": 1.5}, "'alpha' parameter of distill"),
        ({"alpha": "best"}, "or 'auto'"),
        ({"seeds": 0}, "'seeds' parameter of distill must be an integer"),
        ({"seeds": [1, 1]}, "list of different numbers"),
        ({"steps": 3, "epochs": 2}, "not both"),
        ({"steps": 0}, "'steps' parameter of distill"),
        ({"smoothing": [1.0]}, "'smoothing' parameter of distill"),
    ],
)
def test_wrong_numbers_are_refused_before_the_teacher_is_asked(
    changes: dict[str, object], message: str
) -> None:
    def never(inputs: np.ndarray) -> np.ndarray:
        raise AssertionError("asked")

    with pytest.raises(AttarError, match=message):
        run(never, **changes)


def test_the_cost_is_said_before_anything_is_trained() -> None:
    told: list[Progress] = []
    run(progress=told.append)
    stages = [p.stage for p in told]
    cost = told[stages.index("cost")]
    assert "11 runs of 40 steps, about" in cost.message  # 1 + 1, 4 + 1, 1 + 1, 1 + 1
    assert cost.seconds > 0
    assert stages.index("cost") < stages.index("train")
    # The runs that were said are the runs that are made.
    assert max(p.done for p in told if p.stage == "train") == 11 * 40


def test_sizes_count_parameters_and_work() -> None:
    big = nn.Linear(13, 3)
    sizes = run(big, seeds=1).facts["sizes"]
    assert sizes["teacher_parameters"] == 13 * 3 + 3
    assert sizes["teacher_macs"] == 13 * 3
    # The largest MLP 13-w-w-3 within the budget.
    width = max(w for w in range(1, 20) if w * w + 18 * w + 3 <= 200)
    assert sizes["student_parameters"] == width * width + 18 * width + 3
    assert sizes["student_macs"] == width * width + 16 * width
