"""How often `attar.evaluation.in_sample` speaks, where it should and where it should not.

    python benchmarks/in_sample/run.py

Three kinds of models are fitted on a part of three data sets. Of the other rows, which no model
has seen, two random samples are drawn: one stands for the rows that it labels, one for those held
out. Whatever is said then is a false alarm. The same held-out rows against the rows that the model
was fitted on are what it is there for; some models do not over-fit (logistic regression on easy
data), so not all of those are to be found.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

sys.path.insert(0, str(Path(__file__).parents[1]))
import record

from attar.evaluation import in_sample

RESULTS = Path(__file__).with_name("results.json")
PAIRS = 300
HELD_OUT = (30, 100, 300)
LABELLED = 800


def data_sets() -> dict[str, tuple[Any, Any]]:
    """Inputs and labels by name."""
    numbers = {"n_informative": 10, "random_state": 1}
    return {
        "digits": load_digits(return_X_y=True),
        "easy": make_classification(6000, 20, n_classes=3, class_sep=2.0, **numbers),
        "hard": make_classification(6000, 20, n_classes=5, class_sep=0.5, **numbers),
    }


def count(model: Any, inputs: Any, labels: Any, seed: int) -> dict[str, int]:
    """How often it speaks about rows that were not learnt, and about rows that were."""
    X, others, y, theirs = train_test_split(inputs, labels, test_size=0.7, random_state=0)
    model.fit(X, y)
    learnt = torch.tensor(model.predict_proba(X)).clamp_min(1e-6).log()
    unseen = torch.tensor(model.predict_proba(others)).clamp_min(1e-6).log()
    ours, theirs = torch.tensor(y), torch.tensor(theirs)
    generator = np.random.default_rng(seed)
    found = {"pairs": 0, "false_alarms": 0, "found": 0}
    for _ in range(PAIRS):
        for size in HELD_OUT:
            order = torch.from_numpy(generator.permutation(len(theirs)))
            held, rest = order[:size], order[size : size + LABELLED]
            there = unseen[held], theirs[held]
            found["pairs"] += 1
            found["false_alarms"] += in_sample(unseen[rest], theirs[rest], *there) is not None
            found["found"] += in_sample(learnt, ours, *there) is not None
    return found


def main() -> None:
    """Count, print, write."""
    rows: list[dict[str, Any]] = []
    models = {
        "forest": RandomForestClassifier(50, random_state=0),
        "logistic": LogisticRegression(max_iter=500),
        "neighbours": KNeighborsClassifier(5),
    }
    for name, (inputs, labels) in data_sets().items():
        for kind, model in models.items():
            rows.append({"data": name, "model": kind, **count(model, inputs, labels, seed=0)})
            print(rows[-1], flush=True)
    pairs = sum(row["pairs"] for row in rows)
    alarms = sum(row["false_alarms"] for row in rows)
    forests = [row for row in rows if row["model"] == "forest"]
    figures = {
        "pairs": float(pairs),
        "false_alarms": float(alarms),
        "false_alarms_per_1000": 1000 * alarms / pairs,
        "forests_found_share": sum(r["found"] for r in forests) / sum(r["pairs"] for r in forests),
    }
    print(figures)
    record.write(
        {"alarms": (rows, figures)},
        command="python benchmarks/in_sample/run.py",
        seeds={"alarms": 0},
        path=RESULTS,
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
