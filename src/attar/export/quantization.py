"""A smaller file of the same student, and what it costs: measured before it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from attar.checks import AttarError, check_number, need
from attar.data import as_data
from attar.evaluation import Latency, Scores, first_rows, latencies, scores_from_logits
from attar.export import narrow, runtime
from attar.export.graph import to_bytes
from attar.export.integers import CHUNK, Smaller, dynamic, logits_of, some_rows, static
from attar.files import write_whole
from attar.types import UNLABELLED, Data

OWNER = "quantize"

#: What each method does, in the words of reports.
METHODS = {
    "static": "int8 weights, uint8 activations with ranges from training rows",
    "dynamic": "int8 weights, uint8 activations with ranges found in each call",
    "float16": "weights kept in float16, computed in float32",
    "bfloat16": "weights kept in bfloat16, computed in float32",
}


@dataclass(frozen=True)
class Cost:
    """What the smaller file does on one set of labelled rows, beside the float student.

    Attributes:
        rows: Labelled rows.
        accuracy: Of the smaller file, a fraction.
        drop: Accuracy lost, in points (100 times the difference of the fractions); below 0
            where it is the better one.
        lost: Rows that the float student had right and the smaller file has wrong.
        won: The other way round: ``drop = 100 * (lost - won) / rows``.
        agreement: Fraction of the rows with the float student's class.
        ece: Expected calibration error of the smaller file.
        ece_before: Of the float student.
        worst_class: Its class of the lowest accuracy.
        worst_class_accuracy: That accuracy.
        worst_class_before: The float student's lowest accuracy of a class.
    """

    rows: int
    accuracy: float
    drop: float
    lost: int
    won: int
    agreement: float
    ece: float
    ece_before: float
    worst_class: str
    worst_class_accuracy: float
    worst_class_before: float


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
    calibration_rows: int = 1024,
    reduce_range: bool | None = None,
    seconds: float = 0.3,
) -> Quantized:
    """Write a student's file with smaller weights, unless that costs too much.

    The smaller file is measured against the float one through ONNX Runtime before it is
    written: accuracy, agreement, ECE, worst class, bytes, and the time of an answer (in turn, one
    thread). Where it loses more than ``max_drop`` points on ``validation``, nothing is written.

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
    _check(method, ranges, max_drop, seconds, calibration_rows)
    source = Path(source)
    before = runtime.load(source, threads=1)
    proto = _proto(source, before)
    # Where sums overflow, eight bits may still be the better ones: that is rare in many students.
    widths = (False, True) if reduce_range is None and narrow.saturates() else (bool(reduce_range),)
    if method in ("float16", "bfloat16"):
        made = Smaller(narrow.half(proto, method), None, False)
    elif method == "dynamic":
        rows = validation if train is None else train
        made = dynamic(
            proto, before, lambda: some_rows(proto, before, rows, calibration_rows), widths
        )
    else:
        if train is None:
            raise AttarError(
                f"{OWNER}: method='static' needs train=, rows that the student was trained on, to "
                f"know the ranges of its activations. method='dynamic' needs none."
            )
        made = static(
            proto, before, some_rows(proto, before, train, calibration_rows), ranges, widths
        )
    small = made.proto
    narrow.shorten_names(small)
    return finish(
        small,
        before,
        Path(path),
        method=method,
        bits=16 if method in ("float16", "bfloat16") else 7 if made.reduced else 8,
        ranges=made.ranges,
        properties=narrow.properties_of(source),
        bytes_before=source.stat().st_size,
        validation=validation,
        test=test,
        max_drop=max_drop,
        seconds=seconds,
    )


