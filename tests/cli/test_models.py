"""`attar label`, `evaluate`, `export`, `predict`: what is done with teachers and students."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from command_line import attar

from attar.export import runtime, to_onnx
from attar.export.weights import load_weights, save_weights
from attar.store import Store

CLASSES = ("blue", "red")
COLUMNS = [
    {"name": "x", "kind": "number"},
    {"name": "city", "kind": "category", "categories": ["Oslo", "Rome"]},
]


def linear(*rows):
    """A linear model with these weights, one row a class."""
    model = torch.nn.Linear(len(rows[0]), len(rows), bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(rows))
    return model


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a student whose answers are known by hand, and a table for it."""
    monkeypatch.chdir(tmp_path)
    # red where x > 2, and always in Rome
    model = linear([0.0, 2.0, 0.0], [1.0, 0.0, 5.0])
    rows = torch.tensor([[1.0, 1, 0], [4.0, 1, 0], [1.0, 0, 1]])
    to_onnx(model, "student.onnx", example=rows, classes=CLASSES, columns=COLUMNS)
    # The columns stand in another order than in training, and one is not known to the model.
    (tmp_path / "t.csv").write_text(
        "city,note,x,colour\nOslo,a,1,blue\nOslo,b,4,blue\nRome,c,1,red\nOslo,d,1,\n"
    )
    return tmp_path


def blocked(*modules):
    """The first lines of a process in which these modules cannot be imported."""
    return f"import sys\nfor name in {modules!r}: sys.modules[name] = None\n"


# predict


def test_predict_finds_the_columns_by_their_names(work):
    code, out, err = attar("predict", "student.onnx", "t.csv")
    assert (code, err) == (0, "")
    found = [line.split() for line in out.splitlines()[2:]]
    expected = 1 / (1 + np.exp(-np.array([1.0, 2.0, 6.0, 1.0])))
    assert [row[0] for row in found] == ["0", "1", "2", "3"]
    assert [row[2] for row in found] == ["blue", "red", "red", "blue"]
    assert [row[4] for row in found] == [f"{p:.4f}" for p in expected]


def test_predict_writes_every_row_in_order(work):
    lines = ["x,city", *[f"{x},Oslo" for x in range(5000)]]  # more than one chunk
    (work / "many.csv").write_text("\n".join(lines) + "\n")
    code, out, err = attar("predict", "student.onnx", "many.csv", "--out", "p/out.csv")
    assert (code, out, err) == (0, "5,000 predictions written to p/out.csv\n", "")
    with (work / "p" / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == list(range(5000))
    assert [row["class"] for row in rows] == ["blue"] * 3 + ["red"] * 4997  # a tie at 2: the first
    assert float(rows[0]["probability"]) == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)


def test_predict_says_how_many_rows_it_left_out(work):
    code, out, _ = attar("predict", "student.onnx", "t.csv", "--rows", "1")
    assert code == 0
    assert "1 of 4 rows; --out predictions.csv writes all of them" in out


def test_predict_needs_numpy_and_onnxruntime_alone(work):
    np.save("rows.npy", np.array([[1.0, 1, 0], [9.0, 1, 0]]))
    heavy = ("torch", "sklearn", "pandas", "pyarrow", "onnx", "safetensors", "datasets", "PIL")
    heavy += ("accelerate", "onnxscript", "scipy", "skops")
    for data in ("t.csv", "rows.npy"):
        code = blocked(*heavy) + (
            "from attar.cli import main\n"
            f"code = main(['predict', 'student.onnx', {data!r}])\n"
            "sys.exit(code)"
        )
        words = [sys.executable, "-c", code]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "blue" in done.stdout
        assert "red" in done.stdout


