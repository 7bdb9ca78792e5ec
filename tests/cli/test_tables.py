"""Tables on the command line: named teachers, trees, numbers, and the schema that ships."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from command_line import attar
from sklearn.datasets import load_wine
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from attar.cli import teachers


def small_stack(task, *, seed=0):
    """In place of three hundred trees."""
    if task == "multilabel":
        return [ExtraTreesClassifier(5, random_state=seed)]
    if task == "regression":
        return [ExtraTreesRegressor(5, random_state=seed), DecisionTreeRegressor(random_state=seed)]
    return [ExtraTreesClassifier(5, random_state=seed), DecisionTreeClassifier(random_state=seed)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    wine = load_wine(as_frame=True)
    frame = wine.data[["alcohol", "hue", "proline"]].copy()
    frame["colour"] = np.where(frame["hue"] > 1, "red", "pale")
    frame["cut"] = wine.target.map({0: "fair", 1: "good", 2: "ideal"})
    frame.to_csv(folder / "wine.csv", index=False)
    frame.to_parquet(folder / "wine.parquet")
    return folder


@pytest.fixture
def stacked(monkeypatch):
    monkeypatch.setattr("attar.teachers.boosted_stack", small_stack)


QUICK = ("--steps", "30", "--seeds", "2", "--folds", "2")


@pytest.mark.parametrize(
    ("file", "student"),
    [
        ("wine.parquet", ("mlp", "--plain")),
        ("wine.csv", ("tree", "--parameters", "200")),
        ("wine.csv", ("boosted", "--parameters", "300")),
    ],
    ids=["mlp", "tree", "boosted"],
)
def test_a_stack_teaches_a_student_and_the_schema_ships(file, student, table, stacked, tmp_path):
    code, out, err = attar(
        *("distill", "--train", table / file, "--label", "cut", "--teacher", "boosted-stack"),
        *("--student", *student, "--out", tmp_path / "run", "--bundle", tmp_path / "run.zip"),
        *QUICK,
    )
    assert code == 0, err
    assert (f"A plain run: a {student[0]} student" in err) is ("--plain" not in student)
    assert "  alcohol: number" in err.splitlines()
    assert "  colour: category (pale, red)" in err.splitlines()
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["teacher"]["name"].count("ExtraTreesClassifier") == 1
    assert result["sizes"]["student_parameters"] <= 20_000
    rows = pd.read_csv(table / "wine.csv").head(4)
    for change, message in (
        (rows.drop(columns="hue"), "lacks 'hue'"),
        (rows.assign(colour="green"), "'colour' has 'green' in row 0"),
        (rows.assign(hue="strong"), "'hue' must hold numbers"),
        (rows.assign(hue=np.nan), "'hue' has no number in row 0"),
    ):
        change.to_csv(tmp_path / "new.csv", index=False)
        code, _, err = attar("predict", tmp_path / "run.zip", tmp_path / "new.csv")
        assert code == 2
        assert message in err
    rows.drop(columns="cut").to_csv(tmp_path / "new.csv", index=False)
    code, out, err = attar("predict", tmp_path / "run.zip", tmp_path / "new.csv")
    assert code == 0, err
    assert "probability" in out


def test_a_number_is_learnt_by_a_regression(table, stacked, tmp_path):
    code, out, err = attar(
        *("distill", "--train", table / "wine.csv", "--label", "alcohol", "--task", "regression"),
        *("--out", tmp_path / "run", *QUICK),
    )
    assert code == 0, err
    assert "A plain run: the recipe is there for classes" in err
    assert "R²" in out
    assert f"attar bundle {tmp_path}/run" in out
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["task"], result["classes"]) == ("regression", ["alcohol"])
    code, _, err = attar(
        "predict", tmp_path / "run", table / "wine.csv", "--out", tmp_path / "said.csv"
    )
    assert code == 0, err
    with (tmp_path / "said.csv").open() as file:
        said = [float(row["alcohol"]) for row in csv.DictReader(file)]
    assert len(said) == 178
    assert 11 < np.mean(said) < 15
    code, _, err = attar("report", tmp_path / "run")
    assert code == 0, err
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "Where the errors are" in page
    assert "Dark knowledge" not in page
    code, out, err = attar("evaluate", tmp_path / "run", table / "wine.csv", "--json")
    assert code == 0, err
    truth = pd.read_csv(table / "wine.csv")["alcohol"]
    assert json.loads(out)["mae"] == pytest.approx(np.abs(truth - said).mean(), rel=1e-4)
    code, out, _ = attar("export", tmp_path / "run", "--out", tmp_path / "again.onnx")
    assert code == 0
    assert "its values differ" in out
    code, _, err = attar("export", tmp_path / "run", "--to", "pt2", "--out", tmp_path / "x.pt2")
    assert code == 2
    assert "--to pt2 is there for classes alone" in err
    rows = ("--validation", table / "wine.csv", "--label", "alcohol")
    code, _, err = attar("quantize", tmp_path / "run", *rows, "--out", tmp_path / "small.onnx")
    assert code == 2
    assert "attar quantize is there for classes alone" in err


def test_several_labels_a_row_from_columns_of_0_and_1(table, stacked, tmp_path):
    frame = pd.read_csv(table / "wine.csv").drop(columns="cut")
    frame["strong"] = (frame["alcohol"] > 13).astype(int)
    frame["rich"] = (frame["proline"] > 700).astype(int)
    frame.to_csv(tmp_path / "wine.csv", index=False)
    given = ("distill", "--train", tmp_path / "wine.csv", "--task", "multilabel", *QUICK)
    bundle = tmp_path / "wine.zip"
    code, out, err = attar(
        *(*given, "--label", "strong,rich", "--out", tmp_path / "run", "--bundle", bundle)
    )
    assert code == 0, err
    assert "accuracy a label %" in out
    code, out, err = attar("predict", bundle, tmp_path / "wine.csv")
    assert code == 0, err
    assert "strong" in out
    rows = frame.drop(columns=["strong", "rich"]).head(3).to_dict("list")
    asked = (
        "import json, sys; from attar.export import runtime; "
        f"said = runtime.load({str(bundle)!r}).predict({rows!r}); "
        "print(said.shape, *({'torch', 'onnx', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["(3,", "2)"]  # numpy and onnxruntime were enough
    code, out, err = attar("evaluate", bundle, tmp_path / "wine.csv")
    assert code == 0, err
    assert "accuracy a label" in out
    code, _, err = attar("evaluate", bundle, tmp_path / "wine.csv", "--label", "rich")
    assert code == 2
    assert "needs 2 columns of labels. Got 1" in err
    code, _, err = attar("report", tmp_path / "run")
    assert code == 0, err
    code, _, err = attar(*given, "--label", "strong,colour", "--out", tmp_path / "x")
    assert code == 2
    assert "the columns 'strong', 'colour': for multilabel y must hold numbers" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "regression", "--label", "cut"), "'cut': for regression y must hold numbers"),
        (("--task", "ranking", "--label", "cut"), "--task"),
        (("--student", "birch", "--label", "cut"), "--student must be"),
        (
            ("--task", "regression", "--label", "hue", "--recipe"),
            "--recipe is there for classes. Got --task regression",
        ),
        (
            ("--teacher", "boosted-stack", "--label", "cut", "--folds", "0"),
            "not fitted",
        ),
    ],
)
def test_what_does_not_fit_is_said(words, message, table, stacked, tmp_path):
    given = ("distill", "--train", table / "wine.csv", *words, "--out", tmp_path / "run")
    code, _, err = attar(*given)
    assert code == 2
    assert message in err


@pytest.mark.parametrize("answer", [True, False])
def test_where_somebody_is_there_the_types_of_a_skops_file_are_listed_and_asked_for(
    answer, tmp_path, monkeypatch, capsys
):
    import skops.io

    X, y = np.array([[0.0], [1.0]]), np.array([0, 1])
    skops.io.dump(DecisionTreeClassifier().fit(X, y), tmp_path / "tree.skops")
    word = teachers.TeacherWord.of(str(tmp_path / "tree.skops"))
    asked = []
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda text, **_: asked.append(text) or answer)
    if answer:
        assert word.load([]).predict(X).tolist() == [0, 1]
    else:
        with pytest.raises(teachers.AttarError, match=r"--trust sklearn\.tree\._tree\.Tree"):
            word.load([])
    assert asked == ["Do you trust all of them?"]
    assert "  sklearn.tree._tree.Tree" in capsys.readouterr().err.splitlines()
