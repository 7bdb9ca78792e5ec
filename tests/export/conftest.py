"""A student with its experiment, made once: bundles are written of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier

from attar.experiment import Experiment, distill
from attar.export import read_bundle
from attar.students import mlp


@pytest.fixture(scope="session")
def experiment() -> Experiment:
    return distill(
        RandomForestClassifier(5, random_state=0),
        mlp,
        train=load_wine(return_X_y=True),
        classes=["barolo", "grignolino", "barbera"],
        parameters=200,
        seeds=2,
        steps=40,
        batch_size=32,
        learning_rate=0.01,
        latency_seconds=0,
        folds=2,
        smoothing=[0.1],
    )


@pytest.fixture(scope="session")
def rows() -> np.ndarray:
    return load_wine(return_X_y=True)[0][::5].astype(np.float32)


@pytest.fixture(scope="session")
def zipped(experiment, tmp_path_factory):
    return experiment.bundle(tmp_path_factory.mktemp("bundle") / "wine.zip")


@pytest.fixture
def manifest(zipped):
    """The content of a real bundle.json, to be broken."""
    return json.loads(json.dumps(read_bundle(zipped).manifest))
