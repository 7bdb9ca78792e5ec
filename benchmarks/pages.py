"""The result pages of the docs, made from the committed results: nothing in them is typed by hand.

python benchmarks/pages.py          # writes docs/results/*.md and the README's table
python benchmarks/pages.py --check  # says which of them are not what the results say
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.extend(
    str(Path(__file__).parent / part)
    for part in (
        "",
        "deploy",
        "hinton",
        "store",
        "cached_training",
        "teacher_pass",
        "losses",
        "search",
        "recipe",
        "tables",
    )
)
import cached_page
import deploy_page
import hinton_page
import losses_page
import pass_page
import recipe_page
import search_page
import store_page
import tables_page

ROOT = Path(__file__).parents[1]
BENCHMARKS = Path(__file__).parent


def results(name: str) -> dict[str, Any]:
    """What ``benchmarks/<name>/results.json`` holds."""
    found: dict[str, Any] = json.loads((BENCHMARKS / name / "results.json").read_text("utf-8"))
    return found


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def made(name: str) -> str:
    """Where the numbers come from."""
    found = results(name)
    machine, versions = found["machine"], found["versions"]
    commands = "".join(f"    {line}\n" for line in found["command"].split(" && "))
    return (
        f"Made on {machine['cores']} cores of {machine['processor']}, torch "
        f"{versions['torch']}, by\n\n{commands}\nEvery single run stands in "
        f"[results.json](../../benchmarks/{name}/results.json).\n"
    )


def percent(value: float, digits: int = 1) -> str:
    """A fraction in percent."""
    return f"{100 * value:.{digits}f}"


def demo_page() -> str:
    """How the demo's setting was chosen, and how often it does what the demo shows."""
    found = results("demo_setting")
    figures, rows = found["figures"], found["rows"]
    settings = list(dict.fromkeys(row["setting"] for row in rows if row["part"] == "choose"))
    splits = len({row["split"] for row in rows if row["part"] == "choose"})

    def chosen(setting: str) -> list[str]:
        one = {key: figures[f"choose_{setting}_{key}"] for key in ("accuracy_mean", "accuracy_sd")}
        two = {key: figures[f"choose_{setting}_{key}"] for key in ("nll_mean", "nll_sd")}
        accuracy = f"{percent(one['accuracy_mean'], 2)} ± {percent(one['accuracy_sd'], 2)}"
        return [setting, accuracy, f"{two['nll_mean']:.3f} ± {two['nll_sd']:.3f}"]

    draws = round(figures["draws_count"])
    names = {"hard": "hard labels", "smoothed": "smoothed labels", "pseudo": "pseudo-labels"}
    arms = table(
        ["student", "accuracy %", "NLL"],
        [
            [
                name,
                f"{percent(figures[f'draws_{arm}_accuracy_mean'], 2)} ± "
                f"{percent(figures[f'draws_{arm}_accuracy_sd'], 2)}",
                f"{figures[f'draws_{arm}_nll_mean']:.3f} ± {figures[f'draws_{arm}_nll_sd']:.3f}",
            ]
            for arm, name in {"teacher": "the teacher", **names, "distilled": "distilled"}.items()
        ],
    )
    often = table(
        ["against", "distilled is better in", "worse in"],
        [
            [
                name,
                f"{figures[f'draws_beats_{arm}']:.0f} of {draws}",
                f"{figures[f'draws_below_{arm}']:.0f} of {draws}",
            ]
            for arm, name in names.items()
        ],
    )
    return f"""# The demo's setting, and how often it holds

## How it was chosen

On rows that are not in the demo's test set, split {splits} times into 150 labelled rows, 100 for
choices, 300 to judge on, and the rest without labels. Mean and standard deviation over the
splits; the distilled setting with the highest accuracy is the demo's. Those named `pseudo-labels`
take the teacher's argmax for the label of the rows that have none, beside its soft targets.

{table(["setting", "accuracy %", "NLL"], [chosen(setting) for setting in settings])}

## How often it holds

The demo as it is, on the first {draws} draws of the 150 labels, each with its own teacher, with 5
seeds; judged on the demo's 719 test rows, which are the same for all draws. Mean and standard
deviation over the draws:

{arms}

The verdict was BEATS in {figures["draws_verdict_beats"]:.0f}, INCONCLUSIVE in
{figures["draws_verdict_inconclusive"]:.0f}, NO GAIN in {figures["draws_verdict_no_gain"]:.0f} and
WORSE in {figures["draws_verdict_worse"]:.0f} of {draws} draws. By the 95 % interval over test
rows and seeds, in accuracy:

{often}

Pseudo-labels are as good in accuracy or a little better: what soft targets add on these digits is
the better probabilities. Against the teacher's argmax (pseudo-labels), soft targets were better
in NLL in {figures["draws_beats_pseudo_nll"]:.0f} of {draws} draws by the same interval. The student
kept {percent(figures["draws_retention_mean"])} % of the teacher's accuracy on average; "at least 10
times smaller, at least 95 % kept" was met in {figures["draws_goal_met"]:.0f} of {draws}.

{made("demo_setting")}"""


