"""`distill`: the controlled experiment, from a teacher and data to a student and a verdict."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from attar.checks import AttarError, check_number, need
from attar.data import ArrayData, Views
from attar.engine import TrainConfig
from attar.experiment import arms as arms_of
from attar.experiment.arms import Run, Setting, SoftLoss, Trainer
from attar.experiment.folder import claim, identity, settle
from attar.experiment.inputs import Splits, make_splits, plan_student, size_of
from attar.experiment.measure import seconds_per_step
from attar.experiment.opening import measure, open_test, smallest_member
from attar.experiment.progress import OnProgress, Progress, duration, quietly
from attar.experiment.result import Experiment, Trial
from attar.experiment.tracking import Tracking, check_trackers
from attar.losses import kl
from attar.store import Store, label
from attar.teachers import StoredTeacher, as_teacher, cross_fit
from attar.types import VIEW, Data


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
    any_threads: bool = False,
    track: Any = None,
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
            with ``predict_proba``, an ONNX file, a function, a store, or a list of these. Where
            ``test`` or ``validation`` is cut from ``train`` here, an estimator is fitted anew on
            the rest, since a fitted one has seen all of it.
        student: A family of :mod:`attar.students` (then give ``parameters`` or ``shrink``), a
            callable without arguments that makes a ``torch.nn.Module``, or a module to copy.
        train: ``(X, y)`` or an object of :mod:`attar.data`; label -100 where not known.
        validation: The same, labelled; a fifth of the labelled rows by default.
        test: The same, labelled; a fifth of the labelled rows by default.
        transfer: What the student is distilled on, where it is not just ``train``. Training rows
            (a mask of bools over the rows of ``train``, ``train.take(...)``, or a pair whose
            rows are all found there) *are* the transfer set: the student hears the teacher about
            these alone, and no label where the pair has none. Other rows, ``(X, None)`` or
            data, are added to ``train`` for the soft loss alone. Whole classes may be missing:
            see :func:`attar.evaluation.correct_bias`.
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
        any_threads: Go on also with another number of threads or version of torch than the run
            began with; it then ends with other bits.
        track: ``"tensorboard"``, ``"mlflow"``, ``"wandb"``, ``"trackio"``, an accelerate
            ``GeneralTracker``, or a list of these: curves of every student, scores, verdict and
            files go there too. A resumed run logs nothing twice; a tracker that fails on the way
            is given up with a warning.
        progress: Called with :class:`Progress` as things happen.
        accelerator: An ``accelerate.Accelerator``; a plain one by default.

    Returns:
        The :class:`Experiment`, saved to ``out`` if that is given.

    Raises:
        AttarError: On inputs that do not fit, with what to do.

    Example:
        >>> import attar
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
    tell = progress or quietly
    if accelerator is not None and accelerator.num_processes > 1:
        raise AttarError(
            "distill: an experiment is run by one process; with several, train one student with "
            "attar.train and Distiller."
        )
    numbers = _seeds(seeds)
    splits = make_splits(
        train, validation, test, transfer, classes=_names(classes), seed=split_seed
    )
    cut_here = test is None or validation is None
    if views is not None:
        splits = _with_views(splits, views)
    # All that can be wrong is looked at before the teacher is asked about a single row.
    total = _steps(steps, epochs, len(splits.train), batch_size)
    for name, value, high in (("temperature", temperature, 1e3), ("alpha", alpha, 1.0)):
        arms_of.as_choices(name, value, auto=[1.0], low=0, high=high)
    check_number("distill", "evaluations", evaluations, low=1, whole=True)
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
        any_threads=any_threads,
    )
    trackers = check_trackers(track, kept=out is not None)
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as at_end:
        folder = Path(scratch) if out is None else claim(Path(out), resume=resume)
        asked = _as_teacher(teacher, splits, folds, refit=cut_here)
        plan = plan_student(
            student,
            splits.train,
            parameters=parameters,
            shrink=shrink,
            teacher_parameters=smallest_member(asked, "parameters"),
        )
        tracking = at_end.enter_context(
            Tracking(
                trackers,
                folder,
                title="distill" if out is None else folder.resolve().name,
                config={"student": plan.name, "steps": total, "batch_size": batch_size},
            )
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
            on_record=tracking.record,
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
        settle(folder, identity(trainer, settings, numbers, stores))
        chosen, trials = _train_all(trainer, settings, numbers, tell)
        experiment = open_test(
            trainer, chosen, trials, stores, asked, tell, size=size_of(plan), seeds=numbers
        )
        if cut_here and (_may_have_seen(teacher) or folds is None):
            experiment.warnings.append(
                "validation or test was cut from train here, and the teacher came ready-made: if "
                "it was trained on these rows, its scores on them are too good, and so is the gap. "
                "Give test= and validation= rows that it has not seen."
            )
        if latency_seconds > 0:
            measure(experiment, asked, folder, tell, seconds=latency_seconds)
        experiment.warnings += tracking.failures
        if out is not None:
            experiment.save(folder)
        tracking.finish(experiment)
    return experiment


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
    part = splits.transfer
    return replace(
        splits,
        train=splits.train.with_views(views),
        transfer=part.with_views(views) if isinstance(part, ArrayData) else part,
    )


def _strengths(smoothing: Sequence[float] | None, soft: Tensor) -> list[float]:
    if smoothing is None:
        return [*arms_of.SMOOTHING, round(arms_of.entropy_smoothing(soft), 4)]
    return list(smoothing)


def _as_teacher(teacher: Any, splits: Splits, folds: int | None, *, refit: bool) -> Any:
    """Anything as a teacher; estimators, alone or in a list, label out of fold.

    ``refit``: test or validation was cut here, from rows that a fitted estimator may have seen;
    a clone fitted on the training rows answers in its place.
    """
    if isinstance(teacher, list | tuple) and folds is not None:
        members = [_as_teacher(member, splits, folds, refit=refit) for member in teacher]
        return as_teacher(members, classes=splits.train.classes)
    if hasattr(teacher, "predict_proba") and folds is not None:
        base = need("sklearn.base", extra="train", purpose="Labelling out of fold")
        return cross_fit(base.clone(teacher) if refit else teacher, splits.train, folds=folds)
    return as_teacher(teacher, classes=splits.train.classes)


def _may_have_seen(teacher: Any) -> bool:
    """Whether a teacher came ready-made, with rows of its own that nobody here knows."""
    if isinstance(teacher, list | tuple):
        return any(_may_have_seen(member) for member in teacher)
    return not hasattr(teacher, "predict_proba")


def _label_all(teacher: Any, splits: Splits, folder: Path, tell: OnProgress) -> dict[str, Store]:
    if isinstance(teacher, StoredTeacher):
        _check_store(teacher.store, splits)
        return dict.fromkeys(("train", "validation", "test"), teacher.store)
    stores = {}
    for name in ("train", "validation", "test"):
        data: Data = getattr(splits, name)

        def report(done: int, total: int, name: str = name) -> None:
            tell(Progress("label", f"The teacher answers the {name} rows", done, total))

        # At 64 rows the activations of a network stay in a processor's caches.
        stores[name] = label(teacher, data, folder / name, batch_size=64, progress=report)
    return stores


def _check_store(store: Store, splits: Splits) -> None:
    """A store that is the teacher must know every row, before anything is trained."""
    classes = splits.train.classes
    if store.classes and tuple(store.classes) != classes:
        raise AttarError(
            f"distill: the store has the classes {tuple(store.classes)}, the data has {classes}. "
            "Label this data again, or give classes=[...] in the store's order."
        )
    for view in range(splits.train.view_count):
        store.logits(splits.train.rows + view * VIEW)  # raises, and names what is missing
    for part in (splits.validation, splits.test):
        store.logits(part.rows)


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
            f"{runs} runs of {steps:,} steps, about {duration(cost * steps * runs)} in all",
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
