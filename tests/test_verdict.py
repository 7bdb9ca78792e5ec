"""The verdict on real training runs in which the teacher cannot help: minutes, so it is slow."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "verdict"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"verdict_{name}", BENCHMARK / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("null", ["alpha0", "shuffled"])
def test_a_teacher_that_cannot_help_is_not_praised(null: str) -> None:
    trial = script("null").trial
    # Trials that the committed result does not hold.
    verdicts = [trial((null, 1000 + number))["verdict"] for number in range(100)]
    assert verdicts.count("BEATS") <= 5
    if null == "alpha0":
        assert verdicts.count("WORSE") <= 5


def test_the_committed_result_is_honest() -> None:
    figures = json.loads((BENCHMARK / "results.json").read_text())["figures"]
    assert figures["alpha0_trials"] == figures["shuffled_trials"] == 200
    assert figures["alpha0_beats"] <= 10
    assert figures["alpha0_worse"] <= 10
    assert figures["shuffled_beats"] <= 10
