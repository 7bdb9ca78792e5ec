"""The benchmark of Hinton's experiments: rows, views, pictures and the page of its results."""

from __future__ import annotations

import multiprocessing
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from attar import UNLABELLED
from attar.data import ArrayData, Views

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "hinton"))
import hinton_page
import hinton_sections
import pages
import pictures
import record
import students
import teachers
import turns
from lab import Lab

ARMS = ("hard", "smoothed", "pseudo", "distilled")


def lab() -> Lab:
    rows = ArrayData(torch.zeros(1000, 1, 4, 4), torch.arange(1000) % 10)
    train, validation = rows.take(torch.arange(900)), rows.take(torch.arange(900, 1000))
    return Lab(train, validation, validation, Path(), None, "no", SimpleNamespace())


@pytest.mark.parametrize(
    ("word", "count", "classes"),
    [
        ("all", 1000, set(range(10))),
        ("train", 900, set(range(10))),
        ("without 3", 810, set(range(10)) - {3}),
        ("only 7 8", 180, {7, 8}),
    ],
)
def test_a_word_names_rows(word: str, count: int, classes: set[int]) -> None:
    rows = students.chosen_rows(lab(), word)
    assert len(rows) == count
    assert set(rows.labels.tolist()) == classes


def test_few_labels_are_as_many_of_each_class_and_the_same_each_time() -> None:
    rows = students.chosen_rows(lab(), "labels 50")
    assert len(rows) == 900
    assert rows.class_counts.tolist() == [5] * 10
    assert int((rows.labels == UNLABELLED).sum()) == 850
    assert torch.equal(rows.labels, students.chosen_rows(lab(), "labels 50").labels)


def test_students_that_differ_live_in_folders_of_their_own() -> None:
    one = students.Student("distilled", 800, teacher="conv", temperature=4.0)
    changes = [
        {"arm": "hard"},
        {"width": 30},
        {"family": "convnet"},
        {"rows": "train"},
        {"teacher": "paper"},
        {"views": 8},
        {"views": 8, "view": "shift cutmix"},
        {"views": 8, "live": True},
        {"temperature": 8.0},
        {"alpha": 0.9},
        {"smoothing": 0.1},
        {"steps": 10},
        {"batch_size": 64},
        {"learning_rate": 0.01},
        {"weight_decay": 0.1},
        {"seed": 1},
    ]
    keys = [one.key, *(one.changed(**change).key for change in changes)]
    assert len(set(keys)) == len(keys)


def test_an_affine_view_keeps_the_row_and_the_middle() -> None:
    images = torch.zeros(50, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 12:16, 12:16] = 200
    views = Views((teachers.Affine(10.0, 0.1, 2.0),), 3, seed=1)
    ids = torch.arange(50)
    assert torch.equal(views(images, ids), images)
    moved = views(images, ids + 2**40)
    assert torch.equal(moved, views(images, ids + 2**40))
    assert (moved != images).flatten(1).any(dim=1).float().mean() > 0.9
    rows = torch.arange(28.0)
    mass = moved[:, 0].float()
    for axis in (1, 2):  # moved by two pixels at most, whatever the turn
        middle = (mass.sum(dim=3 - axis) * rows).sum(dim=1) / mass.sum(dim=(1, 2))
        assert (middle - 13.5).abs().max() < 2.3
    still = Views((teachers.Affine(0.0, 0.0, 0.0),), 2)
    assert torch.equal(still(images, ids + 2**40), images)


