"""A finished run as plain data: what a folder, or an experiment in memory, says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError
from attar.report.parts import FolderParts, Node, check_array

VERDICTS = ("BEATS", "NO GAIN", "WORSE", "INCONCLUSIVE")
#: The arms in the order in which they are shown, and what people call them.
ARMS = {
    "hard": "hard labels",
    "smoothed": "smoothed labels",
    "pseudo": "pseudo-labels",
    "distilled": "distilled",
}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """The score that is drawn and compared, from what is worth nothing to 1.

    Attributes:
        name: As a heading names it.
        explained: What it is, for someone who reads it for the first time; ends a sentence.
    """

    name: str
    explained: str

    @property
    def heading(self) -> str:
        """The name at the start of a sentence.

        >>> MEASURES["multilabel"].heading
        'Accuracy a label'
        """
        return self.name[:1].upper() + self.name[1:]


#: By task; a regression of quantiles is told by its levels.
MEASURES = {
    "multiclass": Measure("accuracy", "the share of the test rows that is answered right"),
    "multilabel": Measure("accuracy a label", "the share of all labels that is answered right"),
    "regression": Measure("R²", "the share of the variance of the labels that is explained"),
    "quantiles": Measure(
        "pinball loss saved", "against the labels' own quantiles, which know nothing of a row"
    ),
}


@dataclass(frozen=True)
class Span:
    """A mean with the ends of its 95 % interval; ends are None where there is no interval."""

    mean: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def read(cls, node: Node) -> Span | None:
        """From ``{"mean", "low", "high"}``; None where that is missing."""
        if not node:
            return None
        mean = node["mean"].needed(node["mean"].number())
        return cls(mean, node["low"].number(), node["high"].number())


@dataclass(frozen=True)
class Seed:
    """One trained student of an arm: its seed and its scores; ``score`` is the run's measure."""

    seed: int
    validation: Mapping[str, float | None]
    score: float
    nll: float | None
    ece: float | None
    brier: float | None
    errors: int | None
    inherited: int | None
    own: int | None


@dataclass(frozen=True)
class Arm:
    """One arm: how it was set, the run's measure with an interval, and every seed."""

    name: str
    setting: Mapping[str, Any]
    score: Span
    seeds: tuple[Seed, ...]

    def mean(self, score: str) -> float | None:
        """The mean over seeds of one score; None where a seed lacks it."""
        values = [getattr(seed, score) for seed in self.seeds]
        return None if None in values or not values else float(np.mean(values))


@dataclass(frozen=True)
class Model:
    """The teacher, a member of it, or the student: size, time, scores."""

    name: str
    parameters: int | None = None
    bytes: int | None = None
    score: Span | None = None
    nll: float | None = None
    ece: float | None = None
    errors: int | None = None
    #: Rows a call -> (p50, p99) in milliseconds.
    latency: Mapping[int, tuple[float, float]] | None = None


