"""The run folder: claimed by one experiment, gone on with by the same one alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attar.checks import AttarError
from attar.engine import TrainConfig
from attar.experiment.arms import Setting, write_text
from attar.experiment.inputs import StudentPlan, size_of


def claim(folder: Path, *, resume: bool) -> Path:
    """Make the run folder, or take one that is there where that was asked for."""
    if folder.exists() and not folder.is_dir():
        raise AttarError(f"distill: out={folder} is a file; name a folder.")
    if folder.exists() and any(folder.iterdir()) and not resume:
        raise AttarError(
            f"distill: the run folder {folder} exists already and is not overwritten. Name "
            "another one, or go on with it: resume=True (--resume)."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _identity(
    settings: dict[str, list[Setting]],
    config: TrainConfig,
    seeds: list[int],
    plan: StudentPlan,
    batch_size: int,
) -> dict[str, Any]:
    text = {
        "settings": {name: [s.key for s in some] for name, some in settings.items()},
        "steps": config.steps,
        "weight_decay": config.weight_decay,
        "seeds": seeds,
        "student": plan.name,
        "student_parameters": size_of(plan),
        "batch_size": batch_size,
    }
    read_back: dict[str, Any] = json.loads(json.dumps(text))
    return read_back


def remember(folder: Path, *identity: Any) -> None:
    """Note whose folder this is; ``identity`` as in :func:`check_same`."""
    write_text(folder / "run.json", json.dumps(_identity(*identity), indent=1))


def check_same(folder: Path, *identity: Any) -> None:
    """A folder is gone on with only by the same experiment: nothing else may reuse its runs."""
    path = folder / "run.json"
    if not path.exists():
        return
    there, here = json.loads(path.read_text("utf-8")), _identity(*identity)
    differing = [
        f"{k} was {there.get(k)!r}, is {here[k]!r}" for k in here if there.get(k) != here[k]
    ]
    if differing:
        raise AttarError(
            f"distill: {folder} holds another experiment ({'; '.join(differing)}). Repeat the "
            "arguments that it was started with, or name another folder."
        )
