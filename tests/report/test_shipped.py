"""Calibration and smaller files on the page: what the folder says, cell by cell."""

from __future__ import annotations

import json
import shutil

import pytest

from attar.checks import AttarError
from attar.report import as_run
from attar.report.page import page
from attar.report.shipped import calibration, smaller

SIDES = {"before": {"nll": 0.31, "ece": 0.045}, "after": {"nll": 0.29, "ece": 0.021}}


def with_temperature(folder, temperature, note=None, inside=1.0):
    path = folder / "result.json"
    told = json.loads(path.read_text())
    for name, arm in told["arms"].items():
        for one in arm["runs"]:
            first = name == "distilled" and one["seed"] == told["student"]["seed"]
            own = temperature if first else 2.0 + one["seed"]
            one["calibration"] = {"temperature": own, "test": SIDES, "note": note}
    told["export"]["temperature"] = inside
    path.write_text(json.dumps(told))
    return folder


def cost(**changes):
    return {
        "method": "static",
        "float_layers": "first",
        "bytes": 1234,
        "bytes_before": 4321,
        "validation": {
            "rows": 900,
            "accuracy": 0.95,
            "drop": 0.22,
            "agreement": 0.9911,
            "ece": 0.03,
            "ece_before": 0.02,
            "worst_class_accuracy": 0.81,
        },
        "test": {"drop": -0.1},
        "latency_ratio": {"1": 1.4, "64": 0.7},
        **changes,
    }


@pytest.fixture
def folder(make_run, tmp_path):
    plain = make_run(classes=["a", "b", "c"], rows=60)
    return shutil.copytree(plain, tmp_path / "run")


def test_a_folder_that_says_nothing_of_them_has_neither(folder):
    run = as_run(folder)
    assert (calibration(run), smaller(run)) == (None, None)
    text = page(folder)
    assert "Calibration by one temperature" not in text
    assert "What fewer bits cost" not in text


@pytest.mark.parametrize(
    ("temperature", "note", "inside", "says"),
    [
        (1.5, None, 1.0, "attar bundle . --calibrate"),
        (1.5, None, 1.5, "has 1.500 inside"),
        (1.0, "40 rows do not show <more>", 1.0, "do not show &lt;more&gt;"),
    ],
)
def test_calibration(folder, temperature, note, inside, says):
    with_temperature(folder, temperature, note, inside)
    found = calibration(as_run(folder))
    by_arm = {row[0]: row[1:] for row in found["rows"]}
    assert by_arm["distilled"] == [f"{temperature:.3f}", "4.5 %", "2.1 %", "0.310", "0.290"]
    assert by_arm["hard labels"][0] == "2.000"  # of the shipped seed, not of the other one
    text = page(folder)
    assert "Calibration by one temperature" in text
    assert says in text


def test_smaller_files(folder):
    files = [cost(), cost(method="qat", float_layers="none", test=None)]
    (folder / "quantized.json").write_text(json.dumps({"files": files}))
    found = smaller(as_run(folder))
    assert found["rows"][0] == [
        *("int8, ranges from training rows; first layer float32", "1,234 (4,321)"),
        *("95.00 %", "0.22", "-0.10", "99.11 %", "3.0 % (2.0 %)", "81.0 %", "1.40", "0.70"),
    ]
    assert found["rows"][1][0] == "int8, trained with rounding"
    assert found["rows"][1][4] == "–"
    assert all(len(row) == len(found["head"]) for row in found["rows"])
    text = page(folder)
    assert "What fewer bits cost" in text
    assert "900 validation rows" in text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"files": 3}, "quantized.json: files must be a list"),
        ({"files": [cost(bytes=-1)]}, r"files\[0\].bytes must be an integer"),
        ({"files": [cost(method=None)]}, r"files\[0\].method must be there"),
        ({"files": [cost(latency_ratio={"1": "fast"})]}, "latency_ratio.1 must be a number"),
    ],
)
def test_a_file_that_attar_did_not_write_is_named(folder, files, message):
    (folder / "quantized.json").write_text(json.dumps(files))
    with pytest.raises(AttarError, match=message):
        page(folder)
