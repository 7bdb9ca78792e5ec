"""What a student costs in production, by every way to run it, and what int8 does to it.

    python benchmarks/deploy/run.py

On MNIST and digits: an ensemble of convolutional networks and students about 10 and about 100
times smaller, distilled. Each student runs in PyTorch (eager and compiled), through ONNX
Runtime (float32, int8 static, dynamic and trained with rounding, float16 weights) and through
OpenVINO where that is installed, at batch 1 and 64, on one thread. All of them take turns in
rounds in one process; a ratio is the median over the rounds, with its 10th and 90th percentile.
Scores are of the test rows. Of the ways to int8 the first is shipped that holds the bounds on
validation: static, static with the first layer in float32, dynamic, trained with rounding. On
MNIST also the cascade: the threshold is chosen on 10,000 validation rows, its truth is looked up
on test.

What is trained and written stays in ``$ATTAR_CACHE`` (or the user's cache folder): a run that
was stopped goes on where it was, and a second run only times.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import deploy_page
import files as made
import models
import timing
from fetch import cache_folder

sys.path.insert(0, str(Path(__file__).parents[1]))
import record

import attar
from attar.confidence import confidence
from attar.students import count_parameters

RESULTS = Path(__file__).with_name("results.json")

#: What was hoped for, before it was measured.
GOALS = {
    "torch_over_fp32": 2.5,
    "teacher_over_fp32": 30.0,
    "int8_drop_points": 0.3,
    "int8_agreement": 0.99,
    "cascade_kept": 0.999,
    "cascade_share": 0.05,
    "predict_overhead_us": 4.0,
}


class Clock:
    """Says what is going on, now and then."""

    def __init__(self) -> None:
        self.began = self.said = time.perf_counter()
        self.doing = ""

    def __call__(self, what: str, done: int = 0, total: int = 0) -> None:
        """A line when something new begins, and every 20 seconds."""
        now = time.perf_counter()
        if what != self.doing or now - self.said > 20:
            share = f" {100 * done / total:3.0f} %" if total else ""
            print(f"{(now - self.began) / 60:5.1f} min  {what}{share}", flush=True)
            self.doing, self.said = what, now


def part_of(
    trained: models.Trained, name: str, clock: Clock, arguments: argparse.Namespace
) -> tuple[record.Part, made.Files]:
    """One student of one task: scores of each file, time of each way."""
    written = made.write(trained, name, clock)
    clock(f"{trained.task.name} {name}: scores")
    scores = made.scores(trained, written, name)
    clock(f"{trained.task.name} {name}: timing")
    times, missing = timing.measure(
        trained, name, written, rounds=arguments.rounds, seconds=arguments.seconds
    )
    for way, why in missing.items():
        print(f"      {way} is left out: {why}", flush=True)
    teacher = sum(member.parameters for member in trained.teacher.members)
    parameters = count_parameters(trained.students[name])
    figures: dict[str, float] = {
        "parameters": float(parameters),
        "teacher_parameters": float(teacher),
        "teacher_over_student_parameters": teacher / parameters,
    }
    for row in scores:
        kind = str(row["kind"])
        for score in ("accuracy", "errors", "agreement_with_fp32", "ece", "bytes"):
            figures[f"{kind}_{score}"] = float(row[score])
        if kind not in ("teacher", "fp32"):
            lost = figures["fp32_accuracy"] - row["accuracy"]
            figures[f"{kind}_test_drop_points"] = 100 * lost
            figures[f"{kind}_validation_drop_points"] = row["validation_drop_points"]
    shipped = made.choose(
        written, drop=GOALS["int8_drop_points"], agreement=GOALS["int8_agreement"]
    )
    scores.append({"task": trained.task.name, "student": name, "kind": "int8", "shipped": shipped})
    if shipped is not None:
        for score in ("test_drop_points", "agreement_with_fp32", "bytes"):
            figures[f"int8_{score}"] = figures[f"{shipped}_{score}"]
    figures |= _time_figures(times)
    return (scores + times, figures), written


def _time_figures(times: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over the rounds; ratios over ONNX Runtime's float32, round by round."""
    figures: dict[str, float] = {}
    for batch in timing.BATCHES:
        by_way: dict[str, list[dict[str, Any]]] = {}
        for row in times:
            if row["batch"] == batch:
                by_way.setdefault(row["way"], []).append(row)
        ours = np.array([row["p50_ms"] for row in by_way["fp32"]])
        for way, rows in by_way.items():
            p50 = np.array([row["p50_ms"] for row in rows])
            figures[f"{way}_b{batch}_p50_us"] = 1e3 * float(np.median(p50))
            figures[f"{way}_b{batch}_p99_us"] = 1e3 * float(np.median([r["p99_ms"] for r in rows]))
            figures[f"{way}_b{batch}_rows_a_second"] = 1e3 * batch / float(np.median(p50))
            if way != "fp32":
                key = f"{way}_over_fp32_b{batch}"
                figures[key] = float(np.median(p50 / ours))
                figures[f"{key}_p10"], figures[f"{key}_p90"] = np.percentile(
                    p50 / ours, (10, 90)
                ).tolist()
    return figures


