"""The numbers of the figures, against the scores of the run and by hand."""

from __future__ import annotations

import hashlib
import html
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import attar.report
from attar import evaluation
from attar.report import as_run, figures, page
from attar.report.figure import packed
from attar.report.page import FIGURES, json_block
from attar.report.words import headline

HERE = Path(attar.report.__file__).parent


def test_each_figure_is_the_same_of_an_experiment_and_of_its_folder(real):
    experiment, folder = real
    for make in FIGURES:
        here, there = make(experiment), make(folder)
        assert here == there, make.__name__
    assert sum(make(folder) is not None for make in FIGURES) == 13  # no sizes, no cascade


def test_every_figure_can_be_put_into_json_and_says_what_it_shows(make_run):
    made = [make(make_run()) for make in FIGURES]
    assert None not in made
    assert len({figure.name for figure in made}) == len(FIGURES)
    for figure in made:
        json.dumps(figure.data, allow_nan=False)
        assert all(len(row) == len(figure.head) for row in figure.rows), figure.name
        assert figure.alt.endswith(".")


def test_calibration_is_that_of_the_evaluation(real):
    experiment, folder = real
    panels = {p["key"]: p for p in figures.reliability(folder).data["panels"]}
    labels = experiment.test.labels
    logits = {name: arm.logits[experiment.chosen] for name, arm in experiment.arms.items()}
    for name, one in {"teacher": experiment.teacher_logits, **logits}.items():
        assert panels[name]["ece"] == pytest.approx(evaluation.ece(one, labels), abs=1e-7)
        assert sum(b["rows"] for b in panels[name]["bins"]) == len(labels)


def test_classes_and_errors_are_those_of_the_scores(real):
    experiment, folder = real
    points = {p["name"]: p for p in figures.lost_by_class(folder).data["points"]}
    arm = experiment.arms["distilled"]
    for name, accuracy in experiment.teacher.per_class_accuracy.items():
        assert points[name]["teacher"] == pytest.approx(accuracy)
        told = np.mean([s.per_class_accuracy[name] for s in arm.scores])
        assert points[name]["distilled"] == pytest.approx(told)
    lost = [p["teacher"] - p["distilled"] for p in points.values()]
    assert lost == sorted(lost, reverse=True)
    errors = {p["key"]: p for p in figures.errors(folder).data["points"]}
    assert errors["distilled"]["inherited"] == arm.mean("errors_inherited")
    assert errors["distilled"]["own"] == arm.mean("errors_own")


def test_agreement_over_all_tenths_is_the_agreement_of_the_scores(real):
    experiment, folder = real
    points = figures.agreement_over_confidence(folder).data["points"]
    told = sum(p["agrees"] * p["rows"] for p in points) / sum(p["rows"] for p in points)
    scores = experiment.arms["distilled"].scores[experiment.chosen]
    assert told == pytest.approx(scores.agreement)
    assert [p["confidence"] for p in points] == sorted(p["confidence"] for p in points)


def test_the_temperature_spreads_the_soft_targets(real):
    _, folder = real
    points = figures.temperature_effect(folder).data["points"]
    top = [p["top"] for p in points]
    assert top == sorted(top, reverse=True)
    assert [p["t"] for p in points] == list(range(1, 21))
    assert all(1 <= p["classes"] <= 10 for p in points)


def test_the_figures_that_matter_are_those_of_the_experiment(real):
    experiment, folder = real
    kept, gap, smaller, faster = headline(as_run(folder))
    assert kept["value"] == f"{100 * experiment.retention:.1f} %"
    if experiment.gap_recovered is None:
        assert gap == {
            "name": "gap recovered",
            "value": "–",
            "says": experiment.comparison.gap_reason,
        }
    else:
        assert gap["value"] == f"{100 * experiment.gap_recovered.mean:.0f} %"
    assert "size is not known" in smaller["says"] or "×" in smaller["value"]
    fast, slow = (experiment.latency[who].batches[1].p50_ms for who in ("student", "teacher"))
    assert faster["value"].startswith(f"{slow / fast:.0f}"[:2])


