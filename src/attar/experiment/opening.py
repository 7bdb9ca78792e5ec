"""The end of an experiment: test is opened once, and everything is measured."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import attar
from attar.checks import AttarError
from attar.evaluation import (
    accuracy,
    calibrate,
    compare,
    count_macs,
    in_sample,
    predict_logits,
    scores_from_logits,
)
from attar.experiment.arms import Run, Trainer
from attar.experiment.keep import command, labelled_answers, members
from attar.experiment.measure import as_module, time_both
from attar.experiment.progress import OnProgress, Progress
from attar.experiment.result import ArmResult, Experiment, Trial, example_tensor
from attar.export.about import code_fingerprint
from attar.store import Store
from attar.types import Data


def open_test(
    trainer: Trainer,
    chosen: dict[str, list[Run]],
    trials: list[Trial],
    stores: dict[str, Store],
    teacher: Any,
    tell: OnProgress,
    *,
    size: int,
    seeds: list[int],
) -> Experiment:
    """The one moment at which a student is asked about the test rows."""
    splits = trainer.splits
    tell(Progress("test", f"Opening the test set: {len(splits.test):,} rows"))
    labels, names = splits.test.labels, splits.test.classes
    assert labels is not None
    answers = stores["test"].logits(splits.test.rows)
    teacher_scores = scores_from_logits(answers, labels, names)
    arms = {}
    for arm, runs in chosen.items():
        logits = torch.stack([predict_logits(run.model, splits.test) for run in runs])
        scores = [scores_from_logits(one, labels, names, teacher_logits=answers) for one in logits]
        scaled = [
            calibrate(_asked(run, splits.validation), (one, labels))
            for run, one in zip(runs, logits, strict=True)
        ]
        arms[arm] = ArmResult(runs[0].setting, runs, scores, logits, scaled)
    sizes = sizes_of(teacher, size)
    best = max(chosen["distilled"], key=lambda run: run.rank)
    example = example_tensor(splits.train)
    if example is not None:
        sizes["student_macs"] = count_macs(best.model, example[:1])
        network = as_module(teacher)
        sizes["teacher_macs"] = None if network is None else count_macs(network, example[:1])
    # The goal speaks of parameters, and of one network: the ensemble alone is easily beaten.
    ratio = (
        sizes["compression_smallest_member"] if sizes["compression_of"] == "parameters" else None
    )
    comparison = compare(
        {name: (arm.logits.argmax(dim=-1) == labels).numpy() for name, arm in arms.items()},
        teacher=(answers.argmax(dim=-1) == labels).numpy(),
        nll={name: _row_nll(arm.logits, labels).numpy() for name, arm in arms.items()},
        compression=ratio,
        validation_gap=_validation_gap(trainer, chosen["hard"], stores["validation"]),
    )
    return Experiment(
        student=best.model,
        student_seed=best.seed,
        student_name=trainer.plan.name,
        teacher=teacher_scores,
        teacher_name=str(getattr(teacher, "name", type(teacher).__name__)),
        arms=arms,
        comparison=comparison,
        trials=trials,
        test=splits.test,
        facts=facts_of(trainer, stores, sizes, seeds),
        latency={},
        example=example,
        columns=getattr(splits.train, "columns", None),
        warnings=_warnings(trainer, stores, answers),
        teacher_logits=answers,
        labelled=_labelled(trainer, stores["train"]),
        members=members(teacher, splits.test),
    )


def _labelled(trainer: Trainer, store: Store) -> tuple[Tensor, Tensor]:
    rows = trainer.splits.labelled
    assert rows.labels is not None
    return labelled_answers(store.logits(rows.rows), rows.labels)


def _asked(run: Run, data: Data) -> tuple[Tensor, Tensor]:
    """A student's logits and the labels of labelled rows."""
    assert data.labels is not None
    return predict_logits(run.model, data), data.labels


def _validation_gap(trainer: Trainer, runs: list[Run], store: Store) -> float:
    """Teacher minus hard labels on validation: known before test is opened."""
    validation = trainer.splits.validation
    assert validation.labels is not None
    teacher = accuracy(store.logits(validation.rows), validation.labels)
    return teacher - sum(run.validation["accuracy"] for run in runs) / len(runs)


