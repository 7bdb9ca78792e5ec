"""Words on the command line -> data.

What can be found wrong without torch is found before it is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attar.checks import AttarError
from attar.cli.files import existing, load_array

if TYPE_CHECKING:
    from attar.data import ArrayData, Views
    from attar.experiment.inputs import Splits

DATA_FORMS = (
    "a folder of images (one subfolder a class), a .csv, .csv.gz or .parquet table (with --label), "
    "an idx file (train-images-idx3-ubyte, also .gz), or an .npz file with arrays X and y"
)


def data_form(word: str, what: str) -> str:
    """``"images"``, ``"table"``, ``"idx"`` or ``"arrays"``: how a word is to be read.

    Args:
        word: A path.
        what: Whose word it is, for the message: ``"--train"``.

    Raises:
        AttarError: If there is no such file, or its form is not known.
    """
    path = existing(word, what)
    name = path.name.lower()
    if path.is_dir():
        return "images"
    if name.endswith((".csv", ".csv.gz", ".parquet")):
        return "table"
    if name.endswith(".npz"):
        return "arrays"
    if "idx" in name:
        return "idx"
    raise AttarError(f"{what} must be {DATA_FORMS}. Got {word}.")


#: Views of each image where ``--shift`` is given alone.
_VIEWS = 8


@dataclass(frozen=True)
class Reading:
    """How files are read; what the training data decides holds for all others.

    Attributes:
        label: The column of a table that names the class; of another task the columns that are
            learnt, with commas between.
        size: The side, or height and width, to which images of a folder are brought.
        classes: The names of the classes in their order.
        columns: The recipe of a table's columns.
        lenient: Where there is no recipe yet: make one that takes gaps and new texts.
        task: What the labels are: ``"multiclass"``, ``"multilabel"``, or ``"regression"`` for
            numbers.
    """

    label: str | None = None
    size: int | tuple[int, int] | None = None
    classes: tuple[str, ...] | None = None
    columns: Any = None
    task: str = "multiclass"
    lenient: bool = False

    def read(self, word: str, what: str, *, labels: str | None = None) -> ArrayData:
        """The data that a word names.

        Args:
            word: A path, see :data:`DATA_FORMS`.
            what: Whose word it is, for messages.
            labels: The labels of an idx file; found by its name where not given.

        Raises:
            AttarError: If the file does not hold what it should.
        """
        from attar import data

        form = data_form(word, what)
        if labels is not None and form != "idx":
            raise AttarError(f"--labels belongs to an idx file of images. Got {what} {word}.")
        if form == "images":
            return data.images(word, size=self.size, classes=self.classes)
        if form == "table":
            label: str | list[str] | None = self.label
            if self.label is not None and self.task != "multiclass":
                label = [name.strip() for name in self.label.split(",")]
            return data.table(
                word,
                label=label,
                classes=self.classes,
                columns=self.columns,
                task=self.task,
                lenient=self.lenient,
            )
        if form == "idx":
            return data.idx(word, labels or _labels_beside(word), classes=self.classes)
        return _arrays(Path(word), self.classes, self.task)

    def like(self, data: ArrayData) -> Reading:
        """How every further file is read once the training data is there."""
        size = image_size(data) or self.size
        return Reading(self.label, size, data.classes or self.classes, data.columns, self.task)


def views_of(shift: int | None, count: int | None) -> Views | None:
    """The views that ``--shift`` and ``--views`` name; None for none.

    Raises:
        AttarError: If there is only a count.
    """
    if shift is None:
        if count is not None:
            raise AttarError("--views says how many; give --shift PIXELS to say which.")
        return None
    from attar.data import Views
    from attar.data import shift as shifted

    return Views([shifted(shift)], count or _VIEWS)


def image_size(data: ArrayData) -> tuple[int, int] | None:
    """Height and width where the rows are images ``[C, H, W]``, else None."""
    shape = tuple(getattr(data.inputs, "shape", ()))
    return (shape[2], shape[3]) if len(shape) == 4 else None


def _labels_beside(word: str) -> str | None:
    """The idx file of labels that goes with one of images, by the names of MNIST."""
    path = Path(word)
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    return str(beside) if beside != path and beside.exists() else None


def _arrays(path: Path, classes: tuple[str, ...] | None, task: str) -> ArrayData:
    import numpy as np

    from attar.data import ArrayData, as_data

    inputs = load_array(path, "X")
    with np.load(path, allow_pickle=False) as stored:
        labels = stored["y"] if "y" in stored.files else None
    data = as_data((inputs, labels), classes=classes, task=task)
    assert isinstance(data, ArrayData)
    return data


def renumbered(data: ArrayData, first: int) -> ArrayData:
    """The same rows with numbers from ``first`` on: rows of two files are different rows."""
    from attar.data import ArrayData

    return ArrayData(
        data.inputs,
        data.labels,
        rows=data.rows + first,
        classes=data.classes or None,
        columns=data.columns,
    )


def unlabelled(data: ArrayData) -> ArrayData:
    """The rows of a transfer set: its labels and classes, if any, are not used."""
    from attar.data import ArrayData

    return ArrayData(data.inputs, rows=data.rows, columns=data.columns)


@dataclass(frozen=True)
class RunFiles:
    """The words that name rows."""

    train: str
    labels: str | None
    validation: str | None
    test: str | None
    transfer: str | None

    @property
    def further(self) -> dict[str, str]:
        """Those beside ``train`` that were given, by name."""
        found = {"validation": self.validation, "test": self.test, "transfer": self.transfer}
        return {name: word for name, word in found.items() if word is not None}

    def check(self, label: str | None, task: str = "multiclass") -> None:
        """Find what is wrong with the words before anything is read."""
        forms = {name: data_form(w, f"--{name}") for name, w in self.further.items()}
        form = data_form(self.train, "--train")
        if task != "multiclass" and form not in ("table", "arrays"):
            raise AttarError(f"--task {task} needs a table or an .npz file. Got {self.train}.")
        if form == "table" and label is None:
            raise AttarError("a table needs --label COLUMN, the column that is learnt.")
        for name, other in forms.items():
            if other != form:
                raise AttarError(
                    f"--train and --{name} must be of one form. Got {self.train} and "
                    f"{self.further[name]}."
                )

    def read(self, reading: Reading, views: Views | None) -> tuple[Splits, ArrayData]:
        """The splits, and the rows of ``train`` as a store of them would know them."""
        from attar.experiment.inputs import make_splits
        from attar.experiment.transfer import find_rows

        train = reading.read(self.train, "--train", labels=self.labels)
        if views is not None and image_size(train) is None:
            raise AttarError(f"--shift moves images, and the rows of {self.train} are none.")
        train = train.with_views(views)
        following = reading.like(train)
        parts: dict[str, ArrayData] = {}
        first = len(train)
        for name, word in self.further.items():
            if name == "transfer":
                how = replace(following, label=None, classes=None)
                part = unlabelled(how.read(word, "--transfer"))
                places = find_rows(train, part)
                if places is not None:  # the student is distilled on these alone
                    parts[name] = train.take(places)
                    continue
            else:
                part = following.read(word, f"--{name}")
            parts[name] = renumbered(part, first)
            first += len(part)
        splits = make_splits(
            train,
            parts.get("validation"),
            parts.get("test"),
            parts.get("transfer"),
            task=reading.task,
        )
        return splits, train
