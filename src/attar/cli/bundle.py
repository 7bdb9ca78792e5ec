"""`attar bundle`: a student with all that is known of it, as one folder or one zip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from attar.checks import AttarError
from attar.cli.files import existing


def bundle(
    source: Annotated[str, typer.Argument(help="A run folder, or an .onnx file alone.")],
    out: Annotated[Path, typer.Option(help="The .zip to write, or a new folder.")],
    weights: Annotated[bool, typer.Option(help="Put the weights for PyTorch into it, too.")] = True,
) -> None:
    """Write a student, its schema, scores and verdict, and a model card as one bundle."""
    from attar.cli import show
    from attar.export.bundle import ModelFile, read_bundle, write_bundle

    path = existing(source, "the student")
    if path.is_dir():
        result = result_of(path)
        student = path / "student.onnx"
        kept = path / "student.safetensors"
        write_bundle(
            out,
            {"student": ModelFile(student, parity=result.get("export"))},
            result=result,
            weights=kept.read_bytes() if weights and kept.exists() else None,
        )
    elif path.suffix.lower() == ".onnx":
        write_bundle(out, {"student": ModelFile(path)}, name=path.stem)
    else:
        raise AttarError(f"name a run folder or an .onnx file. Got {source}.")
    written = read_bundle(out)
    names = ", ".join(["bundle.json", *written.files])
    show.console().print(f"{out}: {names}.", soft_wrap=True)


def result_of(run: Path) -> dict[str, Any]:
    """The ``result.json`` of a finished run.

    Raises:
        AttarError: If there is none.
    """
    note = run / "result.json"
    if not note.exists():
        raise AttarError(
            f"{run} has no result.json: the run is not finished. attar distill --resume"
        )
    result: dict[str, Any] = json.loads(note.read_text("utf-8"))
    return result
