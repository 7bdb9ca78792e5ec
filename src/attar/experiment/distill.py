"""`distill`: the controlled experiment, from a teacher and data to a student and a verdict."""

from __future__ import annotations

import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import attar
from attar.checks import AttarError, check_number
from attar.data import ArrayData, Views
from attar.engine import TrainConfig
from attar.evaluation import accuracy, compare, count_macs, predict_logits, scores_from_logits
from attar.experiment import arms as arms_of
from attar.experiment.arms import Run, Setting, SoftLoss, Trainer, write_text
from attar.experiment.inputs import Splits, StudentPlan, make_splits, plan_student, size_of
from attar.experiment.measure import as_module, seconds_per_step, time_both
from attar.experiment.result import ArmResult, Experiment, Trial, example_tensor
from attar.losses import kl
from attar.store import Store, label
from attar.teachers import StoredTeacher, as_teacher, cross_fit
from attar.types import Data


@dataclass(frozen=True)
class Progress:
    """Where an experiment is.

    Attributes:
        stage: ``"label"``, ``"cost"``, ``"choose"``, ``"train"``, ``"test"`` or ``"measure"``.
        message: For a person.
        done: Of ``total``, in the stage's own unit (rows, steps).
        total: 0 where there is nothing to count.
        seconds: Of stage ``"cost"``: about how long the training will take.
    """

    stage: str
    message: str
    done: int = 0
    total: int = 0
    seconds: float = 0.0


#: Seconds from which a run is a long one.
LONG = 60

#: Called whenever there is something to tell.
OnProgress = Callable[[Progress], None]