def verdict_page() -> str:
    """Whether the verdict is honest."""
    figures = results("verdict")["figures"]

    def coverage(kind: str) -> list[str]:
        return [
            percent(figures[f"coverage_{which}_{kind}"])
            for which in ("worst_all", "mean_all", "worst_from_3_seeds", "mean_from_3_seeds")
        ]

    kinds = {
        "crossed": "Attar's interval",
        "satterthwaite": "plain Satterthwaite",
        "pooled_binomial": "rows and seeds pooled, two binomials",
        "pooled_paired": "rows and seeds pooled, paired",
    }
    alarms = table(
        ["seeds", *[kinds[kind] for kind in kinds]],
        [
            [
                f"{seeds}",
                *[percent(figures[f"null_own_rows_s{seeds}_alarms_{kind}"]) for kind in kinds],
            ]
            for seeds in (2, 3, 5, 10)
        ],
    )
    power = table(
        ["true gain over hard and smoothed", "seeds", "test rows", "BEATS %"],
        [
            ["3 and 3 points", seeds, rows, percent(figures[f"power_3_and_3_points_{name}_beats"])]
            for seeds, rows, name in (("5", "700", "s5_r700"), ("3", "700", "s3_r700"))
        ]
        + [["2 and 2 points", "5", "700", percent(figures["power_2_and_2_points_s5_r700_beats"])]]
        + [
            ["1 and 1 points", "5", rows, percent(figures[f"power_1_and_1_points_s5_{name}_beats"])]
            for rows, name in (("700", "r700"), ("10,000", "r10000"))
        ],
    )
    trials = round(figures["alpha0_trials"])
    return f"""# Is the verdict honest?

A verdict that says BEATS where nothing was gained is worth less than none. Test rows and seeds
are taken as crossed random effects: another test set and other seeds would have given other
numbers, and the interval says how different. It is somewhat wider than the textbook's
(Satterthwaite), which is too narrow with two or three seeds.

## On real training, where the teacher cannot help

{trials} experiments each on the digits with 150 labels, drawn anew for each, 3 seeds:

| | BEATS | WORSE | INCONCLUSIVE or NO GAIN |
| --- | ---: | ---: | ---: |
| alpha = 0 under other seeds: the hard arm against itself | {figures["alpha0_beats"]:.0f} \
| {figures["alpha0_worse"]:.0f} \
| {figures["alpha0_inconclusive"] + figures["alpha0_no_gain"]:.0f} |
| soft targets of other rows, alpha = 0.9 | {figures["shuffled_beats"]:.0f} \
| {figures["shuffled_worse"]:.0f} \
| {figures["shuffled_inconclusive"] + figures["shuffled_no_gain"]:.0f} |

## On simulated tables, where the truth is known

Tables of who is right on which row under which seed, with row, seed and arm effects set to what
was measured on the digits; 2,000 tables a setting.

False alarms in % (an interval that lies off 0 though the arms are the same; each arm finds its
own rows hard; 5 would be right):

{alarms}

Coverage of the 95 % intervals in %, over all settings (2 to 10 seeds, 200 to 10,000 rows):

{
        table(
            ["", "worst", "mean", "worst from 3 seeds", "mean from 3 seeds"],
            [[name, *coverage(kind)] for kind, name in kinds.items()],
        )
    }

Power: how often a true gain is called BEATS. Three seeds are too few for a gain of three points
on 700 rows; five find it.

{power}

{made("verdict")}"""


