"""The benchmark of the store: every way gives the same rows, and the figures say what was read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attar.store import Store

ROOT = Path(__file__).parents[1]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    """The benchmark's modules."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from store import opening, peers, run

    yield run, peers, opening
    for name in [name for name in sys.modules if name.split(".")[0] in ("store", "record")]:
        del sys.modules[name]


@pytest.mark.parametrize("kind", ["c100_half", "k16"])
def test_every_way_gives_what_the_teacher_said(bench, tmp_path: Path, kind: str) -> None:
    run, *_ = bench
    arms, size = run.ways(tmp_path, kind, 700, 300)  # the peers are compared with the store here
    assert set(arms) == {"as_float32", "as_float16", "first_as_float32", "file_each", "seek"}
    ids = torch.tensor([299, 0, 17])
    classes, _ = run.KEPT[kind]
    said = run.answers(classes)(run.Batch(torch.zeros(3, 1), ids)).logits
    if kind == "k16":
        best, indices = said.topk(16, dim=1)
        for name in ("file_each", "seek"):
            found = arms[name].read(ids)
            assert torch.equal(found["low"], indices)
            assert torch.allclose(found["values"], best - best[:, :1], atol=4e-3)
    else:
        for name in ("file_each", "seek"):
            assert torch.equal(arms[name].read(ids)["logits"], said.half().float())
    figures = run.figures_of(kind, run.reads(kind, arms, 1), size)
    assert figures[f"{kind}_bytes_a_row"] == (68 if kind == "k16" else 200)
    assert figures[f"{kind}_as_float32_over_seek_p10"] > 0


def test_a_peer_that_gives_something_else_is_noticed(bench, tmp_path: Path) -> None:
    run, peers, _ = bench
    store = run.make(tmp_path / "s", "c100_half", torch.arange(300))
    records = run.records_of(store)
    wrong = records.copy()
    wrong["logits"][:, 3] += 1
    each = peers.OneFileEach(tmp_path / "each")
    each.write(wrong, range(300))
    assert (tmp_path / "each" / "0299" / "0299.pt").exists()
    with pytest.raises(AssertionError):
        run.check(store, each, 300)


def test_a_way_reads_every_row_once_an_epoch(bench) -> None:
    run, *_ = bench
    seen: list[int] = []
    way = run.Way(lambda ids: seen.extend(ids.tolist()), 1000, 1000)
    way.turn()
    assert sorted(seen) == list(range(1000))
    assert seen != sorted(seen)


@pytest.mark.parametrize("kind", ["range", "split"])
def test_a_store_is_opened_in_a_process_of_its_own(bench, tmp_path: Path, kind: str) -> None:
    run, _, opening = bench
    numbers = opening.NUMBERS[kind](torch.arange(1000))
    run.make(tmp_path / "s", "c100_half", numbers)
    assert (Store.open(tmp_path / "s").layers[0].about.data.start is None) == (kind == "split")
    script = ROOT / "benchmarks" / "store" / "opening.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path / "s", kind], capture_output=True, text=True, check=True
    )
    row = json.loads(done.stdout)
    assert {"open_ms", "batch_ms", "batches_ms"} <= row.keys()
