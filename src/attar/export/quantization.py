"""A smaller file of the same student, and what it costs: measured before it is written."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from attar.checks import AttarError, check_number, need
from attar.evaluation import Latency, first_rows, latencies
from attar.export import narrow, runtime
from attar.export.cost import Cost, cost_of, held_rows
from attar.export.graph import to_bytes
from attar.export.integers import CHUNK, Smaller, dynamic, some_rows, static
from attar.files import write_text, write_whole

OWNER = "quantize"

#: What each method does, in the words of reports.
METHODS = {
    "static": "int8 weights, uint8 activations with ranges from training rows",
    "dynamic": "int8 weights, uint8 activations with ranges found in each call",
    "float16": "weights kept in float16, computed in float32",
    "bfloat16": "weights kept in bfloat16, computed in float32",
}


@dataclass(frozen=True)
class Quantized:
    """A smaller file, and what it costs.

    Attributes:
        path: The file.
        method: How it was made.
        bits: Of a weight: 8, 7 with ``reduce_range``, 16 of the half types.
        ranges: Where the ranges of the activations come from; None where there are none.
        validation: The cost on the rows that the bound was held against.
        test: The cost on rows that decided nothing; None without any.
        bytes: Size of the file.
        bytes_before: Size of the float file.
        latency: Time of an answer, one thread.
        latency_before: The same of the float file, timed in turn with it.
        parity: The largest difference of a probability between the file and the network that
            was trained with rounding in it; None for the other methods.
        float_layers: Which layers stayed float32: ``"none"``, ``"first"`` or ``"ends"``.
    """

    path: Path
    method: str
    bits: int
    ranges: str | None
    validation: Cost
    test: Cost | None
    bytes: int
    bytes_before: int
    latency: Latency
    latency_before: Latency
    parity: float | None = None
    float_layers: str = "none"

    @property
    def latency_ratio(self) -> dict[int, float]:
        """Rows a call -> median time over that of the float file; below 1 is faster."""
        before = self.latency_before.batches
        return {n: t.p50_ms / before[n].p50_ms for n, t in self.latency.batches.items()}

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        values = asdict(replace(self, path=self.path.name))  # type: ignore[arg-type]
        return values | {
            "latency": self.latency.to_dict(),
            "latency_before": self.latency_before.to_dict(),
            "latency_ratio": {str(rows): ratio for rows, ratio in self.latency_ratio.items()},
        }

    def save(self, folder: str | Path) -> Path:
        """Write the cost into a run folder's ``quantized.json``, where the report finds it.

        It keeps one entry a method, the last one.

        Raises:
            AttarError: If the file that is there is none of Attar's, or it cannot be written.
        """
        path = Path(folder) / "quantized.json"
        try:
            kept = json.loads(path.read_text("utf-8"))["files"] if path.exists() else []
            others = [one for one in kept if one["method"] != self.method]
        except (ValueError, KeyError, TypeError) as error:
            raise AttarError(
                f"{OWNER}: {path} is not what Attar writes: {error!r}. Remove it, and run again."
            ) from error
        text = json.dumps({"files": [*others, self.to_dict()]}, indent=1, allow_nan=False)
        write_text(OWNER, path, text)
        return path


def quantize(
    source: str | Path,
    path: str | Path,
    *,
    validation: Any,
    train: Any = None,
    test: Any = None,
    method: str = "static",
    max_drop: float = 0.3,
    ranges: str = "auto",
    float_layers: str = "auto",
    calibration_rows: int = 1024,
    reduce_range: bool | None = None,
    seconds: float = 0.3,
) -> Quantized:
    """Write a student's file with smaller weights, unless that costs too much.

    The smaller file is measured against the float one through ONNX Runtime before it is
    written: accuracy, agreement, ECE, worst class, bytes, and the time of an answer (in turn, one
    thread). Where it loses more than ``max_drop`` points on ``validation``, the first layer stays
    float32, then the first and the last; where that does not help either, nothing is written.

    Integers do not make every student faster: on the networks of a few thousand parameters that
    run in 15 microseconds, ONNX Runtime's float kernels are the quicker ones. The result says.

    Args:
        source: The student's ONNX file, by :func:`attar.export.to_onnx`.
        path: Where to write; a file that is there is replaced.
        validation: ``(X, y)`` or an object of :mod:`attar.data`, for the bound.
        train: Training rows, labelled or not, that the ranges of the activations are taken from
            (``method="static"``): ``(X, None)`` or data.
        test: Rows that decide nothing; their cost is reported once.
        method: ``"static"``, ``"dynamic"``, ``"float16"`` or ``"bfloat16"``. With ``"dynamic"``
            an answer depends a little on the rows that are asked about in the same call. Rounding
            that the student is trained with is :func:`attar.export.quantize_aware`.
        max_drop: The most accuracy that may be lost on validation, in points.
        ranges: ``"minmax"``, ``"percentile"`` (without the rarest 0.01 %), ``"entropy"``, or
            ``"auto"``: of the first two the one whose probabilities are nearer to the float
            student's on the training rows.
        float_layers: Which convolutions and linear layers of int8 stay float32: ``"none"``,
            ``"first"``, ``"ends"`` (the first and the last), or ``"auto"``: the first of these
            that holds the bound.
        calibration_rows: How many training rows, the first ones in a random order.
        reduce_range: Weights in 7 bits instead of 8. On x86 processors without VNNI, sums of
            8-bit products may overflow in ONNX Runtime. By default 8 bits; on such a processor
            what is nearer to the float student's probabilities, on rows of ``train`` (or of
            ``validation`` without these). For a file that is to run on an older processor than
            this one, True.
        seconds: How long each file is timed at each batch size.

    Raises:
        AttarError: If an argument is not as described, the file is none of Attar's, or the cost
            on validation is beyond ``max_drop``: then the message says what it was.

    Paper: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference".

    >>> import pathlib, tempfile, torch
    >>> from attar.export import quantize, to_onnx
    >>> _ = torch.manual_seed(0)
    >>> model, X = torch.nn.Linear(64, 2), torch.randn(256, 64)
    >>> y = model(X).argmax(dim=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     student = pathlib.Path(folder, "student.onnx")
    ...     _ = to_onnx(model, student, example=X, classes=["left", "right"])
    ...     small = quantize(student, pathlib.Path(folder, "int8.onnx"), train=(X, None),
    ...                      validation=(X, y), max_drop=2.0, seconds=0.01)
    >>> small.validation.rows, small.validation.agreement > 0.98
    (256, True)
    """
    _check(method, ranges, float_layers, max_drop, seconds, calibration_rows)
    source = Path(source)
    before = runtime.load(source, threads=1)
    proto = _proto(source, before)
    if method == "static" and train is None:
        raise AttarError(
            f"{OWNER}: method='static' needs train=, rows that the student was trained on, to "
            f"know the ranges of its activations. method='dynamic' needs none."
        )

    choices = narrow.float_choices(proto)
    if float_layers not in ("auto", *choices):
        raise AttarError(
            f"{OWNER}: float_layers={float_layers!r} leaves no layer of {source} to round. Use "
            f"one of {', '.join(('auto', *choices))}."
        )

    @functools.cache
    def rows() -> Any:
        return some_rows(proto, before, validation if train is None else train, calibration_rows)

    def made() -> Iterator[Smaller]:
        if method in ("float16", "bfloat16"):
            yield Smaller(narrow.half(proto, method), None, False)
            return
        # Where sums overflow, eight bits may still be better: that is rare in many students.
        either = reduce_range is None and narrow.saturates()
        widths = (False, True) if either else (bool(reduce_range),)
        for kept in choices if float_layers == "auto" else (float_layers,):
            if method == "dynamic":
                yield dynamic(proto, before, rows, widths, kept)
            else:
                yield static(proto, before, rows(), ranges, widths, kept)

    return finish(
        made(),
        before,
        Path(path),
        method=method,
        properties=narrow.properties_of(source),
        bytes_before=source.stat().st_size,
        validation=validation,
        test=test,
        max_drop=max_drop,
        seconds=seconds,
    )


def finish(
    made: Iterable[Smaller],
    before: runtime.Student,
    path: Path,
    *,
    method: str,
    properties: Mapping[str, str],
    bytes_before: int,
    validation: Any,
    test: Any,
    max_drop: float,
    seconds: float,
    parity: float | None = None,
) -> Quantized:
    """Measure smaller graphs against the float student; write the first that is good enough."""
    count = len(before.classes)
    held = held_rows("validation", validation, before)
    # Ranges that are found in each call make a row's answer depend on the rows beside it: then
    # one row a call is measured, as in production.
    rows = 1 if method == "dynamic" else CHUNK
    tried = []
    for one in made:
        narrow.shorten_names(one.proto)
        data = to_bytes(one.proto, properties, classes=count)
        after = runtime.loads(data, name=OWNER, threads=1)
        cost = cost_of(before, after, held, rows)
        tried.append((cost, one))
        if cost.drop <= max_drop:
            break
    else:
        raise AttarError(_too_much(method, tried, max_drop))
    batches = first_rows(held.batch(torch.arange(min(64, len(held)))).inputs.numpy())
    timed = latencies({"before": before.predict, "after": after.predict}, batches, seconds=seconds)
    result = Quantized(
        path=path,
        method=method,
        bits=16 if method in ("float16", "bfloat16") else 7 if one.reduced else 8,
        ranges=one.ranges,
        validation=cost,
        test=None
        if test is None
        else cost_of(before, after, held_rows("test", test, before), rows),
        bytes=0,
        bytes_before=bytes_before,
        latency=timed["after"],
        latency_before=timed["before"],
        parity=parity,
        float_layers=one.float_layers,
    )
    data = to_bytes(one.proto, _told(properties, result), classes=count)
    write_whole(OWNER, path, data)
    return replace(result, bytes=len(data))


#: What stayed float32, for messages.
KEPT = {"none": "", "first": ", the first layer in float32", "ends": ", both ends in float32"}


def _too_much(method: str, tried: list[tuple[Cost, Smaller]], max_drop: float) -> str:
    """Why nothing was written: the cheapest of what was tried."""
    cost, one = min(tried, key=lambda each: each[0].drop)
    return (
        f"{OWNER}: {method}{KEPT[one.float_layers]} costs {cost.drop:.2f} points of accuracy on "
        f"{cost.rows} validation rows ({cost.lost} rows lost, {cost.won} won; agreement "
        f"{100 * cost.agreement:.2f} %), more than max_drop={max_drop:g}, and nothing was "
        "written. Train the student with rounding in it: attar.export.quantize_aware, "
        "or attar quantize --aware."
    )


def _check(
    method: str,
    ranges: str,
    float_layers: str,
    max_drop: float,
    seconds: float,
    calibration_rows: int,
) -> None:
    for name, value, known in (
        ("method", method, tuple(METHODS)),
        ("ranges", ranges, ("auto", *narrow.RANGES)),
        ("float_layers", float_layers, ("auto", *narrow.FLOAT_LAYERS)),
    ):
        if value not in known:
            raise AttarError(f"{OWNER}: {name} must be one of {', '.join(known)}. Got {value!r}.")
    check_cost(max_drop, seconds)
    check_number(OWNER, "calibration_rows", calibration_rows, low=1, whole=True)


def check_cost(max_drop: float, seconds: float) -> None:
    """Raise unless the bound is in points and the time is one."""
    check_number(OWNER, "max_drop", max_drop, low=0.0, high=100.0)
    check_number(OWNER, "seconds", seconds, low=0.0)


def _proto(source: Path, student: runtime.Student) -> Any:
    onnx = need("onnx", extra="train", purpose="quantization")
    proto = onnx.load(source, load_external_data=False)
    if student.version is None:
        raise AttarError(
            f"{OWNER}: {source} is no file of Attar's. Export the student with "
            f"attar.export.to_onnx first."
        )
    if any(node.op_type == "QuantizeLinear" for node in proto.graph.node) or "quantization" in (
        student.metadata
    ):
        raise AttarError(f"{OWNER}: {source} is quantized already. Start from the float file.")
    return proto


def _told(properties: Mapping[str, str], result: Quantized) -> dict[str, str]:
    """What the float file said about itself, and the cost of the rounding."""
    metadata = json.loads(properties.get("attar.metadata", "{}"))
    about = result.to_dict()
    for name in ("path", "bytes"):  # the file's own size is not known while it is written
        del about[name]
    told = {**properties, "attar.metadata": json.dumps({**metadata, "quantization": about})}
    return {**told, "attar.version": told.pop("attar.version")}  # last, as `to_onnx` writes it
