"""Words on the command line -> teachers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from attar.checks import AttarError, need
from attar.cli.files import existing, onnx_of
from attar.cli.inputs import Reading
from attar.cli.words import OBJECT, load_object

if TYPE_CHECKING:
    from attar.experiment.inputs import Splits
    from attar.types import Data

TEACHER_FORMS = (
    "an .onnx file, a .skops file, the folder of a store or of a run, the address of a store, "
    "module:object (a function from numpy inputs to probabilities, a torch module, a fitted "
    "estimator), or boosted-stack (a forest and two kinds of boosted trees, fitted here)"
)

#: Teachers that are made and fitted here, by their name: the function of `attar.teachers`.
RECIPES = {"boosted-stack": "boosted_stack"}


@dataclass(frozen=True)
class TeacherWord:
    """A teacher as the user named it.

    Attributes:
        word: What was written.
        form: ``"onnx"``, ``"skops"``, ``"store"``, ``"object"`` or ``"recipe"``.
        path: The file or folder; the word again for an object and a recipe.
    """

    word: str
    form: str
    path: Path

    @classmethod
    def of(cls, word: str) -> TeacherWord:
        """Find out what a word names, without loading it.

        Raises:
            AttarError: If it names no teacher.
        """
        path = Path(word)
        if word in RECIPES:
            return cls(word, "recipe", path)
        if "://" in word:
            return cls(word, "store", path)
        suffix = path.suffix.lower()
        if suffix in (".onnx", ".skops"):
            return cls(word, suffix[1:], existing(word, "the teacher"))
        if path.is_dir():
            if (path / "store.json").exists():
                return cls(word, "store", path)
            return cls(word, "onnx", onnx_of(word))
        if OBJECT.fullmatch(word) and not path.exists():
            return cls(word, "object", path)
        raise AttarError(
            f"--teacher must be {TEACHER_FORMS}. Got {word}. A pickle (.pkl, .pt, .joblib) is not "
            "loaded, since it can run any code: load it in a module of yours and name it there."
        )

    def load(self, trust: Sequence[str], *, task: str = "multiclass") -> Any:
        """What :func:`attar.teachers.as_teacher` takes; of a recipe, estimators to be fitted.

        Args:
            trust: Types that a ``.skops`` file may hold beside those known to be safe.
            task: What a recipe is to be fitted for.
        """
        if self.form == "recipe":
            from attar import teachers

            return getattr(teachers, RECIPES[self.word])(task)
        if self.form == "skops":
            return _skops(self.path, trust)
        if self.form == "store":
            from attar.store import Store

            return Store.open(self.word)
        return load_object(self.word, "--teacher") if self.form == "object" else self.path


def _skops(path: Path, trust: Sequence[str]) -> Any:
    """An estimator from a skops file; types outside skops' own list only if they are trusted."""
    io = need("skops.io", extra="skops", purpose="a teacher from a .skops file")
    try:
        unknown = list(io.get_untrusted_types(file=path))
    except Exception as error:  # a torn zip, a missing schema: each has its own class
        raise AttarError(f"{path} cannot be read as a skops file: {error}") from error
    missing = [name for name in unknown if name not in trust]
    if missing and not _asked_for(path, missing):
        raise AttarError(
            f"{path} holds types that are not known to be safe, and loading them could run code: "
            f"{', '.join(missing)}. If you trust the file, name each of them: "
            f"{' '.join(f'--trust {name}' for name in missing)}"
        )
    return io.load(path, trusted=unknown)


