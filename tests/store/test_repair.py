"""Damage is found wherever it is, named, and mended without asking about anything else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from attar.checks import AttarError
from attar.data import ArrayData, Views, flip
from attar.store import Store, damage, label, layout, repair
from attar.types import Batch, Outputs


class Echo:
    """Answers with the inputs, and remembers what it was asked about."""

    name = "echo"

    def __init__(self) -> None:
        self.asked: list[int] = []

    def fingerprint(self) -> str:
        return "echo"

    def __call__(self, batch: Batch) -> Outputs:
        self.asked += batch.ids.tolist()
        return Outputs(batch.inputs[:, 0, 0])


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "BLOCK_BYTES", 64)  # four rows of sixteen bytes
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 256)  # sixteen rows


def rows(count: int = 40, views: int = 2) -> ArrayData:
    images = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    numbers = torch.arange(count) * 3  # no range, so that there is a file of rows
    return ArrayData(
        images, rows=numbers, classes=["a", "b", "c", "d"], views=Views([flip()], views)
    )


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def everything(folder: Path) -> torch.Tensor:
    """All that the store says, through the door that everybody uses."""
    store = Store.open(folder)
    return store.logits(store.ids)


def flip_bit(path: Path, at: int, bit: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1 << bit
    path.write_bytes(raw)


def check_flips(folder: Path, count: int, seed: int) -> None:
    """Flip random bits of a store, one at a time: each is found, named and mended."""
    label(Echo(), rows(), folder, batch_size=4)
    whole, values = contents(folder), everything(folder)
    random_ = random.Random(seed)
    places = [(name, at) for name, data in whole.items() for at in range(len(data))]
    kinds = set()
    for name, at in random_.choices(places, k=count):
        flip_bit(folder / name, at, random_.randrange(8))
        kinds.add(name.rsplit(".", 1)[-1].rsplit("/", 1)[-1])
        if name.endswith(layout.COPY):  # nobody reads it as long as the other one is sound
            assert torch.equal(everything(folder), values)
        else:
            with pytest.raises(AttarError, match=r"not what was written|layer\.json|store\.json"):
                everything(folder)
        (found,) = damage(folder)
        assert found.file == name
        teacher = Echo()
        repaired = repair(folder, teacher, rows(), batch_size=4)
        assert repaired.mended == (found,)
        assert repaired.left == ()
        span = found.span
        assert len(teacher.asked) == (0 if span is None else span.stop - span.start)
        assert contents(folder) == whole
    assert count < 20 or kinds == {"answers", "json", "rows"}


def test_a_handful_of_flipped_bits(tmp_path: Path) -> None:
    check_flips(tmp_path / "s", 25, 0)


@pytest.mark.slow
def test_a_thousand_flipped_bits(tmp_path: Path) -> None:
    check_flips(tmp_path / "s", 1000, 1)


def test_only_the_batches_of_a_block_are_asked_for_again(tmp_path: Path) -> None:
    label(Echo(), rows(), tmp_path / "s", batch_size=3)
    whole = contents(tmp_path / "s")
    (path,) = (tmp_path / "s").glob("*/0001-0000000016-*.answers")
    flip_bit(path, 5 * 16, 3)  # in rows 20 to 23, which stood in the batches 19-21 and 22-24
    teacher = Echo()
    (mended,) = repair(tmp_path / "s", teacher, rows(), batch_size=3).mended
    assert "block 1 of" in str(mended)
    assert str(mended).endswith("(rows 20 to 23 of view 1)")
    assert [number % 2**40 // 3 for number in teacher.asked] == [19, 20, 21, 22, 23, 24]
    assert contents(tmp_path / "s") == whole


@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_torn_or_missing_file_is_asked_for_again(tmp_path: Path, how: str) -> None:
    label(Echo(), rows(), tmp_path / "s", batch_size=4)
    whole = contents(tmp_path / "s")
    for path in sorted((tmp_path / "s").glob("*/*")):
        if how == "cut":
            path.write_bytes(path.read_bytes()[:-3])
        else:
            path.unlink()
        assert {one.file for one in damage(tmp_path / "s")} == {
            str(path.relative_to(tmp_path / "s"))
        }
        assert repair(tmp_path / "s", Echo(), rows(), batch_size=4).left == ()
        assert contents(tmp_path / "s") == whole


def test_without_a_teacher_descriptions_are_mended_and_the_rest_is_named(tmp_path: Path) -> None:
    label(Echo(), rows(), tmp_path / "s")
    (path,) = (tmp_path / "s").glob("*/layer.json")
    flip_bit(path, 30, 0)
    (answers,) = (tmp_path / "s").glob("*/0000-0000000000-*.answers")
    flip_bit(answers, 0, 0)
    done = repair(tmp_path / "s")
    assert [one.file for one in done.mended] == [f"{path.parent.name}/layer.json"]
    assert [(one.file, one.block) for one in done.left] == [
        (f"{path.parent.name}/{answers.name}", 0)
    ]


def test_only_the_teacher_and_the_data_of_then_can_mend(tmp_path: Path) -> None:
    label(Echo(), rows(), tmp_path / "s")
    with pytest.raises(AttarError, match=r"holds no answers of this teacher about this data"):
        repair(tmp_path / "s", Echo(), rows(8))
    with pytest.raises(AttarError, match=r"holds 2 views of this data. Got 1"):
        repair(tmp_path / "s", Echo(), rows(views=1))
    with pytest.raises(AttarError, match=r"is no store"):
        repair(tmp_path / "nowhere")
    with pytest.raises(AttarError, match=r"is no store"):
        damage(tmp_path / "nowhere")


def test_a_description_without_a_sound_copy_is_said_to_be_lost(tmp_path: Path) -> None:
    label(Echo(), rows(), tmp_path / "s")
    for path in (tmp_path / "s").glob("*/layer*.json"):
        flip_bit(path, 50, 2)
    with pytest.raises(AttarError, match=r"layer.*not what was written|layer.*not JSON"):
        repair(tmp_path / "s", Echo(), rows())