def every_figure() -> tuple[dict[str, float], list[dict[str, object]]]:
    """Figures and rows as the tables leave them, with made-up numbers."""
    figures = {f"teacher_conv_{name}": 30.0 for name in ("errors", "nll", "member_errors_mean")}
    figures |= {f"teacher_conv_{name}": 5.0 for name in ("members", "epochs", "member_parameters")}
    figures |= {"teacher_paper_errors": 66.0, "mlp800_paperteacher_temperature": 20.0}
    parts = ["mlp800_plain", "mlp800_views", "mlp230_plain", "mlp30_plain"]
    parts += ["labels100", "labels1000", "labels10000", "conv10x", "conv50x", "conv200x"]
    rows: list[dict[str, object]] = []
    for part in [*parts, "mlp800_paperteacher"]:
        for arm in ARMS:
            figures |= {f"{part}_{arm}_errors_mean": 70.25, f"{part}_{arm}_errors_sd": 2.0}
            figures |= {f"{part}_{arm}_nll_mean": 0.02}
        figures |= {f"{part}_seeds": 5.0, f"{part}_parameters": 1000.0, f"{part}_labels": 100.0}
        rows.append({"part": part, "verdict": "BEATS", "reason": f"Of {part}."})
    for width in (230, 30):
        for temperature in ("1", "2.5", "40"):
            name = f"mlp{width}_plain_T{temperature}_validation_errors"
            figures |= {f"{name}_mean": 50.0, f"{name}_sd": 3.0}
    figures |= {"processor_errors": 31.0, "processor_member_errors_mean": 40.0}
    for part in ("without3", "only78", "views_without3", "views_only78"):
        for name in hinton_sections.CORRECTIONS:
            figures |= {f"{part}_{name}_errors_mean": 90.0, f"{part}_{name}_errors_sd": 3.0}
            figures |= {f"{part}_{name}_errors_on_missing_mean": 9.0}
            figures |= {f"{part}_{name}_missing_right": 0.9912}
    figures["without3_rows_of_missing"] = 1010.0
    for name in ("v1", "v2", "v8", "v32", "live"):
        figures |= {f"viewcount_{name}_errors_mean": 88.0, f"viewcount_{name}_errors_sd": 1.0}
        figures |= {f"viewcount_{name}_nll_mean": 0.03}
        figures |= {f"viewtime_{name}_seconds_with_labelling": 120.0}
        figures |= {f"viewtime_{name}_live_over_stored_{w}": 3.0 for w in ("mean", "sd")}
    for who in ("10x", "50x", "200x", "teacher_network"):
        figures |= {f"latency_{who}_{p}_ms_mean": 0.5 for p in ("p50", "p99")}
    figures["views_only78_views"] = 32.0
    return figures, rows


def every_ensemble() -> dict[str, object]:
    figures: dict[str, float] = {}
    for part in ("ten", "viewed", "unlike"):
        for name in ("hard", "smoothed", "distilled", "single"):
            figures |= {f"{part}_{name}_errors_mean": 70.0, f"{part}_{name}_errors_sd": 2.0}
            figures |= {f"{part}_{name}_nll_mean": 0.02}
        for name in ("arithmetic", "geometric", "learnt"):
            figures |= {f"{part}_{name}_errors": 60.0, f"{part}_{name}_nll": 0.05}
        figures[f"{part}_seeds"] = 5.0
    rows = [
        {"part": p, "verdict": "BEATS", "reason": f"Of {p}."} for p in ("ten", "viewed", "unlike")
    ]
    return {"figures": figures, "rows": rows}


def test_a_page_of_all_tables_says_what_was_reached() -> None:
    figures, rows = every_figure()
    docs = Path("docs")
    results = {"figures": figures, "rows": rows}
    found = hinton_page.pages(results, pages.table, "Made.", docs, every_ensemble())
    page = found[docs / "hinton.md"]
    assert "Not run yet" not in page
    assert "| all: arithmetic mean, learnt weights | 60 | 0.0500 |" in page
    assert "| the teacher, errors | 67 | below 35 | 31.0 | yes |" in page
    assert "| the same on stored views, errors |  | at most 55 | 70.2 | **no** |" in page
    assert "| at least 99 % | 99.12 % | yes |" in page
    assert "| below 8 % | 0.9 % | yes |" in page
    for part in ("mlp800_plain", "mlp30_plain", "labels1000", "conv200x", "viewed", "unlike"):
        assert f"**BEATS**: Of {part}." in page
    assert {path.name for path in found} == {
        "hinton.md",
        "hinton-errors.svg",
        "hinton-temperature.svg",
    }


