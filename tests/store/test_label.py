"""label: resumed after a kill, refused where it would mix two jobs, checked at the door."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from attar.checks import AttarError
from attar.data import ArrayData, Views, shift
from attar.store import Store, label, writer
from attar.types import VIEW, Batch, Outputs


class Scale:
    """A teacher whose answers can be worked out in the head: inputs times a factor."""

    name = "scale"

    def __init__(self, factor: float = 10.0) -> None:
        self.factor = factor
        self.asked: list[list[int]] = []

    def __call__(self, batch: Batch) -> Outputs:
        self.asked.append(batch.ids.tolist())
        return Outputs(batch.inputs * self.factor)

    def fingerprint(self) -> str:
        return f"scale by {self.factor}"


class Stops(Scale):
    """Raises at its n-th question."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def __call__(self, batch: Batch) -> Outputs:
        if len(self.asked) == self.after:
            raise RuntimeError("out of credit")
        return super().__call__(batch)


def data(count: int = 10, **keywords: object) -> ArrayData:
    inputs = torch.arange(count * 3, dtype=torch.float32).reshape(count, 3) / 7
    return ArrayData(inputs, classes=["a", "b", "c"], **keywords)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_keeps_what_the_teacher_said_bit_for_bit(tmp_path: Path) -> None:
    rows = data(rows=torch.arange(10) * 3 + 5)
    store = label(Scale(), rows, tmp_path / "s", batch_size=4)
    ids = torch.tensor([32, 5, 5, 20])
    assert torch.equal(store.logits(ids), rows.inputs[[9, 0, 0, 5]] * 10)
    assert store.classes == ("a", "b", "c")
    assert store.manifest["teacher"]["name"] == "scale"
    assert store.manifest["teacher"]["verified"] is True
    (layer,) = (path for path in (tmp_path / "s").iterdir() if path.is_dir())
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [layer.name, "store.json"]
    assert sorted(path.name for path in layer.iterdir()) == [
        "0000-0000000000-0000000010.answers",
        "layer.copy.json",
        "layer.json",
        "rows",
    ]


def test_every_view_is_labelled_view_by_view(tmp_path: Path) -> None:
    images = torch.rand(5, 1, 6, 6)
    rows = ArrayData(images, classes=["a", "b"], views=Views([shift(2)], 3, seed=1))

    def corner(batch: Batch) -> Outputs:
        return Outputs(batch.inputs[:, 0, 0, :2])

    store = label(corner, rows, tmp_path / "s", batch_size=4)  # batches cross the views
    assert store.ids.tolist() == [view * VIEW + row for view in range(3) for row in range(5)]
    for view in range(3):
        seen = rows.batch(torch.arange(5), view)
        assert torch.equal(store.logits(seen.ids), seen.inputs[:, 0, 0, :2])


def test_finished_store_is_opened_without_asking(tmp_path: Path) -> None:
    first, second = Scale(), Scale()
    label(first, data(), tmp_path / "s")
    before = contents(tmp_path / "s")
    store = label(second, data(), tmp_path / "s")
    assert second.asked == []
    assert len(store) == 10
    assert contents(tmp_path / "s") == before


def test_resumes_where_the_teacher_failed_without_asking_again(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"out of credit"):
        label(Stops(2), data(), tmp_path / "s", batch_size=3)
    with pytest.raises(AttarError, match=r"not finished.*same label"):
        Store.open(tmp_path / "s")
    again, seen = Scale(), []
    label(again, data(), tmp_path / "s", batch_size=3, progress=lambda *at: seen.append(at))
    assert again.asked == [[6, 7, 8], [9]]
    assert seen == [(6, 10), (9, 10), (10, 10)]
    label(Scale(), data(), tmp_path / "whole", batch_size=3)
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")


def test_resumed_teacher_decides_on_the_same_first_batch(tmp_path: Path) -> None:
    class Undecided(Stops):
        outputs = "auto"

        def __call__(self, batch: Batch) -> Outputs:
            answer = super().__call__(batch)
            self.outputs = "logits"
            return answer

    with pytest.raises(RuntimeError):
        label(Undecided(2), data(), tmp_path / "s", batch_size=3)
    again = Undecided(99)
    store = label(again, data(), tmp_path / "s", batch_size=3)
    assert again.asked == [[0, 1, 2], [6, 7, 8], [9]]
    assert store.manifest["teacher"]["outputs"] == "logits"


@pytest.mark.parametrize("damage", ["cut", "flip", "sum", "empty", "stranger"])
def test_torn_part_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(writer, "PART_SECONDS", 0.0)
    monkeypatch.setattr(writer, "PART_SHARE", 0.0)
    folder = tmp_path / "s"
    with pytest.raises(RuntimeError):
        label(Stops(3), data(), folder, batch_size=3)
    parts = sorted(folder.glob("*/parts/*"))
    assert len(parts) == 3
    torn = parts[1]
    raw = bytearray(torn.read_bytes())
    if damage == "cut":
        torn.write_bytes(raw[:-4])
    elif damage in ("flip", "sum"):
        raw[-1 if damage == "sum" else 3] ^= 1
        torn.write_bytes(raw)
    elif damage == "empty":
        torn.write_bytes(b"")
    else:
        torn.rename(torn.with_name("notes.txt"))
    again = Scale()
    label(again, data(), folder, batch_size=3)
    assert again.asked == [[3, 4, 5], [9]]
    label(Scale(), data(), tmp_path / "whole", batch_size=3)
    assert contents(folder) == contents(tmp_path / "whole")


