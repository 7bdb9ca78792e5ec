"""Tables in CSV and Parquet files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from attar.checks import AttarError, need
from attar.columns import describe_columns, encode_columns
from attar.data.array_checks import numbered
from attar.data.arrays import ArrayData
from attar.data.label_columns import label_columns
from attar.data.labels import encode_labels


def table(
    path: str | Path,
    *,
    label: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    columns: Sequence[Mapping[str, Any]] | None = None,
    first_row: int = 0,
    task: str = "multiclass",
    lenient: bool = False,
) -> ArrayData:
    r"""The rows of a ``.csv``, ``.csv.gz`` or ``.parquet`` file, as numbers.

    Columns of numbers and bools stay as they are; columns of texts become one feature a
    category. How, is written in ``data.columns``, which ships with the student.

    Args:
        path: The file; a CSV file has the names of its columns in the first line, commas
            between the values, and is in UTF-8.
        label: The column that names the class; where it is empty the row is unlabelled. None
            where there is none. Of the other tasks it may be several columns.
        classes: The names of the classes; the different labels, sorted, if not given.
        columns: ``data.columns`` of the training data, for every set after it: the file is then
            encoded in the same way, and columns beyond those are left aside.
        first_row: The number of the first row. Sets that meet in one run need different numbers.
        task: What the label is: ``"multiclass"``; ``"regression"``, where it is a number; or
            ``"multilabel"``, where each column is 0 or 1. Such labels have the shape ``[N, L]``,
            a column of the file each, with NaN where it is empty.
        lenient: Where ``columns`` is not given: take gaps among numbers, in this table and every
            later one, and texts that are new there (:func:`attar.columns.describe_columns`).

    Returns:
        Data of shape ``[N, D]``, float32.

    Raises:
        AttarError: If the file cannot be read, a column is missing, or a value is missing,
            unknown or of another kind than in training; the message names column and row.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "people.csv")
        ...     _ = path.write_text("age,city,fee\n30,Rome,low\n41,Oslo,\n")
        ...     data = table(path, label="fee")
        >>> data.inputs.tolist(), data.labels.tolist()  # age, Oslo, Rome
        ([[30.0, 0.0, 1.0], [41.0, 1.0, 0.0]], [0, -100])
    """
    path = Path(path)
    texts = [c["name"] for c in columns or () if c["kind"] == "category"]
    read = _read(path, texts)
    names = list(read.column_names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise AttarError(f"table: {path} has more than one column of the name {twice[0]!r}.")
    learnt = [label] if isinstance(label, str) else list(label or ())
    for one in learnt:
        if one not in names:
            raise AttarError(f"table: {path} has no column {one!r}. It has {', '.join(names)}.")
    if task == "multiclass" and len(learnt) > 1:
        raise AttarError(f"table: one column names the class. Got {', '.join(learnt)}.")
    if read.num_rows == 0:
        raise AttarError(f"table: {path} has no rows.")
    wanted = names if columns is None else [c["name"] for c in columns if c["name"] in names]
    rows = {name: _values(path, name, read[name]) for name in wanted if name not in learnt}
    if columns is None:
        columns = describe_columns(rows, lenient=lenient)
    inputs = torch.from_numpy(encode_columns(rows, columns))
    numbers = numbered("table", first_row, len(inputs))
    if not learnt:
        return ArrayData(inputs, rows=numbers, classes=classes, columns=columns)
    if task == "multiclass":
        labels, known = _labels(path, learnt[0], read[learnt[0]], classes)
    else:
        columns_of = "the columns" if len(learnt) > 1 else "the column"
        owner = f"table: {path}: {columns_of} {', '.join(map(repr, learnt))}"
        values = list(zip(*[read[one].to_pylist() for one in learnt], strict=True))
        labels, known = label_columns(owner, values, task=task, names=learnt)
    return ArrayData(inputs, labels, rows=numbers, classes=known, columns=columns)


def _read(path: Path, texts: Sequence[str]) -> Any:
    """The file as a pyarrow table; in CSV, ``texts`` are the columns not to take for numbers."""
    arrow = need("pyarrow", extra="train", purpose="reading tables")
    name = path.name.lower()
    if not name.endswith((".csv", ".csv.gz", ".parquet")):
        raise AttarError(f"table: {path} must be a .csv, .csv.gz or .parquet file.")
    try:
        if name.endswith(".parquet"):
            return need("pyarrow.parquet", extra="train", purpose="reading tables").read_table(path)
        csv = need("pyarrow.csv", extra="train", purpose="reading tables")
        types = csv.ConvertOptions(column_types={text: arrow.string() for text in texts})
        return csv.read_csv(str(path), convert_options=types)
    except (arrow.ArrowException, OSError) as error:
        raise AttarError(f"table: {path} cannot be read ({error}).") from error


def _values(path: Path, name: str, column: Any) -> Any:
    """One column as an array of numbers, or a list of texts."""
    types = need("pyarrow.types", extra="train", purpose="reading tables")
    kind = column.type
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if types.is_decimal(kind):
        column, kind = column.cast("float64"), "float64"
    elif types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind):
        return column.to_pylist()
    elif not (types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)):
        raise AttarError(
            f"table: {path}: the column {name!r} holds {kind}. Numbers, bools and texts are read; "
            f"turn it into one of these (a date into a number of days, say), or leave it out."
        )
    return column.to_numpy()


def _labels(path: Path, name: str, column: Any, classes: Sequence[str] | None) -> Any:
    """Classes and their names; a label that is missing or empty is none."""
    labels = column.to_pylist()
    labels = [None if isinstance(x, str) and not x.strip() else x for x in labels]
    return encode_labels(f"table: {path}: the column {name!r}", labels, classes=classes)
