"""`attar export`: weights become an ONNX file that is proven on real rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from attar.checks import AttarError, need
from attar.cli.bundle import result_of
from attar.cli.files import existing, load_array


def export(
    source: Annotated[
        str, typer.Argument(help="A run folder, or module:function that makes a torch module.")
    ],
    out: Annotated[Path, typer.Option(help="The ONNX file to write.")],
    weights: Annotated[
        Path | None, typer.Option(help="A .safetensors file; that of the run by default.")
    ] = None,
    example: Annotated[
        Path | None,
        typer.Option(help="An .npy file of real rows to prove the export on; the run's own."),
    ] = None,
) -> None:
    """Write a student as ONNX, with proof that the file answers as the student does."""
    from attar.cli import show

    run = Path(source)
    if run.is_dir():
        weights = weights or run / "student.safetensors"
        example = example or run / "example.npy"
    elif ":" not in source:
        existing(source, "the run folder")
        raise AttarError(f"name a run folder or module:function. Got {source}.")
    if weights is None or example is None:
        raise AttarError(
            f"{source} needs its --weights (.safetensors) and an --example (.npy, real rows)."
        )
    existing(str(weights), "the file of weights")
    existing(str(example), "the file of example rows")
    need("torch", extra="train", purpose="attar export")
    written = _from_run(run, weights, example, out) if run.is_dir() else None
    if written is None:
        written = _from_object(source, weights, example, out)
    page = show.console()
    page.print(
        f"{out}: {written.bytes:,} bytes. On {written.rows_checked:,} real rows its probabilities "
        f"differ from the student's by at most {written.max_probability_difference:.1e}.",
        soft_wrap=True,
    )


def _rows(path: Path) -> Any:
    import torch

    return torch.from_numpy(load_array(path, "X"))


def _from_run(run: Path, weights: Path, example: Path, out: Path) -> Any:
    """The student of a run folder, made anew from what ``result.json`` says of it."""
    from attar.export import to_onnx
    from attar.export.weights import load_weights

    result = result_of(run)
    model = _model(run, result, weights)
    load_weights(model, weights)
    return to_onnx(
        model.eval(),
        out,
        example=_rows(example),
        classes=result["classes"],
        metadata=_metadata(result),
        columns=result.get("columns") or _columns_of(run),
    )


def _model(run: Path, result: dict[str, Any], weights: Path) -> Any:
    """A student of the run's family and size; its weights are still to be loaded."""
    from attar.students import FAMILIES, Standardize

    told = result["student"]
    family, width, shape = (told.get(key) for key in ("family", "width", "input_shape"))
    if family not in FAMILIES or width is None or shape is None:
        raise AttarError(
            f"the student of {run} is of no family of Attar's ({told['name']}): name what makes "
            f"it, attar export module:function --weights {weights} --example ROWS.npy"
        )
    safe_open = need("safetensors", extra="train", purpose="loading weights").safe_open
    with safe_open(weights, framework="pt") as file:
        scaler = Standardize(file.get_tensor("0.mean"), file.get_tensor("0.std"))
    return FAMILIES[family].model(
        width, input_shape=tuple(shape), classes=len(result["classes"]), scaler=scaler
    )


def _columns_of(run: Path) -> Any:
    """The recipe of a table's columns, from the ONNX file that the run wrote itself."""
    from attar.export import runtime

    first = run / "student.onnx"
    return runtime.load(first).columns if first.exists() else None


def _metadata(result: dict[str, Any]) -> dict[str, Any]:
    """What the run's own export says about itself."""
    seed = result["student"]["seed"]
    runs = result["arms"]["distilled"]["runs"]
    scores = next(run["test"] for run in runs if run["seed"] == seed)
    return {
        "verdict": result["verdict"],
        "accuracy": scores["accuracy"],
        "nll": scores["nll"],
        "retention": result["comparison"]["retention"],
        "teacher": result["teacher"]["name"],
        "rows_tested": scores["rows"],
    }


def _from_object(source: str, weights: Path, example: Path, out: Path) -> Any:
    """A module of the user's own, with the weights of a file."""
    from torch import nn

    from attar.cli.words import load_object
    from attar.export import to_onnx
    from attar.export.weights import load_weights

    made = load_object(source, "attar export")
    model = made if isinstance(made, nn.Module) else made()
    if not isinstance(model, nn.Module):
        raise AttarError(f"{source} must make a torch module. Got {type(model).__name__}.")
    told = load_weights(model, weights).get("classes")
    rows = _rows(example)
    if told is None:
        count = model.eval()(rows[:1]).shape[1]
        told = json.dumps([str(place) for place in range(count)])
    names = json.loads(told) if isinstance(told, str) else told
    return to_onnx(model.eval(), out, example=rows, classes=names)
