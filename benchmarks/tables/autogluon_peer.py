"""AutoGluon's ``TabularPredictor.distill()`` on the same tables, cut in the same way.

    python benchmarks/tables/autogluon_peer.py              # all; goes on where it was stopped
    python benchmarks/tables/autogluon_peer.py letter wine  # some of them

AutoGluon lives in a folder of its own in the cache and is asked in a process of its own: it needs
other versions of what is installed here. It fits what its documentation of ``distill`` shows
(``auto_stack=True``), distils with what it takes by itself, and trains the same students without
a teacher. All that a set took stands in :data:`SECONDS`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "mnist"))
import record
from fetch import cache_folder
from packages import add_peers
from sets import SETS, Table
from sklearn.model_selection import train_test_split

PACKAGE = "autogluon.tabular[lightgbm,xgboost,catboost]==1.6.3"
RESULTS = Path(__file__).with_name("results.json")
CHILD = Path(__file__).with_name("autogluon_child.py")
LABEL = "attar_label"
SEEDS = 2
#: Seconds of one core for the teacher, and for the students of each of two arms.
SECONDS = {
    "letter": (50, 50),
    "diamonds": (50, 50),
    "churn": (30, 25),
    "lending": (30, 25),
    "breast_cancer": (15, 10),
    "digits": (15, 10),
    "wine": (15, 10),
}


def installed(cache: Path) -> Path:
    """The folder of AutoGluon and of what it needs; made where it is not there."""
    folder = cache / "tables" / "autogluon"
    if not list(folder.glob("autogluon_tabular-*.dist-info")):
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
        subprocess.run([*command, PACKAGE], check=True)
    return folder


def write_table(table: Table, folder: Path) -> None:
    """The rows of ``stack.lesson`` to learn from and to judge on, as they are."""
    places = np.arange(len(table.labels))
    learn, judge = train_test_split(places, test_size=0.25, random_state=0, stratify=table.labels)
    rows = table.rows.assign(**{LABEL: table.labels})
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", learn), ("test", judge)):
        rows.iloc[part].reset_index(drop=True).to_parquet(folder / f"{name}.parquet")


def ask(name: str, seed: int, cache: Path) -> dict[str, Any]:
    """One table and seed; what was asked before is read."""
    seconds = SECONDS[name]
    kept = cache / "tables" / "autogluon_runs" / f"{name}-{seed}-{seconds[0]}-{seconds[1]}.json"
    if not kept.exists():
        work = kept.with_suffix("")
        shutil.rmtree(work, ignore_errors=True)
        write_table(SETS[name](cache), work)
        settings = {"PYTHONPATH": str(installed(cache)), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-P", str(CHILD), str(work), str(seed), *map(str, seconds)]
        with (kept.with_suffix(".log")).open("w") as log:
            subprocess.run(
                command,
                check=True,
                cwd=work,
                env=os.environ | settings | {"AG_CPU_COUNT": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        (work / "result.json").replace(kept)
        shutil.rmtree(work)
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def pick(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The teacher, the best distilled student, and the same kind of student without a teacher.

    Best is what AutoGluon ranks first by its own validation rows, among the kinds that both arms
    had time for.

    Args:
        rows: Of one seed, as the child gives them.
    """

    def kind(row: Mapping[str, Any]) -> str:
        return str(row["model"]).split("_DSTL")[0]

    hard = {kind(row): row for row in rows if row["arm"] == "hard"}
    both = [row for row in rows if row["arm"] == "distilled" and kind(row) in hard]
    best = min(both, key=lambda row: row["place"])
    teacher = next(row for row in rows if row["arm"] == "teacher")
    return {"teacher": teacher, "hard": hard[kind(best)], "distilled": best}


def figures_of(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over the seeds, and what of the gap is recovered.

    Args:
        runs: What each seed gave: ``rows`` and ``seconds``.
    """
    picked = [pick(run["rows"]) for run in runs]
    found: dict[str, float] = {"seeds": float(len(runs))}
    for arm in ("teacher", "hard", "distilled"):
        for key in ("accuracy", "nll"):
            values = [float(one[arm][key]) for one in picked]
            found[f"{arm}_{key}_mean"] = float(np.mean(values))
            if len(values) > 1:
                found[f"{arm}_{key}_sd"] = float(np.std(values, ddof=1))
        for key in ("bytes", "one_row_ms", "rows_a_second"):
            found[f"{arm}_{key}"] = float(np.mean([one[arm][key] for one in picked]))
        found[f"{arm}_seconds"] = float(np.mean([run["seconds"][arm] for run in runs]))
    for one in picked:
        kind = "chosen_" + str(one["distilled"]["model"]).split("_DSTL")[0]
        found[kind] = found.get(kind, 0.0) + 1.0
    theirs, plain, ours = (
        found[f"{arm}_accuracy_mean"] for arm in ("teacher", "hard", "distilled")
    )
    if theirs > plain:
        found["gap_recovered"] = (ours - plain) / (theirs - plain)
    found["bytes_student_over_teacher"] = found["distilled_bytes"] / found["teacher_bytes"]
    return found


def main() -> None:
    """Seed by seed, and table by table in each; the results are written after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tables", nargs="*", choices=[*SETS, []], help="all, if none is named")
    given = parser.parse_args()
    cache = cache_folder()
    add_peers(cache)
    runs: dict[str, list[dict[str, Any]]] = {}
    for seed in range(SEEDS):
        for name in given.tables or SETS:
            runs.setdefault(name, []).append({"seed": seed, **ask(name, seed, cache)})
            found = figures_of(runs[name])
            print(name, seed, {key: round(value, 4) for key, value in found.items()}, flush=True)
            rows = [{"seed": run["seed"], **row} for run in runs[name] for row in run["rows"]]
            record.write(
                {f"autogluon_{name}": (rows, found)},
                command="python benchmarks/tables/autogluon_peer.py",
                seeds={f"autogluon_{name}": len(runs[name])},
                path=RESULTS,
                threads=1,
            )


if __name__ == "__main__":
    main()
