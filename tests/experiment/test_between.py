"""Rows between the training rows of a table: whose they are, and where there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier

import attar
from attar import AttarError
from attar.columns import describe_columns, encode_columns
from attar.data import ArrayData, Views, mixup
from attar.experiment.arguments import with_views
from attar.experiment.arms import Setting
from attar.experiment.between import TIMES, rows_between
from attar.experiment.inputs import Splits, make_splits
from attar.teachers import GivenTeacher
from attar.types import UNLABELLED


def splits_of(inputs: torch.Tensor, **given: Any) -> Splits:
    labels, third = torch.arange(len(inputs)) % 2, len(inputs) // 3
    rows = ArrayData(inputs, labels, **given)
    train, validation, test = (
        rows.take(torch.arange(third * place, third * (place + 1))) for place in range(3)
    )
    return Splits(train, validation, test)


def test_they_lie_between_training_rows_and_have_no_label() -> None:
    inputs = torch.cat([torch.rand(30, 4), 5 + torch.rand(60, 4)])
    before = splits_of(inputs)
    after, again = rows_between(before, seed=3), rows_between(before, seed=3)
    assert isinstance(after.train, ArrayData)
    assert isinstance(again.train, ArrayData)
    assert isinstance(after.train.inputs, torch.Tensor)
    assert isinstance(again.train.inputs, torch.Tensor)
    assert len(after.train) == (1 + TIMES) * 30
    assert torch.equal(after.train.inputs[:30], inputs[:30])
    made = after.train.take(torch.arange(30, len(after.train)))
    assert made.labels is not None
    assert bool((made.labels == UNLABELLED).all())
    assert isinstance(made.inputs, torch.Tensor)
    assert float(made.inputs.max()) <= 1.0
    assert int(made.rows.min()) == 90
    assert torch.equal(again.train.inputs, after.train.inputs)
    assert after.validation is before.validation
    own = Setting("distilled", 0.1, further=False).data(after)
    assert torch.equal(own.rows, before.train.rows)
    assert Setting("distilled", 0.1, further=False).data(before) is before.train


def test_without_further_rows_a_mixed_view_is_what_the_teacher_was_asked_about() -> None:
    splits = with_views(rows_between(splits_of(torch.rand(90, 4))), Views([mixup(1.0)], 4))
    own = Setting("distilled", 0.1, further=False).data(splits)
    places, view = torch.arange(30), 2
    theirs = splits.train.batch(places, view)
    assert torch.equal(own.batch(places, view).ids, theirs.ids)
    assert torch.equal(own.batch(places, view).inputs, theirs.inputs)


def test_rows_that_were_drawn_make_no_labels_few() -> None:
    inputs, labels = torch.rand(300, 4), torch.arange(300) % 2
    for known, few in ((80, False), (49, False), (30, False), (19, True)):
        some = torch.where(torch.arange(300) < known, labels, UNLABELLED)
        parts = [torch.arange(100), torch.arange(100, 200), torch.arange(200, 300)]
        data, full = ArrayData(inputs, some), ArrayData(inputs, labels)
        splits = Splits(data.take(parts[0]), full.take(parts[1]), full.take(parts[2]))
        assert splits.few_labels is rows_between(splits).few_labels is few
    # Those that were given count.
    given = make_splits(
        (inputs[:100], labels[:100]),
        (inputs[:9], labels[:9]),
        (inputs[:9], labels[:9]),
        (torch.rand(500, 4), None),
    )
    assert given.few_labels


def test_a_category_stays_one_and_a_gap_a_gap() -> None:
    random = np.random.default_rng(0)
    rows: dict[str, Any] = {
        "size": np.where(random.random(60) < 0.3, np.nan, random.random(60)),
        "weight": random.random(60),
        "place": random.choice(["a", "b", "c"], 60).astype(object),
    }
    columns = describe_columns(rows, lenient=True)
    encoded = torch.from_numpy(encode_columns(rows, columns))
    found = rows_between(splits_of(encoded, columns=columns)).train
    assert isinstance(found, ArrayData)
    assert isinstance(found.inputs, torch.Tensor)
    inputs = found.inputs[20:]
    assert set(inputs[:, 1].tolist()) == {0.0, 1.0}
    assert (inputs[:, 3:].sum(dim=1) == 1).all()


def test_no_row_to_judge_on_is_among_them() -> None:
    same = torch.zeros(30, 2)  # whatever lies between these is one of these
    assert len(rows_between(splits_of(same)).train) == 10


@pytest.mark.parametrize("inputs", [torch.zeros(30, 1, 8, 8), torch.ones(30, 4).int()])
def test_what_is_no_table_stays_as_it_is(inputs: torch.Tensor) -> None:
    before = splits_of(inputs)
    assert rows_between(before) is before


def test_an_experiment_by_the_recipe() -> None:
    X, y = load_wine(return_X_y=True)
    given: dict[str, Any] = {
        "parameters": 200,
        "steps": 40,
        "seeds": 2,
        "batch_size": 32,
        "latency_seconds": 0,
    }
    found = attar.distill(
        RandomForestClassifier(20, random_state=0),
        attar.students.mlp,
        train=(X, y),
        **given,
        **attar.RECIPE,
    )
    assert found.facts["rows"]["unlabelled"] > found.facts["rows"]["labelled"]
    rows = found.facts["rows"]
    assert rows["unlabelled"] == rows["drawn"]  # every row of its own has a label
    drawn = (
        f", and {rows['drawn']} rows drawn between them"
        if found.arms["distilled"].setting.further
        else f" (not from the {rows['drawn']} drawn between them)"
    )
    words = f"Learnt from {rows['labelled']} labelled and 0 unlabelled rows{drawn}; choices made"
    assert words in found.summary()
    assert "pseudo" in found.arms
    for arm, asked in (("hard", {True}), ("pseudo", {True, False}), ("distilled", {True, False})):
        tried = [one.setting for one in found.trials if one.setting.arm == arm]
        assert {one.further for one in tried} == asked
        assert len({one.key for one in tried}) == len(tried)
    # Nobody can ask answers that are there already about further rows.
    said = GivenTeacher(np.eye(3)[y] + 0.01)
    plain = attar.distill(said, attar.students.mlp, train=(X, y), **given, **attar.RECIPE)
    assert plain.facts["rows"]["unlabelled"] == 0


def test_an_arm_does_without_rows_that_mislead_it() -> None:
    X, y = load_wine(return_X_y=True)
    X = X.astype(np.float32)
    rows = torch.cat([torch.arange(len(y)), torch.arange(1000, 1890)])
    said = np.concatenate([np.eye(3)[y], np.eye(3)[np.zeros(890, dtype=int)]])  # all of class 0
    teacher = GivenTeacher(0.97 * said + 0.01, rows=rows)
    more = np.repeat(X, 5, axis=0) + np.float32(0.01)
    found = attar.distill(
        teacher,
        attar.students.mlp,
        train=(X, y),
        transfer=[None, ArrayData(torch.from_numpy(more), rows=rows[len(y) :])],
        parameters=200,
        steps=80,
        seeds=2,
        batch_size=32,
        learning_rate=0.01,
        latency_seconds=0,
    )
    assert not found.arms["distilled"].setting.further
    rows = found.facts["rows"]
    assert rows["further"] == rows["unlabelled"] == 890
    assert "and 0 unlabelled rows (not from the 890 further ones)" in found.summary()
    tried = [one.setting.further for one in found.trials if one.setting.arm == "pseudo"]
    assert sorted(tried) == [False, True]
    assert found.arms["distilled"].mean("accuracy") > 0.8


def test_another_word_is_refused() -> None:
    with pytest.raises(AttarError, match=r"must be rows, a mask, \[None, rows\], 'auto'"):
        attar.distill(None, None, train=None, transfer="munge")
    with pytest.raises(AttarError, match="a choice of transfer is there for classes"):
        attar.distill(None, None, train=None, transfer="auto", task="regression")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            attar.RECIPE,
            r"with pseudo_labels=, views=, transfer= \(attar.RECIPE\).*\*\*attar.RECIPE",
        ),
        ({"transfer": "auto", "groups": [0]}, "with groups=, transfer=. Leave them out, or look"),
        ({"shrink": 10, "track": "mlflow"}, "with shrink=, track=. Leave them out.$"),
        ({"transfer": "munge"}, r"must be rows, a mask, \[None, rows\], 'auto'"),
    ],
)
def test_all_that_does_not_go_with_a_size_that_is_looked_for_is_named(
    given: Any, message: str
) -> None:
    with pytest.raises(AttarError, match=message):
        attar.distill(None, None, train=None, student_size="auto", **given)
