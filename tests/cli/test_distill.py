"""`attar distill`, `attar demo`: from files to a run folder, and the ways in which they refuse."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest
from command_line import attar

from attar.cli import show, words
from attar.cli.recipe import Choices

#: What every run here has, so that it takes a second; most have nothing to choose either.
SMALL = ("--parameters", "200", "--steps", "20", "--seeds", "2")
QUICK = (*SMALL, "--plain")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Iris as CSV with names, as npz, and two teachers that were fitted on it."""
    import skops.io
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    folder = tmp_path_factory.mktemp("files")
    iris = load_iris(as_frame=True)
    X = iris.data.to_numpy()
    names = iris.target_names[iris.target]
    iris.data.assign(species=names).to_csv(folder / "iris.csv", index=False)
    iris.data.to_csv(folder / "new.csv", index=False)
    np.savez(folder / "iris.npz", X=X.astype("float32"), y=iris.target.to_numpy())
    linear = LogisticRegression(max_iter=300).fit(X, names)
    forest = RandomForestClassifier(5, random_state=0).fit(X, names)
    skops.io.dump(linear, folder / "linear.skops")
    skops.io.dump(forest, folder / "forest.skops")
    return folder


@pytest.fixture(scope="module")
def run(files):
    """A finished run: the folder, and what was printed."""
    words = ("--train", files / "iris.csv", "--label", "species")
    folder = files / "run"
    code, out, err = attar(
        "distill", *words, "--teacher", files / "linear.skops", *QUICK, "--out", folder
    )
    assert code == 0, err
    return folder, out, err


def test_a_csv_and_a_skops_teacher_end_in_a_table_a_verdict_and_files(run):
    folder, out, err = run
    result = json.loads((folder / "result.json").read_text())
    assert result["classes"] == ["setosa", "versicolor", "virginica"]
    assert result["seeds"] == [0, 1]
    assert result["rows"] == {"labelled": 96, "unlabelled": 0, "validation": 24, "test": 30}
    assert "cross-fitted LogisticRegression" in result["teacher"]["name"]
    assert result["verdict"] in out.splitlines()
    assert result["sentence"] in out
    assert "student: distilled" in out
    bullets = [line for line in (folder / "summary.md").read_text().splitlines() if line[:1] == "-"]
    assert all(line in out for line in bullets)
    assert f"attar predict {folder.as_posix()} your.csv" in out
    assert f'runtime.load("{folder.as_posix()}/student.onnx")' in out
    assert (folder / "student.onnx").exists()
    assert "runs of 20 steps" in err


def test_the_printed_snippet_runs(run):
    _, out, _ = run
    lines = [line[4:] for line in out.splitlines() if line.startswith("    ")]
    snippet = "\n".join(lines[-4:])
    assert snippet.startswith("import numpy")
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(snippet, {})
    assert "versicolor" in printed.getvalue() or "setosa" in printed.getvalue()


def test_a_folder_that_exists_is_refused_before_anything_is_read(run, files):
    folder, _, _ = run
    before = (folder / "result.json").read_bytes()
    words = ("--train", files / "iris.csv", "--label", "no such column")
    code, _, err = attar("distill", *words, *QUICK, "--out", folder)
    assert code == 2
    assert err.startswith(f"attar: the run folder {folder} exists already")
    assert "--resume" in err
    assert (folder / "result.json").read_bytes() == before


def test_a_run_that_was_stopped_ends_like_one_that_was_not(run, files, monkeypatch):
    words = ("--train", files / "iris.csv", "--label", "species")
    words = ("distill", *words, "--teacher", files / "linear.skops", *QUICK)
    folder = files / "stopped"
    tell = show.Reporter.tell

    def stop(self, stage, message, done=0, total=0):
        tell(self, stage, message, done, total)
        if stage == "train" and done > total // 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(show.Reporter, "tell", stop)
        code, _, err = attar(*words, "--out", folder)
    assert code == 130
    assert err.splitlines()[-1] == "attar: stopped; go on with --resume"
    assert not (folder / "result.json").exists()

    code, _, err = attar(*words, "--out", folder, "--resume")
    assert code == 0, err
    resumed, whole = (json.loads((f / "result.json").read_text()) for f in (folder, run[0]))
    assert resumed["arms"] == whole["arms"]
    assert resumed["trials"] == whole["trials"]

    code, _, err = attar(*words, "--out", folder, "--resume", "--steps", "21")
    assert code == 2
    assert "holds another experiment" in err


