"""What a run folder keeps for whoever draws or tests: answers, curves, samples, members."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.columns import decode_columns
from attar.evaluation import Interval, binomial_interval, crossed_interval, scores_from_logits
from attar.evaluation.evaluate import predict_logits
from attar.teachers import EnsembleTeacher, FunctionTeacher
from attar.types import Data

if TYPE_CHECKING:
    from attar.experiment.result import Experiment

#: At most so many test rows are kept as pictures, table rows or texts.
SAMPLES = 160
#: A kept picture is shrunk to this many pixels on its longer side.
PIXELS = 96
#: A kept text is cut after so many characters, a table row after so many columns.
CHARACTERS, COLUMNS = 2_000, 60
#: At most so many labelled training rows keep the teacher's answer beside the label.
LABELLED = 5_000
#: At most so many members of an ensemble are asked about the test rows one by one.
MEMBERS = 32


def contents(experiment: Experiment) -> dict[str, Any]:
    """All that a run folder holds beside the student, by file name: JSON values and arrays.

    ``result.json`` comes last: a folder that has it is a finished one.
    """
    found: dict[str, Any] = {}
    assert experiment.test.labels is not None
    arrays: dict[str, Tensor] = {
        "rows": experiment.test.rows,
        "labels": experiment.test.labels,
        **{name: arm.logits for name, arm in experiment.arms.items()},
    }
    if experiment.teacher_logits is not None:
        arrays["teacher"] = experiment.teacher_logits
    if experiment.labelled is not None:
        arrays["labelled-teacher"], arrays["labelled-labels"] = experiment.labelled
    for name, values in arrays.items():
        found[f"answers/{name}.npy"] = values.numpy()
    found["curves.json"] = curves(experiment)
    kept, pictures = samples(experiment)
    found["samples.json"] = kept
    if pictures is not None:
        found["samples.npy"] = pictures
    found["result.json"] = experiment.to_dict()
    return found


def curves(experiment: Experiment) -> list[dict[str, Any]]:
    """The training curve of every arm and seed."""
    return [
        {
            "arm": name,
            "seed": run.seed,
            "records": [
                {"step": r.step, "loss": r.loss, "validation": r.validation, "best": r.best}
                for r in run.records
            ],
        }
        for name, arm in experiment.arms.items()
        for run in arm.runs
    ]


def accuracy_interval(right: NDArray[np.bool_]) -> dict[str, float | None]:
    """The accuracy of ``right [S, R]`` with its interval, ready for JSON, within [0, 1].

    Over rows and seeds where there are several seeds; over rows alone where there is one.
    """
    seeds, rows = right.shape
    if seeds > 1:
        wide = crossed_interval(right.T.astype(np.float64))
    else:
        wide = binomial_interval(int(right.sum()), rows)
    narrow = Interval(
        wide.mean,
        max(0.0, wide.low),
        min(1.0, wide.high),
        wide.standard_error,
        wide.degrees,
        wide.level,
    )
    return narrow.to_dict()


def members(teacher: Any, test: Data) -> list[dict[str, Any]]:
    """What each member of an ensemble scores alone on the test rows.

    A function may be a service that is paid by the question: such members are not asked again.
    """
    if not isinstance(teacher, EnsembleTeacher) or len(teacher.active) < 2:
        return []
    assert test.labels is not None
    found: list[dict[str, Any]] = []
    for number, member in enumerate(teacher.active[:MEMBERS]):
        told: dict[str, Any] = {
            "name": f"{member.name} {number + 1}",
            "parameters": member.parameters,
            "bytes": member.bytes,
        }
        if not isinstance(member, FunctionTeacher):
            logits = predict_logits(member, test)
            scores = scores_from_logits(logits, test.labels, test.classes)
            right = (logits.argmax(dim=1) == test.labels).numpy()
            told |= {"accuracy": scores.accuracy, "nll": scores.nll, "ece": scores.ece}
            told["accuracy_interval"] = accuracy_interval(right[None])
        found.append(told)
    return found


def labelled_answers(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """What the teacher says of labelled training rows, at most :data:`LABELLED`, evenly taken."""
    step = -(-len(labels) // LABELLED)
    return logits[::step].clone(), labels[::step].clone()


def command() -> str | None:
    """The words of the command line, where the command ``attar`` made the experiment."""
    if re.fullmatch(r"attar(\.exe)?", Path(sys.argv[0]).name) is None:
        return None
    return shlex.join(["attar", *sys.argv[1:]])


def samples(experiment: Experiment) -> tuple[dict[str, Any], NDArray[np.uint8] | None]:
    """Some test rows as people see them: a picture, named values or a text.

    Returns:
        ``{"kind": "picture" | "row" | "text", "positions": [K], ...}`` and the pictures
        ``[K, C, H, W]``, C of 1 or 3. Positions are places in ``answers/rows.npy``.
    """
    positions = _worth_seeing(experiment)
    told: dict[str, Any] = {"kind": "none", "positions": positions.tolist()}
    texts = getattr(experiment.test, "texts", None)
    if texts is not None:
        told["kind"] = "text"
        told["texts"] = [str(texts[place])[:CHARACTERS] for place in positions.tolist()]
        return told, None
    inputs = experiment.test.batch(positions).inputs
    if not isinstance(inputs, Tensor):
        return told, None
    pictures = _pictures(inputs)
    if pictures is not None:
        return told | {"kind": "picture"}, pictures
    if inputs.ndim == 2:
        return told | {"kind": "row"} | _rows(inputs, experiment.columns), None
    return told, None


def _worth_seeing(experiment: Experiment) -> Tensor:
    """Positions of test rows: where teacher and student differ, errors, doubts, and plain ones."""
    labels = experiment.test.labels
    assert labels is not None
    student = experiment.arms["distilled"].logits[experiment.chosen].double().log_softmax(dim=1)
    told = experiment.teacher_logits
    teacher = student if told is None else told.double().log_softmax(dim=1)
    apart = (teacher.exp() * (teacher - student)).sum(dim=1)  # KL at T = 1, nats
    doubt = -(teacher.exp() * teacher).sum(dim=1)
    wrong = student.argmax(dim=1) != labels
    inherited = wrong & (student.argmax(dim=1) == teacher.argmax(dim=1))
    share = SAMPLES // 5
    picked = [
        apart.argsort(descending=True, stable=True)[:share],
        _largest(student.amax(dim=1), wrong & ~inherited, share),
        _largest(student.amax(dim=1), inherited, share),
        _of_every_class(doubt, labels, share),
        _of_every_class(-doubt, labels, share // 2),
        torch.arange(len(labels)),  # fill what room is left, in order
    ]
    every = torch.cat(picked)
    _, first = np.unique(every.numpy(), return_index=True)
    return every[torch.from_numpy(np.sort(first)[:SAMPLES])]


def _largest(values: Tensor, among: Tensor, count: int) -> Tensor:
    places = among.nonzero()[:, 0]
    order = values[places].argsort(descending=True, stable=True)
    return places[order[:count]]


def _of_every_class(values: Tensor, labels: Tensor, count: int) -> Tensor:
    """The rows of the largest values, a first one of every class, then a second one, ..."""
    order = values.argsort(descending=True, stable=True)
    of_class = labels[order]
    turn = torch.zeros(len(order), dtype=torch.int64)
    for code in np.unique(of_class.numpy()).tolist():
        same = of_class == code
        turn[same] = torch.arange(int(same.sum()))
    return order[turn.argsort(stable=True)[:count]]


def _pictures(inputs: Tensor) -> NDArray[np.uint8] | None:
    """``[K, C, H, W]`` bytes where the inputs look like grey or coloured pictures."""
    if inputs.ndim == 3:
        inputs = inputs[:, None]
    if inputs.ndim != 4 or inputs.shape[1] not in (1, 3) or min(inputs.shape[2:]) < 4:
        return None
    values = inputs.double()
    # Bytes as they are; 16 grey levels, [0, 1] or standardised values are stretched over them.
    plain = inputs.dtype == torch.uint8 and float(values.max()) > 100
    low = 0.0 if plain else min(0.0, float(values.min()))
    high = 255.0 if plain else float(values.max())
    values = (values - low) / max(high - low, 1e-12) * 255
    scale = PIXELS / max(values.shape[2:])
    if scale < 1:
        size = [max(1, round(side * scale)) for side in values.shape[2:]]
        values = torch.nn.functional.interpolate(values, size=size, mode="area")
    pictures: NDArray[np.uint8] = values.round().clamp(0, 255).to(torch.uint8).numpy()
    return pictures


def _rows(inputs: Tensor, columns: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Names and values of table rows, as they stood in the table."""
    if columns is None:
        names = [f"feature {place + 1}" for place in range(inputs.shape[1])]
        values: list[list[Any]] = [[float(f"{v:.6g}") for v in row] for row in inputs.tolist()]
    else:
        names = [str(column["name"]) for column in columns]
        values = decode_columns(inputs.numpy(), columns)
    return {
        "names": names[:COLUMNS],
        "values": [[_cut(value) for value in row[:COLUMNS]] for row in values],
        "left_out": max(0, len(names) - COLUMNS),
    }


def _cut(value: Any) -> Any:
    return value[:CHARACTERS] if isinstance(value, str) else value
