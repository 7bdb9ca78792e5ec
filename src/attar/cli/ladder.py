"""`attar ladder`: from files to the smallest student that keeps enough of the teacher."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from attar.budget import FORMS, Budget
from attar.checks import AttarError, check_number, need
from attar.cli.ensemble import Recipe
from attar.cli.files import check_free
from attar.cli.inputs import RunFiles, image_size, views_of
from attar.cli.options import (
    GOAL,
    Alpha,
    AnyThreads,
    BatchSize,
    Calibrate,
    Epochs,
    Folds,
    Label,
    Labels,
    LearningRate,
    Lenient,
    Loss,
    Members,
    Out,
    Resume,
    Seeds,
    Shift,
    Size,
    Steps,
    Teachers,
    TeacherSteps,
    TeacherWidth,
    Temperature,
    TestRows,
    Train,
    Transfer,
    Trust,
    Validation,
    ViewCount,
)
from attar.cli.teachers import TeacherWord, recipe_of, teachers_named
from attar.cli.words import check_student, numbers_in, sizes_in, student_named, training


def ladder(
    train: Train,
    out: Out,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help=f"What the student may cost: {FORMS}; several with commas between.",
            rich_help_panel=GOAL,
        ),
    ] = None,
    keep: Annotated[
        float,
        typer.Option(
            help="The fraction of the teacher's accuracy to keep, at most 1.", rich_help_panel=GOAL
        ),
    ] = 0.97,
    student: Annotated[
        str | None,
        typer.Option(
            help="Families with commas between, as for attar distill; by default convnet,mlp for "
            "images, mlp,boosted for tables, else mlp.",
            rich_help_panel=GOAL,
        ),
    ] = None,
    shrinks: Annotated[
        str,
        typer.Option(
            help="The sizes: how many times smaller than the teacher's smallest member.",
            rich_help_panel=GOAL,
        ),
    ] = "3,10,30,100",
    parameters: Annotated[
        str | None,
        typer.Option(help="Instead: the sizes themselves, 20000,5000,1000.", rich_help_panel=GOAL),
    ] = None,
    label: Label = None,
    lenient: Lenient = False,
    labels: Labels = None,
    size: Size = None,
    validation: Validation = None,
    test: TestRows = None,
    transfer: Transfer = None,
    resume: Resume = False,
    any_threads: AnyThreads = False,
    teacher: Teachers = None,
    trust: Trust = None,
    folds: Folds = 5,
    members: Members = 5,
    teacher_width: TeacherWidth = None,
    teacher_steps: TeacherSteps = 600,
    temperature: Temperature = "4",
    calibrate: Calibrate = False,
    alpha: Alpha = "0.9",
    loss: Loss = None,
    seeds: Seeds = "3",
    steps: Steps = None,
    epochs: Epochs = None,
    batch_size: BatchSize = 256,
    learning_rate: LearningRate = 1e-3,
    all_sizes: Annotated[
        bool,
        typer.Option(
            "--all-sizes",
            help="Train every size to the end, the hopeless too.",
            rich_help_panel=GOAL,
        ),
    ] = False,
    shift: Shift = None,
    views: ViewCount = None,
) -> None:
    """Find the smallest student that keeps enough of the teacher's accuracy, within a budget.

    What each size costs is measured before training; the hopeless are stopped early. Run again
    with --resume and another --budget or --keep, only what is missing is trained.
    """
    from attar.cli import show

    files = RunFiles(train, labels, validation, test, transfer)
    files.check(label)
    limits = Budget.of(budget)
    check_number("attar ladder", "keep", keep, low=0, high=1, low_open=True)
    check_free(out, resume=resume)
    seen = views_of(shift, views)
    words = [TeacherWord.of(word) for word in teacher or []]
    named = student.split(",") if student else []
    for word in named:
        check_student(word)
        if named.count(word) > 1:
            raise AttarError(f"--student must name each family once. Got {student}.")
    shrunk = numbers_in("shrinks", shrinks)
    for shrink in shrunk:
        check_number("attar ladder", "shrinks", shrink, low=1)
    counts = None if parameters is None else sizes_in("parameters", parameters)
    numbers = training(
        "attar ladder",
        temperature=temperature,
        alpha=alpha,
        loss=loss,
        seeds=seeds,
        steps=steps,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
    )
    need("torch", extra="train", purpose="attar ladder")
    from attar import experiment as experiments
    from attar.experiment import arguments
    from attar.experiment.arms import as_losses
    from attar.experiment.ladder_arguments import check_room, check_sizes, students_of

    # All that can be wrong is looked at before a teacher is trained.
    check_sizes(shrunk, counts)
    arguments.seeds_of(numbers["seeds"])
    if loss is not None:
        as_losses(numbers["loss"])
    reading = replace(recipe_of(words), label=label, size=size, lenient=lenient)
    splits, given = files.read(reading, seen)
    own = students_of([student_named(word) for word in named] or "auto", splits.train)
    if counts is not None:
        check_room(own, splits.train, max(counts))
    with show.Reporter() as reporter:
        for line in show.columns_in_words(given.columns):
            reporter.tell("columns", line)
        if words:
            asked = teachers_named(words, trust or [], given, splits, folds)
        else:
            pictures = image_size(given) is not None
            recipe = Recipe.of(teacher_width, members, teacher_steps, pictures=pictures)
            if counts is None:
                size_of_one = recipe.member_size(given)
                check_room(own, splits.train, int(size_of_one / min(shrunk)))
            asked = recipe.train(splits, out / "teacher", reporter)
            resume = True  # the folder is there now, with the teacher in it
        found = experiments.ladder(
            asked,
            own,
            train=splits.train,
            validation=splits.validation,
            test=splits.test,
            transfer=splits.transfer,
            budget=limits,
            keep=keep,
            shrinks=shrunk,
            parameters=counts,
            folds=folds or None,
            stop_early=not all_sizes,
            calibrate=calibrate,
            out=out,
            resume=resume,
            any_threads=any_threads,
            progress=reporter,
            **numbers,
        )
    show.show_ladder(found, out)