def distill(
    teacher: Any,
    student: Any,
    *,
    train: Any,
    validation: Any = None,
    test: Any = None,
    transfer: Any = None,
    classes: Sequence[str] | None = None,
    temperature: float | Sequence[float] | str = 4.0,
    alpha: float | Sequence[float] | str = 0.9,
    loss: SoftLoss = kl,
    seeds: int | Sequence[int] = 3,
    steps: int | None = None,
    epochs: float | None = None,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    parameters: int | None = None,
    shrink: float | None = None,
    views: Views | None = None,
    folds: int | None = 5,
    smoothing: Sequence[float] | None = None,
    evaluations: int = 10,
    latency_seconds: float = 0.5,
    split_seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    progress: OnProgress | None = None,
    accelerator: Any = None,
) -> Experiment:
    """Distil a teacher into a student, and find out whether the teacher helped.

    The teacher is asked once, about every row. Then students of one architecture, with the same
    starting weights, steps and batch size, learn from hard labels, from smoothed labels, from
    the teacher's soft targets, and (where rows are unlabelled) from the teacher's argmax; all
    choices are made on validation, and test is opened once.

    Args:
        teacher: Whatever :func:`attar.teachers.as_teacher` takes: a torch module, an estimator
            with ``predict_proba``, an ONNX file, a function, a store, or a list of these.
        student: A family of :mod:`attar.students` (then give ``parameters`` or ``shrink``), a
            callable without arguments that makes a ``torch.nn.Module``, or a module to copy.
        train: ``(X, y)`` or an object of :mod:`attar.data`; label -100 where not known.
        validation: The same, labelled; a fifth of the labelled rows by default.
        test: The same, labelled; a fifth of the labelled rows by default.
        transfer: Further rows for the soft loss alone: ``(X, None)`` or data.
        classes: The names of the classes in label order, where the data does not tell.
        temperature: T above 0: a number, a list to choose from, or ``"auto"`` (a short list).
        alpha: The weight of the soft loss in (0, 1], the hard loss has ``1 - alpha``: a number,
            a list to choose from, or ``"auto"``.
        loss: A function ``(student, teacher, *, temperature) -> [N]``.
        seeds: How many, or which. One seed never gives a verdict.
        steps: Optimizer steps of every run.
        epochs: Instead of ``steps``: passes over all training rows (20 by default).
        batch_size: Rows a step.
        learning_rate: The peak of warm-up and cosine.
        weight_decay: AdamW's.
        parameters: The size of a family's student.
        shrink: Its size, as times smaller than the teacher's smallest member.
        views: Seeded transforms: teacher and student see the same views of each row.
        folds: An estimator is taken to have been fitted on the labelled rows, so clones of it
            label them out of fold; None takes its own word for them.
        smoothing: Label smoothing strengths to choose from.
        evaluations: How often a run is validated; the best epoch is chosen there.
        latency_seconds: How long teacher and student are timed at each batch size; 0 does not.
        split_seed: Of the splits that are made here.
        out: The run folder; one that exists is refused unless ``resume``.
        resume: Go on in ``out``: nothing that was labelled or trained is done again.
        progress: Called with :class:`Progress` as things happen.
        accelerator: An ``accelerate.Accelerator``; a plain one by default.

    Returns:
        The :class:`Experiment`, saved to ``out`` if that is given.

    Raises:
        AttarError: On inputs that do not fit, with what to do.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.ensemble import RandomForestClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> experiment = distill(RandomForestClassifier(20, random_state=0), attar.students.mlp,
        ...                      train=(X, y), parameters=200, seeds=2, steps=50)
        >>> experiment.verdict in ("BEATS", "NO GAIN", "WORSE", "INCONCLUSIVE")
        True

    References:
        Hinton, Vinyals, Dean 2015, Distilling the Knowledge in a Neural Network.
    """
    tell = progress or _quietly
    numbers = _seeds(seeds)
    splits = make_splits(
        train, validation, test, transfer, classes=_names(classes), seed=split_seed
    )
    if views is not None:
        splits = _with_views(splits, views)
    # All that can be wrong is looked at before the teacher is asked about a single row.
    total = _steps(steps, epochs, len(splits.train), batch_size)
    for name, value, high in (("temperature", temperature, 1e3), ("alpha", alpha, 1.0)):
        arms_of.as_choices(name, value, auto=[1.0], low=0, high=high)
    check_number("distill", "latency_seconds", latency_seconds, low=0)
    for value in smoothing or ():
        check_number("distill", "smoothing", value, low=0, high=1, high_open=True)
    every = max(1, total // (4 * evaluations))
    config = TrainConfig(
        steps=total,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        log_every=every,
        evaluate_every=4 * every,
        checkpoint_every=4 * every,
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if out is None else _claim(Path(out), resume=resume)
        asked = _as_teacher(teacher, splits, folds)
        plan = plan_student(
            student,
            splits.train,
            parameters=parameters,
            shrink=shrink,
            teacher_parameters=smallest_member(asked, "parameters"),
        )
        stores = _label_all(asked, splits, folder / "targets", tell)
        trainer = Trainer(
            splits=splits,
            plan=plan,
            teacher=StoredTeacher(stores["train"]),
            config=config,
            batch_size=batch_size,
            loss=loss,
            folder=folder / "arms",
            accelerator=accelerator,
        )
        soft = stores["train"].logits(splits.train.rows)
        found = arms_of.automatic(
            len(splits.train.classes), size_of(plan), unlabelled=splits.unlabelled_rows > 0
        )
        settings = arms_of.candidates(
            arms_of.as_choices("temperature", temperature, auto=found[0], low=0, high=1e3),
            arms_of.as_choices("alpha", alpha, auto=found[1], low=0, high=1),
            learning_rate=learning_rate,
            smoothing=_strengths(smoothing, soft),
            pseudo_labels=splits.unlabelled_rows > 0,
        )
        if resume:
            _check_same(folder, settings, config, numbers, plan, batch_size)
        _remember(folder, settings, config, numbers, plan, batch_size)
        chosen, trials = _train_all(trainer, settings, numbers, tell)
        experiment = _open_test(
            trainer, chosen, trials, stores, asked, tell, size=size_of(plan), seeds=numbers
        )
        if latency_seconds > 0:
            _measure(experiment, asked, folder, tell, seconds=latency_seconds)
        if out is not None:
            experiment.save(folder)
    return experiment


def _quietly(progress: Progress) -> None:
    """Without anyone who listens, only what a long run will cost is said, on the log."""
    if progress.seconds >= LONG:
        logging.getLogger("attar").warning("distill: %s", progress.message)


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        check_number("distill", "seeds", seeds, low=1, whole=True)
        return list(range(seeds))
    numbers = list(seeds) if isinstance(seeds, Sequence) else []
    if not numbers or len(set(numbers)) != len(numbers):
        raise AttarError(
            "The 'seeds' parameter of distill must be a count or a list of different numbers of 0 "
            f"or more. Got {seeds!r} instead."
        )
    for number in numbers:
        check_number("distill", "seeds", number, low=0, whole=True)
    return numbers


def _names(classes: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if classes is None else tuple(str(name) for name in classes)


def _steps(steps: int | None, epochs: float | None, rows: int, batch_size: int) -> int:
    if steps is not None and epochs is not None:
        raise AttarError("distill: give steps= or epochs=, not both.")
    if steps is not None:
        check_number("distill", "steps", steps, low=1, whole=True)
        return steps
    passes = 20 if epochs is None else epochs
    check_number("distill", "epochs", passes, low=0, low_open=True)
    return max(1, round(passes * rows / batch_size))


def _with_views(splits: Splits, views: Views) -> Splits:
    if not isinstance(splits.train, ArrayData):
        raise AttarError(
            "distill: views= needs training rows in memory; data that is read row by row takes "
            "its views itself (from_dataset(..., views=...))."
        )
    return Splits(splits.train.with_views(views), splits.validation, splits.test)


def _strengths(smoothing: Sequence[float] | None, soft: Tensor) -> list[float]:
    if smoothing is None:
        return [*arms_of.SMOOTHING, round(arms_of.entropy_smoothing(soft), 4)]
    return list(smoothing)


def _claim(folder: Path, *, resume: bool) -> Path:
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


def _as_teacher(teacher: Any, splits: Splits, folds: int | None) -> Any:
    """Anything as a teacher; a bare estimator labels the labelled rows out of fold."""
    if hasattr(teacher, "predict_proba") and folds is not None:
        return cross_fit(teacher, splits.train, folds=folds)
    return as_teacher(teacher, classes=splits.train.classes)


def smallest_member(teacher: Any, name: str) -> int | None:
    """``parameters`` or ``bytes`` of the smallest model in a teacher; None where unknown."""
    size: int | None = getattr(getattr(teacher, "smallest", None) or teacher, name, None)
    return size


def _label_all(teacher: Any, splits: Splits, folder: Path, tell: OnProgress) -> dict[str, Store]:
    if isinstance(teacher, StoredTeacher):
        return dict.fromkeys(("train", "validation", "test"), teacher.store)
    stores = {}
    for name in ("train", "validation", "test"):
        data: Data = getattr(splits, name)

        def report(done: int, total: int, name: str = name) -> None:
            tell(Progress("label", f"The teacher answers the {name} rows", done, total))

        # At 64 rows the activations of a network stay in a processor's caches.
        stores[name] = label(teacher, data, folder / name, batch_size=64, progress=report)
    return stores


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


def _remember(folder: Path, *identity: Any) -> None:
    write_text(folder / "run.json", json.dumps(_identity(*identity), indent=1))


def _check_same(folder: Path, *identity: Any) -> None:
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


def _train_all(
    trainer: Trainer, settings: dict[str, list[Setting]], seeds: list[int], tell: OnProgress
) -> tuple[dict[str, list[Run]], list[Trial]]:
    """Choose each arm's setting on validation under the first seed, then train the others."""
    runs = sum(len(some) + len(seeds) - 1 for some in settings.values())
    steps = trainer.config.steps
    cost = seconds_per_step(trainer, settings["distilled"][0])
    tell(
        Progress(
            "cost",
            f"{runs} runs of {steps:,} steps, about {_duration(cost * steps * runs)} in all",
            seconds=cost * steps * runs,
        )
    )
    done = 0

    def report(setting: Setting, seed: int, step: int) -> None:
        message = f"{setting.arm} student, seed {seed}"
        tell(Progress("train", message, done * steps + step, runs * steps))

    trainer.on_step = report
    chosen: dict[str, list[Run]] = {}
    trials: list[Trial] = []
    for arm, some in settings.items():
        tried = []
        for setting in some:
            tried.append(trainer.run(setting, seeds[0]))
            done += 1
        best = max(tried, key=lambda run: run.rank)
        trials += [Trial(r.setting, r.seed, r.validation, r is best) for r in tried]
        chosen[arm] = [best]
        for seed in seeds[1:]:
            chosen[arm].append(trainer.run(best.setting, seed))
            done += 1
    return chosen, trials


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _open_test(
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
    """The one moment at which anything looks at the test rows."""
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
        arms[arm] = ArmResult(runs[0].setting, runs, scores, logits)
    sizes = _sizes(teacher, size)
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
        facts=_facts(trainer, stores, sizes, seeds),
        latency={},
        example=example,
        columns=getattr(splits.train, "columns", None),
        warnings=_warnings(trainer, stores, teacher_scores),
    )


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


def _sizes(teacher: Any, student: int) -> dict[str, Any]:
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
        "teacher_bytes": getattr(teacher, "bytes", None),
    }


def _facts(
    trainer: Trainer, stores: dict[str, Store], sizes: dict[str, Any], seeds: list[int]
) -> dict[str, Any]:
    splits = trainer.splits
    return {
        "rows": {
            "labelled": len(splits.labelled),
            "unlabelled": splits.unlabelled_rows,
            "validation": len(splits.validation),
            "test": len(splits.test),
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
            "test": splits.test.fingerprint(),
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
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _warnings(trainer: Trainer, stores: dict[str, Store], teacher: Any) -> list[str]:
    """What the user should know about the teacher before trusting anything else."""
    found = []
    labelled = trainer.splits.labelled
    assert labelled.labels is not None
    seen = stores["train"].logits(labelled.rows).argmax(dim=1)
    on_train = float((seen == labelled.labels).double().mean())
    if on_train > 0.99 and on_train - teacher.accuracy > 0.05:
        found.append(
            f"the teacher is right on {100 * on_train:.1f} % of the training rows and on "
            f"{100 * teacher.accuracy:.1f} % of the test rows: it has fitted the rows that it "
            "labels, so its soft targets there say little more than the labels. Label them out of "
            "fold (folds= for an estimator, train_ensemble for networks)."
        )
    if trainer.plan.shared_start:
        found.append("all seeds start from the weights of the given student; the spread is small.")
    return found


def _measure(
    experiment: Experiment, teacher: Any, folder: Path, tell: OnProgress, *, seconds: float
) -> None:
    if experiment.example is None:
        return
    tell(Progress("measure", "Timing teacher and student at batch 1 and 64"))
    path = folder / ".student-to-time.onnx"
    try:
        experiment.export(path)
        timing = time_both(path, teacher, experiment.test, seconds=seconds)
    finally:
        path.unlink(missing_ok=True)
    experiment.latency["student"] = timing.student
    if timing.teacher is not None:
        experiment.latency["teacher"] = timing.teacher
    experiment.facts["teacher_runtime"] = timing.teacher_runtime
