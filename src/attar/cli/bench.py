"""`attar bench`: ONNX files side by side, in turn, on this machine."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Annotated

import typer

from attar.checks import AttarError, need
from attar.cli.files import existing, load_array, onnx_of


def bench(
    models: Annotated[
        list[str], typer.Argument(help="ONNX files or run folders; the first is compared with.")
    ],
    rows: Annotated[
        Path | None, typer.Option(help="An .npy file of real rows; drawn where not given.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of each call.", min=1)] = 1,
    seconds: Annotated[
        float, typer.Option(help="How long each is timed at each batch size.", min=0)
    ] = 0.5,
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
) -> None:
    """Time models in turn, warm, at batch 1, 8 and 64: p50, p90, p99, load, memory, bytes."""
    from attar.cli import show
    from attar.files import write_text

    files = {word: onnx_of(word) for word in models}
    if len(files) < len(models):
        raise AttarError("attar bench: name each model once.")
    if rows is not None:
        existing(str(rows), "the file of rows")
    need("torch", extra="train", purpose="attar bench")
    from attar.export import bench as run

    inputs = None if rows is None else load_array(rows, "X")
    found = run(files, inputs=inputs, threads=threads, seconds=seconds)
    page = show.console()
    machine = found.machine
    page.print(
        f"{machine['processor']}, {machine['cores']} cores, {threads} thread"
        f"{'s' if threads > 1 else ''}, onnxruntime {found.versions['onnxruntime']}",
        soft_wrap=True,
    )
    for name, model in found.models.items():
        load = "" if model.load_ms is None else f", loads in {model.load_ms:.1f} ms"
        memory = (
            "" if model.memory_bytes is None else f", memory {model.memory_bytes / 2**20:.1f} MiB"
        )
        page.print(f"{name}: {model.bytes:,} bytes{load}{memory}", soft_wrap=True)
        for batch, time in model.latency.batches.items():
            ratio = found.ratio(name, models[0], rows=batch)
            page.print(
                f"  {batch:>2} rows  p50 {1e3 * time.p50_ms:8.1f} µs  p90 "
                f"{1e3 * time.p90_ms:8.1f}  p99 {1e3 * time.p99_ms:8.1f}  {ratio:6.2f} times "
                f"{models[0]}",
                soft_wrap=True,
            )
    if out is not None:
        text = json_.dumps(found.to_dict(), indent=1, allow_nan=False)
        write_text("attar bench", out, text)
