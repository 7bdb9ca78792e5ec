"""Run folders as Attar writes them, made in a moment: no training, any classes and samples."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

import attar

Folder = Callable[..., Path]
ARMS = ("hard", "smoothed", "pseudo", "distilled")


def likely(labels: np.ndarray, classes: int, rng: np.random.Generator, sure: float) -> np.ndarray:
    """Logits [N, C] that lean to the true class and, less, to its neighbours."""
    away = np.abs(labels[:, None] - np.arange(classes))
    return (sure * np.exp(-away) + rng.normal(size=away.shape)).astype(np.float32)


def interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.02, "high": min(1.0, mean + 0.02), "level": 0.95}


def scores(logits: np.ndarray, labels: np.ndarray, teacher: np.ndarray | None) -> dict[str, Any]:
    said = logits.argmax(axis=1)
    wrong = said != labels
    told: dict[str, Any] = {
        "accuracy": float((~wrong).mean()),
        "nll": 0.3,
        "ece": 0.02,
        "errors": int(wrong.sum()),
    }
    if teacher is not None:
        same = wrong & (said == teacher.argmax(axis=1))
        told |= {"errors_inherited": int(same.sum()), "errors_own": int((wrong & ~same).sum())}
    return told


def write_run(
    folder: Path,
    *,
    classes: Sequence[str],
    rows: int,
    seeds: int = 2,
    samples: dict[str, Any] | None = None,
    pictures: np.ndarray | None = None,
    **changes: Any,
) -> Path:
    rng = np.random.default_rng(0)
    count = len(classes)
    labels = np.arange(rows) % count
    teacher = likely(labels, count, rng, 5.0)
    (folder / "answers").mkdir(parents=True)
    answers = {"rows": 1000 + np.arange(rows), "labels": labels, "teacher": teacher}
    arms = {}
    for arm in ARMS:
        sure = {"hard": 3.0, "smoothed": 3.3, "pseudo": 4.0, "distilled": 4.2}[arm]
        logits = np.stack([likely(labels, count, rng, sure) for _ in range(seeds)])
        answers[arm] = logits
        told = [scores(one, labels, teacher) for one in logits]
        arms[arm] = {
            "setting": {"arm": arm, "learning_rate": 0.01},
            "accuracy_interval": interval(float(np.mean([t["accuracy"] for t in told]))),
            "runs": [
                {"seed": seed, "validation": {"accuracy": 0.9, "nll": 0.3}, "test": t}
                for seed, t in enumerate(told)
            ],
        }
    arms["distilled"]["setting"] |= {"temperature": 4.0, "alpha": 0.9}
    for name, value in answers.items():
        np.save(folder / "answers" / f"{name}.npy", value)
    told = scores(teacher, labels, None)
    result: dict[str, Any] = {
        "format": 1,
        "verdict": "BEATS",
        "sentence": "Distilled beats hard labels by 3.0 points.",
        "comparison": {
            "against_hard": interval(0.03),
            "against_smoothed": interval(0.02),
            "against_pseudo": None,
            "retention": 0.98,
            "gap_recovered": interval(0.7),
            "goal_met": True,
        },
        "teacher": {
            "name": "ensemble of 2 mlp(90)",
            "scores": told,
            "accuracy_interval": interval(told["accuracy"]),
            "members": [
                {"name": f"mlp(90) {i}", "parameters": 9000, "accuracy": 0.9} for i in (1, 2)
            ],
        },
        "student": {"name": "mlp(9)", "seed": 0},
        "arms": arms,
        "trials": [
            {
                "setting": {"arm": "distilled", "temperature": t, "alpha": 0.9},
                "seed": 0,
                "validation": {"accuracy": 0.9 + t / 100, "nll": 0.3},
                "chosen": t == 4.0,
            }
            for t in (1.0, 2.0, 4.0)
        ],
        "columns": None,
        "latency": {
            who: {str(n): {"p50_ms": ms * n, "p99_ms": 2 * ms * n} for n in (1, 64)}
            for who, ms in (("student", 0.01), ("teacher", 0.4))
        },
        "export": {
            "path": "student.onnx",
            "bytes": 4000,
            "max_probability_difference": 1e-7,
            "argmax_differences": 0,
            "rows_checked": 256,
            "opset": 18,
        },
        "warnings": [],
        "rows": {"labelled": 100, "unlabelled": 900, "validation": 50, "test": rows},
        "classes": list(classes),
        "seeds": list(range(seeds)),
        "steps": 100,
        "batch_size": 32,
        "sizes": {
            "student_parameters": 900,
            "teacher_parameters": 18000,
            "compression": 20.0,
            "compression_smallest_member": 10.0,
            "compression_of": "parameters",
        },
        "fingerprints": {"teacher": {"fingerprint": "ab" * 32}, "train": "c", "test": "d"},
        "versions": {"attar": "0.1.0", "torch": "2.13.0"},
        "machine": {"processor": "x86_64", "threads": 1},
        "finished": "2026-01-02T03:04:05Z",
        **changes,
    }
    curves = [
        {
            "arm": arm,
            "seed": seed,
            "records": [
                {"step": s, "loss": 1 / s, "validation": {"accuracy": 0.8, "nll": 0.5}}
                for s in (10, 50, 100)
            ],
        }
        for arm in ARMS
        for seed in range(seeds)
    ]
    kept = min(rows, 40)
    told_samples = {"kind": "none", "positions": list(range(kept)), **(samples or {})}
    for name, value in {
        "result.json": result,
        "curves.json": curves,
        "samples.json": told_samples,
        "cascade.json": {
            "curve": {"share": [0.0, 0.2, 1.0], "accuracy": [0.9, 0.94, 0.95]},
            "chosen": {"threshold": 0.8, "share": 0.2, "accuracy": 0.94},
            "goal": "At least 99 % of the teacher's accuracy.",
        },
    }.items():
        (folder / name).write_text(json.dumps(value), "utf-8")
    if pictures is not None:
        np.save(folder / "samples.npy", pictures)
    return folder


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A function that writes a run folder of these classes and gives its path."""

    def make(name: str = "a-run", **changes: Any) -> Path:
        settings: dict[str, Any] = {"classes": ["cat", "dog", "owl", "bee"], "rows": 60, **changes}
        return write_run(tmp_path_factory.mktemp("runs") / name, **settings)

    return make


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A real, small experiment on digits, and the run folder that it left."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.astype(np.uint8).reshape(-1, 1, 8, 8)
    folder = tmp_path_factory.mktemp("real") / "digits"
    experiment = attar.distill(
        RandomForestClassifier(20, random_state=0),
        attar.students.mlp,
        train=(images, labels),
        parameters=1500,
        seeds=2,
        steps=60,
        batch_size=64,
        learning_rate=0.01,
        latency_seconds=0.01,
        temperature=[2.0, 4.0],
        out=folder,
    )
    return experiment, folder


