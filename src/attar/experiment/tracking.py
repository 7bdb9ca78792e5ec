"""Curves, scores and files of an experiment for a tracker: TensorBoard, MLflow, W&B, Trackio.

Every student is a run of its own in the tracker, so that the curves of all arms and seeds lie
over one another; one more run, ``experiment``, holds what came of it. What was logged is noted
in the run folder (``tracking.json``): a resumed experiment goes on in the same runs and logs
nothing twice. A tracker that fails is given up with a warning; the experiment goes on.
"""

from __future__ import annotations

import json
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from attar.checks import AttarError, MissingExtraError, need
from attar.engine import Record
from attar.experiment.arms import Setting
from attar.experiment.tracker import NAMES, Sink, name_of, short
from attar.files import write_text

if TYPE_CHECKING:
    from attar.experiment.result import Experiment

#: Files of a run folder that go to a tracker which keeps files.
_FILES = ("report.html", "summary.md", "result.json", "student.onnx")

_SCORES = ("accuracy", "nll", "brier", "ece", "agreement", "worst_class_accuracy")


def check_trackers(track: Any, *, kept: bool = True) -> list[Any]:
    """What ``track=`` was given, as a list of names and trackers that can be used.

    Args:
        track: None, one of tensorboard, mlflow, wandb, trackio, a tracker of accelerate's kind
            (an instance of ``accelerate.tracking.GeneralTracker``), or a list of these.
        kept: Whether there is a run folder; TensorBoard's files lie in it.

    Raises:
        AttarError: If it is neither, or one is given twice.
        MissingExtraError: If the library of a named one is not installed.

    >>> check_trackers("tensorbord")
    Traceback (most recent call last):
    attar.checks.AttarError: The 'track' parameter of distill must be one of tensorboard, mlflow,
    wandb, trackio, or an accelerate GeneralTracker. Got 'tensorbord' instead.
    """
    wanted = [] if track is None else list(track) if isinstance(track, list | tuple) else [track]
    if not wanted:
        return []
    tracking = need("accelerate.tracking", extra="train", purpose="Tracking")
    installed = {kind.value for kind in tracking.get_available_trackers()}
    for one in wanted:
        if isinstance(one, tracking.GeneralTracker):
            continue
        if one not in NAMES:
            raise AttarError(
                f"The 'track' parameter of distill must be one of {', '.join(NAMES)}, or an "
                f"accelerate GeneralTracker. Got {one!r} instead."
            )
        if one not in installed:
            raise MissingExtraError(
                f"track={one!r} needs {one}, which is not installed: pip install {one}"
            )
        if one == "tensorboard" and not kept:
            raise AttarError("track='tensorboard' writes into the run folder: give out=.")
    names = [name_of(one) for one in wanted]
    if len(set(names)) < len(names):
        raise AttarError(f"The 'track' parameter of distill names a tracker twice: {names}.")
    return wanted


class Tracking:
    """All trackers of one experiment, used as a context manager.

    Args:
        trackers: From :func:`check_trackers`.
        folder: The run folder, where what was logged is noted.
        title: What to call the experiment where a tracker shows several.
        config: Its numbers, for whoever filters runs by them.
    """

    def __init__(
        self, trackers: Sequence[Any], folder: Path, *, title: str, config: Mapping[str, Any]
    ) -> None:
        self._folder = folder
        self._marks = folder / "tracking.json"
        self._noted: dict[str, Any] = {}
        if trackers and self._marks.exists():
            self._noted = json.loads(self._marks.read_text("utf-8"))
        # A later experiment under the same name must not go on in the runs of this one.
        title = f"{title}-{time.strftime('%Y%m%d-%H%M%S')}"
        self._sinks = []
        for one in trackers:
            marks = self._noted.setdefault(name_of(one), {})
            marks.setdefault("title", title)
            self._sinks.append(Sink(one, folder, marks, self._note, config))

    def __enter__(self) -> Tracking:
        """Open each tracker once: one that cannot be reached is better known before the work."""
        for sink in self._sinks:
            try:
                sink.begin()
            except Exception as error:
                raise AttarError(
                    f"distill: the tracker {sink.name} does not start: {short(error)}. Put it "
                    "right, or leave it out; nothing was trained yet."
                ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sink in self._sinks:
            sink.tries(sink.close)

    @property
    def failures(self) -> list[str]:
        """Which trackers were given up, and why."""
        return [sink.failure for sink in self._sinks if sink.failure is not None]

    def record(self, setting: Setting, seed: int, record: Record) -> None:
        """Log a point of a student's curves, unless that was done before."""
        if not self._sinks:
            return
        values = {"train/loss": record.loss, "train/learning_rate": record.learning_rate}
        for name, value in record.parts.items():
            if value is not None:  # a loss may be called "<lambda>"; MLflow takes no such name
                plain = re.sub(r"[^\w./ -]", "_", name)
                values[f"train/{plain}"] = value
        if record.gradient_norm is not None:
            values["train/gradient_norm"] = record.gradient_norm
        values |= {f"validation/{name}": v for name, v in (record.validation or {}).items()}
        numbers = {name: getattr(setting, name) for name in Setting.__dataclass_fields__}
        config = {name: value for name, value in numbers.items() if value is not None}
        run = f"{setting.key}/seed-{seed}"
        for sink in self._sinks:
            sink.tries(partial(sink.point, run, {**config, "seed": seed}, values, record.step))

    def finish(self, experiment: Experiment) -> None:
        """Log what came of it, with the files of the run folder."""
        if not self._sinks:
            return
        summary = experiment.summary()
        if not (self._folder / "summary.md").exists():  # a folder that is not kept
            write_text("distill", self._folder / "summary.md", summary)
        if any(sink.needs_files for sink in self._sinks):
            try:
                experiment.report(self._folder / "report.html")
            except Exception as error:  # the page is for looking at; nothing hangs on it
                warnings.warn(f"no report page for the tracker: {short(error)}", stacklevel=2)
        files = [self._folder / name for name in _FILES if (self._folder / name).exists()]
        words = {"verdict": experiment.verdict, "sentence": experiment.comparison.reason}
        scores = scores_of(experiment)
        for sink in self._sinks:
            sink.tries(partial(sink.result, scores, words, summary, files))

    def _note(self) -> None:
        write_text("distill", self._marks, json.dumps(self._noted, indent=1))


def scores_of(experiment: Experiment) -> dict[str, float]:
    """The numbers of a finished experiment, flat: ``distilled/accuracy``, ``retention``, ...

    Of each arm the mean over seeds, and each seed's own under ``distilled/seed-0/accuracy``.
    """
    values: dict[str, float | None] = {
        f"teacher/{name}": getattr(experiment.teacher, name) for name in _SCORES
    }
    for name, arm in experiment.arms.items():
        for score in _SCORES:
            values[f"{name}/{score}"] = arm.mean(score)
            for run, scores in zip(arm.runs, arm.scores, strict=True):
                values[f"{name}/seed-{run.seed}/{score}"] = getattr(scores, score)
    gap = experiment.gap_recovered
    values["retention"] = experiment.retention
    values["gap_recovered"] = None if gap is None else gap.mean
    values["compression"] = experiment.compression
    for who, latency in experiment.latency.items():
        values[f"{who}/latency_p50_ms"] = latency.batches[1].p50_ms
    return {name: float(value) for name, value in values.items() if value is not None}