def test_without_a_teacher_one_is_trained_on_the_training_rows_alone(files):
    folder = files / "own"
    words = ("--members", 2, "--teacher-steps", 20, "--teacher-width", 16, "--seeds", 2)
    words = ("distill", "--train", files / "iris.npz", *words, "--steps", 20, "--plain")
    words += ("--out", folder)
    code, _, err = attar(*words)
    assert code == 0, err
    result = json.loads((folder / "result.json").read_text())
    sizes = result["sizes"]
    assert sizes["compression_smallest_member"] >= 10  # the default
    # 4-16-16-3 has 80 + 272 + 51 numbers; the student of a tenth has two hidden units or so.
    assert sizes["smallest_member_parameters"] == 403
    assert sorted(p.name for p in (folder / "teacher").iterdir()) == [
        "ensemble.json",
        "member-0.safetensors",
        "member-1.safetensors",
        "teacher.json",
    ]
    assert "Training the teacher: 2 networks, mlp(16)" in err

    weights = (folder / "teacher" / "member-1.safetensors").stat().st_mtime_ns
    code, _, err = attar(*words, "--resume")
    assert code == 0, err
    assert (folder / "teacher" / "member-1.safetensors").stat().st_mtime_ns == weights
    code, _, err = attar(*words, "--resume", "--teacher-steps", 21)
    assert code == 2
    assert "another steps" in err


def test_given_splits_keep_their_rows_and_images_get_a_convnet(tmp_path):
    from sklearn.datasets import load_digits

    digits = load_digits()
    X, y = (15 * digits.images[:, None]).astype("uint8"), digits.target
    np.savez(tmp_path / "train.npz", X=X[:200], y=y[:200])
    np.savez(tmp_path / "more.npz", X=X[200:260], y=y[200:260])
    np.savez(tmp_path / "val.npz", X=X[300:360], y=y[300:360])
    np.savez(tmp_path / "test.npz", X=X[400:500], y=y[400:500])
    parts = [f"--{name}" for name in ("train", "transfer", "validation", "test")]
    names = [tmp_path / f"{name}.npz" for name in ("train", "more", "val", "test")]
    words = [word for pair in zip(parts, names, strict=True) for word in pair]
    words += ["--shift", 1, "--views", 3, "--seeds", "1", "--steps", 6, "--batch-size", 32]
    words += ["--members", 2, "--teacher-steps", 4, "--teacher-width", 16]
    code, _, err = attar("distill", *words, "--out", tmp_path / "run")
    assert code == 0, err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    # The recipe chooses T and alpha alone: what to learn from was said.
    assert "Chosen on validation: T, alpha (--plain: nothing is)" in err.splitlines()
    assert result["rows"] == {"labelled": 200, "unlabelled": 60, "validation": 60, "test": 100}
    assert result["views"] == 3
    assert all(one["setting"]["views"] for one in result["trials"])
    assert result["student"]["family"] == "convnet"
    assert "pseudo" in result["arms"]
    assert result["verdict"] == "INCONCLUSIVE"  # one seed


def test_a_transfer_file_of_training_rows_is_all_that_the_student_is_distilled_on(tmp_path):
    from sklearn.datasets import load_wine

    X, y = load_wine(return_X_y=True)
    np.savez(tmp_path / "train.npz", X=X, y=y)
    np.savez(tmp_path / "part.npz", X=X[y != 2])
    words = ["--train", tmp_path / "train.npz", "--transfer", tmp_path / "part.npz"]
    words += ["--seeds", "1", "--steps", 6, "--batch-size", 32, "--parameters", 100]
    words += ["--members", 2, "--teacher-steps", 4, "--teacher-width", 16, "--plain"]
    code, _, err = attar("distill", *words, "--out", tmp_path / "run")
    assert code == 0, err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    rows = result["rows"]
    assert rows["transfer"] < rows["labelled"]
    assert rows["unlabelled"] == 0
    assert f"has seen {rows['transfer']} of them" in (tmp_path / "run" / "summary.md").read_text()