def test_predict_without_pyarrow_says_how_to_read_parquet(work, monkeypatch):
    (work / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # what makes its import fail
    code, _, err = attar("predict", "student.onnx", "t.parquet")
    assert code == 2
    assert "reading Parquet needs pyarrow" in err
    assert "pip install 'attar[train]'" in err


def test_predict_reads_arrays_of_every_form(work):
    import pandas

    model = linear([1.0, 0.0], [0.0, 1.0])
    example = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    to_onnx(model, "plain.onnx", example=example, classes=CLASSES)
    rows = np.array([[3.0, 1.0], [1.0, 3.0]])
    np.save("a.npy", rows)
    np.savez("b.npz", X=rows, y=np.array([0, 1]))
    np.savez("c.npz", rows)
    pandas.DataFrame(rows, columns=["p", "q"]).to_csv("d.csv", index=False)
    pandas.DataFrame(rows, columns=["p", "q"]).to_csv("d.csv.gz", index=False)
    pandas.DataFrame(rows, columns=["p", "q"]).to_parquet("e.parquet")
    seen = {attar("predict", "plain.onnx", name) for name in
            ("a.npy", "b.npz", "c.npz", "d.csv", "d.csv.gz", "e.parquet")}  # fmt: skip
    ((code, out, err),) = seen
    assert (code, err) == (0, "")
    assert [line.split()[2] for line in out.splitlines()[2:]] == ["blue", "red"]


BAD_ROWS = {
    "ragged": ("bad.csv", "x,city\n1,Oslo\n2\n", "line 3 has 1 values"),
    "twice": ("bad.csv", "x,x\n1,2\n", "name the columns, all differently"),
    "empty": ("bad.csv", "", "name the columns"),
    "no rows": ("bad.csv", "x,city\n", "no rows"),
    "lacking": ("bad.csv", "x\n1\n", "lacks 'city'"),
    "unknown": ("bad.csv", "x,city\n1,Paris\n", "'Paris' in row 0"),
    "no number": ("bad.csv", "x,city\nmany,Oslo\n", "'many'"),
    "not text": ("bad.csv", "x,city\n\udcff,Oslo\n", "CSV in UTF-8"),
    "torn": ("bad.npz", "PK", "cannot be read as arrays"),
    "not packed": ("bad.csv.gz", "x,city\n", "cannot be read as CSV"),
    "form": ("bad.txt", "x", ".csv, .csv.gz, .parquet, .npy or .npz"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_rows_that_cannot_be_read_are_named_in_one_line(work, case):
    name, content, part = BAD_ROWS[case]
    (work / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    code, out, err = attar("predict", "student.onnx", name)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert part in err, err


def test_predict_never_unpickles(work):
    np.save("objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    code, _, err = attar("predict", "student.onnx", "objects.npy")
    assert code == 2
    assert "objects.npy cannot be read as arrays" in err


def test_a_text_in_a_table_for_a_model_of_numbers_is_named(work):
    model = linear([1.0, 0.0], [0.0, 1.0])
    to_onnx(model, "plain.onnx", example=torch.eye(2), classes=CLASSES)
    (work / "words.csv").write_text("p,q\n1,2\n3,four\n")
    code, _, err = attar("predict", "plain.onnx", "words.csv")
    assert code == 2
    assert "column 'q' holds 'four' in row 1" in err


@pytest.mark.parametrize("model", ["nothing.onnx", "t.csv", "."])
def test_what_is_no_model_is_refused(work, model):
    (work / "student.onnx").rename(work / "elsewhere.onnx")
    code, _, err = attar("predict", model, "t.csv")
    assert code == 2
    assert any(
        word in err for word in ("does not exist", "must be an .onnx file", "no student.onnx")
    )


# evaluate


def test_evaluate_encodes_the_table_as_the_model_was_trained(work):
    code, out, err = attar("evaluate", "student.onnx", "t.csv", "--label", "colour", "--json")
    assert (code, err) == (0, "")
    scores = json.loads(out)
    assert scores["rows"] == 3  # the fourth has no label
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["errors"] == 1
    assert scores["worst_class"] == "blue"
    nll = np.log1p(np.exp([-1.0, 2.0, -6.0])).mean()
    assert scores["nll"] == pytest.approx(nll, abs=1e-6)
    assert scores["agreement"] is None


def test_evaluate_counts_the_errors_that_come_from_the_teacher(work):
    model = linear([0.0, 2.0, 0.0], [1.0, 0.0, -5.0])  # wrong in Oslo like the student, and in Rome
    example = torch.tensor([[1.0, 1, 0], [4.0, 1, 0], [1.0, 0, 1]])
    to_onnx(model, "teacher.onnx", example=example, classes=CLASSES, columns=COLUMNS)
    words = ("evaluate", "student.onnx", "t.csv", "--label", "colour", "--teacher", "teacher.onnx")
    code, out, err = attar(*words, "--json")
    assert (code, err) == (0, "")
    scores = json.loads(out)
    assert (scores["errors_inherited"], scores["errors_own"]) == (1, 0)
    assert scores["agreement"] == pytest.approx(2 / 3)
    code, out, _ = attar(*words)
    assert code == 0
    lines = [line.split("  ") for line in out.splitlines()]
    shown = {line[0].strip(): line[-1].strip() for line in lines}
    assert shown["errors inherited from it"] == "1"
    assert shown["errors of its own"] == "0"
    assert shown["agrees with the teacher"] == "66.67 %"
    assert shown["accuracy"] == "66.67 %"


def test_evaluate_without_labels_says_where_they_come_from(work):
    code, _, err = attar("evaluate", "student.onnx", "t.csv")
    assert code == 2
    assert "--label COLUMN" in err


def test_evaluate_refuses_classes_that_the_model_does_not_know(work):
    (work / "t.csv").write_text("city,x,colour\nOslo,1,green\n")
    code, _, err = attar("evaluate", "student.onnx", "t.csv", "--label", "colour")
    assert code == 2
    assert "'green'" in err
    assert "blue, red" in err


# label


def test_label_keeps_the_logits_and_a_second_call_asks_nobody(work):
    words = ("label", "t.csv", "--teacher", "student.onnx", "--label", "colour", "--out", "store")
    code, out, err = attar(*words)
    assert code == 0, err
    assert out.startswith("4 rows in store, ")
    assert out.endswith(" rows/s\n")
    store = Store.open("store")
    expected = [[2.0, 1.0], [2.0, 4.0], [0.0, 6.0], [2.0, 1.0]]
    assert store.logits(torch.arange(4)).tolist() == expected
    assert store.classes == CLASSES
    before = (work / "store" / "store.json").stat().st_mtime_ns
    code, out, err = attar(*words)
    assert (code, err) == (0, "")
    assert out == "4 rows in store, which was finished already\n"
    assert (work / "store" / "store.json").stat().st_mtime_ns == before


def test_label_goes_on_where_it_was_stopped(work, monkeypatch):
    (work / "slow.py").write_text(
        "asked = []\n"
        "def teacher(x):\n"
        "    if len(asked) == 3: raise KeyboardInterrupt\n"
        "    asked.append(len(x))\n"
        "    return x[:, :2] * 10\n"
    )
    monkeypatch.syspath_prepend(work)
    monkeypatch.delitem(sys.modules, "slow", raising=False)
    np.savez("rows.npz", X=np.arange(32.0).reshape(16, 2))
    words = ("label", "rows.npz", "--teacher", "slow:teacher", "--out", "store")
    words += ("--batch-size", "4", "--dtype", "float16")
    code, _, err = attar(*words)
    assert code == 130
    assert err.splitlines()[-1] == ("attar: stopped; go on by running the same command again")
    sys.modules["slow"].asked = [0, 0, 0, 0]  # never stops again
    code, out, err = attar(*words)
    assert code == 0, err
    assert out.startswith("16 rows in store")
    store = Store.open("store")
    assert store.encoding.name == "float16"
    assert store.logits(torch.arange(16)).flatten().tolist() == [10.0 * x for x in range(32)]


def test_label_can_cross_fit_an_estimator_that_knows_the_rows_by_heart(work):
    (work / "near.py").write_text(
        "import numpy as np\n"
        "from sklearn.neighbors import KNeighborsClassifier\n"
        "X = np.repeat(np.arange(8.0), 2).reshape(8, 2)\n"
        "y = np.array([0, 1] * 4)\n"
        "nearest = KNeighborsClassifier(1).fit(X, y)\n"
    )
    X, y = np.repeat(np.arange(8.0), 2).reshape(8, 2), np.array([0, 1] * 4)
    np.savez("rows.npz", X=X, y=y)
    answers = {}
    for folds in (0, 4):
        words = ("label", "rows.npz", "--teacher", "near:nearest", "--folds", folds)
        code, _, err = attar(*words, "--out", f"store{folds}")
        assert code == 0, err
        answers[folds] = Store.open(f"store{folds}").logits(torch.arange(8)).argmax(1).numpy()
    assert (answers[0] == y).all()  # each row is its own nearest
    assert (answers[4] != y).mean() > 0.5  # its neighbours are of the other class


BAD_LABEL = {
    "nobody": ([], "needs a --teacher"),
    "dtype": (["--teacher", "student.onnx", "--dtype", "int4"], "'float16', 'float32'"),
    "classes": (["--teacher", "other.onnx", "--label", "colour"], "'blue'"),
    "no clones": (["--teacher", "student.onnx", "--folds", "3"], "clones of an estimator"),
    "a foreign folder": (["--teacher", "student.onnx", "--out", "."], "."),
}


@pytest.mark.parametrize("case", BAD_LABEL)
def test_label_refuses_in_one_line(work, case):
    to_onnx(linear([1.0], [2.0]), "other.onnx", example=torch.ones(2, 1), classes=("a", "b"))
    words, part = BAD_LABEL[case]
    code, out, err = attar("label", "t.csv", "--out", "store", *words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert part in err


# export


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on a table with texts in it, made by the command itself."""
    folder = tmp_path_factory.mktemp("run")
    random = np.random.default_rng(0)
    lines = ["size,city,kind"]
    for _ in range(90):
        size, city = random.normal(), random.choice(["Oslo", "Rome"])
        lines.append(f"{size:.3f},{city},{'big' if size + (city == 'Rome') > 0.5 else 'small'}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    words = ("--train", folder / "t.csv", "--label", "kind", "--members", "2")
    words += (
        "--teacher-steps",
        "20",
        "--teacher-width",
        "16",
        "--steps",
        "20",
        "--seeds",
        "1",
        "--plain",
    )
    code, _, err = attar("distill", *words, "--out", folder / "out")
    assert code == 0, err
    return folder / "out"


def test_a_run_is_exported_again_with_the_same_answers_and_names(run, tmp_path):
    code, out, err = attar("export", run, "--out", tmp_path / "again.onnx")
    assert (code, err) == (0, "")
    assert "real rows its probabilities differ from the student's by at most" in out
    first, again = runtime.load(run / "student.onnx"), runtime.load(tmp_path / "again.onnx")
    rows = np.load(run / "example.npy")
    assert len(rows) > 20
    assert np.array_equal(first.logits(rows), again.logits(rows))
    assert again.classes == first.classes == ("big", "small")
    assert again.columns == first.columns
    assert again.metadata == first.metadata
    assert again.predict({"size": [5.0, -5.0], "city": ["Oslo", "Rome"]}).shape == (2,)


def test_a_run_is_a_model_to_evaluate_and_a_teacher(run, tmp_path):
    table = run.parent / "t.csv"
    code, out, err = attar("evaluate", run, table, "--label", "kind", "--teacher", run, "--json")
    assert (code, err) == (0, "")
    scores = json.loads(out)
    assert scores["rows"] == 90
    assert scores["agreement"] == 1.0
    assert scores["kl_to_teacher"] == pytest.approx(0, abs=1e-6)
    words = ("label", table, "--teacher", run, "--label", "kind", "--out", tmp_path / "store")
    code, out, err = attar(*words)
    assert code == 0, err
    assert Store.open(tmp_path / "store").classes == ("big", "small")


def test_a_module_of_ones_own_is_exported_with_the_weights_of_a_file(work):
    (work / "net.py").write_text("import torch\ndef make(): return torch.nn.Linear(2, 2)\n")
    model = torch.nn.Linear(2, 2)
    save_weights(model, work / "w.safetensors", metadata={"classes": '["left", "right"]'})
    rows = np.array([[1, 2], [3, 4], [5, -6]], dtype="float32")
    np.save("rows.npy", rows)
    words = ("export", "net:make", "--weights", "w.safetensors", "--example", "rows.npy")
    code, out, err = attar(*words, "--out", "net.onnx")
    assert (code, err) == (0, "")
    assert out.startswith("net.onnx: ")
    student = runtime.load("net.onnx")
    assert student.classes == ("left", "right")
    with torch.no_grad():
        expected = model(torch.from_numpy(rows)).numpy()
    assert np.allclose(student.logits(rows), expected, atol=1e-6)


BAD_EXPORT = {
    "no folder": (["nowhere"], "the run folder nowhere does not exist"),
    "a file": (["t.csv"], "name a run folder or module:function"),
    "no weights": (["json:loads"], "--weights"),
    "an empty folder": (["empty"], "student.safetensors does not exist"),
    "no module": (["nets:make", "--weights", "t.csv", "--example", "t.csv"], "no module nets"),
}


@pytest.mark.parametrize("case", BAD_EXPORT)
def test_export_refuses_in_one_line(work, case):
    (work / "empty").mkdir()
    words, part = BAD_EXPORT[case]
    code, out, err = attar("export", *words, "--out", "x.onnx")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert part in err
    assert not (work / "x.onnx").exists()


def test_weights_of_another_run_are_refused(run, tmp_path):
    model = torch.nn.Linear(3, 2)
    save_weights(model, tmp_path / "w.safetensors")
    code, _, err = attar(
        "export", run, "--weights", tmp_path / "w.safetensors", "--out", tmp_path / "x.onnx"
    )
    assert code == 2
    assert len(err.splitlines()) == 1
    with pytest.raises(ValueError, match="does not fit"):
        load_weights(torch.nn.Linear(4, 2), tmp_path / "w.safetensors")
