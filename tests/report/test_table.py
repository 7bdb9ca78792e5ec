"""A run on a table: rows come back as they stood, and the code of the page takes named columns."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

import attar
from attar.data import table as read_table
from attar.report import as_run, figures
from attar.report.words import code


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A CSV file with a column of texts, and the folder of a run on it."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("table")
    rows = []
    for i in range(240):
        kind = ("rose", "lily", "tulip")[i % 3]
        rows.append(
            {
                "petals": round(rng.normal(5 + 3 * (i % 3), 1), 2),
                "soil, or <pot>": ("wet", "dry")[int(rng.integers(2))],
                "flower": kind,
            }
        )
    path = folder / "flowers.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    attar.distill(
        RandomForestClassifier(10, random_state=0),
        attar.students.mlp,
        train=read_table(path, label="flower"),
        parameters=100,
        seeds=1,
        steps=40,
        latency_seconds=0,
        out=folder / "run",
    )
    return rows, folder / "run"


def test_rows_come_back_as_they_stood_in_the_table(table):
    rows, folder = table
    items = figures.samples(folder).data["items"]
    assert len(items) > 20
    for item in items:
        row = rows[item["row"]]
        assert item["values"] == [
            ["petals", f"{row['petals']:.6g}"],
            ["soil, or <pot>", row["soil, or <pot>"]],
        ]


def test_the_code_takes_the_columns_by_name(table):
    _, folder = table
    blocks = code(as_run(folder))
    assert [block["language"] for block in blocks] == ["python", "python", "shell"]
    assert '"soil, or <pot>"' in blocks[1]["text"]
    done = subprocess.run(
        [sys.executable, "-c", blocks[1]["text"]], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert any(name in done.stdout for name in ("rose", "lily", "tulip"))
