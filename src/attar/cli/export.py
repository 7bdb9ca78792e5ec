"""`attar export`: a student becomes a file or a folder that others can run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attar.checks import AttarError, need
from attar.cli.files import existing, load_array, onnx_of

if TYPE_CHECKING:
    from torch import Tensor, nn

#: What `--to` takes; the last two are folders, made from an ONNX file.
FORMATS = ("onnx", "pt2", "safetensors", "triton", "kserve")


def export(
    source: Annotated[
        str,
        typer.Argument(
            help="A run folder, or module:function that makes a torch module; for triton and "
            "kserve also an .onnx file or a bundle."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The file to write, or the new folder.")],
    to: Annotated[str, typer.Option(help=f"{', '.join(FORMATS)}.")] = "onnx",
    weights: Annotated[
        Path | None, typer.Option(help="A .safetensors file; that of the run by default.")
    ] = None,
    example: Annotated[
        Path | None,
        typer.Option(help="An .npy file of real rows to prove the export on; the run's own."),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Divide the logits by the temperature that the run fitted on validation.",
        ),
    ] = False,
    name: Annotated[
        str, typer.Option(help="What a server calls the model (triton, kserve).")
    ] = "student",
    storage: Annotated[
        str, typer.Option(help="Where KServe finds the model repository: a URI.")
    ] = "s3://your-bucket/student",
) -> None:
    """Write a student as a file or for a server, with proof that it answers as the student does."""
    from attar.cli import show

    if to not in FORMATS:
        raise AttarError(f"--to must be one of {', '.join(FORMATS)}. Got {to}.")
    page = show.console()
    served = to in ("triton", "kserve")
    if served and not (Path(source) / "result.json").exists() and ":" not in source:
        if calibrate:
            raise AttarError(
                f"--calibrate needs the run, whose validation rows it was fitted on. Got {source}."
            )
        _serve(onnx_of(source), out, to, name, storage)
        page.print(f"{out}: for {to}, as {name}.", soft_wrap=True)
        return
    found = _find(source, weights, example, calibrate=calibrate)
    if to == "safetensors":
        found.save(out)
        page.print(
            f"{out}: {out.stat().st_size:,} bytes; attar.export.load_student reads it.",
            soft_wrap=True,
        )
        return
    if served:
        with tempfile.TemporaryDirectory() as scratch:
            written = found.write("onnx", Path(scratch) / "student.onnx")
            _serve(written.path, out, to, name, storage)
    else:
        written = found.write(to, out)
    values = found.task == "regression"
    page.print(
        f"{out}: {written.bytes:,} bytes. On {written.rows_checked:,} real rows its "
        f"{'values' if values else 'probabilities'} differ from the student's by at most "
        f"{written.max_probability_difference:.1e}{' of their deviation' if values else ''}.",
        soft_wrap=True,
    )


def export_run(run: Path, out: Path, *, calibrate: bool) -> Any:
    """The student of a run as ONNX; what :func:`attar.export.to_onnx` says of it."""
    return _find(str(run), None, None, calibrate=calibrate).write("onnx", out)


@dataclass(frozen=True)
class _Student:
    """A student in torch, and what a file says of it."""

    model: nn.Module
    rows: Tensor
    classes: list[str]
    told: Mapping[str, Any]
    metadata: Mapping[str, Any] | None = None
    columns: Any = None
    temperature: float = 1.0
    task: str = "multiclass"

    def write(self, to: str, out: Path) -> Any:
        """As ONNX or as a program of torch.export, with its proof."""
        from attar.export import to_onnx, to_pt2

        if to == "pt2":
            if self.task != "multiclass":
                raise AttarError(
                    f"--to pt2 is there for classes alone, and this is a {self.task} student. "
                    "Write it as onnx, or as safetensors."
                )
            return to_pt2(
                self.model,
                out,
                example=self.rows,
                classes=self.classes,
                metadata=self.metadata,
                temperature=self.temperature,
            )
        return to_onnx(
            self.model,
            out,
            example=self.rows,
            classes=self.classes,
            metadata=self.metadata,
            columns=self.columns,
            temperature=self.temperature,
            task=self.task,
        )

    def save(self, out: Path) -> None:
        """As weights, with what it takes to build the module again."""
        from attar.export import save_weights

        about = {**self.told, "classes": self.classes, "temperature": self.temperature}
        save_weights(self.model, out, metadata=about)


def _serve(path: Path, out: Path, to: str, name: str, storage: str) -> None:
    from attar.export.serving import to_kserve, to_triton

    if to == "triton":
        to_triton(path, out, name=name)
    else:
        to_kserve(path, out, name=name, storage=storage)


def _find(source: str, weights: Path | None, example: Path | None, *, calibrate: bool) -> _Student:
    """The student that the words name, with rows to prove its export on."""
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
    if run.is_dir():
        return _from_run(run, weights, example, calibrate=calibrate)
    if calibrate:
        raise AttarError(
            "--calibrate takes the temperature that a run fitted on validation; for a module of "
            "your own there is attar.evaluation.fit_temperature and to_onnx(temperature=)."
        )
    return _from_object(source, weights, example)


def _rows(path: Path) -> Tensor:
    import torch

    return torch.from_numpy(load_array(path, "X"))


def _from_run(run: Path, weights: Path, example: Path, *, calibrate: bool) -> _Student:
    """The student of a run folder, made anew from what ``result.json`` says of it."""
    from attar.export.about import result_of
    from attar.export.rebuild import Recipe

    result = result_of(run)
    recipe = Recipe.of(str(run), result["student"], result["classes"])
    return _Student(
        recipe.build(weights),
        _rows(example),
        result["classes"],
        {key: result["student"].get(key) for key in ("name", "family", "width", "input_shape")},
        _metadata(result),
        result.get("columns") or _columns_of(run),
        temperature_of(run, result) if calibrate else _temperature_inside(result),
        result.get("task", "multiclass"),
    )


def _temperature_inside(result: Mapping[str, Any]) -> float:
    """What the run's own export divides by: 1, unless it was told to calibrate."""
    return float((result.get("export") or {}).get("temperature", 1.0))