def _row_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """``[S, N]`` negative log-likelihood of each row under each seed's student."""
    log_probabilities = logits.double().log_softmax(dim=-1)
    picked = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    return -log_probabilities.gather(-1, picked).squeeze(-1)


def smallest_member(teacher: Any, name: str) -> int | None:
    """``parameters`` or ``bytes`` of the smallest model in a teacher; None where unknown."""
    size: int | None = getattr(getattr(teacher, "smallest", None) or teacher, name, None)
    return size


def sizes_of(teacher: Any, student: int) -> dict[str, Any]:
    """Parameters and ratios; of bytes where the teacher has no parameters to count."""
    whole, smallest = getattr(teacher, "parameters", None), smallest_member(teacher, "parameters")
    unit, ours = "parameters", student
    if whole is None:
        unit, ours = "bytes", 4 * student
        whole, smallest = getattr(teacher, "bytes", None), smallest_member(teacher, "bytes")
    return {
        "student_parameters": student,
        "teacher_parameters": getattr(teacher, "parameters", None),
        "smallest_member_parameters": smallest_member(teacher, "parameters"),
        "compression": None if whole is None else whole / ours,
        "compression_smallest_member": None if smallest is None else smallest / ours,
        "compression_of": unit,
        "student_bytes": 4 * student,
        "teacher_bytes": getattr(teacher, "bytes", None),
    }


def facts_of(
    trainer: Trainer, stores: Mapping[str, Any], sizes: dict[str, Any], seeds: list[int]
) -> dict[str, Any]:
    """What was trained on what, by which code and where; JSON-ready."""
    splits = trainer.splits
    return {
        "rows": {
            "labelled": len(splits.labelled),
            "unlabelled": splits.unlabelled_rows,
            "validation": len(splits.validation),
            "test": len(splits.test),
            **({} if splits.transfer is None else {"transfer": len(splits.transfer)}),
            # Of the unlabelled ones: an arm may have chosen to do without.
            **(
                {}
                if splits.added is None
                else {"drawn" if splits.drawn else "further": len(splits.added)}
            ),
        },
        "views": splits.train.view_count,
        "classes": list(splits.train.classes),
        "seeds": seeds,
        "shared_start": trainer.plan.shared_start,
        "recipe": trainer.plan.recipe,
        "steps": trainer.config.steps,
        "batch_size": trainer.batch_size,
        "weight_decay": trainer.config.weight_decay,
        "sizes": sizes,
        "fingerprints": {
            "teacher": stores["train"].manifest["teacher"],
            "train": splits.train.fingerprint(),
            "validation": splits.validation.fingerprint(),
            "test": splits.test.fingerprint(),
            "code": code_fingerprint(),
        },
        "versions": {
            "attar": attar.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
        "command": command(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _warnings(trainer: Trainer, stores: dict[str, Store], answers: Tensor) -> list[str]:
    """What the user should know about the teacher before trusting anything else."""
    found = []
    splits = trainer.splits
    labelled, validation = splits.labelled, splits.validation
    assert labelled.labels is not None
    told = in_sample(
        stores["train"].logits(labelled.rows),
        labelled.labels,
        # Together: the more rows it has not been fitted on, the surer the answer.
        torch.cat([stores["validation"].logits(validation.rows), answers]),
        torch.cat([part.labels for part in (validation, splits.test) if part.labels is not None]),
    )
    if told is not None:
        found.append(told)
    if trainer.plan.shared_start:
        found.append("all seeds start from the weights of the given student; the spread is small.")
    return found


def measure(
    experiment: Experiment, teacher: Any, folder: Path, tell: OnProgress, *, seconds: float
) -> None:
    """Time teacher and student, where the student takes one tensor."""
    if experiment.example is None:
        return
    tell(Progress("measure", "Timing teacher and student at batch 1 and 64"))
    path = folder / ".student-to-time.onnx"
    try:
        try:
            experiment.export(path)
        except AttarError as error:
            experiment.warnings.append(f"the student was not timed: {error}")
            return
        timing = time_both(path, teacher, experiment.test, seconds=seconds)
    finally:
        path.unlink(missing_ok=True)
    experiment.latency["student"] = timing.student
    if timing.teacher is not None:
        experiment.latency["teacher"] = timing.teacher
    for place, timed in timing.members.items():
        experiment.members[place]["latency"] = timed.to_dict()
    experiment.facts["teacher_runtime"] = timing.teacher_runtime