def finish(
    proto: Any,
    before: runtime.Student,
    path: Path,
    *,
    method: str,
    bits: int,
    ranges: str | None,
    properties: Mapping[str, str],
    bytes_before: int,
    validation: Any,
    test: Any,
    max_drop: float,
    seconds: float,
    parity: float | None = None,
) -> Quantized:
    """Measure a smaller graph against the float student, and write it where it is good enough."""
    count = len(before.classes)
    after = runtime.loads(to_bytes(proto, properties, classes=count), name=OWNER, threads=1)
    held = _held("validation", validation, before)
    # Ranges that are found in each call make a row's answer depend on the rows beside it: then
    # one row a call is measured, as in production.
    rows = 1 if method == "dynamic" else CHUNK
    cost = _cost(before, after, held, rows)
    if cost.drop > max_drop:
        raise AttarError(
            f"{OWNER}: {method} costs {cost.drop:.2f} points of accuracy on {cost.rows} "
            f"validation rows ({cost.lost} rows lost, {cost.won} won; agreement "
            f"{100 * cost.agreement:.2f} %), more than max_drop={max_drop:g}, and nothing was "
            "written. Train the student with rounding in it: attar.export.quantize_aware, "
            "or attar quantize --aware."
        )
    batches = first_rows(held.batch(torch.arange(min(64, len(held)))).inputs.numpy())
    timed = latencies({"before": before.predict, "after": after.predict}, batches, seconds=seconds)
    result = Quantized(
        path=path,
        method=method,
        bits=bits,
        ranges=ranges,
        validation=cost,
        test=None if test is None else _cost(before, after, _held("test", test, before), rows),
        bytes=0,
        bytes_before=bytes_before,
        latency=timed["after"],
        latency_before=timed["before"],
        parity=parity,
    )
    data = to_bytes(proto, _told(properties, result), classes=count)
    write_whole(OWNER, path, data)
    return replace(result, bytes=len(data))


def _check(
    method: str, ranges: str, max_drop: float, seconds: float, calibration_rows: int
) -> None:
    for name, value, known in (
        ("method", method, tuple(METHODS)),
        ("ranges", ranges, ("auto", *narrow.RANGES)),
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


def _cost(before: runtime.Student, after: runtime.Student, data: Data, rows: int) -> Cost:
    """Both on the same labelled rows, the smaller file on so many a call."""
    labels = data.labels
    assert labels is not None
    pieces = torch.split(torch.arange(len(data))[labels != UNLABELLED], CHUNK)
    batches = [data.batch(piece) for piece in pieces]
    truth = labels[labels != UNLABELLED].cpu()
    logits = {
        student: torch.cat([logits_of(student, batch.inputs.numpy(), many) for batch in batches])
        for student, many in ((before, CHUNK), (after, rows))
    }
    old: Scores = scores_from_logits(logits[before], truth, before.classes)
    new = scores_from_logits(logits[after], truth, before.classes, teacher_logits=logits[before])
    right = {student: said.argmax(dim=1) == truth for student, said in logits.items()}
    assert new.agreement is not None
    lost = int((right[before] & ~right[after]).sum())
    won = int((right[after] & ~right[before]).sum())
    return Cost(
        rows=new.rows,
        accuracy=new.accuracy,
        drop=100.0 * (lost - won) / new.rows,
        lost=lost,
        won=won,
        agreement=new.agreement,
        ece=new.ece,
        ece_before=old.ece,
        worst_class=new.worst_class,
        worst_class_accuracy=new.worst_class_accuracy,
        worst_class_before=old.worst_class_accuracy,
    )


def labelled(name: str, data: Data) -> None:
    """Raise unless some rows have a label."""
    if data.labels is None or not bool((data.labels != UNLABELLED).any()):
        raise AttarError(f"{OWNER}: {name} must have labels, to see what the rounding costs.")


def _held(name: str, value: Any, student: runtime.Student) -> Data:
    """Labelled rows with the student's classes."""
    data = as_data(value, classes=student.classes)
    labelled(name, data)
    return data


def _told(properties: Mapping[str, str], result: Quantized) -> dict[str, str]:
    """What the float file said about itself, and the cost of the rounding."""
    metadata = json.loads(properties.get("attar.metadata", "{}"))
    about = result.to_dict()
    for name in ("path", "bytes"):  # the file's own size is not known while it is written
        del about[name]
    told = {**properties, "attar.metadata": json.dumps({**metadata, "quantization": about})}
    return {**told, "attar.version": told.pop("attar.version")}  # last, as `to_onnx` writes it
