"""Reading a run folder: what is there is read, what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from attar import AttarError
from attar.report import as_run, page
from attar.report.parts import LONGEST_TEXT, FolderParts, Node
from attar.report.words import learnt


def changed(folder: Path, change: object) -> Path:
    path = folder / "result.json"
    result = json.loads(path.read_text("utf-8"))
    change(result)
    path.write_text(json.dumps(result), "utf-8")
    return folder


def test_a_folder_and_the_experiment_that_left_it_are_the_same_run(real):
    experiment, folder = real
    here, there = as_run(experiment), as_run(folder)
    assert here.verdict == there.verdict == experiment.verdict
    assert here.arms == there.arms
    assert here.teacher == there.teacher
    assert here.members == there.members
    np.testing.assert_array_equal(here.teacher_logits, there.teacher_logits)
    np.testing.assert_array_equal(here.student_logits, there.student_logits)


def test_the_folder_holds_what_the_teacher_said(real):
    experiment, folder = real
    run = as_run(folder)
    right = (run.teacher_logits.argmax(axis=1) == run.labels).mean()
    assert right == pytest.approx(experiment.teacher.accuracy)
    student = (run.student_logits.argmax(axis=1) == run.labels).mean()
    assert student == pytest.approx(experiment.arms["distilled"].scores[experiment.chosen].accuracy)
    labelled = np.load(folder / "answers" / "labelled-teacher.npy")
    assert len(labelled) == len(np.load(folder / "answers" / "labelled-labels.npy"))


def test_a_run_that_is_not_finished_is_refused(tmp_path):
    with pytest.raises(AttarError, match=r"has no result\.json: the run is not finished"):
        as_run(tmp_path)
    with pytest.raises(AttarError, match="is no run folder"):
        as_run(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(verdict="GREAT"), r"verdict must be one of .* Got GREAT"),
        (lambda r: r.update(verdict=None), "verdict must be there"),
        (lambda r: r.update(classes=["one"]), "classes must be two or more. Got 1"),
        (lambda r: r.update(classes=[1, 2]), r"classes\[0\] must be a text. Got 1"),
        (lambda r: r["arms"].pop("hard"), "at least 'hard' and 'distilled'"),
        (
            lambda r: r["arms"]["hard"]["runs"][0]["test"].update(accuracy=1.5),
            r"test\.accuracy must be a number from 0 to 1. Got 1\.5",
        ),
        (lambda r: r.update(arms=[]), "arms must be an object"),
        (lambda r: r["latency"].update(student=3), r"latency\.student must be an object"),
        (lambda r: r["teacher"]["scores"].update(accuracy="NaN"), "must be a number"),
    ],
)
def test_a_result_that_attar_did_not_write_is_named(make_run, change, message):
    with pytest.raises(AttarError, match=message):
        page(changed(make_run(), change))


def test_numbers_that_json_must_not_hold_are_refused(make_run):
    folder = make_run()
    text = (
        (folder / "result.json").read_text("utf-8").replace('"retention": 0.98', '"retention": NaN')
    )
    (folder / "result.json").write_text(text, "utf-8")
    with pytest.raises(AttarError, match=r"comparison\.retention must be a number"):
        page(folder)


def test_broken_files_are_named(make_run):
    folder = make_run()
    (folder / "samples.json").write_text("{", "utf-8")
    with pytest.raises(AttarError, match=r"samples\.json is no JSON file"):
        page(folder)
    folder = make_run()
    (folder / "answers" / "teacher.npy").write_bytes(b"\x93NUMPY nothing")
    with pytest.raises(AttarError, match=r"answers/teacher\.npy is no \.npy file"):
        page(folder)


def test_a_pickle_is_never_loaded(make_run, tmp_path):
    folder, touched = make_run(), tmp_path / "touched"

    class Trap:
        def __reduce__(self):
            return (Path.touch, (touched,))

    trapped = np.array([Trap()], dtype=object)
    np.save(folder / "answers" / "teacher.npy", trapped, allow_pickle=True)
    with pytest.raises(AttarError, match=r"is no \.npy file of numbers"):
        page(folder)
    assert not touched.exists()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("answers/labels.npy", np.full(60, 4), "must hold classes from 0 to 3. Got 4 to 4"),
        ("answers/labels.npy", np.zeros((60, 1), int), r"must be an array of shape \('any',\)"),
        ("answers/teacher.npy", np.zeros((60, 5), "f4"), r"must be an array of shape \(60, 4\)"),
        ("answers/hard.npy", np.zeros((3, 60, 4), "f4"), r"must be an array of shape \(2, 60, 4\)"),
        ("answers/teacher.npy", np.full((60, 4), np.nan, "f4"), "must be finite"),
    ],
)
def test_arrays_of_another_shape_are_named(make_run, name, value, message):
    folder = make_run()
    np.save(folder / name, value)
    with pytest.raises(AttarError, match=message):
        page(folder)


def test_no_file_is_read_through_a_link_out_of_the_folder(make_run, tmp_path):
    folder = make_run()
    (tmp_path / "secret.json").write_text("[]", "utf-8")
    (folder / "curves.json").unlink()
    (folder / "curves.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(AttarError, match=r"curves\.json leads out of the run folder"):
        page(folder)


def test_files_beyond_a_size_are_refused(make_run, monkeypatch):
    monkeypatch.setattr("attar.report.parts.LARGEST_JSON", 1000)
    with pytest.raises(AttarError, match=r"result\.json must be at most"):
        as_run(make_run())


def test_samples_must_belong_to_the_test_rows(make_run):
    folder = make_run(samples={"positions": [0, 60]})
    with pytest.raises(AttarError, match=r"positions must lie below 60.* Got 60"):
        page(folder)
    folder = make_run(samples={"kind": "text", "texts": ["one"]})
    with pytest.raises(AttarError, match="a text or a row for each of its positions"):
        page(folder)
    folder = make_run(samples={"kind": "picture"}, pictures=np.zeros((40, 2, 8, 8), np.uint8))
    with pytest.raises(AttarError, match=r"uint8 of shape \[K, 1 or 3, H, W\]"):
        page(folder)


def test_a_node_reads_what_is_there_and_cuts_what_is_long():
    node = Node({"n": 3, "long": "x" * 20_000, "half": "\ud83d"}, "file.json")
    assert (node["n"].count(), node["none"].count()) == (3, None)
    assert len(node["long"].text()) == LONGEST_TEXT
    assert node["half"].text() == "?"
    assert not node["none"]["deeper"].list()
    with pytest.raises(AttarError, match="half must be a list"):
        node["half"].list()


def test_parts_are_read_by_name(make_run):
    parts = FolderParts(make_run())
    assert "result.json" in parts
    assert "answers/teacher.npy" in set(parts)
    assert parts.get("../../etc/passwd") is None


def test_the_page_stays_small_whatever_the_folder_holds(make_run):
    folder = make_run(
        classes=[f"{i} {'x' * 9_990}" for i in range(300)],
        rows=600,
        samples={"kind": "text", "texts": ["y" * 50_000] * 40},
        pictures=np.zeros((40, 3, 256, 256), np.uint8),
    )
    record = {"step": 1, "loss": 0.123456789, "validation": {"accuracy": 0.5, "nll": 0.5}}
    curves = [{"arm": "hard", "seed": 0, "records": [record] * 3_000}] * 40
    (folder / "curves.json").write_text(json.dumps(curves), "utf-8")
    assert len(page(folder)) < 6_000_000


def test_an_arm_has_learnt_from_the_further_rows_that_it_chose(make_run):
    folder = make_run(rows=30)

    def further(chosen):
        def change(result):
            result["rows"] |= {"unlabelled": 900, "drawn": 700}
            result["arms"]["pseudo"]["setting"]["further"] = chosen

        return change

    for chosen, count in ((True, 900), (False, 200)):
        told = learnt(as_run(changed(folder, further(chosen))))
        assert f"of the {count} rows" in next(one["says"] for one in told if one["key"] == "pseudo")