def test_members_are_scored_alone_and_timed_by_size(tmp_path):
    from attar.data import ArrayData
    from attar.experiment import distill, train_ensemble
    from attar.students import mlp

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) // 40
    inputs = torch.randn(120, 4, generator=generator) + 2 * labels[:, None]
    data = ArrayData(inputs, labels)
    rows = [data.take(torch.arange(start, 120, 3)) for start in range(3)]
    teacher = train_ensemble(rows[0], mlp, width=12, members=3, steps=20)
    experiment = distill(
        teacher,
        mlp,
        train=rows[0],
        validation=rows[1],
        test=rows[2],
        parameters=40,
        seeds=1,
        steps=10,
        latency_seconds=0.01,
    )
    assert len(experiment.members) == 3
    for member, model in zip(experiment.members, teacher.members, strict=True):
        alone = evaluation.evaluate(model, rows[2])
        assert member["accuracy"] == alone.accuracy
        assert member["parameters"] == model.parameters
        low, high = (member["accuracy_interval"][end] for end in ("low", "high"))
        assert 0 <= low <= member["accuracy"] <= high <= 1
    assert len({json.dumps(m["latency"]) for m in experiment.members}) == 1  # one stands for all
    keys = [p["key"] for p in figures.accuracy_over_parameters(experiment).data["points"]]
    assert keys == ["hard", "smoothed", "distilled", "member", "member", "member", "teacher"]


def test_kept_samples_are_few_and_all_different(real):
    _, folder = real
    told = json.loads((folder / "samples.json").read_text("utf-8"))
    assert len(told["positions"]) == len(set(told["positions"])) == 160
    pictures = np.load(folder / "samples.npy")
    assert pictures.shape == (160, 1, 8, 8)
    assert (pictures.min(), pictures.max()) == (0, 255)  # 16 grey levels are stretched


def test_the_tables_of_the_cards_name_who_is_right(make_run):
    figure = figures.disagreements(make_run())
    apart = [item["apart"] for item in figure.data["items"]]
    assert apart == sorted(apart, reverse=True)
    assert len(apart) == 12


def test_a_figure_shows_itself_in_a_notebook(make_run):
    figure = figures.gap(make_run())
    frame = figure._repr_html_()
    assert frame.startswith('<iframe srcdoc="')
    inner = html.unescape(frame.removeprefix('<iframe srcdoc="').partition('" title="')[0])
    assert inner == figure.html()


def test_json_cannot_end_its_element():
    text = json_block({"a": "</script><!--", "b": "\u2028"})
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == {"a": "</script><!--", "b": "\u2028"}


def test_numbers_travel_as_float32():
    told = packed(np.array([[0.1, 2.0]]))
    assert told["shape"] == [1, 2]
    import base64

    assert np.frombuffer(base64.b64decode(told["base64"]), "<f4").tolist() == [np.float32(0.1), 2.0]


def test_the_vendored_library_is_the_one_that_is_named(make_run):
    text = (HERE / "vendor" / "plot.min.js").read_bytes()
    assert hashlib.sha256(text).hexdigest() in (HERE / "vendor" / "README.md").read_text("utf-8")
    whole = page(make_run())
    assert "Permission to use, copy, modify" in whole
    assert "https://" not in whole.replace(text.decode(), "")


def test_the_cascade_is_drawn_from_what_was_chosen(make_run):
    folder = make_run()
    choice = evaluation.choose_threshold(
        np.array([[2.0, 0.0], [0.5, 0.0], [0.0, 3.0], [0.2, 0.0]] * 50),
        np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 3.0], [0.0, 1.0]] * 50),
        np.array([0, 1, 1, 1] * 50),
        keep=0.99,
    )
    (folder / "cascade.json").write_text(json.dumps(choice.to_dict()), "utf-8")
    figure = figures.cascade(folder)
    points = figure.data["points"]
    assert points[0]["accuracy"] == 0.5  # the student alone is right on two rows of four
    assert figure.data["chosen"]["accuracy"] == choice.accuracy
    assert figure.data["teacher"] == 1.0
    assert f"The goal, {'met' if choice.met else 'not met'}: " in figure.caption
