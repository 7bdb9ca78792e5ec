"""The ladder: what is trained and what is not, which one is chosen, and asking again."""

from __future__ import annotations

import json

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import attar
from attar.budget import Budget, Costs
from attar.data import ArrayData
from attar.experiment.arms import Trainer
from attar.experiment.ladder_advice import advise
from attar.experiment.ladder_result import Ladder, Rung, mark_front
from attar.experiment.rungs import _widest, foresee, member, plan_rungs
from attar.experiment.screening import Floor, is_hopeless, screen
from attar.students import boosted, mlp

QUICK = {
    "steps": 80,
    "batch_size": 64,
    "learning_rate": 0.02,
    "evaluations": 4,
    "seeds": 2,
    "latency_seconds": 0,
    "shrinks": (3, 10, 30, 80),
}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X, y = torch.tensor(X, dtype=torch.float32) / 16, torch.tensor(y)
    return {"train": (X[:900], y[:900]), "validation": (X[900:1200], y[900:1200])} | {
        "test": (X[1200:], y[1200:])
    }


@pytest.fixture(scope="module")
def teacher(digits):
    torch.manual_seed(0)
    X, y = digits["train"]
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X), y).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def climbed(digits, teacher, tmp_path_factory):
    """A ladder that meets its goal, and its folder."""
    folder = tmp_path_factory.mktemp("ladder") / "run"
    return attar.ladder(teacher, mlp, **digits, **QUICK, keep=0.75, out=folder), folder


def test_the_smallest_that_keeps_enough_is_chosen_and_tested(climbed):
    found, folder = climbed
    chosen = found.chosen
    assert found.met
    assert found.goal == pytest.approx(0.75 * found.teacher_accuracy)
    assert chosen.seeds == 2
    assert chosen.accuracy >= found.goal
    for rung in found.rungs:
        assert rung.accuracy is None or 0 <= rung.accuracy <= 1
        if rung.costs.bytes < chosen.costs.bytes:
            assert not found.meets(rung)
    assert found.rungs[0].costs.parameters <= 7210 / 3  # 64 * 96 + 96 + 96 * 10 + 10 of the teacher
    assert found.experiment.student_name == chosen.name
    assert found.experiment.facts["sizes"]["student_parameters"] == chosen.costs.parameters
    assert chosen.name in found.sentence
    assert "% on test" in found.sentence
    result = json.loads((folder / "ladder.json").read_text())
    assert result["chosen"] == chosen.name
    assert [rung["name"] for rung in result["rungs"]] == [rung.name for rung in found.rungs]
    assert found.table() in (folder / "summary.md").read_text()
    assert (folder / "rungs" / chosen.folder / "student.onnx").exists()


def test_what_is_foreseen_is_what_the_trained_student_costs(climbed):
    found, folder = climbed
    for rung in found.rungs:
        assert rung.foreseen == rung.costs
    file = folder / "rungs" / found.chosen.folder / "student.onnx"
    # The shipped file carries scores in its metadata, and nothing else.
    assert 0 <= file.stat().st_size - found.chosen.costs.bytes < 500


def test_a_hopeless_student_stops_early_and_smaller_ones_are_not_begun(climbed):
    found, folder = climbed
    *_, small, smallest = found.rungs
    assert smallest.state == "hopeless"
    assert smallest.accuracy is None or max(smallest.curve) < QUICK["steps"]
    assert smallest.why
    if small.state == "hopeless":
        assert smallest.accuracy is None
        assert not (folder / "rungs" / smallest.folder).exists()


def test_asked_again_only_what_is_missing_is_trained(climbed, digits, teacher):
    found, folder = climbed
    runs = {p: p.stat().st_mtime_ns for p in folder.rglob("arms/*/*/run.json")}
    targets = {p: p.stat().st_mtime_ns for p in (folder / "targets").rglob("*.npy")}
    largest = found.rungs[0]
    words = f"params={largest.costs.parameters - 1}"
    again = attar.ladder(
        teacher, mlp, **digits, **QUICK, keep=0.75, budget=words, out=folder, resume=True
    )
    assert {p: p.stat().st_mtime_ns for p in runs} == runs
    assert {p: p.stat().st_mtime_ns for p in (folder / "targets").rglob("*.npy")} == targets
    assert again.chosen.name == found.chosen.name
    assert again.rungs[0].state == "over budget"
    assert again.rungs[1].costs.parameters < largest.costs.parameters  # as large as is allowed
    assert len(again.rungs) == len(found.rungs) + 1


