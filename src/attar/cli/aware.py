"""`attar quantize --aware`: the student of a run or a bundle learns to round."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attar.checks import AttarError, need
from attar.cli.files import onnx_of
from attar.cli.inputs import Reading, RunFiles, data_form, views_of
from attar.cli.teachers import TeacherWord, as_one, check_of_classes, recipe_of
from attar.cli.words import load_object

if TYPE_CHECKING:
    from torch import nn

    from attar.cli.show import Reporter
    from attar.data import ArrayData, Views
    from attar.export import Quantized
    from attar.types import Teacher


@dataclass(frozen=True)
class Training:
    """The numbers of the training with rounding: those of :func:`attar.export.quantize_aware`."""

    epochs: int | None
    learning_rate: float
    temperature: float
    alpha: float
    seed: int
    max_drop: float
    reduce_range: bool | None


@dataclass(frozen=True)
class _Rows:
    """What it learns from, and what it is measured on."""

    train: ArrayData
    validation: ArrayData
    test: ArrayData | None
    teacher: Teacher


def train_with_rounding(
    model: str,
    out: Path,
    how: Training,
    *,
    files: RunFiles,
    student: str | None,
    views: tuple[int | None, int | None],
    words: Sequence[TeacherWord],
    trust: Sequence[str],
    label: str | None,
    size: int | None,
) -> Quantized:
    """Train the student of a run folder or a bundle with rounding in it, and write it as int8.

    Raises:
        AttarError: If it has no weights, there is nobody to learn from, or the cost is too high.
    """
    own = TeacherWord(model, "onnx", onnx_of(model))
    check_of_classes("attar quantize", [own])
    if own.path.suffix.lower() == ".onnx" and own.path == Path(model):
        raise AttarError(
            f"--aware trains the student, and an .onnx file alone cannot be trained. Name its run "
            f"folder, or a bundle with the weights in it. Got {model}."
        )
    if not files.train:
        raise AttarError("--aware needs --train, the rows that the student learns from.")
    form = data_form(files.train, "--train")
    if form == "table" and label is None:
        raise AttarError("a table needs --label COLUMN, the column that names the class.")
    run = Path(model)
    if not words and not (run / "targets" / "train").is_dir():
        raise AttarError(
            f"{model} keeps nothing of what its teacher said. Name the --teacher to learn from."
        )
    if words and files.validation is None:
        raise AttarError("--aware with a --teacher needs --validation, rows to hold the bound.")
    need("torch", extra="train", purpose="attar quantize --aware")
    from attar.cli import show
    from attar.export import quantize_aware, runtime
    from attar.export.aware import steps_of

    carried = runtime.load(own.path, threads=1)
    network = _network(run, student)
    reading = replace(recipe_of([own, *words]), label=label, size=size)
    seen = views_of(*views)
    with ExitStack() as stack:
        reporter = stack.enter_context(show.Reporter())
        if words:
            scratch = stack.enter_context(tempfile.TemporaryDirectory())
            rows = _asked(reading, files, seen, words, trust, Path(scratch), reporter)
        else:
            rows = _kept(reading, files, seen, run)
        tell = reporter.counter("round", "The student learns to round")
        total = steps_of(len(rows.train), epochs=how.epochs)
        return quantize_aware(
            network,
            out,
            train=rows.train,
            teacher=rows.teacher,
            validation=rows.validation,
            test=rows.test,
            metadata=carried.metadata,
            columns=carried.columns,
            progress=lambda record: tell(record.step, total),
            **asdict(how),
        )


def _network(path: Path, student: str | None) -> nn.Module:
    """The student in torch; a module of one's own is made by a function."""
    from torch import nn

    from attar.export import load_student

    if student is None:
        return load_student(path)
    made = load_object(student, "--student")
    module = made if isinstance(made, nn.Module) else made()
    if not isinstance(module, nn.Module):
        raise AttarError(f"{student} must make a torch module. Got {type(module).__name__}.")
    return load_student(path, model=module)


def _kept(reading: Reading, files: RunFiles, views: Views | None, run: Path) -> _Rows:
    """The splits of the run, and what its teacher said about its training rows."""
    from attar.experiment.between import rows_between
    from attar.store import Store
    from attar.teachers import StoredTeacher

    splits, _ = files.read(reading, views)
    store = Store.open(run / "targets" / "train")
    if not store.describes(splits.train):
        splits = rows_between(splits)  # by the recipe a run of a table drew these
    train: Any = splits.train
    if not store.describes(train):
        raise AttarError(
            f"{run} was made from other rows than these. Give --train, --validation, --test, "
            f"--size, --shift and --views as attar distill had them, or name a --teacher."
        )
    validation: Any = splits.validation
    test: Any = splits.test
    return _Rows(train, validation, test, StoredTeacher(store))


def _asked(
    reading: Reading,
    files: RunFiles,
    views: Views | None,
    words: Sequence[TeacherWord],
    trust: Sequence[str],
    scratch: Path,
    reporter: Reporter,
) -> _Rows:
    """Rows of the user's, and a teacher that is asked once about each of them."""
    import attar
    from attar.teachers import StoredTeacher

    train = reading.read(files.train, "--train", labels=files.labels).with_views(views)
    following = reading.like(train)
    held = {name: following.read(word, f"--{name}") for name, word in files.further.items() if word}
    teacher = as_one(words, trust, train)
    if not isinstance(teacher, StoredTeacher):
        tell = reporter.counter("label", "The teacher answers")
        teacher = StoredTeacher(attar.label(teacher, train, scratch / "targets", progress=tell))
    return _Rows(train, held["validation"], held.get("test"), teacher)
