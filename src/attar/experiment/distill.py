"""`distill`: the controlled experiment, from a teacher and data to a student and a verdict."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attar.checks import AttarError, check_number
from attar.data import Views
from attar.data.label_columns import check_task
from attar.engine.processes import Processes
from attar.experiment import arms as arms_of
from attar.experiment.all_arms import Hunt, train_all
from attar.experiment.arguments import (
    check_alone,
    configured,
    names_of,
    pseudo_labels_to_choose,
    seeds_of,
    steps_of,
    strengths_of,
    transfer_to_choose,
)
from attar.experiment.arms import SoftLoss, Trainer
from attar.experiment.crossfit import Fit
from attar.experiment.folder import identity, run_folder, settle
from attar.experiment.foreseen import Foreseen
from attar.experiment.growing import at_most_one
from attar.experiment.inputs import check_student, make_splits, plan_student, size_of
from attar.experiment.opening import measure, open_test, smallest_member
from attar.experiment.progress import OnProgress, Progress, quietly
from attar.experiment.result import Experiment
from attar.experiment.searching import spaces
from attar.experiment.targets import (
    left_out_of,
    may_have_seen,
    targets_of,
    teacher_of,
)
from attar.experiment.tracking import Tracking, check_trackers
from attar.experiment.widening import widened
from attar.losses import kl
from attar.teachers import StoredTeacher

#: Said where a teacher may have been trained on the very rows that it is judged on.
READY_MADE = (
    "validation or test was cut from train here, and the teacher came ready-made: if it was "
    "trained on these rows, its scores on them are too good, and so is the gap. Give test= and "
    "validation= rows that it has not seen."
)


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
    pseudo_labels: bool | str = False,
    loss: SoftLoss | str | Sequence[str] = kl,
    search_cost: float = 3.0,
    seeds: int | Sequence[int] = 3,
    steps: int | None = None,
    epochs: float | None = None,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    parameters: int | None = None,
    shrink: float | None = None,
    student_size: str | None = None,
    views: Views | Sequence[Views | None] | str | None = None,
    folds: Any = 5,
    groups: Any = None,
    fit: Fit | None = None,
    smoothing: Sequence[float] | None = None,
    evaluations: int = 10,
    latency_seconds: float = 0.5,
    calibrate: bool = False,
    split_seed: int = 0,
    out: str | Path | None = None,
    targets: str | Path | None = None,
    resume: bool = False,
    any_threads: bool = False,
    track: Any = None,
    progress: OnProgress | None = None,
    accelerator: Any = None,
    task: str = "multiclass",
) -> Experiment:
    """Distil a teacher into a student, and find out whether the teacher helped.

    The teacher is asked once, about every row. Then students of one architecture, with the same
    starting weights, steps and batch size, learn from hard labels, from smoothed labels, from
    the teacher's soft targets, and (where rows are unlabelled) from the teacher's argmax; all
    choices are made on validation, and test is opened once.

    In several processes (``torchrun``, ``accelerate launch``) the first one asks the teacher,
    measures and writes; all train together, each on its share of every batch, and all return
    the same result. They must see the run folder under one path.

    Args:
        teacher: Whatever :func:`attar.teachers.as_teacher` takes: a torch module, an estimator
            with ``predict_proba``, an ONNX file, a function, a store, or a list of these. Where
            ``test`` or ``validation`` is cut from ``train`` here, an estimator is fitted anew on
            the rest, since a fitted one has seen all of it.
        student: A family of :mod:`attar.students` (then give ``parameters`` or ``shrink``), a
            callable without arguments that makes a ``torch.nn.Module``, or a module to copy.
            Trees (``attar.students.tree``, ``boosted``) are built in one go from view 0 of each
            row; ``steps``, ``batch_size`` and ``learning_rate`` are nothing to them.
        train: ``(X, y)`` or an object of :mod:`attar.data`; label -100 where not known.
        validation: The same, labelled; a fifth of the labelled rows by default.
        test: The same, labelled; a fifth of the labelled rows by default.
        transfer: What the student is distilled on, where it is not just ``train``. Training rows
            (a mask of bools over the rows of ``train``, ``train.take(...)``, or a pair whose
            rows are all found there) *are* the transfer set: the student hears the teacher about
            these alone, and no label where the pair has none. Other rows, ``(X, None)`` or
            data, are added to ``train`` for the soft loss alone. Whole classes may be missing:
            see :func:`attar.evaluation.correct_bias`. ``[None, rows]`` lets the arms that hear the
            teacher choose on validation whether they learn from other rows at all; ``"auto"`` does
            so with rows between the training rows of a table, twice as many, where the teacher
            can be asked about them: a store cannot.
        classes: The names of the classes in label order, where the data does not tell.
        temperature: T above 0: a number, a list to choose from (each is trained to its end), or
            ``"auto"``; trees are built on the answers themselves, or on sharper ones: at most 1.
        alpha: The weight of the soft loss in (0, 1], the hard loss has ``1 - alpha``: a number,
            a list to choose from, or ``"auto"``.
        pseudo_labels: Whether the hard loss beside the soft one takes the teacher's argmax for the
            label of a row that has none; ``"auto"`` chooses on validation where less than a fifth
            of the rows that were given have a label. With an alpha of 1 there is no hard loss, and
            nothing to choose. The arm of pseudo-labels learns from that alone.
        loss: A function ``(student, teacher, *, temperature) -> [N]``; a name, ``"kl"``, ``"jsd"``,
            ``"dkd"`` or ``"standardized_kl"``; several names, or ``"auto"`` for all of these.
            With several, or where T or alpha is ``"auto"``, the three are looked for together on
            validation by successive halving, each among what was given; no trial asks the teacher
            (:func:`attar.experiment.search.search`).
        search_cost: What such a search may cost, in whole trainings; every arm looks for a setting
            of its own at the same cost (hard labels and pseudo-labels for a learning rate, which
            smoothed labels take over from the first and soft targets from the second, or from the
            first where every row has a label).
        seeds: How many, or which. One seed never gives a verdict.
        steps: Optimizer steps of every run.
        epochs: Instead of ``steps``: passes over the rows of ``train`` that are not held out and
            the further ones of ``transfer`` (by default 20, or as many as make 500 steps).
            Views, and the rows that ``transfer="auto"`` draws, make no run longer.
        batch_size: Rows a step.
        learning_rate: The peak of warm-up and cosine.
        weight_decay: AdamW's.
        parameters: The size of a family's student.
        shrink: Its size, as times smaller than the teacher's smallest member.
        student_size: ``"auto"`` looks for the size, in place of these two: that of the smallest of
            :func:`attar.ladder` which keeps 97 % of the teacher's accuracy on validation; where
            none does, of the best, with a warning. ``ladder.json`` in ``out`` tells of all. For
            a student by the recipe, call the ladder first and then this with ``parameters``.
        views: Seeded transforms: teacher and student see the same views of each row. ``[None,
            views]`` lets every arm choose on validation whether it learns from views or from the
            rows as they are (small students are often better without); ``"auto"`` does so with
            the usual views of images (:func:`attar.data.usual_views`), and has none of other rows.
            The teacher is asked about every view; of one that holds answers alone, such as a
            store, ``"auto"`` takes the views that ``train`` has.
        folds: An estimator is taken to have been fitted on the labelled rows, so clones of it
            label them out of fold: how many, or a splitter of scikit-learn. None takes its own
            word for them. Training rows that a splitter never holds out (the first of
            ``TimeSeriesSplit``) are left out of every arm, with a warning of the result.
        groups: ``[N]``, one a row of ``train``: rows of one group (one patient, say) are never on
            both sides, of a fold or of a split that is made here.
        fit: ``fit(network, rows)`` trains a network; then ``teacher`` is a callable that makes a
            fresh one, and each fold is labelled by one that did not see it.
        smoothing: Label smoothing strengths to choose from.
        evaluations: How often a run is validated; the best epoch is chosen there.
        latency_seconds: How long teacher and student are timed at each batch size; 0 does not.
        calibrate: Ship the student with a temperature inside its graph that was fitted on
            validation, so that its probabilities say how often it is right; its predictions
            stay the same. It is fitted and measured for every run in any case.
        split_seed: Of the splits that are made here.
        out: The run folder; one that exists is refused unless ``resume``.
        targets: Where the soft targets are kept; by default in ``out``. Experiments on the same
            rows share them, and the teacher is asked once for all.
        resume: Go on in ``out``: nothing that was labelled or trained is done again.
        any_threads: Go on also with another number of threads or version of torch than the run
            began with; it then ends with other bits.
        track: ``"tensorboard"``, ``"mlflow"``, ``"wandb"``, ``"trackio"``, an accelerate
            ``GeneralTracker``, or a list of these: curves of every student, scores, verdict and
            files go there too. A resumed run logs nothing twice; a tracker that fails on the way
            is given up with a warning.
        progress: Called with :class:`Progress` as things happen.
        accelerator: An ``accelerate.Accelerator``; a plain one by default.
        task: ``"multiclass"``; or ``"regression"`` (``y`` of shape ``[N]`` or ``[N, D]``) or
            ``"multilabel"`` (``[N, L]`` of 0 and 1), which give a
            :class:`~attar.experiment.TaskExperiment`: the teacher is a regressor, or a classifier
            of several labels a row, and ``loss`` a loss between values, or sigmoid logits.

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
    check_task("distill", task)
    if student_size is not None:
        # The ladder stands on this module.
        from attar.experiment.sizing import check_sizing, sized

        check_sizing(student_size, task)
        given = {"parameters": parameters, "shrink": shrink, "targets": targets, "track": track}
        given |= {"groups": groups, "fit": fit, "accelerator": accelerator}
        check_alone(given, pseudo_labels=pseudo_labels, views=views, transfer=transfer)
        return sized(
            teacher,
            student,
            train=train,
            validation=validation,
            test=test,
            transfer=transfer,
            classes=classes,
            temperature=temperature,
            alpha=alpha,
            loss=loss,
            search_cost=search_cost,
            seeds=seeds,
            steps=steps,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            views=views,
            folds=folds,
            smoothing=smoothing,
            evaluations=evaluations,
            latency_seconds=latency_seconds,
            calibrate=calibrate,
            split_seed=split_seed,
            out=out,
            resume=resume,
            any_threads=any_threads,
            progress=progress,
        )
    if task != "multiclass":
        # The tasks beside classes stand on this module.
        from attar.experiment.task_distill import check_arguments, distill_task

        if transfer_to_choose(transfer)[1]:
            raise AttarError(
                "distill: a choice of transfer is there for classes. Give the rows themselves, or "
                "none."
            )
        if pseudo_labels is not False:
            raise AttarError("distill: pseudo_labels is there for classes. Leave it out.")
        given = {"views": views, "calibrate": calibrate, "targets": targets, "track": track}
        given |= {"groups": groups, "fit": fit}
        check_arguments(task, {**given, "accelerator": accelerator})
        if isinstance(loss, str) or not callable(loss):
            raise AttarError(
                f"distill: the loss of a {task} task is a function. Got loss={loss!r}. Leave it "
                "out for the usual one."
            )
        return distill_task(
            teacher,
            student,
            task=task,
            train=train,
            validation=validation,
            test=test,
            transfer=transfer,
            classes=classes,
            temperature=temperature,
            alpha=alpha,
            loss=loss,
            seeds=seeds,
            steps=steps,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            parameters=parameters,
            shrink=shrink,
            folds=folds,
            smoothing=smoothing,
            evaluations=evaluations,
            latency_seconds=latency_seconds,
            split_seed=split_seed,
            out=out,
            resume=resume,
            any_threads=any_threads,
            progress=progress,
        )
    processes = Processes(accelerator)
    tell = (progress or quietly) if processes.main else _silently
    numbers = seeds_of(seeds)
    rows, optional = transfer_to_choose(transfer)
    between = isinstance(rows, str)
    splits = make_splits(
        train,
        validation,
        test,
        None if between else rows,
        groups=groups,
        classes=names_of(classes),
        seed=split_seed,
    )
    # What is added here makes no run longer: an epoch is a pass over what was given.
    passed, few = len(splits.train), splits.few_labels
    splits, in_views = widened(
        splits, teacher, views=views, between=between, seed=split_seed, tell=tell
    )
    with_or_without = (True, False) if optional and splits.added is not None else (True,)
    cut_here = test is None or validation is None
    if fit is not None and folds is None:
        raise AttarError("distill: fit= goes with folds=. Give folds=5, or leave it out.")
    # All that can be wrong is looked at before the teacher is asked about a single row.
    total = steps_of(steps, epochs, passed, batch_size)
    for name, value, high in (("temperature", temperature, 1e3), ("alpha", alpha, 1.0)):
        arms_of.as_choices(name, value, auto=[1.0], low=0, high=high)
    guesses = pseudo_labels_to_choose(pseudo_labels, splits, alpha)
    check_number("distill", "search_cost", search_cost, low=1)
    check_number("distill", "evaluations", evaluations, low=1, whole=True)
    usual, names = arms_of.as_losses(loss)
    check_student(student, parameters, shrink)
    check_number("distill", "latency_seconds", latency_seconds, low=0)
    for value in smoothing or ():
        check_number("distill", "smoothing", value, low=0, high=1, high_open=True)
    config = configured(
        total, evaluations, learning_rate, weight_decay=weight_decay, any_threads=any_threads
    )
    trackers = check_trackers(track, kept=out is not None) if processes.main else []
    with (
        run_folder(out, processes, resume=resume) as folder,
        contextlib.ExitStack() as at_end,
    ):
        given_rows, keep = splits, folder / "folds"
        asked = processes.first(
            lambda: teacher_of(teacher, given_rows, folds, refit=cut_here, fit=fit, keep=keep)
        )
        left_out = processes.from_main(left_out_of(asked))
        splits = splits.without(left_out)
        plan = plan_student(
            student,
            splits.train,
            parameters=parameters,
            shrink=shrink,
            teacher_parameters=processes.from_main(smallest_member(asked, "parameters")),
        )
        tracking = Tracking(
            trackers,
            folder,
            title="distill" if out is None else folder.resolve().name,
            config={"student": plan.name, "steps": total, "batch_size": batch_size},
        )
        processes.first(lambda: at_end.enter_context(tracking))
        place = folder / "targets" if targets is None else Path(targets)
        stores = targets_of(asked, splits, place, tell, processes)
        trainer = Trainer(
            splits=splits,
            plan=plan,
            teacher=StoredTeacher(stores["train"]),
            config=config,
            batch_size=batch_size,
            loss=usual,
            folder=folder / "arms",
            accelerator=accelerator,
            processes=processes,
            on_record=tracking.record,
        )
        soft = stores["train"].logits(splits.train.rows)
        found = arms_of.automatic(len(splits.train.classes), size_of(plan), few_labels=few)
        settings = arms_of.candidates(
            at_most_one(temperature)
            if plan.grown
            else arms_of.as_choices("temperature", temperature, auto=found[0], low=0, high=1e3),
            arms_of.as_choices("alpha", alpha, auto=found[1], low=0, high=1),
            learning_rate=learning_rate,
            smoothing=strengths_of(smoothing, soft),
            unlabelled=splits.unlabelled_rows > 0,
            views=in_views,
            further=with_or_without,
            pseudo_labels=guesses,
        )
        wide = None
        if not plan.grown:
            wide = spaces(
                temperature,
                alpha,
                names,
                likely=found,
                learning_rate=learning_rate,
                smoothing=strengths_of(smoothing, soft),
                unlabelled=splits.unlabelled_rows > 0,
                few_labels=few,
                views=in_views,
                further=with_or_without,
                pseudo_labels=guesses,
            )
        hunt = None if wide is None else Hunt(wide, search_cost, folder / "search")
        tried: Any = settings if wide is None else {arm: [one] for arm, one in wide.items()}
        here = identity(trainer, tried, numbers, stores)
        words = {"temperature": temperature, "alpha": alpha, "loss": loss, "views": views}
        words |= {"pseudo_labels": pseudo_labels, "transfer": transfer, "smoothing": smoothing}
        words["learning_rate"] = learning_rate
        processes.first(lambda: settle(folder, here, words=words))
        foreseen = Foreseen(folder, tell, trainer, stores)
        processes.first(lambda: foreseen.before(asked))
        chosen, trials = train_all(trainer, settings, numbers, tell, hunt, foreseen)
        experiment = open_test(
            trainer,
            chosen,
            trials,
            stores,
            StoredTeacher(stores["train"]) if asked is None else asked,
            tell,
            size=size_of(plan),
            seeds=numbers,
        )
        experiment.warnings[:0] = foreseen.warnings
        if cut_here and (folds is None or (fit is None and may_have_seen(teacher))):
            experiment.warnings.append(READY_MADE)
        if len(left_out):
            experiment.warnings.append(
                f"no fold held out {len(left_out)} of the training rows, the first is row "
                f"{int(left_out[0])}: nobody could label them who had not seen their label, and "
                "no arm learnt from them."
            )
        experiment.calibrate = calibrate
        if calibrate and experiment.calibration is not None and experiment.calibration.note:
            experiment.warnings.append(
                f"the student was not calibrated: {experiment.calibration.note}."
            )

        def end() -> None:
            if latency_seconds > 0:
                measure(experiment, asked, folder, tell, seconds=latency_seconds)
            experiment.warnings += tracking.failures
            if out is not None:
                experiment.save(folder)
            if trackers and out is not None:
                experiment.report(folder / "report.html")  # goes to the trackers with the rest
            tracking.finish(experiment)

        processes.first(end)
        for name in ("teacher_name", "facts", "latency", "warnings", "exported", "members"):
            setattr(experiment, name, processes.from_main(getattr(experiment, name)))
    return experiment


def _silently(progress: Progress) -> None:
    """What a process tells that is not the main one."""
