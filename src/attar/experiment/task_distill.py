"""`distill` for a regression and for several labels a row: fewer arms, the same rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor

from attar.checks import AttarError, check_number
from attar.data import ArrayData
from attar.engine.processes import Processes
from attar.evaluation import count_macs, predict_logits
from attar.evaluation.quantiles import at_levels
from attar.experiment import arms as arms_of
from attar.experiment.all_arms import train_all
from attar.experiment.arguments import configured, seeds_of, steps_of
from attar.experiment.arms import Run, SoftLoss
from attar.experiment.distill import READY_MADE
from attar.experiment.folder import identity, run_folder, settle
from attar.experiment.inputs import Splits, check_student, make_splits, plan_student, size_of
from attar.experiment.measure import time_values
from attar.experiment.opening import facts_of, sizes_of
from attar.experiment.progress import OnProgress, Progress, quietly
from attar.experiment.result import ArmResult, Trial, example_tensor
from attar.experiment.task_result import TaskExperiment
from attar.experiment.task_teachers import Answered, Asked, ask_all, may_have_seen
from attar.experiment.tasks import (
    LOSSES,
    Scale,
    TaskTrainer,
    comparison_of,
    judged,
    known_labels,
    levels_of,
    scores_of,
)
from attar.losses import kl
from attar.students.unscaled import in_unit


def distill_task(
    teacher: Any,
    student: Any,
    *,
    task: str,
    train: Any,
    validation: Any,
    test: Any,
    transfer: Any,
    classes: Sequence[str] | None,
    temperature: Any,
    alpha: Any,
    loss: SoftLoss,
    seeds: int | Sequence[int],
    steps: int | None,
    epochs: float | None,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    parameters: int | None,
    shrink: float | None,
    folds: int | None,
    smoothing: Sequence[float] | None,
    evaluations: int,
    latency_seconds: float,
    split_seed: int,
    out: str | Path | None,
    resume: bool,
    any_threads: bool,
    progress: OnProgress | None,
) -> TaskExperiment:
    """The controlled experiment; arguments as in :func:`attar.distill`, which calls it."""
    tell = progress or quietly
    numbers = seeds_of(seeds)
    if folds is not None:
        check_number("distill", "folds", folds, low=2, whole=True)
    names = None if classes is None else tuple(classes)
    splits = make_splits(
        train, validation, test, transfer, classes=names, seed=split_seed, task=task
    )
    total = steps_of(steps, epochs, len(splits.train), batch_size)
    check_number("distill", "evaluations", evaluations, low=1, whole=True)
    check_number("distill", "latency_seconds", latency_seconds, low=0)
    config = configured(
        total, evaluations, learning_rate, weight_decay=weight_decay, any_threads=any_threads
    )
    levels = levels_of(loss)
    check_student(student, parameters, shrink)
    if task == "regression":
        config = replace(config, select=("-mse",) if levels is None else ("-pinball",))
    with run_folder(out, Processes(None), resume=resume) as folder:
        tell(Progress("label", f"The teacher answers {len(splits.train):,} rows"))
        cut_here = test is None or validation is None
        asked = ask_all(teacher, splits, task, folds=folds, refit=cut_here, levels=levels)
        scale = None
        if task == "regression":
            labels = known_labels(splits.train)
            # Of quantiles each column has the same label.
            scale = Scale.of(labels if levels is None else labels[:, :1])
            splits, asked = _scaled(splits, asked, scale, levels)
        plan = plan_student(
            student,
            splits.train,
            parameters=parameters,
            shrink=shrink,
            teacher_parameters=asked.parameters,
        )
        if plan.grown and (task != "regression" or loss not in (kl, LOSSES[task])):
            raise AttarError(
                "distill: trees learn one class a row, or values by their squared error. For the "
                f"task {task!r} with this loss take a network, attar.students.mlp say."
            )
        trainer = TaskTrainer(
            splits=splits,
            plan=plan,
            teacher=asked.teacher,
            config=config,
            batch_size=batch_size,
            loss=LOSSES[task] if loss is kl else loss,
            folder=folder / "arms",
            task=task,
        )
        settings = arms_of.candidates(
            [1.0]
            if task == "regression"
            else arms_of.as_choices("temperature", temperature, auto=[1.0, 2.0], low=0, high=1e3),
            arms_of.as_choices("alpha", alpha, auto=[0.5, 0.9], low=0, high=1),
            learning_rate=learning_rate,
            smoothing=arms_of.SMOOTHING if smoothing is None else smoothing,
            unlabelled=False,
        )
        if task == "regression":
            del settings["smoothed"]  # a value cannot be smoothed
        settle(folder, {"task": task, **identity(trainer, settings, numbers, {"train": asked})})
        chosen, trials = train_all(trainer, settings, numbers, tell)
        experiment = _open_test(trainer, chosen, trials, asked, scale, tell, seeds=numbers)
        if cut_here and (folds is None or may_have_seen(teacher)):
            experiment.warnings.append(READY_MADE)
        if latency_seconds > 0:
            _measure(experiment, asked.ask, folder, tell, seconds=latency_seconds)
        if out is not None:
            experiment.save(folder)
    return experiment


def _scaled(
    splits: Splits, asked: Answered, scale: Scale, levels: tuple[float, ...] | None
) -> tuple[Splits, Answered]:
    """Labels and answers as the students learn them; of quantiles, a label for each level."""

    def with_scaled(data: Any) -> ArrayData:
        if not isinstance(data, ArrayData):
            raise AttarError("distill: the rows of a regression must be in memory (ArrayData).")
        labels = scale.apply(known_labels(data))
        if levels is None:
            return data.with_labels(labels)
        if labels.shape[1] not in (1, len(levels)):
            raise AttarError(
                f"distill: quantiles are learnt of one value a row. Got {labels.shape[1]} columns."
            )
        names = [f"{level:g}" for level in levels]
        return data.with_labels(labels[:, :1].repeat(1, len(levels)), classes=names)

    train, validation, test = map(with_scaled, (splits.train, splits.validation, splits.test))
    transfer = None if splits.transfer is None else with_scaled(splits.transfer)
    changed = replace(splits, train=train, validation=validation, test=test, transfer=transfer)
    return changed, asked.mapped(scale.apply)


def _open_test(
    trainer: TaskTrainer,
    chosen: dict[str, list[Run]],
    trials: list[Trial],
    asked: Answered,
    scale: Scale | None,
    tell: OnProgress,
    *,
    seeds: list[int],
) -> TaskExperiment:
    """The one moment at which a student is asked about the test rows."""
    splits, task = trainer.splits, trainer.task
    tell(Progress("test", f"Opening the test set: {len(splits.test):,} rows"))
    levels = levels_of(trainer.loss)
    labels, said = known_labels(splits.test), _told(asked, "test", levels)
    arms = {}
    for arm, runs in chosen.items():
        answers = torch.stack([predict_logits(run.model, splits.test, least=1) for run in runs])
        scores = [scores_of(one, labels, scale, levels, teacher=said) for one in answers]
        arms[arm] = ArmResult(runs[0].setting, runs, cast(Any, scores), answers)
    sizes = sizes_of(asked, size_of(trainer.plan))
    best = max(chosen["distilled"], key=lambda run: run.rank)
    example = example_tensor(splits.train)
    if example is not None:
        sizes["student_macs"] = count_macs(best.model, example[:1])
    comparison = comparison_of(
        task,
        {name: arm.logits for name, arm in arms.items()},
        said,
        labels,
        levels,
        validation_gap=_validation_gap(trainer, chosen["hard"], asked),
        compression=sizes["compression"] if sizes["compression_of"] == "parameters" else None,
    )
    manifest = SimpleNamespace(manifest=asked.manifest)
    facts = facts_of(trainer, {"train": manifest}, sizes, seeds)
    back = (lambda values: values) if scale is None else scale.back
    return TaskExperiment(
        student=best.model if scale is None else in_unit(best.model, scale.middle, scale.spread),
        student_seed=best.seed,
        student_name=trainer.plan.name,
        teacher=cast(Any, scores_of(said, labels, scale, levels, teacher=None)),
        teacher_name=asked.name,
        arms={name: replace(arm, logits=back(arm.logits).float()) for name, arm in arms.items()},
        comparison=cast(Any, comparison),
        trials=trials,
        test=_in_unit(splits.test, scale),
        facts={**facts, "loss": _name(trainer.loss), "levels": levels},
        latency={},
        example=example,
        columns=getattr(splits.train, "columns", None),
        teacher_logits=back(said).float(),
        task=task,
    )


def _measure(
    experiment: TaskExperiment, ask: Asked | None, folder: Path, tell: OnProgress, *, seconds: float
) -> None:
    """Time teacher and student, where the student takes one tensor."""
    if experiment.example is None:
        return
    tell(Progress("measure", "Timing teacher and student at batch 1 and 64"))
    path = folder / ".student-to-time.onnx"
    try:
        experiment.export(path)
        timed = time_values(path, ask, experiment.test, seconds=seconds)
    except AttarError as error:
        experiment.warnings.append(f"the student was not timed: {error}")
        return
    finally:
        path.unlink(missing_ok=True)
    experiment.latency.update(timed)
    experiment.facts["teacher_runtime"] = None if ask is None else "as called"


def _told(asked: Answered, name: str, levels: tuple[float, ...] | None) -> Tensor:
    """What the teacher says of a split, as it is scored: its quantiles at the student's levels."""
    answers = asked.answers[name]
    return answers if levels is None else at_levels(answers, levels)


