"""The run folder: claimed by one experiment, gone on with by the same one alone."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from attar.checks import AttarError
from attar.engine.processes import Processes
from attar.experiment.arms import Setting, Trainer
from attar.experiment.inputs import StudentPlan
from attar.files import write_text
from attar.types import Data


def claim(folder: Path, *, resume: bool, owner: str = "distill") -> Path:
    """Make the run folder, or take one that is there where that was asked for."""
    if folder.exists() and not folder.is_dir():
        raise AttarError(f"{owner}: out={folder} is a file; name a folder.")
    if folder.exists() and any(folder.iterdir()) and not resume:
        raise AttarError(
            f"{owner}: the run folder {folder} exists already and is not overwritten. Name "
            "another one, or go on with it: resume=True (--resume)."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def run_folder(out: str | Path | None, processes: Processes, *, resume: bool) -> Iterator[Path]:
    """The folder of the run, claimed by the main process; a passing one without ``out``.

    One that was made here goes again where nothing came into it: what was asked for was refused.
    """
    with contextlib.ExitStack() as scratch:

        def make() -> Path:
            if out is not None:
                path = Path(out)
                made = [one for one in (path, *path.parents) if not one.exists()]
                claim(path, resume=resume)
                scratch.callback(_drop_empty, made)
                return path
            return Path(scratch.enter_context(tempfile.TemporaryDirectory()))

        folder = processes.from_main(processes.first(make))
        assert folder is not None  # where it could not be made, all have stopped
        if not folder.is_dir():
            raise AttarError(
                f"distill: process {processes.index} does not see the run folder {folder}. Name "
                "one, with out=, that all processes share."
            )
        yield folder
        processes.from_main(None)  # a passing folder goes when nobody reads it any more


def _drop_empty(folders: Sequence[Path]) -> None:
    with contextlib.suppress(OSError):  # one that holds something stays, with those around it
        for folder in folders:
            folder.rmdir()


def identity(
    trainer: Trainer,
    settings: Mapping[str, Sequence[Setting]],
    seeds: Sequence[int],
    stores: Mapping[str, Any],
) -> dict[str, Any]:
    """All that decides what the runs of an experiment come to."""
    return {
        "settings": {name: [repr(s) for s in some] for name, some in settings.items()},
        "loss": _name(trainer.loss),
        "steps": trainer.config.steps,
        "weight_decay": trainer.config.weight_decay,
        "evaluate_every": trainer.config.evaluate_every,
        "batch_size": trainer.batch_size,
        "processes": trainer.processes.count,
        "seeds": list(seeds),
        "student": trainer.plan.name,
        "fresh_student": _student(trainer.plan),
        "soft_targets": stores["train"].fingerprint,
        "rows_and_inputs": [
            part.fingerprint()
            for part in (trainer.splits.train, trainer.splits.validation, trainer.splits.test)
        ],
        "labels": _labels(trainer.splits.train, trainer.splits.validation, trainer.splits.test),
        "transfer": _transfer(trainer.splits.transfer),
    }


def settle(
    folder: Path,
    here: Mapping[str, Any],
    *,
    owner: str = "distill",
    words: Mapping[str, Any] | None = None,
) -> None:
    """Note whose folder this is, or refuse to mix two experiments in it.

    Args:
        folder: Of the run.
        here: What decides what its runs come to, see :func:`identity`.
        owner: Whose it is, for messages.
        words: The arguments that the settings came from, to say which of them differ.

    Raises:
        AttarError: If the folder holds runs of another experiment; the message says what differs.
    """
    path = folder / "run.json"
    now = {name: _said(value) for name, value in (words or {}).items()}
    if path.exists():
        there = json.loads(path.read_text("utf-8"))
        differing: list[str] = []
        for key, value in here.items():
            was = there.get(key)
            if was != value and key == "settings":
                differing += _settings(was or {}, value, there.get("words") or {}, now)
            elif was != value:
                differing.append(f"{key} was {_short(repr(was))}, is {_short(repr(value))}")
        if differing:
            raise AttarError(
                f"{owner}: {folder} holds another experiment ({'; '.join(differing)}). Repeat the "
                "arguments that it was started with, or name another folder."
            )
    write_text(owner, path, json.dumps({**here, **({"words": now} if now else {})}, indent=1))


def _settings(
    was: Mapping[str, Any], are: Mapping[str, Any], then: Mapping[str, str], now: Mapping[str, str]
) -> list[str]:
    """Which arguments the settings differ in; where these say nothing, of which arms they are."""
    found = [
        f"{name} was {then[name]}, is {said}"
        for name, said in now.items()
        if name in then and then[name] != said
    ]
    arms = [arm for arm in {**was, **are} if was.get(arm) != are.get(arm)]
    return found or [f"other settings of {', '.join(arms)}"]


def _said(value: Any) -> str:
    """An argument in a few words."""
    if isinstance(value, list | tuple):
        return _short(f"[{', '.join(map(_said, value))}]")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}"
    if value is None or isinstance(value, str | bool):
        return str(value)
    return str(getattr(value, "__name__", type(value).__name__))


def _short(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _name(loss: Any) -> str:
    """What tells one loss function from another, the arguments of a partial included."""
    if isinstance(loss, functools.partial):
        return f"{_name(loss.func)}{loss.args}{sorted(loss.keywords.items())}"
    name = getattr(loss, "__qualname__", None) or repr(loss)
    return name if name == getattr(loss, "__name__", None) else f"{loss.__module__}.{name}"


def _student(plan: StudentPlan) -> str:
    """A hash of a fresh student: its modules and its starting weights under one seed."""
    state = torch.get_rng_state()
    torch.manual_seed(0)
    student = plan.make()
    torch.set_rng_state(state)
    digest = hashlib.blake2b(repr(student).encode(), digest_size=16)
    for name, value in student.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _transfer(part: Data | None) -> list[str] | None:
    """What the student is distilled on, where that is a part of the training rows."""
    return None if part is None else [part.fingerprint(), _labels(part)]


def _labels(*parts: Data) -> str:
    """A hash of the labels; a fingerprint of data leaves them out, as no teacher sees them."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        assert part.labels is not None
        digest.update(part.labels.numpy().tobytes() + b"/")
        weights = getattr(part, "weights", None)
        if weights is not None:
            digest.update(weights.numpy().tobytes())
    return digest.hexdigest()
