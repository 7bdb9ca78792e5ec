"""The demo's two tables, as `attar demo` and `attar demo --all-labels` print them.

Writes ``few-labels.md`` and ``all-labels.md`` (the whole summaries), ``few-labels-table.md`` (the
table that the README shows) and ``results.json``.

    python benchmarks/demo/run.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import record

from attar import demo
from attar.experiment import Experiment

HERE = Path(__file__).parent
SEEDS = 5


def part_of(experiment: Experiment) -> record.Part:
    """Every run as a row, and the means as figures."""
    rows: list[dict[str, Any]] = []
    comparison = experiment.comparison
    figures = {
        "teacher_accuracy": experiment.teacher.accuracy,
        "teacher_nll": experiment.teacher.nll,
        "retention": comparison.retention,
        "times_smaller": experiment.facts["sizes"]["compression"],
        "times_smaller_than_member": experiment.facts["sizes"]["compression_smallest_member"],
    }
    if comparison.gap_recovered is not None:
        figures["gap_recovered"] = comparison.gap_recovered.mean
    for name, arm in experiment.arms.items():
        for run, scores in zip(arm.runs, arm.scores, strict=True):
            row = {"arm": name, "setting": arm.setting.key, "seed": run.seed}
            rows.append({**row, "accuracy": scores.accuracy, "nll": scores.nll, "ece": scores.ece})
        for score in ("accuracy", "nll"):
            figures[f"{name}_{score}_mean"] = arm.mean(score)
            figures[f"{name}_{score}_sd"] = arm.spread(score) or 0.0
    for name in ("against_hard", "against_smoothed", "against_pseudo"):
        interval = getattr(comparison, name)
        if interval is not None:
            figures |= {
                f"{name}_mean": interval.mean,
                f"{name}_low": interval.low,
                f"{name}_high": interval.high,
            }
    return rows, figures


def main() -> None:
    """Run both cases."""
    parts = {}
    for name, all_labels in (("few", False), ("all", True)):
        experiment = demo.run(
            HERE.parents[1] / "runs" / f"bench-demo-{name}",
            all_labels=all_labels,
            seeds=SEEDS,
            resume=True,
        )
        parts[name] = part_of(experiment)
        (HERE / f"{name}-labels.md").write_text(experiment.summary(), "utf-8")
        (HERE / f"{name}-labels-table.md").write_text(experiment.table() + "\n", "utf-8")
        print(experiment.summary())
    record.write(
        parts,
        command="python benchmarks/demo/run.py",
        seeds={"students": SEEDS},
        path=HERE / "results.json",
    )


if __name__ == "__main__":
    main()