@pytest.fixture(scope="session")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Path]]:
    """Small experiments that are not of classes, and their run folders."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 4))
    price = 50 * X[:, 0] + 20 * rng.normal(size=120)
    tags = (X[:, :2] + 0.3 * rng.normal(size=(120, 2)) > 0).astype(int)
    quick: dict[str, Any] = {"parameters": 100, "steps": 20, "seeds": 2, "learning_rate": 0.02}
    levels = functools.partial(attar.losses.pinball, levels=[0.1, 0.5, 0.9])
    given: dict[str, dict[str, Any]] = {
        "values": {
            "teacher": lambda rows: 50 * rows[:, 0],
            "train": (X, price),
            "task": "regression",
            "classes": ["price"],
            "latency_seconds": 0.01,
        },
        "labels": {
            "teacher": lambda rows: 4.0 * rows[:, :2],
            "train": (X, tags),
            "task": "multilabel",
            "classes": ["</script><b>red", "round"],
            "alpha": [0.5, 0.9],
            "latency_seconds": 0.01,
        },
        "quantiles": {
            "teacher": lambda rows: 50 * rows[:, :1] + np.linspace(-25, 25, 5),
            "train": (X, price),
            "task": "regression",
            "loss": levels,
            "latency_seconds": 0,
        },
    }
    found = {}
    for name, one in given.items():
        folder = tmp_path_factory.mktemp("tasks") / name
        teacher = one.pop("teacher")
        made = attar.distill(teacher, attar.students.mlp, out=folder, **quick, **one)
        found[name] = (made, folder)
    return found
