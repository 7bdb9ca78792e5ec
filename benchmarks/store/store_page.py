"""The page of the store: how small a row is, what it loses, and how fast it comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from record import Figures, Table, shown

WAYS = {
    "attar_top16": "Attar, top 16",
    "attar_top50": "Attar, top 50",
    "attar_top100": "Attar, top 100",
    "attar_int8": "Attar, int8",
    "dense_float16": "all logits, float16",
    "tinyvit100": "TinyViT, top 100",
    "distillkit128": "DistillKit, 128 (16 exact)",
    "distillkit50": "DistillKit, 50 (1 exact)",
    "attar_sampled16": "Attar, 16 draws",
    "independent12": "12 independent draws",
}
TEMPERATURES = ("t1", "t2", "t4")


def page(
    bytes_a_row: dict[str, Any],
    store: dict[str, Any] | None,
    table: Table,
    made: Callable[[str], str],
    first: str = "",
) -> str:
    """The whole page; without the part on speed where that was not measured.

    Args:
        bytes_a_row: The results of ``benchmarks/bytes_a_row``.
        store: Those of ``benchmarks/store``, where there are any.
        table: Makes a Markdown table of a head and rows.
        made: Where the numbers of a benchmark come from.
        first: The parts that come first: training from a store, filling it.
    """
    figures = bytes_a_row["figures"]
    speed = "" if store is None else _speed(store["figures"], table) + made("store") + "\n"
    return f"""# The store: bytes, fidelity, speed

{first}{speed}## What a row takes, and what it loses

Mean divergence KL of the stored softmax from the teacher's in nats, and the mean cosine between
the gradient that a student gets from what was kept and the one from all logits, at T = 1, 2
and 4. Attar's records are made for the one temperature; each further one adds 4 bytes.

EfficientNet-Lite0 with its published weights, 1,000 classes, on 250 crops of ten photographs:

{_kept(figures, "lite0", table)}

Logits over 151,936 classes that fall with the rank as a language model's do, 32 rows:

{_kept(figures, "zipf", table)}

With draws a row alone says little, and the mean over many rows is right: there the cosine of the
batch's mean gradient counts. At T = 1:

{_drawn(figures, table)}

## Bytes at equal fidelity

The fewest of the best logits with which Attar loses no more than the others, and the bytes of
that record. By the divergence the shape of the tail counts, which Attar spreads evenly and
DistillKit follows with a curve; by the gradient's cosine, what a student learns from, the tail's
mass at each temperature counts, which Attar keeps and the others do not. By KL at T = 1 the
curve is the smaller record; by the cosine at T = 2 and 4 the exact mass is.

{_equal(figures, "lite0", "EfficientNet-Lite0", table)}

{_equal(figures, "zipf", "151,936 classes", table)}