def test_another_experiment_in_the_folder_is_refused(climbed, digits, teacher):
    _, folder = climbed
    with pytest.raises(attar.AttarError, match="exists already"):
        attar.ladder(teacher, mlp, **digits, **QUICK, out=folder)
    with pytest.raises(attar.AttarError, match="steps was 80, is 70"):
        attar.ladder(teacher, mlp, **digits, **QUICK | {"steps": 70}, out=folder, resume=True)


def test_killed_and_resumed_it_ends_alike(climbed, digits, teacher, tmp_path):
    found, _ = climbed

    def kill(progress):
        if progress.stage == "screen" and progress.done > QUICK["steps"] + 10:
            raise KeyboardInterrupt

    words = {**digits, **QUICK, "keep": 0.75, "out": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        attar.ladder(teacher, mlp, **words, progress=kill)
    resumed = attar.ladder(teacher, mlp, **words, resume=True)
    assert resumed.to_dict() == found.to_dict()


def test_where_none_will_do_it_says_what_would(digits, teacher):
    found = attar.ladder(
        teacher, mlp, **digits, **QUICK | {"shrinks": (3, 60)}, keep=0.93, budget="params=110"
    )
    assert not found.met
    assert found.chosen.costs.parameters <= 110
    assert found.experiment is not None
    assert found.sentence.startswith("No student within the budget keeps 93 % of")
    assert found.rungs[0].trained  # only to say what would do
    assert found.rungs[0].over["parameters"] == pytest.approx(found.rungs[0].costs.parameters / 110)
    assert found.advice[0].startswith("A wider budget: with parameters at most ")
    assert "best found" in found.table()
    assert "## What would help" in found.summary()


@pytest.mark.parametrize(("budget", "lucky_is_within"), [("params=400", 0), ("params=1064", 1)])
def test_a_wider_budget_is_proposed_where_all_seeds_agree(
    digits, monkeypatch, budget, lucky_is_within
):
    trained = Trainer.run
    said = {("mlp(11)", 0): 0.93, ("mlp(11)", 1): 0.80, ("mlp(28)", 0): 0.96, ("mlp(28)", 1): 0.95}

    def run(trainer, setting, seed):
        found = trained(trainer, setting, seed)
        if (trainer.plan.name, seed) in said:
            found.validation["accuracy"] = said[trainer.plan.name, seed]
        return found

    monkeypatch.setattr(Trainer, "run", run)
    labels = torch.cat([digits[part][1] for part in ("train", "validation", "test")])
    sure = attar.teachers.GivenTeacher(8 * nn.functional.one_hot(labels, 10).float())
    words = {name: value for name, value in QUICK.items() if name != "shrinks"}
    words |= {"steps": 20, "stop_early": False, "parameters": [3000, 1000, 300], "keep": 0.9}
    found = attar.ladder(sure, mlp, **digits, **words, budget=budget)
    lucky, other = (
        next(one for one in found.rungs if one.name == name) for name in ("mlp(11)", "mlp(28)")
    )
    assert not found.met
    assert (not lucky.over) == bool(lucky_is_within)
    assert (lucky.seeds, lucky.accuracy) == (2, pytest.approx(0.865))
    assert (other.seeds, other.accuracy) == (2, pytest.approx(0.955))
    assert found.advice[0].startswith("A wider budget: with parameters at most 3,214, mlp(28) ")


class Turned(nn.Module):
    """A teacher whose classes 0 and 8 have changed places; it counts how often it was asked."""

    def __init__(self, teacher):
        super().__init__()
        self.teacher, self.asked = teacher, 0

    def forward(self, inputs):
        self.asked += 1
        return self.teacher(inputs)[:, [8, 1, 2, 3, 4, 5, 6, 7, 0, 9]]


def test_early_words_that_need_no_student_come_before_the_climb_and_once(digits, teacher, tmp_path):
    told = []
    words = {**digits, **QUICK, "keep": 0.75, "out": tmp_path / "run", "progress": told.append}
    asked = Turned(teacher)
    found = attar.ladder(asked, mlp, **words)
    order = [i for i, one in enumerate(told) if "another order" in one.message]
    screened = [i for i, one in enumerate(told) if one.stage in ("cost", "screen")]
    assert len(order) == 1
    assert order[0] < screened[0]
    assert [text for text in found.experiment.warnings if "another order" in text]
    assert json.loads((found_folder(tmp_path, found) / "early.json").read_text())["cost"]
    first, told[:] = len([one for one in told if one.stage == "early"]), []
    again = Turned(teacher)
    resumed = attar.ladder(again, mlp, **words, resume=True)
    assert len([one for one in told if one.stage == "early"]) == first
    assert resumed.experiment.warnings == found.experiment.warnings
    assert again.asked < asked.asked


def found_folder(tmp_path, found):
    return tmp_path / "run" / "rungs" / found.chosen.folder


def test_where_no_experiment_is_done_the_early_words_are_notes(digits, teacher):
    words = {**digits, **QUICK, "shrinks": (60,), "steps": 10, "budget": "size=1kB"}
    found = attar.ladder(Turned(teacher), mlp, **words)
    assert found.experiment is None
    assert any("another order" in note for note in found.notes)


def test_the_cost_that_is_told_has_the_further_seeds_and_the_experiment(climbed, digits, teacher):
    told = []
    words = {**digits, **QUICK, "shrinks": (10, 30), "steps": 20, "progress": told.append}
    found = attar.ladder(teacher, mlp, **words, keep=0.1, stop_early=False)
    first, second = (one for one in told if one.stage == "cost")
    # Of one setting the distilled runs are there: 2 sizes, and of 9 runs all but the first seed's.
    assert "2 sizes of 20 steps" in first.message
    assert "8 runs" in first.message
    assert second.message.startswith("9 runs")
    assert found.met
    told.clear()
    attar.ladder(teacher, mlp, **words, keep=0.1, stop_early=False, temperature=[1, 4])
    first, second = (one for one in told if one.stage == "cost")
    runs = int(second.message.partition(" ")[0])
    assert f"{runs + 1} runs" in first.message  # the other temperature may win: one seed more


def test_a_budget_below_every_student(digits, teacher):
    found = attar.ladder(
        teacher, mlp, **digits, **QUICK | {"shrinks": (3,)}, keep=1.0, budget="size=1kB"
    )
    assert found.chosen is None
    assert found.experiment is None
    best = found.rungs[0]
    assert found.best is best
    assert best.seeds == 2
    kept = 100 * best.accuracy / found.teacher_accuracy
    assert found.sentence == (
        "No student is within the budget (size of the file at most 1 kB). The best found is "
        "mlp(23) (2,287 parameters, 11.3 kB), with 11 times the size of the file that is allowed: "
        f"it keeps {kept:.1f} % of the teacher's accuracy on validation."
    )
    assert "best found, over budget" in found.table()
    assert found.advice
    assert found.to_dict()["verdict"] is None


def test_several_families_of_one_size_and_a_student_as_it_is(digits, teacher):
    def linear():
        return nn.Linear(64, 10)

    found = attar.ladder(
        teacher,
        [mlp, boosted, linear],
        **digits,
        **QUICK | {"seeds": 1},
        parameters=[800],
        keep=0.5,
    )
    names = {one.name for one in found.rungs}
    assert {one.family for one in found.rungs} == {"mlp", "boosted", "Linear"}
    assert "Linear" in names
    assert len(names) == 3
    assert found.met


def test_distill_lets_the_ladder_choose_the_size(digits, teacher, tmp_path):
    words = {name: value for name, value in QUICK.items() if name != "shrinks"} | {"seeds": 1}
    experiment = attar.distill(
        teacher, mlp, **digits, **words, student_size="auto", out=tmp_path / "run"
    )
    told = json.loads((tmp_path / "run" / "ladder.json").read_text())
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert told["chosen"] == experiment.student_name == result["student"]["name"]
    assert told["goal"]["keep"] == 0.97
    assert (tmp_path / "run" / "student.onnx").exists()
    assert any("No student keeps 97 %" in line for line in experiment.warnings) != told["met"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"student_size": 3000}, "a number goes to parameters="),
        ({"student_size": "auto", "shrink": 3}, "does not go with shrink="),
        ({"student_size": "auto", "task": "regression"}, "for classes alone"),
    ],
)
def test_what_does_not_go_with_a_size_that_is_looked_for(digits, teacher, words, message):
    with pytest.raises(attar.AttarError, match=message):
        attar.distill(teacher, mlp, **digits, **words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"keep": 1.2}, "'keep' parameter of ladder"),
        ({"budget": "fast"}, "a budget must be words such as"),
        ({"budget": "latency=1ms", "latency_seconds": 0}, "needs latency_seconds above 0"),
        ({"shrinks": (0.5,)}, "'shrinks' parameter of ladder"),
        ({"shrinks": (float("nan"),)}, "'shrinks' parameter of ladder"),
        ({"shrinks": []}, "shrinks is an empty list"),
        ({"shrinks": 10}, "shrinks must be a list of numbers. Got 10"),
        ({"parameters": 10}, "parameters must be a list of numbers. Got 10"),
        ({"parameters": [10.7]}, "'parameters' parameter of ladder"),
        ({"budget": "params=0.5"}, "Got 'params=0.5'"),
        ({"smoothing": [2]}, "'smoothing' parameter of ladder"),
        ({"loss": "nonsense"}, "'loss' parameter"),
        ({"parameters": [0]}, "'parameters' parameter of ladder"),
        ({"parameters": [1]}, "there is no student to train"),
        ({"temperature": -1}, "'temperature' parameter"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_trained(digits, tmp_path, words, message):
    class Unasked(nn.Module):
        def forward(self, inputs):
            raise AssertionError("the teacher was asked")

    out = tmp_path / "runs" / "one"
    with pytest.raises(attar.AttarError, match=message):
        attar.ladder(Unasked(), mlp, **digits, **QUICK | words, out=out)
    assert not out.parent.exists()


@pytest.mark.parametrize(
    ("students", "message"),
    [
        ("big", "or 'auto'"),
        ([], "empty list"),
        ([mlp, mlp], "mlp stands in students twice"),
    ],
)
def test_students_that_are_none(digits, teacher, students, message):
    with pytest.raises(attar.AttarError, match=message):
        attar.ladder(teacher, students, **digits, **QUICK)


def rung(name, accuracy, size, time=None, **more):
    costs = Costs(bytes=size, latency_ms=time, parameters=size)
    return Rung(name, "mlp", name, "trained", "", costs, costs, accuracy=accuracy, **more)


def test_the_front_by_hand():
    rungs = [
        rung("large", 0.95, 400, 1.00),
        rung("fast", 0.93, 500, 0.50),  # larger, but faster
        rung("beaten", 0.93, 450, 1.00),  # by "large"
        rung("alike", 0.95, 390, 1.04),  # beats "large": the times are one
        rung("small", 0.80, 100, 0.90),
        rung("also beaten", 0.80, 100, 1.20),
    ]
    rungs.append(rung("stopped", 0.99, 1, 0.1))
    rungs[-1].state = "hopeless"
    mark_front(rungs, ("bytes", "latency_ms"))
    assert [one.name for one in rungs if one.front] == ["fast", "alike", "small"]


def made(rungs, **more):
    return Ladder(
        rungs,
        keep=0.9,
        budget=Budget(),
        by=("bytes",),
        teacher_name="t",
        teacher_accuracy=1.0,
        teacher=Costs(parameters=1000),
        rows=100,
        **more,
    )


def test_advice_is_about_what_was_measured():
    best = rung("mlp(9)", 0.8, 300, curve={50: 0.5, 75: 0.7, 100: 0.8}, chosen=True)
    lines = advise(made([best, rung("mlp(3)", 0.6, 100)]), unlabelled=False)
    assert lines == [
        "More steps: mlp(9) was still gaining when it ended.",
        "Larger students: the largest tried has 300 parameters and is the best; give "
        "parameters=[600].",  # 1200 are more than the teacher has
        "Another family beside mlp: students=[...] takes several.",
        "More rows that need no label, transfer=: the teacher labels them.",
        "A lower goal: keep=0.8 is met by mlp(9).",
    ]
    chosen = rung("mlp(9)", 0.95, 300, chosen=True)
    following = made([chosen, rung("mlp(3)", 0.85, 100)], met=True)
    assert advise(following, unlabelled=True) == [
        "The next smaller one, mlp(3) (100 B), kept 85.0 %."
    ]
    alone = made([chosen], met=True)
    assert "smallest that was tried" in advise(alone, unlabelled=True)[0]


@pytest.mark.parametrize("words", ["size=8kB", "size=8kB, macs=2k", "params=1400", "macs=1300"])
def test_the_largest_within_the_budget_is_within_it_and_the_next_is_not(digits, words):
    data, budget = ArrayData(*digits["train"]), Budget.of(words)
    planned, _ = plan_rungs(
        [mlp], data, largest=None, parameters=[3000, 1000, 300], budget=budget, seconds=0
    )
    added = next(one for one in planned if one.plan.name not in ("mlp(28)", "mlp(11)", "mlp(3)"))
    assert budget.broken(added.costs) == {}
    next_one = member(mlp, data, added.plan.recipe["width"] + 1)
    costs = foresee({"": next_one.make}, data.inputs[:64], data.classes, seconds=0)[""]
    assert budget.broken(costs)


def test_only_what_keeps_the_other_limits_is_timed():
    timed = []

    def costs_of(width, seconds):
        if seconds:
            timed.append(width)
        return Costs(bytes=100 * width, latency_ms=width / 10 if seconds else None)

    def widest(words, fits=0):
        return _widest(costs_of, fits, 28, Budget.of(words), 0.5)

    assert widest("size=1500") == 15
    assert timed == []
    assert widest("size=1500, latency=2ms") == 15
    assert timed == [15]
    assert widest("size=1500, latency=1ms", fits=3) in (8, 9)  # a time is looked for less finely
    assert max(timed) == 15
    assert widest("size=99") == widest("latency=90us") == 0
    assert widest("latency=1ms", fits=9) == 9


def test_trees_are_foreseen_full_grown():
    def make():
        return boosted.model(3, input_shape=(4,), classes=3)

    rows = torch.randn(600, 4)
    costs = foresee({"trees": make}, rows[:64], ["a", "b", "c"], seconds=0)["trees"]
    grown = make()
    grown.fit(rows, torch.softmax(rows[:, :3] * 3, dim=1))
    found = foresee({"one": lambda: grown}, rows[:64], ["a", "b", "c"], seconds=0)
    assert costs.bytes == pytest.approx(found["one"].bytes, rel=0.05)
    state = torch.get_rng_state()
    foresee({"trees": make}, rows[:64], ["a", "b", "c"], seconds=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_hope_by_hand():
    larger = type("L", (), {"curve": {20: 0.7, 50: 0.8, 100: 0.9}, "accuracy": 0.9})

    def why(curve, one=larger):
        return is_hopeless(curve, one, floor=0.9, steps=100)

    assert why({25: 0.71, 50: 0.71}) is None  # twice 0.1 more is enough
    assert "had 69.0 %" in why({25: 0.69, 50: 0.69})
    assert why({25: 0.44, 50: 0.67}) is None  # 0.23 in one doubling, and one is left
    assert why({25: 0.0, 50: 0.0}, None) is None  # nobody to compare with
    assert why({10: 0.0, 20: 0.0}) is None  # too early
    assert why({50: 0.0}) is None  # nobody knows its pace
    assert why({50: 0.0, 100: 0.0}) is None  # at its end
    assert Floor(0.5, 100).value == pytest.approx(0.4)
    assert Floor(1.0, 100).value == 1.0
    assert screen([], None, None, 0, floor=Floor(0.5, 100), early=True, tell=print) == []