def cascade_part(
    trained: models.Trained, name: str, written: made.Files, clock: Clock, seconds: float
) -> record.Part:
    """The threshold from validation, for each goal; and what it does on test."""
    clock(f"{trained.task.name} {name}: cascade")
    rows: list[dict[str, Any]] = []
    figures: dict[str, float] = {}
    inputs, labels = trained.test.inputs.numpy(), trained.test.labels.numpy()
    student = made.logits(written.students["fp32"], inputs)
    teacher = made.logits(written.teacher, inputs).argmax(axis=1) == labels
    keep, share = {"keep": GOALS["cascade_kept"]}, {"teacher_share": GOALS["cascade_share"]}
    tried: dict[str, tuple[dict[str, float], str]] = {
        "keep": (keep, "probability"),
        "share": (share, "probability"),
        "both": (keep | share, "probability"),
        # Whether another way to see that the student is unsure asks the teacher less.
        "keep_margin": (keep, "margin"),
        "keep_entropy": (keep, "entropy"),
        "keep_auto": (keep, "auto"),
    }
    for goal, (promise, measure) in tried.items():
        found = attar.cascade(
            written.students["fp32"],
            written.teacher,
            validation=trained.validation,
            confidence=measure,
            seconds=10 * seconds,
            **promise,
        )
        choice = found.choice
        asked = confidence(student, choice.confidence) < choice.threshold
        right = np.where(asked, teacher, student.argmax(axis=1) == labels)
        one = {
            "met": float(choice.met),
            "threshold": choice.threshold,
            "validation_share": choice.share,
            "validation_kept": choice.kept,
            "validation_kept_low": choice.kept_low,
            "test_share": float(asked.mean()),
            "test_accuracy": float(right.mean()),
            "test_student_accuracy": float((student.argmax(axis=1) == labels).mean()),
            "test_teacher_accuracy": float(teacher.mean()),
            "test_kept": float(right.mean() / teacher.mean()),
            "mean_us": 1e3 * found.latency["cascade"].mean_ms,
            "p99_us": 1e3 * found.latency["cascade"].p99_ms,
            "teacher_mean_over_cascade_mean": found.latency["teacher"].mean_ms
            / found.latency["cascade"].mean_ms,
        }
        said = f"auto: {choice.confidence}" if measure == "auto" else measure
        told = {"student": name, "goal": choice.goal, "measure": said, "reason": choice.reason}
        rows.append({**told, **one})
        figures |= {f"{name}_{goal}_{key}": value for key, value in one.items()}
        print(f"      {choice.goal} ({said}): {choice.reason}", flush=True)
    return rows, figures


def overhead_part(rounds: int, seconds: float, folder: Path) -> record.Part:
    """Microseconds that `predict` adds to a bare run."""
    rows = timing.overhead(rounds, seconds, folder)
    figures = {"bare_us": float(np.median([row["bare_us"] for row in rows]))}
    for way in ("predict", "predict_proba"):
        added = [row[f"{way}_us"] - row["bare_us"] for row in rows]
        figures[f"{way}_adds_us"] = float(np.median(added))
        figures[f"{way}_adds_us_p10"], figures[f"{way}_adds_us_p90"] = np.percentile(
            added, (10, 90)
        ).tolist()
    return rows, figures


def main() -> None:
    """Train what is left to train, measure everything, write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a miniature, not written down")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each way, in each round")
    parser.add_argument("--prepare", action="store_true", help="train and export, then stop")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clock, cache = Clock(), cache_folder()
    parts: dict[str, record.Part] = {}
    for task in (models.QUICK,) if arguments.quick else (models.MNIST, models.DIGITS):
        trained = models.trained(task, cache, clock)
        for name in trained.students:
            if arguments.prepare:
                made.write(trained, name, clock)
                continue
            part, written = part_of(trained, name, clock, arguments)
            parts[f"{task.name}{name}"] = part
            if task is not models.DIGITS:  # some hundred rows show nothing about 0.1 %
                rows, figures = parts.get("cascade", ([], {}))
                new = cascade_part(trained, name, written, clock, arguments.seconds)
                parts["cascade"] = (rows + new[0], figures | new[1])
    if arguments.prepare:
        return
    folder = cache / "benchmarks" / "deploy"
    clock("what predict adds")
    parts["overhead"] = overhead_part(arguments.rounds, 5 * arguments.seconds, folder)
    parts["goal"] = ([{"goal": name, "value": value} for name, value in GOALS.items()], GOALS)
    path = folder / "quick-results.json" if arguments.quick else RESULTS
    path.unlink(missing_ok=True)  # one run, whole: ratios of two runs do not compare
    record.write(
        parts,
        command=" ".join(["python benchmarks/deploy/run.py", *sys.argv[1:]]),
        seeds={"students": 1, "members_of_a_teacher": models.MNIST.teacher.members},
        path=path,
        threads=1,
    )
    print(deploy_page.page(json.loads(path.read_text("utf-8"))))


if __name__ == "__main__":
    main()
