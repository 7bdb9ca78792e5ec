"""Quantization-aware distillation: the teacher guides a student that rounds as its file will."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attar.checks import AttarError, check_number
from attar.data import Batches, as_data
from attar.engine import Distiller, Record, TrainConfig
from attar.engine import train as learn
from attar.evaluation import accuracy, nll, predict_logits
from attar.export import narrow, runtime
from attar.export.cost import labelled
from attar.export.graph import WithProbabilities, to_bytes, trace
from attar.export.integers import Smaller, logits_of
from attar.export.onnx import to_onnx
from attar.export.quantization import OWNER as QUANTIZE
from attar.export.quantization import Quantized, check_cost, finish
from attar.export.rounding import settled, with_rounding
from attar.losses import Objective, hard, kl, soft
from attar.types import Data, Teacher

OWNER = "quantize_aware"

#: Rows that the file and the network are compared on.
_COMPARED = 1024

#: What is trained where nothing is said: so many passes, and at least so many steps.
_EPOCHS, _STEPS = 3, 300


def quantize_aware(
    student: nn.Module,
    path: str | Path,
    *,
    train: Any,
    teacher: Teacher,
    validation: Any,
    test: Any = None,
    epochs: int | None = None,
    learning_rate: float = 2e-4,
    batch_size: int = 256,
    temperature: float = 4.0,
    alpha: float = 0.9,
    seed: int = 0,
    max_drop: float = 0.3,
    tolerance: float = 0.1,
    reduce_range: bool | None = None,
    metadata: Mapping[str, Any] | None = None,
    columns: Sequence[Mapping[str, Any]] | None = None,
    checkpoint: str | Path | None = None,
    seconds: float = 0.3,
    progress: Callable[[Record], None] | None = None,
) -> Quantized:
    """Train a student a little longer with int8 rounding in it, then write it as int8.

    A copy of the student rounds weights and activations while it learns from the teacher's soft
    targets (:mod:`attar.export.rounding`), so that it finds weights that rounding does not hurt.
    What is written computes in integers where ONNX Runtime can, with the very steps that were
    trained; it is compared with the trained network, measured beside the float student, and
    refused beyond ``max_drop``, as by :func:`attar.export.quantize`.

    Args:
        student: The trained student; it stays as it is.
        path: Where to write; a file that is there is replaced.
        train: Training rows in their views: ``(X, y)`` or an object of :mod:`attar.data`.
        teacher: Called with batches of ``train``: ``StoredTeacher(store)``, say.
        validation: ``(X, y)`` or data; chooses the best weights, and holds the bound.
        test: Rows that decide nothing; their cost is reported once.
        epochs: Passes over the training rows; by default 3, or as many as make 300 steps.
        learning_rate: The highest one. The student is trained already: a tenth of what it was
            trained with, or less.
        batch_size: Rows a step.
        temperature: Of the soft targets, T.
        alpha: Weight of the soft targets; labels weigh ``1 - alpha``.
        seed: Of the order of the rows.
        max_drop: The most accuracy that may be lost on validation against the float student, in
            points.
        tolerance: The largest difference of a probability between the file and the trained
            network. Sums in another order can put a value that lies between two steps on the
            other one, so the two are close, not equal.
        reduce_range: Weights in 7 bits instead of 8, for x86 processors without VNNI; by default
            where this processor is one (:func:`attar.export.quantize` tells more).
        metadata: Anything that JSON can hold, kept in the file.
        columns: How a table becomes ``inputs``, kept in the file.
        checkpoint: A file to go on from where it exists, and to write to.
        seconds: How long each file is timed at each batch size.
        progress: Called with each record of the training.

    Raises:
        AttarError: If an argument is not as described, torch.fx cannot trace the student, the
            file differs from the network, or the cost is beyond ``max_drop``.

    Papers: Jacob et al. 2018 (see :func:`attar.export.quantize`); Polino, Pascanu, Alistarh 2018,
    "Model compression via distillation and quantization"; Mishra, Marr 2018, "Apprentice".
    """
    check_cost(max_drop, seconds)
    if epochs is not None:
        check_number(OWNER, "epochs", epochs, low=1, whole=True)
    check_number(OWNER, "batch_size", batch_size, low=1, whole=True)
    check_number(OWNER, "alpha", alpha, low=0.0, high=1.0)
    check_number(OWNER, "tolerance", tolerance, low=0.0, high=1.0)
    rows = as_data(train)
    held = as_data(validation, classes=rows.classes)
    labelled("validation", held)
    compared = _some(rows)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, "float.onnx")
        to_onnx(
            student,
            plain,
            example=compared,
            classes=rows.classes,
            metadata=metadata,
            columns=columns,
        )
        before = runtime.load(plain, threads=1)
        size, properties = plain.stat().st_size, narrow.properties_of(plain)
    reduced = narrow.saturates() if reduce_range is None else reduce_range
    rounding = with_rounding(student, reduce_range=reduced)
    terms = [soft(kl, alpha, temperature=temperature)] if alpha else []
    objective = Objective([*terms, *([hard(1 - alpha)] if alpha < 1 else [])])
    _learn(
        Distiller(rounding, objective, teacher),
        Batches(rows, batch_size, seed=seed),
        TrainConfig(
            steps=steps_of(len(rows), epochs=epochs, batch_size=batch_size),
            learning_rate=learning_rate,
            evaluate_every=max(1, len(rows) // batch_size),
            seed=seed,
        ),
        held,
        checkpoint=checkpoint,
        progress=progress,
    )
    network = settled(rounding)
    proto = trace(WithProbabilities(network).eval(), compared)
    narrow.fold_weights(proto)
    narrow.shorten_names(proto)
    parity = _parity(proto, network, compared, properties, tolerance)
    return finish(
        [Smaller(proto, "learned", reduced)],
        before,
        Path(path),
        method="qat",
        properties=properties,
        bytes_before=size,
        validation=held,
        test=None if test is None else as_data(test, classes=rows.classes),
        max_drop=max_drop,
        seconds=seconds,
        parity=parity,
    )


def steps_of(rows: int, *, epochs: int | None = None, batch_size: int = 256) -> int:
    """How many steps these passes over so many rows are."""
    if epochs is None:
        return max(_STEPS, _EPOCHS * rows // batch_size)
    return max(1, epochs * rows // batch_size)


def _learn(
    distiller: Distiller,
    batches: Batches,
    config: TrainConfig,
    held: Data,
    *,
    checkpoint: str | Path | None,
    progress: Callable[[Record], None] | None,
) -> None:
    """The fine-tuning; ends with the weights that were best on validation."""
    labels = held.labels
    assert labels is not None

    def judge(model: nn.Module) -> dict[str, float]:
        logits = predict_logits(model, held)
        return {"accuracy": accuracy(logits, labels), "nll": nll(logits, labels)}

    for record in learn(distiller, batches, config, validate=judge, checkpoint=checkpoint):
        if progress is not None:
            progress(record)


def _some(rows: Data) -> Tensor:
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:_COMPARED]
    inputs = rows.batch(order).inputs
    if not isinstance(inputs, Tensor):
        raise AttarError(f"{OWNER}: the student must take one tensor, not a mapping of these.")
    return inputs


def _parity(
    proto: Any,
    network: nn.Module,
    rows: Tensor,
    properties: Mapping[str, str],
    tolerance: float,
) -> float:
    """The largest difference of a probability between the file and the network."""
    classes = len(json.loads(properties["attar.classes"]))
    student = runtime.loads(to_bytes(proto, properties, classes=classes), name=QUANTIZE, threads=1)
    with torch.no_grad():
        expected = network(rows).softmax(dim=1)
    got = logits_of(student, rows.numpy()).softmax(dim=1)
    difference = float((got - expected).abs().max())
    if difference > tolerance:
        raise AttarError(
            f"{OWNER}: the int8 file does not answer as the trained network does, and was not "
            f"kept: over {len(rows)} rows, probabilities differ by up to {difference:.2e} "
            f"(allowed: {tolerance:.2e}). On an x86 processor without VNNI, reduce_range=True."
        )
    return difference