def _in_unit(data: Any, scale: Scale | None) -> Any:
    if scale is None:
        return data
    return data.with_labels(scale.back(known_labels(data)).float())


def _validation_gap(trainer: TaskTrainer, runs: list[Run], asked: Answered) -> float:
    """How much better the teacher is than hard labels on validation: before test is opened."""
    labels = known_labels(trainer.splits.validation)
    levels = levels_of(trainer.loss)
    teacher = judged(trainer.task, _told(asked, "validation", levels), labels, levels)
    name = "accuracy" if trainer.task == "multilabel" else next(iter(teacher))
    gap = teacher[name] - math.fsum(run.validation[name] for run in runs) / len(runs)
    return gap if name == "accuracy" else -gap


def _name(loss: Any) -> str:
    while hasattr(loss, "func"):
        loss = loss.func
    return str(getattr(loss, "__name__", type(loss).__name__))


def check_arguments(task: str, given: Mapping[str, Any]) -> None:
    """Raise where something is asked for that is there for classes alone.

    >>> check_arguments("regression", {"views": None, "calibrate": True})
    Traceback (most recent call last):
    attar.checks.AttarError: distill: calibrate= is there for classes alone, not for the
    task 'regression'.
    """
    for name, value in given.items():
        if value is not None and value is not False:
            raise AttarError(
                f"distill: {name}= is there for classes alone, not for the task {task!r}."
            )