def temperature_of(run: Path, result: Mapping[str, Any]) -> float:
    """The temperature that a run fitted to its student on validation; why it is 1 is said.

    Raises:
        AttarError: If there is none.
    """
    from attar.cli import show
    from attar.export.about import calibration_of

    if result.get("task", "multiclass") != "multiclass":
        raise AttarError(
            f"--calibrate is there for classes alone. {run} is one of the task {result['task']}."
        )
    found = calibration_of(result)
    if found is None:
        raise AttarError(
            f"{run} has no temperature: it was written by an older Attar. Go on with the run to "
            f"have it fitted: attar distill --resume."
        )
    if found.get("note"):
        show.console(stderr=True).print(f"The temperature stays 1: {found['note']}.")
    return float(found["temperature"])


def _columns_of(run: Path) -> Any:
    """The recipe of a table's columns, from the ONNX file that the run wrote itself."""
    from attar.export import runtime

    first = run / "student.onnx"
    return runtime.load(first).columns if first.exists() else None


def _metadata(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the run's own export says about itself."""
    from attar.export.about import chosen_run

    scores = (chosen_run(result) or {})["test"]
    if result.get("task", "multiclass") != "multiclass":
        return {"verdict": result["verdict"], "teacher": result["teacher"]["name"], **scores}
    return {
        "verdict": result["verdict"],
        "accuracy": scores["accuracy"],
        "nll": scores["nll"],
        "retention": result["comparison"]["retention"],
        "teacher": result["teacher"]["name"],
        "rows_tested": scores["rows"],
    }


def _from_object(source: str, weights: Path, example: Path) -> _Student:
    """A module of the user's own, with the weights of a file."""
    from torch import nn

    from attar.cli.words import load_object
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
    return _Student(model.eval(), rows, names, {"name": source})
