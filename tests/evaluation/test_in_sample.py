"""Whether a teacher knows by heart the rows that it labels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

import attar
from attar.evaluation import in_sample

PIXELS, DIGITS = load_digits(return_X_y=True)


def said(seed: int, rows: int, *, sure: float, right: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Answers about random labels that are right so often and this sure."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(5, (rows,), generator=generator)
    wrong = torch.rand(rows, generator=generator) >= right
    named = torch.where(wrong, (labels + 1) % 5, labels)
    logits = torch.nn.functional.one_hot(named, 5) * sure
    return logits + torch.randn(rows, 5, generator=generator), labels


def test_the_same_answers_on_both_sides_are_no_sign() -> None:
    # 300 pairs of samples of one teacher: the promise is less than one in 1,000.
    spoken = 0
    for seed in range(300):
        rows, held = (200, 1000)[seed % 2], (40, 300, 900)[seed % 3]
        logits, labels = said(seed, rows + held, sure=3.0, right=0.9)
        told = in_sample(logits[held:], labels[held:], logits[:held], labels[:held])
        unlabelled = in_sample(logits[held:], labels[held:], logits[:held])
        spoken += (told is not None) + (unlabelled is not None)
    assert spoken <= 1


def test_a_gap_in_accuracy_is_a_sign() -> None:
    told = in_sample(*said(0, 500, sure=6.0, right=0.99), *said(1, 500, sure=6.0, right=0.8))
    assert told is not None
    assert "right on 9" in told
    assert "Label them out of fold: folds=5" in told
    # The other way round it is the rows that differ: the ones it labels are harder.
    assert (
        in_sample(*said(1, 500, sure=6.0, right=0.8), *said(0, 500, sure=6.0, right=0.99)) is None
    )


def test_a_gap_in_doubt_is_a_sign_where_the_accuracy_is_none() -> None:
    told = in_sample(*said(0, 800, sure=9.0, right=1.0), *said(1, 800, sure=4.0, right=1.0))
    assert told is not None
    assert "to the wrong classes" in told


def test_unlabelled_rows_show_it_by_their_entropy() -> None:
    there = said(1, 500, sure=3.0, right=0.9)[0]
    told = in_sample(*said(0, 500, sure=8.0, right=1.0), there)
    assert told is not None
    assert "mean entropy" in told


def test_alone_only_perfection_is_a_sign() -> None:
    told = in_sample(*said(0, 500, sure=20.0, right=1.0))
    assert told is not None
    assert "If it was fitted on them" in told
    assert in_sample(*said(0, 500, sure=20.0, right=0.95)) is None
    assert in_sample(*said(0, 500, sure=4.0, right=1.0)) is None


def test_few_rows_tell_nothing() -> None:
    assert in_sample(*said(0, 29, sure=20.0, right=1.0)) is None
    held = said(1, 29, sure=1.0, right=0.2)
    assert in_sample(*said(0, 500, sure=6.0, right=0.9), *held) is None


@pytest.fixture(scope="module")
def forest() -> RandomForestClassifier:
    return RandomForestClassifier(30, random_state=0).fit(PIXELS[:900], DIGITS[:900])


def test_a_forest_that_labels_its_own_rows_is_noticed(
    forest: RandomForestClassifier, tmp_path: Path
) -> None:
    known, others = (PIXELS[:900], DIGITS[:900]), (PIXELS[900:], DIGITS[900:])
    with pytest.warns(UserWarning, match=r"has fitted the rows that it labels.*folds=5"):
        attar.label(forest, known, tmp_path / "in", held_out=others)
    partly = DIGITS.copy()
    partly[900:] = attar.UNLABELLED  # rows without a label are held out as well
    with pytest.warns(UserWarning, match="has fitted the rows that it labels"):
        attar.label(forest, (PIXELS, partly), tmp_path / "partly")


def test_its_out_of_fold_labels_are_not(forest: RandomForestClassifier, tmp_path: Path) -> None:
    partly = DIGITS.copy()
    partly[900:] = attar.UNLABELLED
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = attar.label(forest, (PIXELS, partly), tmp_path / "out", folds=5)
    ours = store.logits(torch.arange(900))
    theirs = store.logits(torch.arange(900, len(DIGITS)))
    held = torch.from_numpy(DIGITS[900:].astype(np.int64))
    assert in_sample(ours, torch.from_numpy(DIGITS[:900]), theirs, held) is None