def test_gaps_are_taken_where_that_is_said(files, tmp_path):
    lines = (files / "iris.csv").read_text().splitlines()
    lines[1] = "," + lines[1].split(",", 1)[1]
    (tmp_path / "gaps.csv").write_text("\n".join(lines) + "\n")
    words = ("--train", tmp_path / "gaps.csv", "--label", "species", "--teacher", "boosted-stack")
    words = ("distill", *words, "--plain", *SMALL, "--out", tmp_path / "run")
    code, _, err = attar(*words)
    assert code == 2
    assert "has no number in row 0" in err
    assert "--lenient" in err
    code, _, err = attar(*words, "--lenient")
    assert code == 0, err
    assert "sepal length (cm): number (a gap becomes 5.8)" in err
    rows = "\n".join(
        ["sepal width (cm),petal length (cm),petal width (cm),sepal length (cm)", "3,1,1,"]
    )
    (tmp_path / "new.csv").write_text(rows + "\n")
    code, _out, err = attar("predict", tmp_path / "run", tmp_path / "new.csv")
    assert code == 0, err


def test_what_was_not_said_is_chosen(files, tmp_path):
    words = ("--train", files / "iris.csv", "--label", "species", "--alpha", "0.7", "--seeds", "1")
    words += ("--teacher", files / "linear.skops", "--parameters", "200", "--epochs", "10")
    code, out, err = attar("distill", *words, "--batch-size", "32", "--out", tmp_path / "run")
    assert code == 0, err
    found = json.loads((tmp_path / "run" / "result.json").read_text())
    assert found["rows"]["labelled"] == 96
    assert found["rows"]["unlabelled"] > 96
    assert found["steps"] == 30  # of the rows that were given, not of those between them
    tried = [one["setting"] for one in found["trials"] if one["setting"]["arm"] == "distilled"]
    assert len({one["temperature"] for one in tried}) > 1
    assert {one["further"] for one in tried} == {True, False}
    assert {one["alpha"] for one in tried} == {0.7}
    assert "- Chosen on validation: T = " in out
    lines = err.splitlines()
    first = "Chosen on validation: T, rows between the rows of a table (--plain: nothing is)"
    assert lines[0] == first
    asked = [place for place, line in enumerate(lines) if "96 training rows and " in line]
    answers = [place for place, line in enumerate(lines) if line.startswith("The teacher answers")]
    assert asked < answers[:1]


def test_a_plain_run_chooses_nothing(run):
    folder, out, err = run
    trials = json.loads((folder / "result.json").read_text())["trials"]
    tried = [one["setting"] for one in trials if one["setting"]["arm"] == "distilled"]
    assert [(one["temperature"], one["alpha"]) for one in tried] == [(4.0, 0.9)]
    assert "Chosen on validation" not in out + err


@pytest.mark.parametrize(
    ("wanted", "task", "student", "found"),
    [
        (None, "multiclass", None, True),
        (None, "multiclass", "mine:tiny", True),
        (None, "multiclass", "tree", False),
        (None, "regression", None, False),
        (True, "multiclass", "boosted", True),
        (False, "multiclass", None, False),
        (False, "multilabel", None, False),
    ],
)
def test_where_the_recipe_is_there(wanted, task, student, found):
    choices = Choices.of(wanted, task=task, student=student)
    assert choices.recipe is found
    assert (choices.why is None) is (found or wanted is False)  # why is said where nobody said so


