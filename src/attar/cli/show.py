"""What the user sees: progress on stderr, results on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from attar.experiment import Experiment, Ladder

#: Where nobody watches (a log), a line comes at most so often, in seconds.
QUIET = 10.0

#: Columns of a page that is no terminal: a log or a file wraps nothing by itself.
_PAGE = 120

#: The colour of each verdict; the word itself is printed with it.
_COLOURS = {"BEATS": "green", "NO GAIN": "yellow", "WORSE": "red", "INCONCLUSIVE": "yellow"}


class Step(Protocol):
    """What :class:`Reporter` is told; :class:`attar.experiment.Progress` is one."""

    @property
    def stage(self) -> str:
        """A word; another one begins another bar."""
        ...

    @property
    def message(self) -> str:
        """For a person."""
        ...

    @property
    def done(self) -> int:
        """Of ``total``."""
        ...

    @property
    def total(self) -> int:
        """0 where there is nothing to count."""
        ...


def console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is: names of classes and files are no markup."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PAGE
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=width)


class Reporter:
    """Progress as bars on a terminal, and as a line now and then where nobody watches.

    Used as a context manager and called with each :class:`Step`.

    Args:
        console: Where to print; stderr by default, which leaves stdout to results.
        clock: Seconds; what decides whether it is time for another line.
    """

    def __init__(
        self, console_: Console | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console_ or console(stderr=True)
        self._clock = clock
        self._stage: str | None = None
        self._last = 0.0
        self._began, self._first, self._total = 0.0, 0, 0
        self._bars: Progress | None = None
        self._bar: TaskID | None = None
        if self._console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}", markup=False),
                TimeRemainingColumn(),
                console=self._console,
            )

    def __enter__(self) -> Reporter:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, step: Step) -> None:
        """Tell of one step."""
        self.tell(step.stage, step.message, step.done, step.total)

    def tell(self, stage: str, message: str, done: int = 0, total: int = 0) -> None:
        """The same, by its parts."""
        new = stage != self._stage
        self._stage = stage
        if new or total != self._total:  # other rows: those of validation, say
            self._began, self._first, self._total = self._clock(), done, total
        if self._bars is None:
            self._line(message, done, total, due=new or not total)
            return
        if not total:
            self._bars.console.print(message)
            return
        if new or self._bar is None:
            self._bar = self._bars.add_task(message, total=total, rate="")
        rate = self._rate(done)
        words = f"{rate:,.0f} rows/s" if rate and stage == "label" else ""
        self._bars.update(self._bar, description=message, completed=done, total=total, rate=words)

    def counter(self, stage: str, message: str) -> Callable[[int, int], None]:
        """A function of (done, total) that tells of this stage."""
        return lambda done, total: self.tell(stage, message, done, total)

    def _line(self, message: str, done: int, total: int, *, due: bool) -> None:
        now = self._clock()
        if due or now - self._last >= QUIET:
            self._last = now
            words = f"{message} ({done:,} of {total:,}" if total else message
            rate = self._rate(done)
            if total and rate:
                if self._stage == "label":
                    words += f", {rate:,.0f} rows/s"
                from attar.experiment.progress import duration  # loads torch, which is at work now

                words += f", {duration((total - done) / rate)} left" if done < total else ""
            self._console.print(words + ")" if total else words)

    def _rate(self, done: int) -> float:
        """What was done a second since this stage began; 0 where that is not known yet."""
        seconds = self._clock() - self._began
        return (done - self._first) / seconds if seconds > 0 and done > self._first else 0.0


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table, the first column to the left and numbers to the right."""
    grid = Table(show_edge=False, pad_edge=False)
    for place, name in enumerate(head):
        grid.add_column(name, justify="right" if place else "left", overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


def show_experiment(experiment: Experiment, folder: Path, *, demo: bool = False) -> None:
    """The table, the verdict, the lines of the summary, and what to do next.

    Args:
        experiment: A finished one.
        folder: Where it was saved.
        demo: Whether the user has still to be told how to run it on other data.
    """
    page = console()
    page.print()
    page.print(table(*experiment.rows()))
    page.print()
    if demo:
        for line in legend(experiment):
            page.print(line, soft_wrap=True)
        page.print()
    colour = _COLOURS.get(experiment.verdict, "")
    page.print(Text(experiment.verdict, f"bold {colour}".strip()), soft_wrap=True)
    page.print(experiment.comparison.reason, soft_wrap=True)
    page.print()
    for line in experiment.summary().splitlines():
        if line.startswith("- "):
            page.print(line, soft_wrap=True)
    page.print()
    named = experiment.columns is not None  # then a table with the same columns can be asked
    for line in next_steps(folder, rows="your.csv" if named else None):
        page.print(line, soft_wrap=True)
    if demo:
        page.print(
            "  With your data     attar distill --train your.csv --label COLUMN --out runs/mine"
        )


def show_ladder(ladder: Ladder, folder: Path) -> None:
    """The table, the answer, what would help, the verdict, and what to do next.

    Args:
        ladder: A finished one.
        folder: Where it was saved.
    """
    page = console()
    page.print()
    page.print(table(*ladder.cells()))
    page.print()
    page.print(Text(ladder.sentence, f"bold {'green' if ladder.met else 'yellow'}"), soft_wrap=True)
    if ladder.advice and not ladder.met:
        page.print("What would help:")
    for line in (*ladder.advice, *ladder.told, *ladder.notes):
        page.print(f"- {line}", soft_wrap=True)
    chosen, experiment = ladder.chosen, ladder.experiment
    if chosen is None or experiment is None:
        return
    page.print()
    colour = _COLOURS.get(experiment.verdict, "")
    page.print(Text(experiment.verdict, f"bold {colour}".strip()), soft_wrap=True)
    page.print(experiment.comparison.reason, soft_wrap=True)
    page.print()
    named = experiment.columns is not None
    run = folder / "rungs" / chosen.folder
    for line in next_steps(run, rows="your.csv" if named else None):
        page.print(line, soft_wrap=True)


def legend(experiment: Experiment) -> list[str]:
    """What the rows of the table are, for someone who has never heard of distillation."""
    from attar.experiment.summary import unlabelled  # loads torch

    rows, sizes = experiment.facts["rows"], experiment.facts["sizes"]
    lines = [
        "How to read this: every student has the same small architecture "
        f"({sizes['compression']:.0f} times smaller than the teacher), the same starting weights "
        "and the same number of steps. They differ in what they learn from:",
        f"  hard labels      the {rows['labelled']:,} labels alone, without a teacher",
        "  smoothed labels  the same, less sure of themselves: what regularisation alone gives",
    ]
    if "pseudo" in experiment.arms:
        lines.append(
            "  pseudo-labels    the teacher's best guess as the label of each of the "
            f"{unlabelled(rows, experiment.arms['pseudo'].setting):,} unlabelled rows"
        )
    lines.append("  distilled        the teacher's soft targets: how probable it finds every class")
    return [*lines, "NLL is the price of being sure and wrong (lower is better)."]


def columns_in_words(columns: Sequence[Mapping[str, Any]] | None, *, most: int = 40) -> list[str]:
    """How each column of a table was read, one a line.

    >>> columns_in_words([{"name": "age", "kind": "number"},
    ...                   {"name": "city", "kind": "category", "categories": ["Oslo", "Rome"]}])
    ['  age: number', '  city: category (Oslo, Rome)']
    """
    lines = []
    for column in columns or ():
        what = column["kind"]
        if what == "category":
            names = [str(name) or "(empty)" for name in column["categories"]]
            more = f", and {len(names) - 6} more" if len(names) > 6 else ""
            what += f" ({', '.join(names[:6])}{more})"
        if "fill" in column:
            what += f" (a gap becomes {column['fill']:g})"
        lines.append(f"  {column['name']}: {what}")
    rest = len(lines) - most
    return [*lines[:most], f"  and {rest} more columns"] if rest > 0 else lines


def next_steps(folder: Path, *, rows: str | None = None) -> list[str]:
    """What to do with a finished run folder.

    Args:
        folder: A run folder.
        rows: A file that ``attar predict`` is shown with; the run's own example rows by default.
    """
    named = folder.as_posix()
    lines = ["What to do next", f"  The whole result   {named}/summary.md and result.json"]
    if (folder / "report.html").exists():
        lines.append(f"  A page to look at  {named}/report.html (open it in a browser)")
    else:
        lines.append(f"  A page to look at  attar report {named}")
    if not (folder / "student.onnx").exists():  # a student with named inputs has no ONNX file yet
        return [*lines, f"  The student        {named}/student.safetensors"]
    example = f"{named}/example.npy"
    return [
        *lines,
        f"  The student        {named}/student.onnx and student.safetensors",
        f"  All of it to ship  attar bundle {named} --out student.zip",
        f"  From the shell     attar predict {named} {rows or example}",
        "  From Python, with numpy and onnxruntime alone:",
        "    import numpy as np",
        "    from attar.export import runtime",
        f'    student = runtime.load("{named}/student.onnx")',
        f'    print(student.predict(np.load("{example}")[:5]))',
    ]


def show_values(values: Mapping[str, Any]) -> None:
    """Names and values, one a line; numbers as they are read best."""
    grid = Table(show_header=False, show_edge=False, box=None, pad_edge=False)
    grid.add_column()
    grid.add_column(justify="right")
    for name, value in values.items():
        grid.add_row(name, value if isinstance(value, str) else f"{value:,}")
    console().print(grid)
