"""`attar bundle`: a student with all that is known of it, as one folder or one zip."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attar.checks import AttarError
from attar.cli.files import existing

if TYPE_CHECKING:
    from attar.export.bundle import ModelFile


def bundle(
    source: Annotated[str, typer.Argument(help="A run folder, or an .onnx file alone.")],
    out: Annotated[Path, typer.Option(help="The .zip to write, or a new folder.")],
    weights: Annotated[bool, typer.Option(help="Put the weights for PyTorch into it, too.")] = True,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Divide the logits by the temperature that the run fitted on validation.",
        ),
    ] = False,
) -> None:
    """Write a student, its schema, scores and verdict, and a model card as one bundle."""
    from attar.cli import show
    from attar.export.about import result_of
    from attar.export.bundle import ModelFile, read_bundle, write_bundle

    path = existing(source, "the student")
    if path.is_dir():
        result = result_of(path)
        kept = path / "student.safetensors"
        write_bundle(
            out,
            {"student": _calibrated(path) if calibrate else _as_it_is(path, result)},
            result=result,
            weights=kept.read_bytes() if weights and kept.exists() else None,
        )
    elif calibrate:
        raise AttarError(
            f"--calibrate needs the run, whose validation rows it was fitted on. Got {source}."
        )
    elif path.suffix.lower() == ".onnx":
        write_bundle(out, {"student": ModelFile(path)}, name=path.stem)
    else:
        raise AttarError(f"name a run folder or an .onnx file. Got {source}.")
    written = read_bundle(out)
    names = ", ".join(["bundle.json", *written.files])
    show.console().print(f"{out}: {names}.", soft_wrap=True)


def _as_it_is(run: Path, result: dict[str, Any]) -> ModelFile:
    """The file that the run wrote."""
    from attar.export.bundle import ModelFile

    return ModelFile(run / "student.onnx", parity=result.get("export"))


def _calibrated(run: Path) -> ModelFile:
    """The student exported anew, with its temperature in the graph."""
    from attar.cli.export import export_run
    from attar.export.bundle import ModelFile

    with tempfile.TemporaryDirectory() as scratch:
        written = export_run(run, Path(scratch) / "student.onnx", calibrate=True)
        return ModelFile(
            written.path.read_bytes(), parity={**asdict(written), "path": "model.onnx"}
        )