def _asked_for(path: Path, missing: Sequence[str]) -> bool:
    """Whether the user, where there is one to ask, trusts these types; they are listed first."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    lines = [f"{path} holds types that are not known to be safe; loading them could run code:"]
    typer.echo("\n".join([*lines, *[f"  {name}" for name in missing]]), err=True)
    return typer.confirm("Do you trust all of them?", default=False, err=True)


def recipe_of(words: Sequence[TeacherWord]) -> Reading:
    """How data must be read so that the models among these teachers understand it.

    A student exported by Attar carries the names of its classes and the recipe of its columns;
    the first that has a recipe decides.
    """
    found = Reading()
    for word in words:
        told = _told_by(word)
        if told is not None and told.columns is not None:
            return told
        if told is not None and found == Reading():
            found = told
    return found


def _told_by(word: TeacherWord) -> Reading | None:
    """The classes and columns in a file that Attar exported; None for any other teacher."""
    if word.form != "onnx":
        return None
    from attar.export import runtime

    try:
        student = runtime.load(word.path)
    except AttarError:  # no student, but OnnxTeacher may know it: several inputs, other outputs
        return None
    if student.version is None:
        return None
    return Reading(classes=student.classes, columns=student.columns)


def student_of_a_task(word: TeacherWord) -> Any:
    """The student in a file of values, or of several labels a row; None of any other model."""
    from attar.export import runtime

    try:
        student = runtime.load(word.path)
    except AttarError:  # a model with other outputs, which OnnxTeacher may know
        return None
    return None if student.task == "multiclass" else student


def check_of_classes(command: str, words: Sequence[TeacherWord]) -> None:
    """Raise where a command that is there for classes is given a student of another task.

    Raises:
        AttarError: With the file and its task.
    """
    for word in words:
        student = student_of_a_task(word)
        if student is not None:
            raise AttarError(
                f"{command} is there for classes alone. {word.word} is a student of the task "
                f"{student.task}."
            )


def check_teacher(word: TeacherWord, loaded: Any, data: Data) -> None:
    """Raise where a teacher's own record says that it is not about this data.

    Raises:
        AttarError: If classes, columns, or a store's rows are others than the data's.
    """
    classes: Any = None
    told = _told_by(word)
    if told is not None:
        classes = told.classes
        columns = getattr(data, "columns", None)
        if told.columns is not None and columns is not None and columns != told.columns:
            raise AttarError(
                f"the teacher {word.word} encodes the columns of a table in another way than the "
                "data is encoded here; two teachers of different tables cannot be asked together."
            )
    elif word.form == "store":
        classes = loaded.classes
        if not loaded.describes(data):
            raise AttarError(
                f"the store {word.word} was made from other rows than this data. Give the file "
                "that was labelled, with the same --label, --shift and --views, or label this one: "
                "attar label."
            )
    if classes is not None and data.classes and tuple(classes) != tuple(data.classes):
        raise AttarError(
            f"the teacher {word.word} answers for the classes {_some(classes)}, the data has "
            f"{_some(data.classes)}."
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(str, names[:6])) + (", ..." if len(names) > 6 else "")


def load_all(
    words: Sequence[TeacherWord], trust: Sequence[str], data: Data, *, task: str = "multiclass"
) -> list[Any]:
    """What the words name, each checked against the data; of a recipe all its members.

    Raises:
        AttarError: As :meth:`TeacherWord.load` and :func:`check_teacher`.
    """
    found: list[Any] = []
    for word in words:
        loaded = word.load(trust, task=task)
        check_teacher(word, loaded, data)
        found += loaded if word.form == "recipe" else [loaded]
    return found


def out_of_fold(teacher: Any, data: Data, folds: int) -> Any:
    """An estimator cross-fitted on the data; any other teacher, or with 0 folds, as it is."""
    from attar.teachers import cross_fit

    if folds and hasattr(teacher, "predict_proba"):
        return cross_fit(teacher, data, folds=folds)
    return teacher


def teachers_named(
    words: Sequence[TeacherWord],
    trust: Sequence[str],
    data: Data,
    splits: Splits,
    folds: int,
    *,
    task: str = "multiclass",
) -> Any:
    """What an experiment takes as its teacher, from the words that name one or several.

    Raises:
        AttarError: As :func:`load_all`.
    """
    loaded = load_all(words, trust, data, task=task)
    # An estimator alone, or of values, is cross-fitted by the experiment itself.
    if task == "multiclass" and len(loaded) > 1:
        loaded = [out_of_fold(one, splits.train, folds) for one in loaded]
    return loaded[0] if len(loaded) == 1 else loaded


def as_one(
    words: Sequence[TeacherWord], trust: Sequence[str], data: Data, *, folds: int = 0
) -> Any:
    """The teachers that were named, as one that can be asked about the data.

    Args:
        words: At least one.
        trust: Types that ``.skops`` files may hold.
        data: The rows to be asked about.
        folds: Clones of an estimator that label the labelled rows; 0 takes its own word.

    Raises:
        AttarError: As :func:`load_all`, or if there is no estimator to make ``folds`` of.
    """
    from attar.teachers import as_teacher

    classes = data.classes or None
    loaded = load_all(words, trust, data)
    if folds and not any(hasattr(one, "predict_proba") for one in loaded):
        raise AttarError(
            "--folds makes clones of an estimator with predict_proba, and none of the teachers is "
            "one."
        )
    found = [as_teacher(out_of_fold(one, data, folds), classes=classes) for one in loaded]
    return found[0] if len(found) == 1 else as_teacher(found)
