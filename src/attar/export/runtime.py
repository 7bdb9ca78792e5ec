"""A student in production: numpy and onnxruntime, nothing that trains.

``runtime.load("student.onnx").predict(x)`` is all of it; :func:`attar.export.to_onnx` makes the
file, and its documentation has an example of both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError, check_number
from attar.export.wire import check_self_contained

if TYPE_CHECKING:
    from attar.export.two_stage import TwoStage

#: Who a file says that made it, where Attar did.
PRODUCER = "attar"

#: Said by a file that encodes the rows of a table itself, and how it takes them.
TAKES = "attar.takes"

#: Said by a file whose student does not answer with one class a row.
TASK = "attar.task"

_FLOAT32 = np.dtype("float32")

#: onnxruntime's name of a type -> numpy's.
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


def load(path: str | Path, *, role: str | None = None, threads: int | None = None) -> Student:
    """Read a model from an ONNX file, or from a bundle.

    Args:
        path: A single file, as :func:`attar.export.to_onnx` writes it. Other ONNX classifiers
            with one input work too: their classes are then ``"0"`` to ``"C-1"``. Or a bundle:
            its folder or its ``.zip``, every file of which is held against its hash.
        role: Which model of a bundle; its first one, the student, by default.
        threads: Threads for one call, 1 or more; None takes all cores. One is best for small
            students and for servers that answer many callers at once.

    Raises:
        AttarError: If the file does not exist, is no ONNX model or only a part of one, keeps
            weights in another file, or does not look like a classifier; if a bundle was changed,
            is not whole or of a newer format, or has no such role.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() == ".zip":
        from attar.export.bundle import read_bundle

        return read_bundle(path).load(role, threads=threads)
    if role is not None:
        raise AttarError(f"load: role= chooses a model of a bundle. Got the single file {path}.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AttarError(f"load: {path} cannot be read: {error.strerror}.") from error
    return loads(data, name=str(path), threads=threads)


def load_cascade(path: str | Path, *, threads: int | None = None) -> TwoStage:
    """Read a bundle that holds a student, a teacher and when to ask it.

    See :func:`attar.export.two_stage.load_cascade`.
    """
    from attar.export import two_stage

    return two_stage.load_cascade(path, threads=threads)


def loads(data: bytes, *, name: str = "<bytes>", threads: int | None = None) -> Student:
    """Like :func:`load`, from the bytes of an ONNX file; ``name`` is used in messages."""
    import onnxruntime as ort

    if threads is not None:
        check_number("load", "threads", threads, low=1, whole=True)
    check_self_contained(name, data)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 4  # what goes wrong is raised, not printed
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise AttarError(
            f"{name}: onnxruntime cannot read this model: {first_line(error)}"
        ) from error
    if TAKES in session.get_modelmeta().custom_metadata_map:
        from attar.export.raw import RawStudent

        return RawStudent(session, name)
    return Student(session, name)


class Student:
    """A classifier read from an ONNX file by :func:`load`; safe to call from many threads.

    Attributes:
        classes: The name of each class, in the order of the outputs.
        metadata: What was stored with the model: its metrics, say. Empty without any.
        input_shape: The shape of one row; None stands for a length that may vary.
        rows: The only number of rows that the model takes; None where it takes any.
        task: ``"multiclass"``; ``"multilabel"``: the classes are labels, each with a probability of
            its own; ``"regression"``: the model gives values.
        columns: How named columns become the model's numbers (:mod:`attar.columns`); None where
            the model takes arrays alone.
        version: The version of Attar that exported the model; None for other models.
        temperature: What its logits were divided by to calibrate it, 1 where they were not;
            None for other models.
        bundle: The content of ``bundle.json``; None for a single file.
    """

    def __init__(self, session: Any, name: str) -> None:
        about = session.get_modelmeta()
        properties = about.custom_metadata_map
        if about.producer_name == PRODUCER and "attar.version" not in properties:
            raise AttarError(  # the version is written last: what comes before it is there too
                f"{name}: the end of the file is missing. Export or copy it again."
            )
        self._session = session
        self._owner = name
        self._properties = properties
        self._input, self._dtype, self.input_shape, self.rows = self._read_input(name, session)
        self._outputs, count = _outputs(name, session)
        self.classes = _classes(name, properties, count)
        self.task: str = _property(name, properties, TASK) or "multiclass"
        self.metadata: dict[str, Any] = _property(name, properties, "attar.metadata") or {}
        self.columns: list[dict[str, Any]] | None = _property(name, properties, "attar.columns")
        self.version: str | None = properties.get("attar.version")
        self.temperature: float | None = _property(name, properties, "attar.temperature")
        self.bundle: dict[str, Any] | None = None
        self._names = np.array(self.classes)
        self._floating = self._dtype.kind == "f"

    def _read_input(
        self, name: str, session: Any
    ) -> tuple[str, np.dtype[Any], tuple[int | None, ...], int | None]:
        """The only input: its name, type, the shape of one row, and its rows (None: any number)."""
        inputs = session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _DTYPES or not inputs[0].shape:
            found = ", ".join(f"{i.name}: {i.type} {i.shape}" for i in inputs)
            raise AttarError(
                f"{name}: a student has one input of numbers with a batch axis first. Got {found}."
            )
        rows, *row = (size if isinstance(size, int) else None for size in inputs[0].shape)
        return inputs[0].name, np.dtype(_DTYPES[inputs[0].type]), tuple(row), rows

    def __repr__(self) -> str:
        shape = _shape((self.rows, *self.input_shape))
        return f"Student({self._owner!r}, input {shape}, {len(self.classes)} classes)"

    def tensors(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Name, dtype and shape of each input and output; None for a length that may vary."""
        inputs, outputs = (
            [
                {
                    "name": value.name,
                    "dtype": _DTYPES.get(
                        value.type, value.type.removeprefix("tensor(").rstrip(")")
                    ),
                    "shape": [size if isinstance(size, int) else None for size in value.shape],
                }
                for value in values
            ]
            for values in (self._session.get_inputs(), self._session.get_outputs())
        )
        return inputs, outputs

    def predict(self, x: Any) -> NDArray[Any]:
        """The name of the likeliest class of each row, ``[N]``.

        With the task ``"multilabel"`` instead which labels are likelier than not, ``[N, L]``
        bool; with ``"regression"`` the values ``[N, D]`` float32, ``[N]`` where D is 1.

        Args:
            x: An array ``[N, *input_shape]`` (or nested lists, or a CPU tensor) of finite
                numbers. If the model has :attr:`columns` also named columns: a mapping of
                sequences, a list of mappings (one a row), or a table of pandas or polars.

        Raises:
            AttarError: If ``x`` is empty, has another shape, or holds something else than
                finite numbers.
        """
        if self.task == "regression":
            values = self.values(x)
            return values[:, 0] if values.shape[1] == 1 else values
        output = "logits" if "logits" in self._outputs else self._outputs[0]
        if self.task == "multilabel":
            applies: NDArray[np.bool_] = self._run(output, x) > 0
            return applies
        likeliest: NDArray[np.str_] = self._names[self._run(output, x).argmax(axis=1)]
        return likeliest

    def predict_proba(self, x: Any) -> NDArray[np.float32]:
        """The probability of each class, ``[N, C]`` float32, at temperature 1.

        Takes and refuses what :meth:`predict` does.
        """
        return self._run("probabilities", x)

    def values(self, x: Any) -> NDArray[np.float32]:
        """The values of a regression, ``[N, D]`` float32. Takes what :meth:`predict` does."""
        return self._run("values", x)

    def logits(self, x: Any) -> NDArray[np.float32]:
        """The logits, ``[N, C]`` float32. Takes and refuses what :meth:`predict` does."""
        return self._run("logits", x)

    def _run(self, output: str, x: Any) -> NDArray[np.float32]:
        if output not in self._outputs:
            raise AttarError(
                f"{self._owner}: the model has no output named '{output}', only "
                f"{', '.join(self._outputs)}. Export it with attar.export.to_onnx."
            )
        given = self._given(x)
        try:
            answer: NDArray[Any] = self._session.run([output], given)[0]
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            shape = next(iter(given.values())).shape
            raise AttarError(
                f"{self._owner}: the model cannot answer an input of shape {shape}: "
                f"{first_line(error)}"
            ) from error
        if _any(np.isnan(answer)):
            row = int(np.isnan(answer).any(axis=1).argmax())
            raise AttarError(
                f"{self._owner}: the model answers NaN, first for row {row}. Its input is finite, "
                f"so it is too large for the model: compare it with the training data."
            )
        return answer if answer.dtype == _FLOAT32 else answer.astype(np.float32)

    def _given(self, x: Any) -> dict[str, NDArray[Any]]:
        """What the session is given, by the names of its inputs."""
        return {self._input: self._prepare(x)}

    def _prepare(self, x: Any) -> NDArray[Any]:
        """The checked array that the session is given; short where nothing is wrong."""
        array: NDArray[Any] = x if isinstance(x, np.ndarray) else self._array(x)
        if array.shape[1:] != self.input_shape or array.size == 0 or self.rows is not None:
            self._check_shape(array)
        if array.dtype != self._dtype:
            array = self._cast(array)
        if self._floating and not _all(np.isfinite(array)):
            bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
            raise AttarError(
                f"{self._owner}: inputs must be finite {self._dtype} numbers. {bad.sum()} of "
                f"{len(array)} rows hold NaN, infinity or a larger number, the first is row "
                f"{bad.argmax()}."
            )
        return array

    def _array(self, x: Any) -> NDArray[Any]:
        """An array from anything else: named columns, lists, tensors."""
        if isinstance(x, Mapping):
            return self._encode(x)
        if isinstance(x, Sequence) and x and isinstance(x[0], Mapping):
            return self._encode(transposed(self._owner, x))
        if is_frame(x) and self.columns is not None:
            return self._encode({str(name): x[name].to_numpy() for name in x.columns})
        try:
            return np.asarray(x)
        except Exception as error:  # ragged lists, tensors that are on a GPU or need a gradient
            raise AttarError(
                f"{self._owner}: inputs must be an array. Got {type(x).__name__}, of which numpy "
                f"says: {first_line(error)}"
            ) from error

    def _encode(self, rows: Mapping[str, Any]) -> NDArray[np.float32]:
        from attar.columns import encode_columns

        if self.columns is None:
            raise AttarError(
                f"{self._owner}: this model was exported without columns and takes an array of "
                f"shape {_shape((self.rows, *self.input_shape))}. Got named columns: "
                f"{', '.join(map(str, list(rows)[:5]))}."
            )
        return encode_columns(rows, self.columns)

    def _check_shape(self, array: NDArray[Any]) -> None:
        wanted = (self.rows, *self.input_shape)
        said = f"{self._owner}: inputs must have shape {_shape(wanted)}. Got {array.shape}"
        if array.shape and len(array) == 0:
            raise AttarError(f"{said}: no rows. Leave out the call where there is nothing to ask.")
        if _fits(array.shape, self.input_shape):
            raise AttarError(f"{said}: a single row needs its batch axis: x[None].")
        if not _fits(array.shape, wanted):
            raise AttarError(f"{said}.")

    def _cast(self, array: NDArray[Any]) -> NDArray[Any]:
        """The same numbers in the model's type, or an error where that would change them."""
        if array.dtype.kind not in ("biuf" if self._floating else "biu"):
            raise AttarError(
                f"{self._owner}: inputs must be {self._dtype}, or numbers that can become it "
                f"safely. Got dtype {array.dtype}. Convert them: x.astype('{self._dtype}')."
            )
        if not self._floating:
            limits = np.iinfo(self._dtype)
            if array.min() < limits.min or array.max() > limits.max:
                raise AttarError(
                    f"{self._owner}: inputs must be {self._dtype}, in the range [{limits.min}, "
                    f"{limits.max}]. Got numbers from {array.min()} to {array.max()}."
                )
        with np.errstate(over="ignore"):  # what became infinite is refused next
            return array.astype(self._dtype)


def _outputs(name: str, session: Any) -> tuple[tuple[str, ...], int]:
    """The names of the outputs that score classes, and the number of classes."""
    scores = [
        output
        for output in session.get_outputs()
        if _DTYPES.get(output.type, "").startswith("float")
        and len(output.shape) == 2
        and isinstance(output.shape[1], int)
    ]
    if not scores:
        found = ", ".join(f"{o.name}: {o.type} {o.shape}" for o in session.get_outputs())
        raise AttarError(
            f"{name}: a student has an output of numbers [N, C] with a fixed number of classes C. "
            f"Got {found}."
        )
    return tuple(output.name for output in scores), scores[0].shape[1]


def _classes(name: str, properties: Mapping[str, str], count: int) -> tuple[str, ...]:
    classes = _property(name, properties, "attar.classes")
    if classes is None:
        return tuple(map(str, range(count)))
    if not isinstance(classes, list) or len(classes) != count:
        raise AttarError(
            f"{name}: the model must name its {count} classes. Got {str(classes)[:100]}. The file "
            f"was changed after its export: export it again."
        )
    return tuple(classes)


def _property(name: str, properties: Mapping[str, str], key: str) -> Any:
    """A value from the model's metadata, None where it is not there."""
    try:
        return json.loads(properties.get(key, "null"))
    except json.JSONDecodeError as error:
        raise AttarError(f"{name}: the metadata '{key}' is no JSON: {error}.") from error


def is_frame(x: Any) -> bool:
    """Whether this is a table of pandas or polars."""
    return hasattr(x, "columns") and hasattr(x, "__getitem__")


def _all(truths: NDArray[np.bool_]) -> bool:
    """``truths.all()``, in half the time for a single row: its bytes are searched."""
    return b"\0" not in truths.tobytes()


def _any(truths: NDArray[np.bool_]) -> bool:
    """``truths.any()``, in half the time for a single row."""
    return b"\1" in truths.tobytes()


def transposed(owner: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Columns from rows; each row must have all the names of the first."""
    try:
        return {key: [row[key] for row in rows] for key in rows[0]}
    except KeyError as error:
        row = next(i for i, row in enumerate(rows) if error.args[0] not in row)
        raise AttarError(f"{owner}: row {row} has no column {error}; row 0 has it.") from None


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        size is None or size == got for got, size in zip(shape, wanted, strict=True)
    )


def _shape(wanted: tuple[int | None, ...]) -> str:
    """A shape as messages write it, ``[N, 1, 28, 28]``."""
    rows, *row = wanted
    sizes = ["N" if rows is None else rows, *("any" if size is None else size for size in row)]
    return f"[{', '.join(map(str, sizes))}]"


def first_line(error: BaseException) -> str:
    """The first line of a message: those of big libraries go on for pages."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
