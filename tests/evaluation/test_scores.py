"""Scores: the figures of one data set by hand."""

from __future__ import annotations

import json

import pytest
import torch

from attar import UNLABELLED, AttarError
from attar.evaluation import Latency, Timing, accuracy, agreement, kl_to_teacher, scores_from_logits

CLASSES = ("ant", "bee", "cow", "dog")


def sure_of(*predictions):
    return 3.0 * torch.nn.functional.one_hot(torch.tensor(predictions), 4).float()


#                      ant    bee          cow   not known
LABELS = torch.tensor([0, 0, 1, 1, 1, 1, 2, UNLABELLED])
STUDENT = sure_of(0, 0, 1, 2, 0, 0, 2, 3)
TEACHER = sure_of(0, 1, 1, 2, 2, 0, 2, 0)


def test_each_figure_by_hand():
    scores = scores_from_logits(STUDENT, LABELS, CLASSES, teacher_logits=TEACHER)
    assert scores.rows == 7
    assert scores.accuracy == pytest.approx(4 / 7)
    assert scores.errors == 3
    assert scores.per_class_accuracy == {"ant": 1.0, "bee": 0.25, "cow": 1.0, "dog": None}
    assert (scores.worst_class, scores.worst_class_accuracy) == ("bee", 0.25)
    # Rows 3 and 5 repeat the teacher's own mistake; row 4 is wrong in another way than it.
    assert (scores.errors_inherited, scores.errors_own) == (2, 1)
    # The unlabelled row, on which they differ, is in no figure.
    assert scores.agreement == pytest.approx(5 / 7)
    assert scores.kl_to_teacher == pytest.approx(kl_to_teacher(STUDENT[:7], TEACHER[:7]))
    assert scores.accuracy == accuracy(STUDENT, LABELS)
    assert scores.agreement == agreement(STUDENT[:7], TEACHER[:7])


def test_a_student_that_is_its_teacher_inherits_every_error():
    scores = scores_from_logits(TEACHER, LABELS, CLASSES, teacher_logits=TEACHER)
    assert (scores.errors_inherited, scores.errors_own) == (scores.errors, 0)
    assert (scores.agreement, scores.kl_to_teacher) == (1.0, 0.0)


def test_a_perfect_teacher_has_no_errors_to_inherit():
    perfect = sure_of(0, 0, 1, 1, 1, 1, 2, 0)
    scores = scores_from_logits(STUDENT, LABELS, CLASSES, teacher_logits=perfect)
    assert (scores.errors_inherited, scores.errors_own) == (0, 3)


def test_without_a_teacher_there_is_no_fidelity():
    scores = scores_from_logits(STUDENT, LABELS, CLASSES)
    missing = (scores.agreement, scores.kl_to_teacher, scores.errors_inherited, scores.errors_own)
    assert missing == (None, None, None, None)


def test_it_is_ready_for_json():
    import dataclasses

    scores = scores_from_logits(STUDENT, LABELS, CLASSES, teacher_logits=TEACHER)
    timed = dataclasses.replace(scores, latency=Latency({1: Timing(0.5, 0.9, 100, 0.8, 0.6)}))
    data = json.loads(json.dumps(timed.to_dict(), allow_nan=False))
    assert data["per_class_accuracy"]["dog"] is None
    assert data["latency"] == {
        "1": {"p50_ms": 0.5, "p90_ms": 0.8, "p99_ms": 0.9, "mean_ms": 0.6, "repetitions": 100}
    }
    assert data["errors_own"] == 1


@pytest.mark.parametrize(
    ("arguments", "teacher", "message"),
    [
        ((STUDENT, LABELS, CLASSES[:3]), None, r"one column a class.*3 \(ant, bee, cow\). Got 4"),
        ((STUDENT, LABELS, ("a", "b", "c", "a")), None, "names all different"),
        ((STUDENT, LABELS[:5], CLASSES), None, "labels must have 8 rows"),
        ((STUDENT, LABELS, CLASSES), TEACHER[:5], "teacher_logits must have 8 rows"),
        ((STUDENT, LABELS, CLASSES), TEACHER[:, :3], r"shape of logits, \(8, 4\). Got \(8, 3\)"),
        ((STUDENT, torch.full((8,), UNLABELLED), CLASSES), None, "no row is labelled"),
    ],
)
def test_broken_inputs_are_refused(arguments, teacher, message):
    with pytest.raises(AttarError, match=message):
        scores_from_logits(*arguments, teacher_logits=teacher)


def test_macro_recall_counts_each_class_alike():
    # nine rows of one class, all right; one of another, wrong; none of a third
    logits = torch.tensor([[5.0, 0.0, 0.0]] * 10)
    labels = torch.tensor([0] * 9 + [1])
    scores = scores_from_logits(logits, labels, ("often", "rare", "never"))
    assert scores.accuracy == 0.9
    assert scores.macro_recall == 0.5
