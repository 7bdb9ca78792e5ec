"""Distil, calibrate, and ship: one zip that a machine without torch loads and checks."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import train_test_split

import attar
from attar.export import runtime

X, y = load_digits(return_X_y=True)
X_train, X_new, y_train, y_new = train_test_split(X, y, test_size=300, random_state=0)

experiment = attar.distill(
    ExtraTreesClassifier(100, random_state=0),
    attar.students.mlp,
    train=(X_train, y_train),
    parameters=6000,
    seeds=2,
    steps=400,
    learning_rate=0.01,
    smoothing=[0.1],
    latency_seconds=0,
    calibrate=True,  # a temperature fitted on validation, inside the graph
)

with tempfile.TemporaryDirectory() as folder:
    bundle = experiment.bundle(Path(folder) / "digits.zip")
    print(f"{bundle.name}: {bundle.stat().st_size:,} bytes")

    # From here on numpy and onnxruntime are enough. Every file is held against its hash.
    student = runtime.load(bundle, threads=1)

told = student.bundle
print(f"taught by {told['teacher']['name']}: {told['verdict']['verdict']}")
before, after = (told["calibration"]["test"][when]["ece"] for when in ("before", "after"))
print(f"T = {student.temperature:.2f}: calibration error {before:.4f} before, {after:.4f} after")
right = student.predict(X_new) == y_new.astype(str)
print(f"accuracy on {len(right)} new rows: {100 * right.mean():.1f}%")
