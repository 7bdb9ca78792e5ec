"""One tracker of accelerate's, told about an experiment: which of its runs, and what is known."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attar.checks import need

#: Trackers that are known by name; each is also the package that brings it.
NAMES = ("tensorboard", "mlflow", "wandb", "trackio")

#: What runs are filed under: a project, or an experiment in MLflow's words.
PROJECT = "attar"

#: The run that holds what came of the experiment.
WHOLE = "experiment"


@dataclass
class Sink:
    """One tracker. Of those known by name, one run at a time is open.

    Args:
        wanted: A name of :data:`NAMES`, or a tracker of accelerate's kind: that one is a single
            run, so there the names of values begin with the run they belong to.
        folder: The run folder of the experiment.
        marks: What this tracker was told already: for each run its id and its last step.
        note: Writes the marks to disk. A mark is written before its value is sent, so a process
            that is killed between the two loses a point and never doubles one.
        config: The numbers of the experiment.
    """

    wanted: Any
    folder: Path
    marks: dict[str, Any]
    note: Callable[[], None]
    config: Mapping[str, Any]
    failure: str | None = field(default=None, init=False)
    _tracker: Any = field(default=None, init=False)
    _run: str | None = field(default=None, init=False)
    _accelerator: Any = field(default=None, init=False)

    @property
    def name(self) -> str:
        """What accelerate calls it."""
        return name_of(self.wanted)

    @property
    def needs_files(self) -> bool:
        """Whether it keeps files and was not given those of this experiment."""
        keeps = self.name in ("mlflow", "wandb") or hasattr(self.wanted, "log_artifact")
        return keeps and not self._mark(WHOLE).get("done")

    @property
    def _given(self) -> bool:
        """Whether the user made the tracker himself."""
        return not isinstance(self.wanted, str)

    def tries(self, step: Callable[[], None]) -> None:
        """Do it; a tracker that fails is given up, and that costs nothing but its curves."""
        if self.failure is not None:
            return
        try:
            step()
        except Exception as error:
            self.failure = (
                f"the tracker {self.name} failed and was given up: {short(error)}. Nothing of the "
                "experiment is lost; what is missing there is logged with resume=True (--resume)."
            )
            warnings.warn(self.failure, UserWarning, stacklevel=2)

    def point(
        self, run: str, config: Mapping[str, Any], values: Mapping[str, float], step: int
    ) -> None:
        """Log a point of a run's curves, unless that was done before."""
        mark = self._mark(run)
        before = mark.get("step", 0)
        if step <= before:
            return
        self.open(run, config)
        mark["step"] = step
        self.note()
        try:
            self._log(values, step)
        except Exception:
            mark["step"] = before
            self.note()
            raise

    def result(
        self,
        scores: Mapping[str, float],
        words: Mapping[str, str],
        summary: str,
        files: Sequence[Path],
    ) -> None:
        """Log what came of the experiment: files where it keeps them, else the summary as text."""
        mark = self._mark(WHOLE)
        if mark.get("done"):
            return
        self.open(WHOLE, {})
        self._log(scores)
        if self.name == "mlflow":  # whose metrics are numbers: words are parameters
            self._tracker.store_init_configuration(dict(words))
        else:
            self._log(words)
        keep = self._keeper()
        if keep is None:
            self._log({"summary": summary})
        else:
            for file in files:
                keep(file)
        mark["done"] = True
        self.note()

    def open(self, run: str, config: Mapping[str, Any]) -> None:
        """Have this run open, new or gone on with; the one before is closed."""
        if self._tracker is not None and (self._given or self._run == run):
            self._run = run
            return
        self.close()
        if self._accelerator is None:
            accelerate = need("accelerate", extra="train", purpose="Tracking")
            self._accelerator = accelerate.Accelerator(
                log_with=self.wanted, project_dir=str(self.folder)
            )
        mark = self._mark(run)
        known = {name: _plain(value) for name, value in {**self.config, **config}.items()}
        boards = self.name == "tensorboard" and not self._given
        self._accelerator.trackers = []
        self._accelerator.init_trackers(
            f"tensorboard/{run}" if boards else PROJECT,
            config=None if boards or "id" in mark else known,  # boards make a run of its own of it
            init_kwargs={} if self._given else {self.name: self._how(run, mark)},
        )
        self._tracker, self._run = self._accelerator.get_tracker(self.name), run
        mark.setdefault("id", self._id(run))
        self.note()

    def close(self) -> None:
        """End the run that is open, if one is."""
        if self._tracker is not None:
            tracker, self._tracker, self._run = self._tracker, None, None
            tracker.finish()

    def begin(self) -> None:
        """Open the run of the whole once, and close it unless it is the only one there is."""
        if self._mark(WHOLE).get("done"):
            return
        self.open(WHOLE, {})
        if not self._given:
            self.close()

    def _mark(self, run: str) -> dict[str, Any]:
        mark: dict[str, Any] = self.marks.setdefault("runs", {}).setdefault(run, {})
        return mark

    def _how(self, run: str, mark: Mapping[str, Any]) -> dict[str, Any]:
        """In each tracker's words: this run of this experiment, gone on with if it is there."""
        title = self.marks["title"]
        if self.name == "mlflow":
            tags = {"attar.experiment": title}
            if run != WHOLE:
                tags["mlflow.parentRunId"] = self._mark(WHOLE)["id"]  # shown as nested in it
            return {"run_id": mark.get("id"), "run_name": f"{title}/{run}", "tags": tags}
        if self.name == "wandb":
            known = {"id": mark["id"]} if "id" in mark else {}
            place = {"group": title, "dir": str(self.folder)}
            return {"name": f"{title}/{run}", "resume": "allow", **place, **known}
        if self.name == "trackio":
            return {"name": f"{title}/{run}", "resume": "allow"}
        return {}

    def _id(self, run: str) -> str:
        """What the tracker itself calls the run that is open."""
        if self._given:
            return run
        if self.name == "mlflow":
            return str(self._tracker.tracker.info.run_id)
        return str(self._tracker.tracker.id) if self.name == "wandb" else run

    def _log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        if self._given and self._run != WHOLE:
            values = {f"{self._run}/{name}": value for name, value in values.items()}
            if self.name == "wandb":  # one run alone must not go back in steps
                values, step = {**values, "step": step}, None
        self._tracker.log(dict(values), step=step)

    def _keeper(self) -> Callable[[Path], Any] | None:
        """How this tracker keeps a file; None where it keeps none."""
        keep = getattr(self._tracker, "log_artifact", None)
        if keep is not None:
            return lambda file: keep(str(file))
        if self.name == "wandb":
            run = self._tracker.tracker
            return lambda file: run.log_artifact(str(file), name=file.stem, type="attar")
        return None


def name_of(tracker: Any) -> str:
    """The name of a tracker, given by name or made already."""
    return tracker if isinstance(tracker, str) else str(tracker.name)


def short(error: Exception) -> str:
    """An error of another library in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _plain(value: Any) -> Any:
    """What every tracker takes as a parameter."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
