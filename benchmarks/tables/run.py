"""Students of tables: what a stack of boosted trees teaches a file of some 100 kB.

    python benchmarks/tables/run.py                  # every table; goes on where it was stopped
    python benchmarks/tables/run.py letter diamonds  # some of them

A forest and two kinds of boosted trees are fitted on three quarters of a table (20,000 rows at
most) and weighed by what they say out of fold. Four kinds of students learn from the same rows:
on the labels, on smoothed labels, and on the teacher's soft targets with as many synthetic rows.
How long each learns, T, alpha, weight decay and whether the teacher is asked in or out of fold are
chosen on a fifth of the training rows, out of as many settings in each arm of the networks
(pupils.py), which neither the student that is judged there nor its teacher had seen. More arms of
the network for tables tell what the parts are worth: the chosen setting with the teacher out of
fold, in sample, with and without synthetic rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "mnist"))
import record
from fetch import cache_folder
from packages import add_peers
from pupils import ARMS, School
from sets import SETS
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from stack import Lesson, lesson

from attar.evaluation import compare, ece

RESULTS = Path(__file__).with_name("results.json")


def scores(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Accuracy, macro recall, AUC (one against the rest), NLL and ECE of logits ``[N, C]``."""
    said = logits.double().softmax(dim=1).numpy()
    truth = labels.numpy()
    shown = said[:, 1] if said.shape[1] == 2 else said
    return {
        "accuracy": float((said.argmax(axis=1) == truth).mean()),
        "macro_recall": float(balanced_accuracy_score(truth, said.argmax(axis=1))),
        "auc": float(roc_auc_score(truth, shown, multi_class="ovr")),
        "nll": float(-np.log(said[np.arange(len(truth)), truth].clip(1e-12)).mean()),
        "ece": ece(logits, labels),
    }


def measure(name: str, school: School, seeds: int) -> record.Part:
    """All runs of one table; each that was done before is read."""
    given = school.lesson
    labels = given.test.labels
    assert labels is not None
    answers = given.out_of_fold(given.test.batch(torch.arange(len(given.test)))).logits
    found = {f"teacher_{key}": value for key, value in scores(answers, labels).items()}
    found |= {f"teacher_{key}": value for key, value in given.told.items()}
    found |= {"rows_train": float(len(given.train)), "rows_test": float(len(given.test))}
    found["out_of_fold_wrong"] = _wrong(given)
    alone = ~_twins(given)
    found["rows_test_seen"] = float((~alone).sum())
    found["teacher_unseen_accuracy"] = _right(answers, labels, alone)
    rows = []
    for student, arms in ARMS.items():
        logits = {}
        for arm in arms:
            done = [school.run(student, arm, seed) for seed in range(seeds)]
            logits[arm] = torch.stack([one.logits for one in done])
            told = [scores(one.logits, labels) for one in done]
            for seed, one in enumerate(told):
                rows.append({"student": student, "arm": arm, "seed": seed, **one})
            unseen = [_right(one.logits, labels, alone) for one in done]
            found[f"{student}_{arm}_unseen_accuracy_mean"] = float(np.mean(unseen))
            for key in told[0]:
                values = [one[key] for one in told]
                found[f"{student}_{arm}_{key}_mean"] = float(np.mean(values))
                found[f"{student}_{arm}_{key}_sd"] = float(np.std(values, ddof=1))
            setting = school.setting(student, arm)
            for key, value in asdict(setting).items():
                number = value == "in_sample" if key == "teacher" else value
                found[f"{student}_{arm}_{key}"] = float(number)
            accuracy = found[f"{student}_{arm}_accuracy_mean"]
            print(f"{name} {student} {arm} {setting}: {100 * accuracy:.2f} %", flush=True)
        found |= {f"{student}_{key}": value for key, value in _judged(logits, answers, labels)}
        found |= {f"{student}_{key}": value for key, value in school.told(student).items()}
        _ratios(found, student)
    return rows, found


def _twins(given: Lesson) -> torch.Tensor:
    """``[N]`` bool: the test rows with the inputs of a training row."""
    train, test = given.train.inputs, given.test.inputs
    assert isinstance(train, torch.Tensor)
    assert isinstance(test, torch.Tensor)
    known = {row.tobytes() for row in train.numpy()}
    return torch.tensor([row.tobytes() in known for row in test.numpy()])


def _right(logits: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor) -> float:
    return float((logits.argmax(dim=-1) == labels)[rows].float().mean())


def _wrong(given: Lesson) -> float:
    """The share of training rows whose soft target names another class than the label."""
    logits = given.out_of_fold(given.train.batch(torch.arange(len(given.train)))).logits
    assert given.train.labels is not None
    return float((logits.argmax(dim=1) != given.train.labels).float().mean())


def _judged(logits: dict[str, torch.Tensor], answers: torch.Tensor, labels: torch.Tensor) -> Any:
    """The verdict over test rows and seeds, as attar.distill gives it."""
    arms = ("hard", "smoothed", "distilled")
    comparison = compare(
        {arm: (logits[arm].argmax(dim=-1) == labels).numpy() for arm in arms},
        teacher=(answers.argmax(dim=-1) == labels).numpy(),
    )
    against = comparison.against_hard
    yield "gain_points", 100 * against.mean
    yield "gain_low_points", 100 * against.low
    yield "gain_high_points", 100 * against.high
    yield from record.verdict_figures(comparison.verdict).items()


def _ratios(found: dict[str, float], student: str) -> None:
    """What of the teacher is kept, and what it costs beside it."""
    ours, plain = (found[f"{student}_{arm}_accuracy_mean"] for arm in ("distilled", "hard"))
    theirs = found["teacher_accuracy"]
    found[f"{student}_retention"] = ours / theirs
    if theirs > plain:
        found[f"{student}_gap_recovered"] = (ours - plain) / (theirs - plain)
    found[f"{student}_bytes_student_over_teacher"] = (
        found[f"{student}_file_bytes"] / found["teacher_bytes"]
    )
    found[f"{student}_one_row_teacher_over_student"] = (
        found["teacher_one_row_seconds"] * 1e6 / found[f"{student}_p50_us"]
    )


def steps_for(rows: int) -> int:
    """70 passes over 15,000 rows; small sets are seen more often."""
    return min(4000, 600 + rows // 4)


def main() -> None:
    """Table by table; the results are written after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tables", nargs="*", choices=[*SETS, []], help="all, if none is named")
    parser.add_argument("--quick", action="store_true", help="wine in miniature, written nowhere")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cache = cache_folder()
    add_peers(cache)
    names = ["wine"] if given.quick else list(given.tables or SETS)
    if given.quick:  # nothing of before is read
        shutil.rmtree(cache / "tables" / "quick", ignore_errors=True)
    for name in names:
        folder = cache / "tables" / ("quick" if given.quick else "runs") / name
        learnt = lesson(SETS[name](cache), folder / "answers.npz")
        seeds, steps = (2, 10) if given.quick else (5, steps_for(len(learnt.train)))
        rows, found = measure(name, School(learnt, folder, steps), seeds)
        if given.quick:
            print(json.dumps(found, indent=1))
            continue
        record.write(
            {name: (rows, found)},
            command="python benchmarks/tables/run.py",
            seeds={name: seeds},
            path=RESULTS,
            threads=1,
        )


if __name__ == "__main__":
    main()
