"""One table and seed in AutoGluon, in a process of its own, where nothing of Attar is.

    python -P autogluon_child.py FOLDER SEED TEACHER_SECONDS STUDENT_SECONDS

FOLDER holds train.parquet and test.parquet; result.json is written beside them. AutoGluon's limits
read the clock, and here the clock counts the seconds that this process had a core, as do all times
that are given: others on the machine take nothing away.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_BEGUN = time.time()
time.time = lambda: _BEGUN + time.process_time()  # before anything that could have kept the old one

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from autogluon.tabular import TabularPredictor  # noqa: E402

LABEL = "attar_label"
#: Every kind that distill() knows. The network goes first, with at most 60 % of the time: with many
#: classes the boosted trees, which AutoGluon begins with, would take all of it and end far behind.
STUDENTS: dict[str, dict[str, Any]] = {
    "NN_TORCH": {"ag_args": {"priority": 110}, "ag_args_fit": {"max_time_limit_ratio": 0.6}},
    "GBM": {},
    "CAT": {},
    "RF": {},
}
_CALLS = 200


def main() -> None:
    """Fit, distil, train on labels alone; judge all on the test rows."""
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    teacher_seconds, student_seconds = (float(value) for value in sys.argv[3:5])
    rows = pd.read_parquet(folder / "train.parquet")
    test = pd.read_parquet(folder / "test.parquet").reset_index(drop=True)
    # AutoGluon's models have fixed seeds: the order of the rows and what distill() draws are ours.
    rows = rows.sample(frac=1, random_state=seed).reset_index(drop=True)
    np.random.seed(seed)  # noqa: NPY002 (distill() draws from the global state)
    predictor = TabularPredictor(label=LABEL, path=str(folder / "predictor"), verbosity=2)
    seconds = {}
    started = time.process_time()
    predictor.fit(rows, auto_stack=True, time_limit=teacher_seconds, num_cpus=1, num_gpus=0)
    seconds["teacher"] = time.process_time() - started
    teacher = predictor.model_best
    arms: dict[str, list[str]] = {"teacher": [teacher]}
    # One-hot labels are what distill() trains the very same students on without a teacher.
    for arm, asked in (("distilled", {}), ("hard", {"teacher_preds": "onehot"})):
        given = {kind: dict(settings) for kind, settings in STUDENTS.items()}
        started = time.process_time()
        names = predictor.distill(
            time_limit=student_seconds,
            hyperparameters=given,
            models_name_suffix=arm.upper(),
            **asked,
        )
        seconds[arm] = time.process_time() - started
        arms[arm] = [name for name in names if not name.startswith("WeightedEnsemble")]
    board = predictor.leaderboard(silent=True)  # by validation score, then the faster first
    place = {name: number for number, name in enumerate(board["model"])}
    scores = dict(zip(board["model"], board["score_val"], strict=True))
    found = []
    for arm, names in arms.items():
        for name in names:
            said = _judged(predictor, name, test)
            facts = {"place": place[name], "validation": float(scores[name])}
            found.append({"arm": arm, "model": name, **facts, **said})
    result = {"rows": found, "seconds": seconds, "models": len(board)}
    (folder / "result.json").write_text(json.dumps(result))


def _judged(predictor: Any, name: str, test: Any) -> dict[str, float]:
    """What a model says of the test rows, how large it is, and how long it takes."""
    labels = test[LABEL].to_numpy()
    inputs = test.drop(columns=LABEL)
    models = predictor._trainer.get_minimum_model_set(name)
    size = sum(_bytes(Path(predictor._trainer.load_model(one).path)) for one in models)
    predictor.persist([name])  # as it is served: read from disk once

    def ask(rows: Any) -> Any:
        return predictor.predict_proba(rows, model=name)

    said = ask(inputs)
    classes = said.columns.to_numpy()
    values = said.to_numpy(dtype=float)
    values /= values.sum(axis=1, keepdims=True)
    column = np.searchsorted(classes, labels)  # the classes are sorted
    assert (classes[column] == labels).all()
    calls = _CALLS if "_DSTL" in name else 20
    one, many = inputs.iloc[:1], inputs.iloc[:1024]
    result = {
        "accuracy": float((classes[values.argmax(axis=1)] == labels).mean()),
        "nll": float(-np.log(values[np.arange(len(labels)), column].clip(1e-12)).mean()),
        "bytes": float(size),
        "one_row_ms": 1000 * _timed(lambda: ask(one), calls),
        "rows_a_second": len(many) / _timed(lambda: ask(many), 5),
    }
    predictor.unpersist()
    return result


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _timed(call: Callable[[], Any], times: int) -> float:
    """The median of some calls, after three that do not count."""
    taken = []
    for _ in range(times + 3):
        started = time.process_time()
        call()
        taken.append(time.process_time() - started)
    return float(np.median(taken[3:]))


if __name__ == "__main__":
    main()