def test_foreign_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    label(Scale(), data(), folder)
    before = contents(folder)
    with pytest.raises(AttarError, match=r"the teacher \(scale.*another folder.*own name|name of"):
        label(Scale(2.0), data(), folder)
    with pytest.raises(AttarError, match=r"the data \(10 inputs.*11 inputs") as error:
        label(Scale(), data(11), folder)
    assert "the teacher" not in str(error.value)
    with pytest.raises(AttarError, match=r"the dtype \(float32 there; float16 here\)"):
        label(Scale(), data(), folder, dtype="float16")
    assert contents(folder) == before


def test_unfinished_foreign_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        label(Stops(1), data(), tmp_path / "s", batch_size=3)
    with pytest.raises(AttarError, match=r"the teacher"):
        label(Scale(3.0), data(), tmp_path / "s", batch_size=3)
    other = data()
    other = ArrayData(other.inputs + 1, classes=other.classes)
    with pytest.raises(AttarError, match=r"the data"):
        label(Scale(), other, tmp_path / "s", batch_size=3)


def test_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(AttarError, match=r"no store.*thesis\.tex"):
        label(Scale(), data(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(AttarError, match=r"is a file"):
        label(Scale(), data(), tmp_path / "thesis.tex")


def test_float16_rounds_and_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    store = label(Scale(), data(), tmp_path / "half", dtype="float16")
    assert store.logits(torch.tensor([3])).dtype == torch.float32
    assert torch.equal(store.logits(torch.tensor([3])), (data().inputs[3:4] * 10).half().float())
    (file,) = (tmp_path / "half").glob("*/*.answers")
    assert file.stat().st_size == 10 * 3 * 2 + 8  # and the checksum of the one block
    # 29 / 7 * 20000 = 82857 is beyond 65504.
    with pytest.raises(AttarError, match=r"82857.*id 9.*dtype='float32'"):
        label(Scale(20000.0), data(), tmp_path / "over", dtype="float16")
    wide = label(Scale(20000.0), data(), tmp_path / "wide")
    assert float(wide.logits(torch.tensor([9]))[0, 2]) == pytest.approx(82857.14)


def test_bad_answers_are_refused_with_the_id(tmp_path: Path) -> None:
    rows = data(rows=torch.arange(10) + 100)

    def nan_at_107(batch: Batch) -> Outputs:
        return Outputs(torch.where(batch.ids[:, None] == 107, torch.nan, batch.inputs))

    with pytest.raises(AttarError, match=r"finite.*id 107"):
        label(nan_at_107, rows, tmp_path / "nan", batch_size=4)
    with pytest.raises(AttarError, match=r"3 classes. Got 2 columns"):
        label(lambda b: Outputs(b.inputs[:, :2]), rows, tmp_path / "narrow")
    with pytest.raises(AttarError, match=r"must have 4 rows.*Got 3"):
        label(lambda b: Outputs(b.inputs[:-1]), data(4), tmp_path / "short")
    with pytest.raises(AttarError, match=r"must return attar\.Outputs. Got dict.*as_teacher"):
        label(lambda b: {"logits": b.inputs}, rows, tmp_path / "dict")  # type: ignore[arg-type]
    with pytest.raises(AttarError, match=r"'dtype' parameter of label.*'bfloat16'"):
        label(Scale(), rows, tmp_path / "dtype", dtype="bfloat16")
    with pytest.raises(AttarError, match=r"'batch_size' parameter of label"):
        label(Scale(), rows, tmp_path / "batch", batch_size=0)


def test_teacher_without_a_fingerprint_is_recognised_by_its_answers(tmp_path: Path) -> None:
    asked: list[int] = []

    def plain(batch: Batch) -> Outputs:
        asked.append(len(batch))
        return Outputs(batch.inputs * 2)

    store = label(plain, data(), tmp_path / "s")
    assert store.manifest["teacher"] == {
        **store.manifest["teacher"],
        "name": "plain",
        "verified": False,
    }
    asked.clear()
    label(plain, data(), tmp_path / "s")
    assert asked == [8]  # the probe alone

    def other(batch: Batch) -> Outputs:
        return Outputs(batch.inputs * 3)

    other.__name__ = "plain"
    with pytest.raises(AttarError, match=r"the teacher"):
        label(other, data(), tmp_path / "s")


def test_size_of_the_teacher_is_remembered(tmp_path: Path) -> None:
    teacher = Scale()
    teacher.parameters, teacher.bytes = 7, None  # type: ignore[attr-defined]
    store = label(teacher, data(), tmp_path / "s")
    assert store.manifest["teacher"]["parameters"] == 7
    assert store.manifest["teacher"]["bytes"] is None
    (file,) = (tmp_path / "s").glob("*/layer.json")
    told = json.loads(file.read_text())
    assert told.pop("checksum")
    assert told == store.manifest


def test_data_without_class_names_gets_numbers(tmp_path: Path) -> None:
    rows = ArrayData(torch.rand(4, 3))
    assert label(Scale(), rows, tmp_path / "s").classes == ("0", "1", "2")


def test_data_that_names_other_inputs_than_asked_for_is_refused(tmp_path: Path) -> None:
    class Shuffled(ArrayData):
        def batch(self, indices: torch.Tensor, views: torch.Tensor | int = 0) -> Batch:
            return super().batch(indices.flip(0), views)

    with pytest.raises(AttarError, match=r"ids view"):
        label(Scale(), Shuffled(torch.rand(4, 3)), tmp_path / "s")
