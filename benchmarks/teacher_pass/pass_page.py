"""How fast a store is filled, as a part of the store's page."""

from __future__ import annotations

from typing import Any

from record import Figures, Table, shown

WAYS = {
    "eager": "PyTorch, as it is",
    "channels_last": "PyTorch, channels last",
    "compiled": "PyTorch, compiled",
    "onnxruntime": "ONNX Runtime",
    "bfloat16": "bfloat16",
    "bfloat16_channels_last": "bfloat16, channels last",
}


def section(results: dict[str, Any], table: Table) -> str:
    """The text and its tables."""
    figures: Figures = results["figures"]
    fixed = [row for row in results["rows"] if row.get("step") == "fixed"]
    sizes = sorted({row["batch_size"] for row in fixed})
    rates = []
    for way, words in WAYS.items():
        keys = [f"pass_rate_{way}_{size}_rows_a_second" for size in sizes]
        if any(key in figures for key in keys):
            rates.append([words, *(f"{figures[k]:,.0f}" if k in figures else "" for k in keys)])
    chosen = [
        [
            words,
            _choices(results, allowed),
            _spread(figures, f"pass_{allowed}_over_best"),
            _spread(figures, f"pass_{allowed}_over_base"),
            f"{figures[f'pass_{allowed}_seconds']:.1f} s, "
            f"{100 * figures[f'pass_{allowed}_seconds_over_pass_seconds']:.1f} %",
        ]
        for allowed, words in (("auto", "as it is told"), ("bounded", "bfloat16 allowed"))
    ]
    goals = {name: figures[f"pass_goal_auto_over_{name}"] for name in ("best", "base")}
    return f"""## Filling it

Three convolutional networks, mixed, answer about images of 28 x 28 pixels: rows a second of every
fixed setting, by the number of rows of one question. All take turns; medians over the rounds.

{table(["way", *(f"{size:,}" for size in sizes)], rates)}

`batch_size="auto"` chose in a measurement that was made several times, for a pass over
60,000 rows. Over the best fixed setting of the table the goal was {goals["best"]:.1f} and over the
network as it is, asked about 1,000 rows at once, {goals["base"]:.0f}: median, 10th to 90th
percentile. The first measurement of a process, which loads the exporter too, took
{figures["pass_first_seconds"]:.1f} s. What bfloat16 lost, where it was taken, was at most
{figures["pass_bounded_kl"]:.1g} nats.

{table(["", "chose", "over the best", "over 1,000 at once", "took, of the pass"], chosen)}

"""


def _choices(results: dict[str, Any], allowed: str) -> str:
    """What was chosen, the most frequent first."""
    found = [
        f"{WAYS[row['way'].replace(', ', '_')]}, {row['batch_size']:,} rows"
        for row in results["rows"]
        if row.get("step") == "choice" and row["allowed"] == allowed
    ]
    names = sorted(set(found), key=lambda name: (-found.count(name), name))
    return "; ".join(f"{name} ({found.count(name)} of {len(found)})" for name in names)


def _spread(figures: Figures, key: str) -> str:
    return shown(figures, key, "{:.2f}".format)
