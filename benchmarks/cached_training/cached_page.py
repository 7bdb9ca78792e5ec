"""What training from the store saves, as a part of the store's page."""

from __future__ import annotations

from typing import Any

from record import Figures, Table, shown

LOOPS = {
    "attar": "Attar, from the store",
    "attar_channels_last": "Attar, from the store, student channels last",
    "alone": "the student on labels alone, by hand",
    "plain": "teacher at every step, by hand",
    "plain_channels_last": "the same, both channels last",
    "torchdistill": "teacher at every step, torchdistill",
    "kd_lib": "teacher at every step, KD-Lib",
}


def section(results: dict[str, Any], table: Table) -> str:
    """The text and its tables."""
    figures = results["figures"]
    parts = ["## Training from it"]
    if "wrn_plain_over_attar" in figures:
        parts.append(_wrn(figures, table))
    if "mlp_online_over_attar" in figures:
        parts.append(_mlp(figures, table))
    return "\n\n".join(parts) + "\n\n"


def _wrn(figures: Figures, table: Table) -> str:
    lines = []
    for name, words in LOOPS.items():
        cells = [words, f"{figures[f'wrn_{name}_step_seconds']:.2f}"]
        for ours in ("attar", "attar_channels_last"):
            key = f"wrn_{name}_over_{ours}"
            cells.append(_spread(figures, key) if key in figures else "1" if name == ours else "")
        lines.append(cells)
    head = ["a step", "seconds", "over Attar", "over Attar, channels last"]
    ideal, goal = (figures[f"wrn_{name}_online_over_attar"] for name in ("ideal", "goal"))
    bound = figures["wrn_plain_step_seconds"] / figures["wrn_alone_step_seconds"]
    return f"""WRN-40-2 teaches WRN-16-2 on images of 32 x 32 pixels, 100 classes, batch 64.
The loops take turns on one core, and a ratio is the median over the rounds, 10th to 90th
percentile. By the count of operations a loop with the teacher in it takes {ideal:.2f} times as
long as one without; the goal was {goal:.1f}. Attar's loop takes as long as the student on labels
alone, so nothing is left to save in it; a student whose weights lie channels last, by
`student.to(memory_format=torch.channels_last)`, is the faster one on a processor in every loop.

{table(head, lines)}

No loop can be faster than the student on labels alone, and the loop by hand takes {bound:.2f}
times as long as that. The two libraries' loops (torchdistill 1.1.5, KD-Lib 0.0.32) are
re-made from the lines that a step goes through, without the packages around them. KD-Lib asks its
teacher with gradients, and its backward pass goes through the teacher too."""


def _mlp(figures: Figures, table: Table) -> str:
    lines = [
        [
            words,
            f"{figures[f'mlp_{name}_seconds']:.0f}",
            f"{100 * figures[f'mlp_{name}_accuracy']:.2f}" if name != "fill" else "",
        ]
        for name, words in (
            ("online", "the teachers at every step"),
            ("attar", "Attar, filling the store included"),
            ("fill", "... of which filling"),
        )
    ]
    ideal, goal = (figures[f"mlp_{name}_online_over_attar"] for name in ("ideal", "goal"))
    right = 100 * figures["mlp_teacher_accuracy"]
    ratio = _spread(figures, "mlp_online_over_attar")
    return f"""Ten perceptrons 784-1200-1200-10 teach four students 784-300-10, at T = 2, 4, 8 and
20, ten passes over MNIST each. The teachers are trained for two passes before the clock starts, and
are together right on {right:.2f} % of the test images. The loop with the teachers in it takes
**{ratio}** times as long (by the count of operations {ideal:.1f}, goal {goal:.0f}). Its student at
T = 4 was trained in full, and its time counted four times.

{table(["", "seconds for four students", "accuracy % at T = 4"], lines)}"""


def _spread(figures: Figures, key: str) -> str:
    return shown(figures, key, "{:.2f}".format)