def test_a_page_says_plainly_what_was_not_run() -> None:
    figures, rows = every_figure()
    some = {k: v for k, v in figures.items() if k.startswith("teacher_conv")}
    docs = Path("docs")
    found = hinton_page.pages({"figures": some, "rows": rows}, pages.table, "Made.", docs)
    assert list(found) == [docs / "hinton.md"]
    page = found[docs / "hinton.md"]
    assert "| 784-800-800-10, no augmentation, errors | 74 | at most 74 | not run yet |  |" in page
    for name in ("plain", "views", "missing", "widths", "few-labels", "paper", "view-counts"):
        assert f"    python benchmarks/hinton/run.py {name}\n" in page
    assert "    python benchmarks/ensemble/run.py\n" in page
    assert "run.py teachers" not in page
    assert "![" not in page  # no link to a picture that is not there


def work(folder: Path, order: list[int]) -> list[int]:
    """Pieces of work in this order beside other processes; gives those that were done here."""
    done: list[int] = []

    def one(number: int, wait: bool) -> None:
        with turns.turn(folder / str(number), wait=wait) as mine:
            note = folder / str(number) / "note"
            if mine and not note.exists():
                time.sleep(0.05)
                note.touch()
                done.append(number)

    turns.share_out(order, one)
    return done


def test_processes_share_their_work_and_no_piece_is_done_twice(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        orders = [(tmp_path, list(range(12))), (tmp_path, list(range(11, -1, -1)))]
        found = pool.starmap(work, orders)
    assert sorted(found[0] + found[1]) == list(range(12))
    assert all((tmp_path / str(number) / "note").exists() for number in range(12))


def test_partners_come_from_the_transfer_set_alone() -> None:
    student = students.Student("distilled", 8, rows="only 7 8", views=4, view="shift cutmix")
    rows = student.data(lab())
    mixed = rows.batch(torch.arange(len(rows)), 3).mixture
    assert mixed is not None
    assert set(mixed.labels.flatten().tolist()) == {7, 8}


def test_pictures_are_whole_and_place_a_value_where_it_belongs() -> None:
    lines = [pictures.Dot("a & b", 50.0, 5.0, "hard"), pictures.Dot("c", 100.0, 0.0, "soft")]
    text = pictures.dots("Title", "errors", lines, {"goal: 75": 75.0})
    svg = "{http://www.w3.org/2000/svg}"
    dots = [float(e.get("cx")) for e in ElementTree.fromstring(text).iter(f"{svg}circle")]
    goal = next(
        float(e.get("x1"))
        for e in ElementTree.fromstring(text).iter(f"{svg}line")
        if e.get("stroke-dasharray")
    )
    assert goal == pytest.approx(sum(dots) / 2, abs=0.1)
    curve = [(1.0, 10.0, 1.0), (10.0, 20.0, 1.0), (100.0, 5.0, 0.0)]
    drawn = ElementTree.fromstring(pictures.curves("T", "T", "errors", {"30 units": curve}))
    places = [float(e.get("cx")) for e in drawn.iter(f"{svg}circle")]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.2)  # logarithmic


def test_a_part_replaces_itself_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for name in ("mlp800_plain", "mlp800_views", "mlp800_plain"):
        record.write(
            {name: ([{"run": 1}], {"errors": 1.0})},
            command=f"python {name}",
            seeds={"seeds": 1},
            path=path,
        )
    text = path.read_text("utf-8")
    assert text.count('"mlp800_plain_errors"') == 1
    assert text.count('"mlp800_views_errors"') == 1
    assert text.count('"part": "mlp800_plain"') == 1
