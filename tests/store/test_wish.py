"""What is asked of `label` becomes an encoding, with its fidelity measured, or is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attar import Batch, Outputs
from attar.checks import AttarError
from attar.data import ArrayData
from attar.losses import Objective, kl, soft
from attar.store import Store, encodings, label
from attar.store.encodings import Dense
from attar.store.int8 import Int8
from attar.store.sparse import Sampled, TopK
from attar.store.wish import Wish
from attar.targets import SampledTargets, TopKTargets
from attar.teachers import StoredTeacher, as_teacher


def draw(rows: int, classes: int, *, seed: int = 0, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


def choose(classes: int, *, scale: float = 3.0, **wish) -> tuple[encodings.Encoding, dict]:
    sample = draw(200, classes, scale=scale), torch.arange(200)
    return Wish(**wish).choose(classes, lambda: sample)


class Counted:
    """A teacher of 300 classes that counts the rows it is asked about."""

    name = "counted"

    def __init__(self, rows: int) -> None:
        self.answers = draw(rows, 300)
        self.asked = 0

    def fingerprint(self) -> str:
        return "counted"

    def __call__(self, batch: Batch) -> Outputs:
        self.asked += len(batch)
        return Outputs(self.answers[batch.ids])


def rows(count: int) -> ArrayData:
    return ArrayData(torch.arange(float(count))[:, None], None)


@pytest.mark.parametrize("classes", [2, 10, 50, 100])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_below_about_100_classes_auto_keeps_all(classes, scale):
    encoding, measured = choose(classes, scale=scale, top_k="auto")
    assert isinstance(encoding, Dense | Int8)
    assert measured["kl"][0]["mean"] <= 1e-3


def test_of_many_classes_auto_keeps_the_best():
    # Few classes have nearly all of the mass, as large networks answer.
    logits = draw(200, 5000, scale=0.5) - 6.0 * torch.arange(1.0, 5001.0).log()
    for temperatures in ([1.0], [1.0, 2.0]):
        wish = Wish(top_k="auto", max_kl=1e-3, temperatures=temperatures)
        encoding, measured = wish.choose(5000, lambda: (logits, torch.arange(200)))
        assert isinstance(encoding, TopK)
        assert encoding.temperatures == tuple(temperatures)
        assert all(one["mean"] <= 1e-3 for one in measured["kl"])
        assert max(one["mean"] for one in measured["kl"]) > 2e-4  # not far more than is needed
    looser, _ = Wish(top_k="auto", max_kl=0.1).choose(5000, lambda: (logits, torch.arange(200)))
    assert looser.record.itemsize < encoding.record.itemsize


def test_where_nothing_small_holds_the_bound_all_is_kept():
    assert choose(300, top_k="auto", max_kl=1e-12)[0] == Dense("float32", 300)
    assert choose(300, top_k="auto", scale=1e6, max_kl=1e-9)[0].name in ("float32", "top_k")


@pytest.mark.parametrize(
    ("wish", "encoding"),
    [
        ({}, Dense("float32", 300)),
        ({"dtype": "float16"}, Dense("float16", 300)),
        ({"dtype": "int8"}, Int8(300)),
        ({"top_k": 5}, TopK(5, 300)),
        ({"top_k": 5, "dtype": "float32"}, TopK(5, 300, (1.0,), "float32")),
        ({"top_k": 5, "temperatures": [4, 1]}, TopK(5, 300, (1.0, 4.0))),
        ({"sample": 6, "seed": 3}, Sampled(6, 300, (1.0,), 3)),
    ],
)
def test_a_store_keeps_what_was_asked_for_and_how_good_it_is(tmp_path, wish, encoding):
    teacher, data = Counted(40), rows(40)
    store = label(teacher, data, tmp_path / "store", batch_size=16, **wish)
    assert store.encoding == encoding
    assert Store.open(tmp_path / "store").encoding == encoding
    assert teacher.asked == 40  # a sample of all rows is all the rows: nobody is asked twice
    measured = store.manifest["fidelity"]
    if encoding.name in ("float32", "sampled"):
        assert measured == {}
    else:
        assert measured["rows"] == 40
        temperatures = [float(t) for t in sorted(wish.get("temperatures", [1.0]))]
        assert [one["temperature"] for one in measured["kl"]] == temperatures
        assert all(0 < one["mean"] <= one["p99"] <= one["max"] for one in measured["kl"])
    # Again: the same store, and nobody is asked.
    label(teacher, data, tmp_path / "store", **wish)
    assert teacher.asked == 40
    with pytest.raises(AttarError, match=r"another job. What differs: the dtype .*there; .*here"):
        label(teacher, data, tmp_path / "store", top_k=7)


def test_a_sample_of_many_rows_is_spread_over_them(tmp_path):
    teacher = Counted(3000)
    store = label(teacher, rows(3000), tmp_path / "store", top_k=9)
    assert store.manifest["fidelity"]["rows"] == 1024
    assert teacher.asked == 3000 + 1024


def test_auto_takes_up_what_it_began(tmp_path):
    teacher, data = Counted(50), rows(50)
    first = label(teacher, data, tmp_path / "store", top_k="auto", max_kl=1.0)
    assert isinstance(first.encoding, TopK)
    again = label(teacher, data, tmp_path / "store", top_k="auto", max_kl=1.0)
    assert again.encoding == first.encoding
    with pytest.raises(AttarError, match=r"top_k, k=\d+, temperatures=\[1.0\].*top_k='auto'"):
        label(teacher, data, tmp_path / "store", top_k="auto", max_kl=1.0, temperatures=[2.0])


def test_what_was_kept_comes_back_and_reaches_the_loss(tmp_path):
    teacher, data = Counted(40), rows(40)
    ids = torch.tensor([31, 2, 2, 17])
    batch = Batch(torch.zeros(4, 1), ids)
    student = Outputs(draw(4, 300, seed=9))
    for wish, kind in (({"top_k": 20}, TopKTargets), ({"sample": 20}, SampledTargets)):
        store = label(teacher, data, tmp_path / kind.__name__, temperatures=[1.0, 4.0], **wish)
        said = StoredTeacher(store)(batch)
        assert isinstance(said.logits, kind)
        assert said.logits.shape == (4, 300)
        loss, _ = Objective([soft(kl, 1.0, temperature=4.0)])(student, said, batch)
        asked = teacher.answers[ids]
        exact = (
            TopKTargets.of(asked, 20, temperatures=[4.0])
            if kind is TopKTargets
            else SampledTargets.of(asked, ids, 20, temperatures=[1.0, 4.0])
        )
        expected = kl(student.logits, exact, temperature=4.0).mean()
        assert loss.item() == pytest.approx(expected.item(), rel=2e-3)
        with pytest.raises(AttarError, match=r"at temperature 2.*made for 1, 4"):
            Objective([soft(kl, 1.0, temperature=2.0)])(student, said, batch)
        # It cannot be mixed with others, nor be asked for all logits once more.
        with pytest.raises(AttarError, match=r"label: the logits of all classes are needed here"):
            label(StoredTeacher(store), data, tmp_path / f"again {kind.__name__}")
        with pytest.raises(AttarError, match="the logits of all classes are needed here"):
            as_teacher([StoredTeacher(store), StoredTeacher(store)])(batch)
    kept = label(teacher, data, tmp_path / "TopKTargets", temperatures=[1.0, 4.0], top_k=20)
    assert torch.equal(kept.logits(ids).argmax(dim=1), teacher.answers[ids].argmax(dim=1))
    drawn = label(teacher, data, tmp_path / "SampledTargets", temperatures=[1.0, 4.0], sample=20)
    with pytest.raises(AttarError, match="no dense view"):
        drawn.logits(ids)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"dtype": "float8"}, r"'dtype' parameter of label must be one of .*int8.*Got 'float8'"),
        ({"top_k": 5, "sample": 5}, r"top_k= keeps .* sample= draws .*give one of them"),
        ({"top_k": 0}, r"'top_k' parameter of label .*Got 0"),
        ({"top_k": "all"}, r"'top_k' parameter of label must be a number .*or 'auto'. Got 'all'"),
        ({"top_k": 5, "dtype": "int8"}, r"float16 or float32. Got dtype='int8'"),
        ({"top_k": 301}, r"'top_k' parameter of label .*\[1, 300\].*Got 301"),
        ({"sample": 0}, r"'sample' parameter of label .*Got 0"),
        ({"sample": 4, "dtype": "float16"}, r"dtype= would be ignored"),
        ({"sample": 4, "seed": -1}, r"'seed' parameter of label .*Got -1"),
        ({"max_kl": 0.1}, r"max_kl= is the bound that top_k='auto' keeps"),
        ({"top_k": "auto", "max_kl": 0.0}, r"'max_kl' parameter of label .*Got 0.0"),
        ({"temperatures": []}, r"'temperatures' parameter of label must name one or more"),
        ({"top_k": 4, "temperatures": [1.0, -2.0]}, r"'temperatures' parameter .*Got -2.0"),
    ],
)
def test_what_cannot_be_granted_is_refused_and_nothing_is_left(tmp_path, wish, message):
    with pytest.raises(AttarError, match=message):
        label(Counted(5), rows(5), tmp_path / "store", **wish)
    left = [path for path in tmp_path.rglob("*") if path.suffix == ".json" and "layer" in path.name]
    assert left == []


def test_every_description_comes_back_and_others_are_refused():
    for encoding in (
        Dense("float16", 9),
        Int8(9),
        TopK(3, 9, (1.0, 2.0)),
        Sampled(4, 9, (2.0,), 5),
    ):
        assert encodings.from_json(encoding.to_json(), 9) == encoding
    for raw in ({}, {"name": "int4"}, {"name": ["top_k"]}, {"name": "top_k"}, {"name": None}):
        with pytest.raises(AttarError, match="the encoding"):
            encodings.from_json(raw, 9)
