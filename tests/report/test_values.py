"""Pages of a regression, of quantiles and of several labels a row."""

from __future__ import annotations

import json

import numpy as np
import pytest

from attar import AttarError
from attar.evaluation import label_scores, value_scores
from attar.report import as_run, comparison_page, figures, page


def test_a_folder_and_its_experiment_are_the_same_run(tasks):
    for name, (experiment, folder) in tasks.items():
        here, there = as_run(experiment), as_run(folder)
        assert here.arms == there.arms, name
        assert here.teacher == there.teacher, name
        assert there.labels is None, name
        np.testing.assert_array_equal(here.truth, there.truth)


def test_what_is_drawn_is_the_score_of_the_table(tasks):
    for name, score in (("values", "r2"), ("labels", "accuracy")):
        experiment, folder = tasks[name]
        run = as_run(folder)
        for arm, told in run.arms.items():
            wanted = experiment.arms[arm].mean(score)
            assert told.score.mean == pytest.approx(wanted, abs=1e-5), (name, arm)
            assert told.score.low < wanted < told.score.high
        assert run.teacher.score.mean == pytest.approx(getattr(experiment.teacher, score), abs=1e-5)
    saved = as_run(tasks["quantiles"][1]).arms["hard"].score.mean
    assert saved < 1


def test_each_page_has_what_makes_sense_and_no_more(tasks):
    for name, (experiment, folder) in tasks.items():
        text = page(folder)
        assert experiment.verdict in text
        assert "Dark knowledge" not in text
        assert "predict_proba" not in text or name == "labels"
        assert "<b>red" not in text
    assert "What it says, and what is true" in page(tasks["values"][1])
    assert "Label by label" in page(tasks["labels"][1])
    assert "pinball loss" in page(tasks["quantiles"][1])
    for make in (figures.reliability, figures.dark_knowledge, figures.lost_by_class):
        assert make(tasks["values"][1]) is None


def test_label_by_label_is_what_a_loop_finds(tasks):
    experiment, folder = tasks["labels"]
    drawn = {p["name"]: p for p in figures.by_column(folder).data["points"]}
    labels = experiment.test.labels
    for place, name in enumerate(experiment.test.classes):
        column = labels[:, place : place + 1]
        found = [
            label_scores(one[:, place : place + 1], column).accuracy
            for one in experiment.arms["distilled"].logits
        ]
        assert drawn[name]["distilled"] == pytest.approx(np.mean(found))


def test_errors_by_range_are_those_of_a_loop_and_hold_every_row(tasks):
    experiment, folder = tasks["values"]
    head, rows = figures.errors_by_range(folder)
    assert head[0] == "price"
    assert len(rows) == 5
    assert sum(int(row[1]) for row in rows) == len(experiment.test)
    mean = np.average([float(row[2]) for row in rows], weights=[int(row[1]) for row in rows])
    told = value_scores(experiment.teacher_logits, experiment.test.labels)
    assert mean == pytest.approx(told.mae, rel=1e-3)


def test_runs_of_one_task_are_set_side_by_side_and_of_two_refused(tasks, real):
    text = comparison_page([tasks["values"][1], tasks["values"][0]])
    assert "R², run by run" in text
    with pytest.raises(AttarError, match="Got multiclass and regression"):
        comparison_page([tasks["values"][1], real[1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(task="ranking"), "Got ranking"),
        (lambda r: r.update(task="quantiles"), "Got quantiles"),
        (lambda r: r["arms"]["hard"]["runs"][0].pop("score"), "score must be there"),
    ],
)
def test_what_is_wrong_is_named(tasks, tmp_path, change, message):
    result = json.loads((tasks["values"][1] / "result.json").read_text("utf-8"))
    change(result)
    (tmp_path / "result.json").write_text(json.dumps(result), "utf-8")
    with pytest.raises(AttarError, match=message):
        as_run(tmp_path)