def fill(text: str, made: Mapping[Path, str]) -> str:
    """Put the files that ``<!-- table: PATH -->`` names between it and ``<!-- end -->``.

    Args:
        text: Of a page.
        made: What the files that are made here too will say.
    """

    def put(match: re.Match[str]) -> str:
        path = ROOT / match[2]
        content = (made[path] if path in made else path.read_text("utf-8")).strip()
        return f"{match[1]}\n{content}\n<!-- end -->"

    pattern = r"(<!-- table: (\S+) -->).*?<!-- end -->"
    return re.sub(pattern, put, text, flags=re.DOTALL)


def pages() -> dict[Path, str]:
    """Every page that is made from results, and what it must say."""
    docs = ROOT / "docs" / "results"
    found = {docs / "demo.md": demo_page(), docs / "verdict.md": verdict_page()}
    found |= {docs / "step_cost.md": step_cost_page()}
    found[docs / "deploy.md"] = deploy_page.page(results("deploy"), made)
    hinton = results("hinton")
    tens = results("ensemble") if (BENCHMARKS / "ensemble" / "results.json").exists() else None
    found |= hinton_page.pages(hinton, table, made("hinton"), docs, tens)
    found[BENCHMARKS / "hinton" / "summary.md"] = hinton_page.summary(hinton["figures"], table)
    reads = results("store") if (BENCHMARKS / "store" / "results.json").exists() else None
    first = ""  # what comes before the reads, as far as it was measured
    for name, section in (
        ("cached_training", cached_page.section),
        ("teacher_pass", pass_page.section),
    ):
        if (BENCHMARKS / name / "results.json").exists():
            first += section(results(name), table) + made(name) + "\n"
    found[docs / "store.md"] = store_page.page(results("bytes_a_row"), reads, table, made, first)
    found[docs / "losses.md"] = losses_page.page(results("losses"), table, made("losses"))
    if (BENCHMARKS / "search" / "results.json").exists():
        found[docs / "search.md"] = search_page.page(results("search"), table, made("search"))
    if (BENCHMARKS / "recipe" / "results.json").exists():
        text = (BENCHMARKS / "recipe" / "explained.md").read_text("utf-8")
        found[docs / "recipe.md"] = recipe_page.page(results("recipe"), table, made("recipe"), text)
    if (BENCHMARKS / "tables" / "results.json").exists():
        found[docs / "tables.md"] = tables_page.page(results("tables"), table, made("tables"))
    readme = ROOT / "README.md"
    found[readme] = fill(readme.read_text("utf-8"), found)
    return found


def step_cost_page() -> str:
    """What a training step costs beside a loop written by hand."""
    figures = results("step_cost")["figures"]
    peers = {
        "plain": "AdamW as people write it",
        "plain_fused": "fused AdamW",
        "plain_same_work": "fused AdamW, clipping, schedule",
    }

    def ratio(hidden: int, peer: str) -> str:
        key = f"step_h{hidden}_attar_over_{peer}"
        return f"{figures[key]:.2f} ({figures[f'{key}_p10']:.2f} to {figures[f'{key}_p90']:.2f})"

    rows = [
        [
            f"784-{h}-{h}-10",
            *[ratio(h, peer) for peer in peers],
            f"{figures[f'step_h{h}_goal_attar_over_plain']:.2f}",
        ]
        for h in (800, 230, 30)
    ]
    return f"""# What a training step costs

Time of a step of Attar's loop (reading the stored targets, data, loss, clipping, schedule and
records included) over that of a hand-written PyTorch loop on tensors in memory, both in turn in
one run on one thread: median of the ratio, 10th to 90th percentile over the rounds. Batch 256.

{table(["student", *peers.values(), "goal over plain"], rows)}

{made("step_cost")}"""


def main() -> int:
    """Write the pages, or say which are not up to date."""
    stale = [
        path
        for path, text in pages().items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
    if "--check" not in sys.argv:
        for path in stale:
            path.write_text(pages()[path], "utf-8")
    for path in stale:
        print(path.relative_to(ROOT))
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
