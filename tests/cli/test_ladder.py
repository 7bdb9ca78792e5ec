"""`attar ladder`: from files to a table, an answer and a student."""

from __future__ import annotations

import json

import pytest
from command_line import attar


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    import skops.io
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    folder = tmp_path_factory.mktemp("files")
    iris = load_iris(as_frame=True)
    names = iris.target_names[iris.target]
    iris.data.assign(species=names).to_csv(folder / "iris.csv", index=False)
    linear = LogisticRegression(max_iter=300).fit(iris.data.to_numpy(), names)
    skops.io.dump(linear, folder / "linear.skops")
    return folder


def words(files, *more):
    rows = ("--train", files / "iris.csv", "--label", "species")
    quick = ("--steps", 40, "--seeds", 2, "--learning-rate", 0.03, "--parameters", "400,60")
    return ("ladder", *rows, "--teacher", files / "linear.skops", *quick, *more)


def test_from_a_csv_to_the_smallest_student(files):
    folder = files / "run"
    code, out, err = attar(*words(files, "--keep", 0.6, "--budget", "size=1MB", "--out", folder))
    assert code == 0, err
    result = json.loads((folder / "ladder.json").read_text())
    assert result["met"]
    assert {rung["family"] for rung in result["rungs"]} <= {"mlp", "boosted"}
    assert result["sentence"] in out
    assert result["verdict"] in out
    assert "chosen" in out
    assert all(rung["name"] in out for rung in result["rungs"])
    chosen = next(rung for rung in result["rungs"] if rung["chosen"])
    assert chosen["costs"]["latency_ms"] > 0
    place = folder / "rungs" / chosen["folder"]
    assert f"attar predict {place.as_posix()} your.csv" in out
    assert (place / "student.onnx").exists()
    assert "Measuring what each size costs" in err
    code, out, err = attar(*words(files, "--keep", 0.6, "--out", folder))
    assert code == 2
    assert "exists already" in err


def test_where_none_will_do_the_best_found_is_shown(files):
    more = ("--student", "mlp", "--keep", 1, "--budget", "params=1", "--out", files / "none")
    code, out, err = attar(*words(files, *more))
    assert code == 0, err
    assert "No student is within the budget (parameters at most 1)." in out
    assert "What would help:" in out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--budget", "speed=3"), "a budget must be words such as latency=200us"),
        (("--budget", "latency=3kB"), "the unit of latency must be one of us"),
        (("--keep", "2"), "'keep' parameter"),
        (("--student", "mlp,tiny"), "--student must be"),
        (("--student", "mlp,mlp"), "--student must name each family once. Got mlp,mlp"),
        (("--shrinks", "3,x"), "--shrinks must be numbers"),
        (("--shrinks", "0.1"), "'shrinks' parameter of attar ladder"),
        (("--shrinks", "nan"), "'shrinks' parameter of attar ladder"),
        (("--shrinks=-1",), "'shrinks' parameter of attar ladder"),
        (("--parameters", "10.7"), "--parameters must be whole numbers of 1 or more"),
        (("--parameters", "nan"), "--parameters must be whole numbers of 1 or more"),
        (("--parameters", "400,inf"), "--parameters must be whole numbers of 1 or more"),
        (("--parameters", "0"), "--parameters must be whole numbers of 1 or more"),
        (("--parameters=-10",), "--parameters must be whole numbers of 1 or more"),
        (("--parameters", "1e30"), "'parameters' parameter of ladder"),
        (("--parameters", "2"), "there is no student to train"),
        (("--loss", "nonsense"), "--loss must be kl"),
        (("--seeds", "0"), "'seeds' parameter"),
        (("--budget", "params=0.5"), "at least 1. Got 'params=0.5'"),
        (("--epochs", "3"), "give --steps or --epochs, not both"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(files, more, message):
    code, out, err = attar(*words(files, *more, "--out", files / "wrong"))
    assert code == 2
    assert out == ""
    assert err.startswith("attar: ")
    assert message in err
    assert not (files / "wrong").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--loss", "nonsense"), "--loss must be kl"),
        (("--parameters", "2"), "there is no student to train"),
        (("--shrinks", "1e6"), "there is no student to train"),
        (("--seeds", "1,1"), "'seeds' parameter"),
    ],
)
def test_what_is_wrong_is_said_before_a_teacher_is_trained(files, more, message):
    place = files / "untrained" / "run"
    rows = ("--train", files / "iris.csv", "--label", "species", "--student", "mlp")
    code, _, err = attar("ladder", *rows, *more, "--out", place)
    assert code == 2
    assert message in err
    assert "Training the teacher" not in err
    assert not place.parent.exists()