@dataclass(frozen=True)
class Run:
    """A finished experiment, read once and checked; see :func:`as_run`.

    Attributes:
        name: Of the folder, or ``"experiment"``.
        verdict: One of :data:`VERDICTS`.
        sentence: Why.
        classes: Names in label order.
        teacher: The whole teacher.
        members: Of an ensemble.
        student: The shipped one.
        student_seed: Its seed.
        arms: By name, in the order of :data:`ARMS`.
        told: The checked ``result.json``, for what is only shown.
        parts: Its files, by name.
        task: ``"multiclass"``, ``"multilabel"``, ``"regression"`` or ``"quantiles"``.
    """

    name: str
    verdict: str
    sentence: str
    classes: tuple[str, ...]
    teacher: Model
    members: tuple[Model, ...]
    student: Model
    student_seed: int
    arms: Mapping[str, Arm]
    told: Node
    parts: Mapping[str, Any]
    task: str = "multiclass"

    @property
    def measure(self) -> Measure:
        """What ``score`` is in this run."""
        return MEASURES[self.task]

    @cached_property
    def truth(self) -> Floats | None:
        """``[N, D]`` the labels that are no classes, NaN where not known; None of classes."""
        value = self.parts.get("answers/labels.npy")
        if value is None or self.task == "multiclass":
            return None
        shape = (None, len(self.classes))
        return np.asarray(check_array(value, "answers/labels.npy", kinds="f", shape=shape))

    def told_columns(self, who: str) -> Floats | None:
        """``[S, N, D]`` values or logits of an arm, or of the ``"teacher"`` (then S is 1)."""
        value, truth = self.parts.get(f"answers/{who}.npy"), self.truth
        if value is None or truth is None:
            return None
        seeds = () if who == "teacher" else (len(self.arms[who].seeds),)
        found = check_array(value, f"answers/{who}.npy", kinds="f", shape=(*seeds, *truth.shape))
        values = np.asarray(found, dtype=np.float64)
        if not np.isfinite(values).all():
            raise AttarError(f"report: answers/{who}.npy must be finite. Got NaN or infinity.")
        return values[None] if who == "teacher" else values

    @cached_property
    def labels(self) -> NDArray[np.int64] | None:
        """``[N]`` true classes of the test rows; None where there are none, or none are kept."""
        value = self.parts.get("answers/labels.npy")
        if value is None or self.task != "multiclass":
            return None
        labels = check_array(value, "answers/labels.npy", kinds="iu", shape=(None,))
        return _classes("answers/labels.npy", labels, len(self.classes))

    @cached_property
    def rows(self) -> NDArray[np.int64] | None:
        """``[N]`` row numbers of the test rows."""
        value, labels = self.parts.get("answers/rows.npy"), self.labels
        if value is None or labels is None:
            return None
        rows = check_array(value, "answers/rows.npy", kinds="iu", shape=labels.shape)
        return np.asarray(rows, dtype=np.int64)

    @cached_property
    def teacher_logits(self) -> NDArray[np.float32] | None:
        """``[N, C]`` on the test rows."""
        return self._answers("answers/teacher.npy", seeds=False)

    def logits(self, arm: str) -> NDArray[np.float32] | None:
        """``[S, N, C]`` of every seed of an arm on the test rows."""
        return self._answers(f"answers/{arm}.npy", seeds=True) if arm in ARMS else None

    @cached_property
    def student_logits(self) -> NDArray[np.float32] | None:
        """``[N, C]`` of the shipped student on the test rows."""
        return self.of_seed("distilled")

    def of_seed(self, arm: str) -> NDArray[np.float32] | None:
        """``[N, C]`` of an arm's student under the seed of the shipped one."""
        every = self.logits(arm)
        if every is None:
            return None
        seeds = [seed.seed for seed in self.arms[arm].seeds]
        one: NDArray[np.float32] = every[
            seeds.index(self.student_seed) if self.student_seed in seeds else 0
        ]
        return one

    def _answers(self, name: str, *, seeds: bool) -> NDArray[np.float32] | None:
        value, labels = self.parts.get(name), self.labels
        if value is None or labels is None:
            return None
        shape: tuple[int, ...] = (len(labels), len(self.classes))
        if seeds:
            arm = name.removeprefix("answers/").removesuffix(".npy")
            shape = (len(self.arms[arm].seeds), *shape)
        found = check_array(value, name, kinds="f", shape=shape)
        if not np.isfinite(found).all():
            raise AttarError(f"report: {name} must be finite. Got NaN or infinity; save it again.")
        return cast("NDArray[np.float32]", found)

    @cached_property
    def names(self) -> list[str]:
        """The class names for the page's script, cut so that all of them stay small together."""
        limit = max(40, min(500, 400_000 // len(self.classes)))
        return [n if len(n) <= limit else f"{n[: limit - 1]}…" for n in self.classes]

    @property
    def temperature(self) -> float | None:
        """Of the distilled arm."""
        return Node(dict(self.arms["distilled"].setting), "result.json", "setting")[
            "temperature"
        ].number(0, 1e6)


def as_run(source: Any) -> Run:
    """A run from a run folder, from an :class:`attar.Experiment`, or as it is.

    Args:
        source: The folder of a finished run; anything whose ``contents()`` gives the files of
            one by name; or a :class:`Run`.

    Raises:
        AttarError: If the folder is not that of a finished run, or a file in it is not what
            Attar writes; the message names the file and the value.
    """
    if isinstance(source, Run):
        return source
    if hasattr(source, "contents"):
        return read_run("experiment", source.contents())
    folder = Path(source)
    if not folder.is_dir():
        raise AttarError(f"report: {folder} is no run folder. Give the folder that --out named.")
    parts = FolderParts(folder)
    if "result.json" not in parts:
        raise AttarError(
            f"report: {folder} has no result.json: the run is not finished. Go on with it: "
            "attar distill ... --resume."
        )
    return read_run(folder.resolve().name, parts)


def read_run(name: str, parts: Mapping[str, Any]) -> Run:
    """A run from the files of its folder, by name; see :func:`as_run`."""
    told = Node(parts["result.json"], "result.json")
    task = _task(told)
    verdict = told["verdict"].needed(told["verdict"].text())
    if verdict not in VERDICTS:
        raise AttarError(f"report: result.json: verdict must be one of {VERDICTS}. Got {verdict}.")
    classes = tuple(str(node.needed(node.text())) for node in told["classes"].list())
    if len(classes) < 2 and task == "multiclass":
        raise AttarError(f"report: result.json: classes must be two or more. Got {len(classes)}.")
    arms = {arm: _arm(arm, told["arms"][arm], task) for arm in ARMS if told["arms"][arm]}
    if "distilled" not in arms or "hard" not in arms:
        raise AttarError("report: result.json: arms must hold at least 'hard' and 'distilled'.")
    teacher = told["teacher"]
    student, sizes = told["student"], told["sizes"]
    return Run(
        name=name,
        verdict=verdict,
        sentence=told["sentence"].text() or "",
        classes=classes,
        teacher=Model(
            name=teacher["name"].text() or "teacher",
            parameters=sizes["teacher_parameters"].count(),
            bytes=sizes["teacher_bytes"].count(),
            score=_accuracy(teacher["accuracy_interval"], teacher["scores"]["accuracy"])
            if task == "multiclass"
            else Span.read(teacher["score_interval"]),
            nll=teacher["scores"]["nll"].number(),
            ece=teacher["scores"]["ece"].number(0, 1),
            errors=teacher["scores"]["errors"].count(),
            latency=_latency(told["latency"]["teacher"]),
        ),
        members=tuple(_member(node) for node in teacher["members"].list()[:100]),
        student=Model(
            name=student["name"].text() or "student",
            parameters=sizes["student_parameters"].count(),
            bytes=told["export"]["bytes"].count() or sizes["student_bytes"].count(),
            latency=_latency(told["latency"]["student"]),
        ),
        student_seed=int(student["seed"].needed(student["seed"].count())),
        arms=arms,
        told=told,
        parts=parts,
        task=task,
    )


def _task(told: Node) -> str:
    task = told["task"].text() or "multiclass"
    if task == "regression" and told["levels"]:
        return "quantiles"
    if task not in MEASURES or task == "quantiles":
        raise AttarError(
            "report: result.json: task must be multiclass, multilabel or regression. Got "
            f"{task[:40]}."
        )
    return task


def _classes(name: str, labels: NDArray[Any], classes: int) -> NDArray[np.int64]:
    found = np.asarray(labels, dtype=np.int64)
    if found.min() < 0 or found.max() >= classes:
        raise AttarError(
            f"report: {name} must hold classes from 0 to {classes - 1}. Got {found.min()} to "
            f"{found.max()}."
        )
    return found


def _accuracy(interval: Node, mean: Node) -> Span | None:
    value = mean.number(0, 1)
    return Span.read(interval) or (None if value is None else Span(value))


def _arm(name: str, node: Node, task: str) -> Arm:
    read = _seed if task == "multiclass" else _task_seed
    seeds = tuple(read(one) for one in node["runs"].list())
    if not seeds:
        raise AttarError(f"report: result.json: arms.{name} must have at least one run. Got none.")
    setting = {
        key: value.value
        for key, value in node["setting"].items()
        if isinstance(value.value, int | float)
    }
    told = Span.read(node["accuracy_interval" if task == "multiclass" else "score_interval"])
    return Arm(name, setting, told or Span(float(np.mean([s.score for s in seeds]))), seeds)


def _seed(node: Node) -> Seed:
    test = node["test"]
    return Seed(
        seed=int(node["seed"].needed(node["seed"].count())),
        validation={
            "accuracy": node["validation"]["accuracy"].number(0, 1),
            "nll": node["validation"]["nll"].number(),
        },
        score=test["accuracy"].needed(test["accuracy"].number(0, 1)),
        nll=test["nll"].number(),
        ece=test["ece"].number(0, 1),
        brier=test["brier"].number(),
        errors=test["errors"].count(),
        inherited=test["errors_inherited"].count(),
        own=test["errors_own"].count(),
    )


def _task_seed(node: Node) -> Seed:
    """Of a task without classes: its one score, and what is like it on validation."""
    return Seed(
        seed=int(node["seed"].needed(node["seed"].count())),
        validation={"accuracy": like_score(node["validation"]), "nll": None},
        score=node["score"].needed(node["score"].number()),
        nll=node["test"]["nll"].number(),
        ece=None,
        brier=None,
        errors=None,
        inherited=None,
        own=None,
    )


def like_score(validation: Node) -> float | None:
    """What is drawn of a validation: accuracy, or 1 - the error over the labels' spread."""
    value = validation["accuracy"].number(0, 1)
    if value is not None:
        return value
    error = validation["mse"].number(0)
    error = validation["pinball"].number(0) if error is None else error
    return None if error is None else 1 - error


def _member(node: Node) -> Model:
    return Model(
        name=node["name"].text() or "member",
        parameters=node["parameters"].count(),
        bytes=node["bytes"].count(),
        score=_accuracy(node["accuracy_interval"], node["accuracy"]),
        nll=node["nll"].number(),
        ece=node["ece"].number(0, 1),
        latency=_latency(node["latency"]),
    )


def _latency(node: Node) -> dict[int, tuple[float, float]] | None:
    found = {}
    for rows, timing in node.items():
        p50, p99 = timing["p50_ms"].number(0), timing["p99_ms"].number(0)
        if rows.isdecimal() and len(rows) < 9 and p50 is not None and p99 is not None:
            found[int(rows)] = (p50, p99)
    return found or None
