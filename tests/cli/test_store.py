"""`attar store`, and `attar label --shard`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from command_line import attar

from attar.store import Store


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working directory with rows and two teachers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "shop.py").write_text(
        "def near(x):\n    return x * 10\ndef far(x):\n    return x * 20\n"
    )
    np.savez("rows.npz", X=np.arange(64.0).reshape(32, 2))
    return tmp_path


def label(out, *words, teacher="shop:near"):
    return attar("label", "rows.npz", "--teacher", teacher, "--out", out, "--batch-size", 4, *words)


def test_shares_make_one_store(work):
    code, out, err = label("s", "--shard", "2/3")
    assert (code, err.splitlines()[-1:]) == (0, ["The teacher answers (4 of 10)"]), err
    assert out.startswith("share 2/3 is done, s is not finished: other shares are still to come")
    code, out, _ = attar("store", "info", "s")
    assert code == 0
    assert "0 (+ 10 rows)" in out
    assert label("s", "--shard", "3/3")[0] == 0
    code, out, err = label("s", "--shard", "1/3")
    assert code == 0, err
    assert out.startswith("32 rows in s, ")
    assert Store.open("s").logits(torch.arange(32)).flatten().tolist() == [
        10.0 * x for x in range(64)
    ]
    code, out, _ = label("s", "--shard", "1/3")
    assert out == "32 rows in s, which was finished already\n"
    for word in ("0/3", "4/3", "3", "a/b", "1/0"):
        code, _, err = label("s", "--shard", word)
        assert code == 2
        assert "--shard must be I/N with I from 1 to N" in err


def test_what_is_in_a_store_is_said(work):
    label("s")
    label("s", "--dtype", "float16", teacher="shop:far")
    code, out, err = attar("store", "info", "s")
    assert code == 0, err
    far, near = (line.replace("│", " ").split() for line in out.splitlines()[2:4])
    assert far[:6] == ["far", "(unverified)", "32", "1", "float16", "4"]
    assert near[:6] == ["near", "(unverified)", "32", "1", "float32", "8"]


def test_teachers_of_one_kind_stand_in_one_store_under_names_of_their_own(work):
    from sklearn.dummy import DummyClassifier
    from skops import io as skops

    X = np.arange(64.0).reshape(32, 2)
    for seed in (0, 1):
        model = DummyClassifier(strategy="constant", constant=seed).fit(X, np.arange(32) % 2)
        skops.dump(model, f"{seed}.skops")
    code, _, err = label("s", teacher="0.skops")
    assert code == 0, err
    code, _, err = label("s", teacher="1.skops")
    assert code == 2
    assert "a name of its own, name= or --name" in err
    code, _, err = label("s", "--name", " ", teacher="1.skops")
    assert "name= must not be empty" in err
    code, _, err = label("s", "--name", "second", teacher="1.skops")
    assert code == 0, err
    store = Store.open("s")
    assert store.teachers == ("DummyClassifier", "second")
    for number, name in enumerate(store.teachers):
        assert (store.teacher(name).logits(torch.arange(32)).argmax(dim=1) == number).all()


def test_what_is_lost_is_said_in_words(work):
    label("s", "--dtype", "int8", "--temperature", "1", "--temperature", "4")
    code, out, _ = attar("store", "info", "s")
    assert code == 0
    line = out.splitlines()[-1]
    assert line.startswith(
        "near: KL from what the teacher said, in nats, on 32 rows: at T = 1 mean"
    )
    assert "; at T = 4 mean" in line


@pytest.mark.parametrize("told", [{"kl": 7}, {"kl": [{"mean": "x"}]}, {"kl": [3], "rows": {}}])
def test_a_strange_description_is_shown_as_it_is(told):
    from attar.cli.store import _lost

    assert _lost(told) == f"fidelity: {told}"


def test_damage_is_named_and_mended(work):
    label("s")
    code, out, _ = attar("store", "verify", "s")
    assert (code, out) == (0, "32 inputs in s, all as they were written\n")
    (path,) = (work / "s").glob("*/*.answers")
    raw = bytearray(path.read_bytes())
    raw[9] ^= 1
    path.write_bytes(raw)
    code, out, err = attar("store", "verify", "s")
    assert code == 2
    assert "block 0 of" in out
    assert "1 damaged in s; mend it: attar store repair s DATA --teacher TEACHER" in err
    code, out, err = attar("store", "repair", "s")
    assert code == 2
    assert "still damaged: block 0 of" in err
    code, _, err = attar("store", "repair", "s", "rows.npz")
    assert "needs both the data and the --teacher" in err
    code, out, err = attar("store", "repair", "s", "rows.npz", "--teacher", "shop:near")
    assert code == 0, err
    assert out.splitlines()[0].startswith("mended: block 0 of")
    assert out.splitlines()[1] == "s is whole"
    assert attar("store", "verify", "s")[0] == 0


def test_stores_are_merged_and_pruned(work):
    label("a", "--shard", "1/2")
    code, out, _ = attar("store", "verify", "a")
    assert out.startswith("0 inputs in a, all as they were written; 16 in views that are not")
    label("b", "--shard", "2/2")
    label("c", teacher="shop:far")
    code, out, err = attar("store", "merge", "all", "a", "c")
    assert code == 0, err
    assert out == "32 inputs in all, and 16 in views that are not finished\n"
    code, out, err = attar("store", "merge", "all", "a", "b", "c")
    assert out == "64 inputs in all\n"
    code, out, err = attar("store", "prune", "all", "--teacher", "far")
    assert code == 0, err
    assert out.endswith("removed from all\n")
    assert Store.open("all").teachers == ("near",)
    code, _, err = attar("store", "prune", "all", "--teacher", "far")
    assert code == 2
    assert "Got 'far'" in err


def test_a_folder_that_is_no_store_is_said_to_be_none(work):
    for command in ("info", "verify", "repair", "prune"):
        code, _, err = attar("store", command, "nowhere")
        assert code == 2
        assert err.startswith("attar: Store: nowhere is no store"), err


def test_info_says_which_rows_no_fold_held_out(work):
    from sklearn.model_selection import TimeSeriesSplit
    from sklearn.neighbors import KNeighborsClassifier

    from attar import label as label_any

    rows = np.load("rows.npz")["X"], np.arange(32) % 2
    with pytest.warns(UserWarning, match="no fold holds out 8 of 32 rows"):
        label_any(KNeighborsClassifier(1), rows, "timely", folds=TimeSeriesSplit(3))
    code, out, _ = attar("store", "info", "timely")
    assert code == 0
    assert "without rows that no fold held out, of 0 to 7" in out
