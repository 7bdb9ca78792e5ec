"""Words on the command line -> data, numbers and objects."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest
import torch

from attar import UNLABELLED
from attar.checks import AttarError
from attar.cli import inputs, teachers, words


def idx(path, array):
    """Write unsigned bytes as an idx file."""
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(head + array.astype("uint8").tobytes())


def test_the_labels_of_an_idx_file_are_found_by_its_name(tmp_path):
    pictures = np.arange(3 * 4).reshape(3, 2, 2)
    idx(tmp_path / "train-images-idx3-ubyte", pictures)
    idx(tmp_path / "train-labels-idx1-ubyte", np.array([1, 0, 1]))
    idx(tmp_path / "others", np.array([0, 0, 1]))
    word = str(tmp_path / "train-images-idx3-ubyte")
    data = inputs.Reading().read(word, "--train")
    assert data.labels.tolist() == [1, 0, 1]
    assert data.inputs[:, 0].tolist() == pictures.tolist()
    assert inputs.image_size(data) == (2, 2)
    data = inputs.Reading().read(word, "--train", labels=str(tmp_path / "others"))
    assert data.labels.tolist() == [0, 0, 1]


def test_a_folder_of_images_is_read_in_the_size_and_classes_of_the_training_data(tmp_path):
    from PIL import Image

    for folder, side, names in (("train", 8, ("ant", "bee")), ("test", 10, ("bee",))):
        for place, name in enumerate(names):
            (tmp_path / folder / name).mkdir(parents=True)
            Image.new("L", (side, side), color=place).save(tmp_path / folder / name / "0.png")
    reading = inputs.Reading(size=4)
    train = reading.read(str(tmp_path / "train"), "--train")
    assert train.inputs.shape == (2, 1, 4, 4)
    test = reading.like(train).read(str(tmp_path / "test"), "--test")
    assert test.inputs.shape == (1, 1, 4, 4)
    assert test.classes == ("ant", "bee")
    assert test.labels.tolist() == [1]


def test_a_table_after_the_first_is_encoded_like_the_first(tmp_path):
    (tmp_path / "a.csv").write_text("city,x,y\nOslo,1,b\nRome,2,a\n")
    (tmp_path / "b.csv").write_text("x,city,y\n3,Rome,a\n")
    reading = inputs.Reading(label="y")
    train = reading.read(str(tmp_path / "a.csv"), "--train")
    test = reading.like(train).read(str(tmp_path / "b.csv"), "--test")
    assert train.inputs.tolist() == [[1, 0, 1], [0, 1, 2]]
    assert test.inputs.tolist() == [[0, 1, 3]]
    assert test.classes == ("a", "b")


def test_rows_of_two_files_never_share_a_number(tmp_path):
    for name, start in (("train", 0), ("val", 100), ("test", 200), ("more", 300)):
        rows = np.arange(start, start + 20.0).reshape(10, 2)
        np.savez(tmp_path / f"{name}.npz", X=rows, y=np.arange(10) % 2)
    names = [str(tmp_path / f"{name}.npz") for name in ("train", "val", "test", "more")]
    splits, train = inputs.RunFiles(names[0], None, *names[1:]).read(inputs.Reading(), None)
    rows = torch.cat([splits.train.rows, splits.validation.rows, splits.test.rows])
    assert len(rows) == len(torch.unique(rows)) == 40
    assert len(train) == 10
    labels = splits.train.labels
    transfer = splits.train.batch(torch.arange(10, 20))
    assert (labels[:10] != UNLABELLED).all()
    assert (labels[10:] == UNLABELLED).all()  # the labels of a transfer set are not used
    assert transfer.inputs[0].tolist() == [300.0, 301.0]


@pytest.mark.parametrize(
    ("text", "value"),
    [("4", 4.0), ("2,4,8", [2.0, 4.0, 8.0]), ("auto", "auto"), ("0.5", 0.5)],
)
def test_a_number_a_list_or_auto(text, value):
    assert words.choices("attar distill", "temperature", text, high=1e3) == value


@pytest.mark.parametrize("text", ["", "4,", "warm", "-1", "0", "nan", "inf", "1001"])
def test_what_is_none_of_these(text):
    with pytest.raises(AttarError, match="temperature"):
        words.choices("attar distill", "temperature", text, high=1e3)


@pytest.mark.parametrize(("text", "value"), [("3", 3), ("0,1,5", [0, 1, 5]), ("7,", [7])])
def test_a_count_of_seeds_or_which(text, value):
    assert words.seeds_of(text) == value


@pytest.mark.parametrize("text", ["", ",", "-1", "1.5", "a"])
def test_what_are_no_seeds(text):
    with pytest.raises(AttarError, match="--seeds"):
        words.seeds_of(text)


def test_the_families_named_here_are_those_that_there_are():
    from attar.students import FAMILIES, TABLES

    assert sorted(words.STUDENTS) == sorted(FAMILIES)
    assert sorted(words.TABLES) == sorted(TABLES)


def test_an_object_is_found_in_the_current_directory_and_inside_of_another(tmp_path, monkeypatch):
    (tmp_path / "found_here.py").write_text("class A:\n    value = 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert words.load_object("found_here:A.value", "--teacher") == 7


def test_a_module_that_lacks_another_is_not_taken_for_missing(tmp_path, monkeypatch):
    (tmp_path / "half_here.py").write_text("import not_there_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        words.load_object("half_here:f", "--teacher")


def test_a_skops_file_is_loaded_with_the_types_that_were_named_and_no_others(tmp_path):
    import skops.io
    from sklearn.tree import DecisionTreeClassifier

    X, y = np.array([[0.0], [1.0]]), np.array([0, 1])
    skops.io.dump(DecisionTreeClassifier().fit(X, y), tmp_path / "tree.skops")
    word = teachers.TeacherWord.of(str(tmp_path / "tree.skops"))
    tree = "sklearn.tree._tree.Tree"
    for trust in ([], ["sklearn.tree._tree"], ["os.system"]):
        with pytest.raises(AttarError, match=f"--trust {tree}"):
            word.load(trust)
    assert word.load([tree, "os.system"]).predict(X).tolist() == [0, 1]


def test_a_folder_is_a_store_or_a_run_by_what_lies_in_it(tmp_path):
    (tmp_path / "store.json").touch()
    assert teachers.TeacherWord.of(str(tmp_path)).form == "store"
    (tmp_path / "store.json").rename(tmp_path / "student.onnx")
    assert teachers.TeacherWord.of(str(tmp_path)).path == tmp_path / "student.onnx"
    (tmp_path / "student.onnx").unlink()
    with pytest.raises(AttarError, match=r"no student\.onnx"):
        teachers.TeacherWord.of(str(tmp_path))


def test_a_transfer_file_of_training_rows_is_the_part_that_is_distilled_on(tmp_path):
    rows, labels = np.arange(40.0).reshape(20, 2), np.arange(20) % 4
    held_out = {"val": slice(12, 16), "test": slice(16, 20)}
    np.savez(tmp_path / "train.npz", X=rows[:12], y=labels[:12])
    np.savez(tmp_path / "more.npz", X=rows[:12][labels[:12] != 3])  # a class is missing
    for name, part in held_out.items():
        np.savez(tmp_path / f"{name}.npz", X=rows[part], y=labels[part])
    names = [str(tmp_path / f"{name}.npz") for name in ("train", "val", "test", "more")]
    splits, _ = inputs.RunFiles(names[0], None, *names[1:]).read(inputs.Reading(), None)
    assert len(splits.train) == 12
    assert splits.taught.rows.tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert splits.taught.labels.tolist() == [0, 1, 2] * 3  # known from --train
    assert splits.taught.classes == ("0", "1", "2", "3")
