"""The table of this benchmark, made from its results.json.

python benchmarks/mnist/table.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ARMS = {"hard": "hard labels", "smoothed": "smoothed labels", "distilled": "distilled"}
SETTINGS = {"views": "shifted views", "plain": "the images as they are"}


def markdown(results: dict[str, Any]) -> str:
    """Errors and NLL of every arm, the difference and the gap recovered, verdict first."""
    figures, rows = results["figures"], results["rows"]
    tested = int(figures["teacher_rows_tested"])
    lines = [
        "# MNIST",
        "",
        f"Errors of {tested:,} test rows, which were opened once. Mean ± standard deviation over "
        "the seeds; differences with 95 % intervals over test rows and seeds. Made by "
        f"`{results['command']}`.",
        "",
        f"Teacher: {figures['teacher_members']:.0f} convolutional networks of "
        f"{figures['teacher_member_parameters']:,.0f} parameters, "
        f"{figures['teacher_errors']:.0f} errors together, "
        f"{figures['teacher_member_errors_mean']:.1f} each; NLL {figures['teacher_nll']:.4f}.",
        "",
        "| student | learns from | arm | errors | NLL |",
        "|:--|:--|:--|--:|--:|",
    ]
    verdicts = []
    for row in rows:
        if "verdict" not in row:
            continue
        student, setting = row["part"], row["setting"]
        key = f"{student}_{setting}"
        for arm, name in ARMS.items():
            mean, spread = figures[f"{key}_{arm}_errors_mean"], figures[f"{key}_{arm}_errors_sd"]
            nll = figures[f"{key}_{arm}_nll_mean"]
            lines.append(
                f"| {row['student']} | {SETTINGS[setting]} | {name} | {mean:.1f} ± {spread:.1f} | "
                f"{nll:.4f} |"
            )
        verdicts.append(_verdict(row, key, figures))
    return "\n".join([*lines, "", *verdicts, ""])


def _verdict(row: dict[str, Any], key: str, figures: dict[str, float]) -> str:
    gap = "not reported"
    if f"{key}_gap_recovered" in figures:
        mean, low, high = (figures[f"{key}_gap_recovered{end}"] for end in ("", "_low", "_high"))
        gap = f"{100 * mean:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
    return (
        f"- {row['student']}, {SETTINGS[row['setting']]}: **{row['verdict']}**. {row['reason']} "
        f"Gap recovered: {gap}."
    )


def write() -> None:
    """Make results.md anew."""
    results = json.loads((HERE / "results.json").read_text("utf-8"))
    (HERE / "results.md").write_text(markdown(results), "utf-8")


if __name__ == "__main__":
    write()