def test_what_is_said_wins_over_the_recipe():
    recipe = Choices.of(None, task="multiclass", student=None)
    assert recipe.numbers("4", None) == {"temperature": "4", "alpha": "auto"}
    assert recipe.rows(transfer="more.csv", shift=None) == {"views": "auto"}
    assert recipe.rows(transfer=None, shift=1) == {"transfer": "auto"}
    assert recipe.told(temperature="4", alpha="1", shift=1, transfer="more.csv") is None
    assert recipe.numbers("", None)["temperature"] == ""  # for others to refuse
    assert recipe.guesses(None) == "auto"
    assert recipe.guesses(False) is False
    few = recipe.told(temperature="4", alpha=None, pseudo_labels=None)
    assert few == "Chosen on validation: alpha, pseudo-labels (--plain: nothing is)"
    plain = Choices.of(False, task="multiclass", student=None)
    assert plain.numbers(None, "auto") == {"temperature": "4", "alpha": "auto"}
    assert plain.rows(transfer=None, shift=None) == {}
    assert plain.guesses(None) is False
    assert plain.guesses(True) is True


EARLY = {
    "loss": (["--loss", "nonsense"], "--loss must be kl, jsd, dkd, standardized_kl, a list"),
    "losses": (["--loss", "kl,auto"], "Got kl,auto"),
    "feature loss": (["--loss", "dist"], "Got dist"),
    "no loss": (["--loss", ""], "Got ''"),
    "endless search": (["--search-cost", "inf"], "search-cost"),
    "no search": (["--search-cost", "0"], "search-cost"),
    "no temperature": (["--temperature", ""], "--temperature must be a number"),
    "no alpha": (["--alpha", ""], "--alpha must be a number"),
    "all labelled": (["--plain", "--pseudo-labels"], "every row that teaches has a label"),
    "trees": (["--student", "boosted", "--pseudo-labels"], "every row that teaches has a label"),
    "soft alone": (["--alpha", "1", "--pseudo-labels"], "with alpha=1 there is no hard loss"),
    "values": (["--task", "regression", "--pseudo-labels"], "--pseudo-labels is there for classes"),
    "two sizes": (["--student", "torch.nn:ReLU", "--parameters", "9"], "has its size already"),
}


@pytest.mark.parametrize("case", EARLY)
def test_what_is_wrong_is_found_before_a_teacher_is_trained(files, case, tmp_path):
    words, part = EARLY[case]
    base = ("--train", files / "iris.csv", "--label", "species", "--out", tmp_path / "out")
    code, out, err = attar("distill", *base, *words)
    assert code == 2
    assert out == ""
    assert part in err
    assert not (tmp_path / "out").exists()


def test_losses_have_the_names_that_the_experiment_knows():
    from attar.experiment.arms import LOSSES

    assert tuple(LOSSES) == words.LOSSES
    assert words.losses("kl, dkd,kl") == ["kl", "dkd"]
    assert words.losses("auto") == "auto"


def test_several_teachers_are_an_ensemble_and_each_estimator_is_cross_fitted(files, monkeypatch):
    (files / "mine.py").write_text(
        "import numpy as np, torch\n"
        "def even(x): return np.full((len(x), 3), 1 / 3)\n"
        "def tiny(): return torch.nn.Linear(4, 3)\n"
    )
    monkeypatch.chdir(files)
    words = ("--train", "iris.csv", "--label", "species", "--teacher", "linear.skops")
    words += ("--teacher", "mine:even", "--student", "mine:tiny", "--out", "two")
    words += ("--steps", "10", "--seeds", "5,7", "--folds", "3", "--plain")
    code, _, err = attar("distill", *words)
    assert code == 0, err
    result = json.loads((files / "two" / "result.json").read_text())
    assert result["teacher"]["name"].startswith("ensemble of 2 (cross-fitted LogisticRegression")
    assert result["seeds"] == [5, 7]
    assert result["sizes"]["student_parameters"] == 15


