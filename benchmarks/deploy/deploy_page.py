"""The page of this benchmark in the docs: goals, every way to run a student, int8, the cascade."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

WAYS = {
    "teacher_torch": "teacher: PyTorch",
    "teacher": "teacher: ONNX Runtime",
    "torch": "PyTorch, eager",
    "compile": "PyTorch, `torch.compile`",
    "openvino": "OpenVINO, float32",
    "fp32": "ONNX Runtime, float32",
    "float16": "ONNX Runtime, float16 weights",
    "dynamic": "ONNX Runtime, int8 dynamic",
    "static": "ONNX Runtime, int8 static",
    "static_first": "ONNX Runtime, int8 static, first layer float32",
    "qat": "ONNX Runtime, int8 trained with rounding",
}
INT8 = ("static", "static_first", "dynamic", "qat")
SCORED = ("teacher", "fp32", "float16", "dynamic", "static", "static_first", "qat")
INTRODUCTION = """\
An ensemble of convolutional networks teaches students about 10 and about 100 times smaller. Every
way to run them takes turns in one process on one thread. A ratio is the time of one row over that
of the float32 student through ONNX Runtime: the median over the rounds (10th to 90th percentile).
Scores are of the test rows. Of the ways to int8 the first is shipped that holds the bounds on
validation: static, static with the first layer in float32, dynamic, trained with rounding.
"""
TITLES = {"mnist": "MNIST", "digits": "Digits", "quick": "A miniature"}


def page(results: dict[str, Any], made: Callable[[str], str] | None = None) -> str:
    """Goals first, then a table a student, then the cascade.

    Args:
        results: What ``results.json`` holds.
        made: Where the numbers come from; left out where they were not written down.
    """
    figures = results["figures"]
    parts = [
        part
        for part in dict.fromkeys(row["part"] for row in results["rows"])
        if part not in ("cascade", "overhead", "goal")
    ]
    lines = ["# Shipping a student", "", INTRODUCTION, *_goals(results, parts), ""]
    for part in parts:
        lines += [*_student(figures, part), ""]
    lines += [*_cascade(results), "", *_overhead(figures), ""]
    return "\n".join(lines) + ("" if made is None else f"\n{made('deploy')}")


def _goals(results: dict[str, Any], parts: list[str]) -> list[str]:
    """What was hoped for, and what came, for every student."""
    figures = results["figures"]
    lines = ["| goal | " + " | ".join(map(_short, parts)) + " |"]
    lines.append("|:--|" + "--:|" * len(parts))

    def row(text: str, values: list[tuple[str, bool]]) -> str:
        cells = [f"{value} {'met' if met else '**not met**'}" for value, met in values]
        return f"| {text} | " + " | ".join(cells) + " |"

    for way, text in (("torch", "PyTorch eager"), ("teacher", "the teacher, ONNX Runtime")):
        goal = figures[f"goal_{way}_over_fp32"]
        found = [figures[f"{part}_{way}_over_fp32_b1"] for part in parts]
        lines.append(
            row(f"{text} takes {goal:g} times as long", [(f"{x:.1f}", x >= goal) for x in found])
        )
    most = figures["goal_int8_drop_points"]
    least = figures["goal_int8_agreement"]
    shipped = {row["part"]: row["shipped"] for row in results["rows"] if row.get("kind") == "int8"}
    if not shipped:  # of an older run
        return lines
    titles = {kind: WAYS[kind].removeprefix("ONNX Runtime, int8 ") for kind in INT8}
    lines.append(
        "| int8 that held the bounds on validation | "
        + " | ".join(titles.get(shipped[part], "none") for part in parts)
        + " |"
    )

    def cost(part: str, score: str) -> float | None:
        return figures.get(f"{part}_int8_{score}")

    drops = [cost(part, "test_drop_points") for part in parts]
    lines.append(
        row(
            f"... costs at most {most:g} points on test",
            [
                ("", False) if drop is None else (f"{drop:+.2f}", round(drop, 6) <= most)
                for drop in drops
            ],
        )
    )
    agree = [cost(part, "agreement_with_fp32") for part in parts]
    lines.append(
        row(
            f"... agrees with float32 on {100 * least:g} % of them",
            [
                ("", False) if share is None else (f"{100 * share:.2f} %", share >= least)
                for share in agree
            ],
        )
    )
    return lines


def _short(part: str) -> str:
    name = next(task for task in TITLES if part.startswith(task))
    return f"{TITLES[name]}, {part.removeprefix(name)} smaller"


def _student(figures: dict[str, float], part: str) -> list[str]:
    """Every way to run one student."""
    whole = figures[f"{part}_teacher_parameters"]
    lines = [
        f"## {_short(part)}",
        "",
        f"{figures[f'{part}_parameters']:,.0f} parameters against {whole:,.0f} of the ensemble.",
        "",
        "| | p50 µs, batch 1 | p99 µs | over float32 | rows a second, batch 64 | bytes | "
        "accuracy % | agrees with float32 % |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for way, title in WAYS.items():
        if f"{part}_{way}_b1_p50_us" not in figures:
            continue
        ratio = "1"
        if way != "fp32":
            key = f"{part}_{way}_over_fp32_b1"
            ratio = (
                f"{figures[key]:.2f} ({figures[f'{key}_p10']:.2f} to {figures[f'{key}_p90']:.2f})"
            )
        scored = ["", "", ""]
        if way in SCORED:
            scored = [
                f"{figures[f'{part}_{way}_bytes']:,.0f}",
                f"{100 * figures[f'{part}_{way}_accuracy']:.2f}",
                f"{100 * figures[f'{part}_{way}_agreement_with_fp32']:.2f}",
            ]
        lines.append(
            f"| {title} | {figures[f'{part}_{way}_b1_p50_us']:.1f} | "
            f"{figures[f'{part}_{way}_b1_p99_us']:.1f} | {ratio} | "
            f"{figures[f'{part}_{way}_b64_rows_a_second']:,.0f} | " + " | ".join(scored) + " |"
        )
    return lines


def _cascade(results: dict[str, Any]) -> list[str]:
    """Every goal for every student, and every way to see that a student is unsure."""
    lines = [
        "## The cascade",
        "",
        "The threshold is chosen on 10,000 validation rows so that the goal holds with 95 % "
        "confidence; what it then does is looked up on test. How sure the student is: the "
        "probability of its best class, its margin over the second one, or the entropy; *auto* "
        "tests all three, each more strictly, and takes the one that asks least.",
        "",
        "| student | goal | sure by | shown | teacher calls, test % | accuracy, test % | "
        "student alone | teacher | kept, test % | mean µs | p99 µs | faster than the teacher |",
        "|:--|:--|:--|:--|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in results["rows"]:
        if row["part"] != "cascade":
            continue
        lines.append(
            f"| {row['student']} smaller | {row['goal']} | {row.get('measure', 'probability')} | "
            f"{'yes' if row['met'] else '**no**'} | "
            f"{100 * row['test_share']:.2f} | {100 * row['test_accuracy']:.2f} | "
            f"{100 * row['test_student_accuracy']:.2f} | "
            f"{100 * row['test_teacher_accuracy']:.2f} | {100 * row['test_kept']:.2f} | "
            f"{row['mean_us']:.0f} | {row['p99_us']:.0f} | "
            f"{row['teacher_mean_over_cascade_mean']:.1f} times |"
        )
    return lines


def _overhead(figures: dict[str, float]) -> list[str]:
    adds = "overhead_predict_adds_us"
    return [
        "## What `predict` adds",
        "",
        f"To a bare `InferenceSession.run` of {figures['overhead_bare_us']:.1f} µs (MLP "
        f"64-32-32-10, one row) `predict` adds {figures[adds]:.1f} µs "
        f"({figures[f'{adds}_p10']:.1f} to {figures[f'{adds}_p90']:.1f}), its checks of shape, "
        f"dtype and NaN included; the goal was {figures['goal_predict_overhead_us']:g}.",
    ]
