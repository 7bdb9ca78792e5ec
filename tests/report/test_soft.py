"""Means, likeness and order of classes, against slow and obvious ways."""

from __future__ import annotations

import numpy as np
import pytest

from attar.report import figures, soft


def test_means_are_those_of_a_slow_loop():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 4)) * 3, rng.integers(0, 3, 50)
    for temperature in (1.0, 4.0, 20.0):
        means = soft.mean_soft_targets(logits, labels, temperature)
        for true in range(3):
            rows = [
                np.exp(z / temperature) / np.exp(z / temperature).sum()
                for z in logits[labels == true]
            ]
            np.testing.assert_allclose(means[true], np.mean(rows, axis=0), rtol=1e-12)
        assert np.isnan(means[3]).all()


def test_a_mean_of_softmaxes_is_no_softmax_of_a_mean():
    logits = np.array([[4.0, 0.0], [0.0, 0.0]])
    means = soft.mean_soft_targets(logits, np.array([0, 0]), 2.0)
    of_mean = soft.softmax(logits.mean(axis=0, keepdims=True), 2.0)
    assert abs(means[0, 0] - of_mean[0, 0]) > 0.03


def test_a_softmax_of_large_logits_and_of_a_high_temperature():
    assert soft.softmax(np.array([[1e4, 0.0]])).tolist() == [[1.0, 0.0]]
    np.testing.assert_allclose(soft.softmax(np.array([[3.0, -3.0]]), 1e6), 0.5, atol=1e-5)


def test_like_classes_stand_together():
    # 0 and 3 are taken for each other, 1 and 2 as well.
    means = np.array(
        [
            [0.7, 0.02, 0.03, 0.25],
            [0.02, 0.7, 0.25, 0.03],
            [0.03, 0.25, 0.7, 0.02],
            [0.25, 0.03, 0.02, 0.7],
        ]
    )
    order = soft.order_by_likeness(means, np.arange(4))
    place = {c: i for i, c in enumerate(order.classes)}
    assert abs(place[0] - place[3]) == abs(place[1] - place[2]) == 1
    assert len(order.joins) == 3
    heights = [height for _, _, height in order.joins]
    assert heights == sorted(heights)
    # By hand: -log sqrt(0.25 * 0.25 / (0.7 * 0.7)).
    assert heights[0] == pytest.approx(np.log(0.7 / 0.25))


def test_the_most_confused_of_many_come_first():
    means = np.full((6, 6), 0.01)
    np.fill_diagonal(means, 0.9)
    means[4, 2] = 0.08
    assert soft.most_confused(means, np.arange(6), 2).tolist() == [2, 4]


def test_two_classes_have_an_order(make_run):
    figure = figures.dark_knowledge(make_run(classes=["no", "yes"]))
    assert sorted(figure.data["order"]) == [0, 1]
    assert len(figure.data["joins"]) == 1


def test_a_class_without_rows_is_left_out(make_run):
    figure = figures.dark_knowledge(make_run(classes=[f"c{i}" for i in range(70)], rows=60))
    assert max(figure.data["order"]) < 60
    assert figure.data["near"]["present"] == list(range(60))