{made("bytes_a_row")}"""


def _kept(figures: Figures, teacher: str, table: Table) -> str:
    rows = []
    for way, name in WAYS.items():
        key = f"kept_{teacher}_{way}"
        cells = [
            *(_number(figures.get(f"{key}_{t}_kl"), "{:.2g}") for t in TEMPERATURES),
            *(_number(figures.get(f"{key}_{t}_row_cosine"), "{:.4f}") for t in TEMPERATURES),
        ]
        rows.append([name, f"{figures[f'{key}_bytes']:,.0f}", *cells])
    head = [f"{what}, T = {t[1:]}" for what in ("KL", "cosine") for t in TEMPERATURES]
    return table(["kept", "bytes a row", *head], rows)


def _drawn(figures: Figures, table: Table) -> str:
    rows = []
    for way in ("attar_sampled16", "independent12"):
        keys = [f"kept_{teacher}_{way}" for teacher in ("lite0", "zipf")]
        sizes = " and ".join(f"{figures[f'{key}_bytes']:.0f}" for key in keys)
        cosines = [f"{figures[f'{key}_t1_batch_cosine']:.3f}" for key in keys]
        rows.append([WAYS[way], sizes, *cosines])
    return table(["kept", "bytes a row", "1,000 classes", "151,936 classes"], rows)


def _equal(figures: Figures, teacher: str, title: str, table: Table) -> str:
    rows = []
    for peer in ("tinyvit100", "distillkit128", "distillkit50"):
        for by, name in (("kl", "KL"), ("row_cosine", "cosine")):
            cells = []
            for at in (*TEMPERATURES, "all"):
                key = f"kept_{teacher}_like_{peer}_{at}_by_{by}"
                size = figures.get(f"{key}_bytes")
                cells.append("as large" if size is None else f"{size:,.0f}")
            theirs = f"{figures[f'kept_{teacher}_{peer}_bytes']:,.0f}"
            rows.append([f"{WAYS[peer]}, by {name}", theirs, *cells])
    head = ["Attar at T = 1", "T = 2", "T = 4", "one record for all three"]
    return table([f"{title}: no worse than", "its bytes", *head], rows)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


KINDS = {"c100_half": "100 logits", "k16": "best 16 of 1,000"}
ARMS = {
    "as_float32": "Attar, as float32",
    "as_float16": "Attar, as float16",
    "first_as_float32": "Attar, first epoch with checksums, as float32",
    "seek": "a seek and a read a row (TinyViT's layout)",
    "file_each": "a torch.save file a sample (torchdistill's layout)",
}


def _spread(figures: Figures, key: str, form: str) -> str:
    return shown(figures, key, form.format)


def _speed(figures: Figures, table: Table) -> str:
    speeds, ratios = [], []
    for kind, kept in KINDS.items():
        for arm, name in ARMS.items():
            key = f"reads_{kind}_{arm}"
            rate = _spread(figures, f"{key}_rows_a_second", "{:,.0f}")
            speeds.append([f"{kept}: {name}", rate, f"{figures[f'{key}_megabytes_a_second']:,.1f}"])
        for arm in ("as_float32", "first_as_float32"):
            key = f"reads_{kind}_{arm}_over"
            cells = [_spread(figures, f"{key}_{peer}", "{:,.0f}") for peer in ("file_each", "seek")]
            ratios.append([f"{kept}: {ARMS[arm]}", *cells])
    opened = [
        [
            name,
            f"{figures[f'opening_{kind}_open_ms']:.1f}",
            f"{figures[f'opening_{kind}_open_own_mb']:.1f}",
            f"{figures[f'opening_{kind}_batch_ms']:.1f}",
            f"{figures[f'opening_{kind}_batch_own_mb']:.1f}",
            f"{figures[f'opening_{kind}_batches_own_mb']:.1f}",
        ]
        for kind, name in (("range", "numbered without a gap"), ("split", "four rows of five"))
    ]
    goals = {name: figures[f"reads_goal_{name}"] for name in ("float32", "float16")}
    times = {name: figures[f"reads_goal_{name}"] for name in ("file_each", "seek")}
    return f"""## How fast it comes back

Shuffled batches of 256 out of 500,000 rows, on one core, all files in the system's memory: median
over the rounds, 10th to 90th percentile. MB a second count the records that are read. The goals
were {goals["float32"] / 1e6:.0f} million rows a second as float32, {goals["float16"] / 1e6:.0f}
million as float16, {times["file_each"]:.0f} times a file a sample and {times["seek"]:.0f} times a
seek and a read.

{table(["", "rows a second", "MB a second"], speeds)}

Times as fast as the others, which give float32 too:

{table(["", "a file a sample", "a seek and a read"], ratios)}

## Ten million rows

Opening a store of {figures["opening_rows"]:,.0f} rows of 100 logits (2 GB) in a fresh process, its
first batch of 256, and 400 more: milliseconds, and MB of memory that the process has beyond
what it had before and that the system cannot take back. Goals: 50 ms, 100 MB.

{
        table(
            ["rows are", "open, ms", "open, MB", "first batch, ms", "then MB", "400 batches, MB"],
            opened,
        )
    }

"""