def test_a_store_is_a_teacher_for_the_rows_that_it_was_made_of(files):
    words = (files / "iris.csv", "--label", "species", "--teacher", files / "linear.skops")
    code, _, err = attar("label", *words, "--out", files / "store")
    assert code == 0, err
    train = ("--train", files / "iris.csv", "--label", "species")
    code, _, err = attar(
        "distill", *train, "--teacher", files / "store", *SMALL, "--out", files / "from-store"
    )
    assert code == 0, err
    assert "cannot be asked about new inputs: the student learns without rows between" in err
    result = json.loads((files / "from-store" / "result.json").read_text())
    assert result["rows"]["unlabelled"] == 0
    lines = (files / "iris.csv").read_text().splitlines()
    (files / "fewer.csv").write_text("\n".join(lines[:-1]) + "\n")
    train = ("--train", files / "fewer.csv", "--label", "species")
    code, _, err = attar(
        "distill", *train, "--teacher", files / "store", *QUICK, "--out", files / "other"
    )
    assert code == 2
    assert "was made from other rows" in err


BAD = {
    "missing file": (["--train", "nope.csv"], ["--train nope.csv does not exist"]),
    "no label": (["--train", "iris.csv"], ["--label COLUMN"]),
    "unknown form": (["--train", "forest.skops"], ["--train must be", ".parquet", "idx", ".npz"]),
    "missing column": (["--label", "kind"], ["has no column 'kind'", "species"]),
    "unknown student": (
        ["--student", "birch"],
        ["convnet, mlp, plain_convnet", "module:function", "Got birch"],
    ),
    "missing object": (["--student", "json:tiny"], ["json has no tiny"]),
    "unknown teacher": (["--teacher", "x.pkl"], ["--teacher must be", ".onnx", ".skops", "x.pkl"]),
    "missing teacher": (["--teacher", "x.onnx"], ["the teacher x.onnx does not exist"]),
    "missing module": (["--teacher", "nowhere:f"], ["there is no module nowhere"]),
    "untrusted": (
        ["--teacher", "forest.skops"],
        ["not known to be safe", "--trust sklearn.tree._tree.Tree"],
    ),
    "no skops": (["--teacher", "torn.skops"], ["torn.skops cannot be read as a skops file"]),
    "words for numbers": (["--temperature", "warm"], ["--temperature", "2,4,8", "Got warm"]),
    "bad temperature": (["--temperature", "4,0"], ["temperature", "(0, 1000", "0.0"]),
    "bad alpha": (["--alpha", "1.5"], ["alpha", "(0, 1.0]", "1.5"]),
    "bad seeds": (["--seeds", "few"], ["--seeds", "0,1,5", "Got few"]),
    "bad rate": (["--learning-rate", "0"], ["learning-rate", "(0, inf)"]),
    "two sizes": (["--parameters", "9", "--shrink", "9"], ["--parameters or --shrink"]),
    "two lengths": (["--steps", "9", "--epochs", "9"], ["--steps or --epochs"]),
    "views alone": (["--views", "3"], ["--shift PIXELS"]),
    "views of a table": (["--shift", "1"], ["--shift moves images"]),
    "mixed forms": (["--test", "iris.npz"], ["--train and --test must be of one form"]),
    "no such option": (["--warmth", "3"], ["--warmth", "See: attar distill --help"]),
    "no number": (["--steps", "many"], ["--steps", "See: attar distill --help"]),
    "no room": (["--teacher-width", "2"], ["the smallest mlp", "allowed"]),
    "nothing to count": (
        ["--teacher", "forest.skops", "--trust", "sklearn.tree._tree.Tree"],
        ["parameters"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_in_one_line(files, case, monkeypatch, tmp_path):
    monkeypatch.chdir(files)
    (files / "torn.skops").write_bytes(b"PK not a zip")
    words, parts = BAD[case]
    base = [] if "--train" in words else ["--train", "iris.csv"]
    base += [] if "--label" in words or "--train" in words else ["--label", "species"]
    code, out, err = attar("distill", *base, *words, "--plain", "--out", tmp_path / "out")
    assert code == 2
    assert out == ""
    # The columns of a table, two spaces in, may have been shown before.
    said = [line for line in err.splitlines() if not line.startswith("  ")]
    assert len(said) == 1
    assert said[0].startswith("attar: ")
    assert all(part in err for part in parts), err
    assert not (tmp_path / "out" / "result.json").exists()
