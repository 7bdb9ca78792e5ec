"""`attar distill`: from files to a student and a verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

import typer

from attar.checks import AttarError, check_number, need
from attar.cli.ensemble import Recipe
from attar.cli.files import check_bundle, check_free
from attar.cli.inputs import RunFiles, image_size, views_of
from attar.cli.options import (
    DATA,
    STUDENT,
    AnyThreads,
    BatchSize,
    BundlePath,
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
    TestRows,
    Track,
    Train,
    Transfer,
    Trust,
    Validation,
    ViewCount,
)
from attar.cli.recipe import Choices
from attar.cli.teachers import TeacherWord, recipe_of, teachers_named
from attar.cli.words import check_student, is_family, not_both, student_named, training

#: How many times smaller than a teacher's smallest member a student is, unless it is said.
_SHRINK = 10.0
#: The size of a student whose teacher is a stack of trees.
_PARAMETERS = 20_000
#: Of one class a row, of several labels, or of numbers.
Task = Literal["multiclass", "multilabel", "regression"]


def distill(
    train: Train,
    out: Out,
    label: Label = None,
    lenient: Lenient = False,
    labels: Labels = None,
    size: Size = None,
    validation: Validation = None,
    test: TestRows = None,
    transfer: Transfer = None,
    resume: Resume = False,
    any_threads: AnyThreads = False,
    track: Track = None,
    task: Annotated[
        Task,
        typer.Option(
            help="What --label names: a class, columns of 0 and 1 (multilabel), or numbers "
            "(regression).",
            rich_help_panel=DATA,
        ),
    ] = "multiclass",
    teacher: Teachers = None,
    trust: Trust = None,
    folds: Folds = 5,
    members: Members = 5,
    teacher_width: TeacherWidth = None,
    teacher_steps: TeacherSteps = 600,
    student: Annotated[
        str | None,
        typer.Option(
            help="mlp, table_mlp, tree or boosted for tables, convnet, plain_convnet or resnet for "
            "images, or module:function; by default convnet for images, else mlp.",
            rich_help_panel=STUDENT,
        ),
    ] = None,
    parameters: Annotated[
        int | None,
        typer.Option(help="The student's size.", min=1, rich_help_panel=STUDENT),
    ] = None,
    shrink: Annotated[
        float | None,
        typer.Option(
            help="Its size, as times smaller than the teacher's smallest member; 10 by default.",
            rich_help_panel=STUDENT,
        ),
    ] = None,
    recipe: Annotated[
        bool | None,
        typer.Option(
            "--recipe/--plain",
            help="Choose T, alpha, views of images and rows between the rows of a table on "
            "validation, all but what is said (the default, where students are networks that "
            "learn classes); or choose nothing.",
            show_default=False,
            rich_help_panel=STUDENT,
        ),
    ] = None,
    temperature: Annotated[
        str | None,
        typer.Option(
            help="A number, a list to choose from, or auto; auto by the recipe, 4 with --plain.",
            rich_help_panel=STUDENT,
        ),
    ] = None,
    calibrate: Calibrate = False,
    alpha: Annotated[
        str | None,
        typer.Option(
            help="The weight of the soft loss: a number, a list to choose from, or auto; auto by "
            "the recipe, 0.9 with --plain.",
            rich_help_panel=STUDENT,
        ),
    ] = None,
    pseudo_labels: Annotated[
        bool | None,
        typer.Option(
            "--pseudo-labels/--no-pseudo-labels",
            help="Whether the hard loss takes the teacher's guess for the label of a row that has "
            "none; chosen by the recipe where few rows have one, else not.",
            show_default=False,
            rich_help_panel=STUDENT,
        ),
    ] = None,
    loss: Loss = None,
    search_cost: Annotated[
        float,
        typer.Option(
            help="What a search may cost for each arm, in whole trainings.",
            min=1,
            rich_help_panel=STUDENT,
        ),
    ] = 3.0,
    seeds: Seeds = "3",
    steps: Steps = None,
    epochs: Epochs = None,
    batch_size: BatchSize = 256,
    learning_rate: LearningRate = 1e-3,
    shift: Shift = None,
    views: ViewCount = None,
    bundle: BundlePath = None,
) -> None:
    """Distil a teacher into a small student, and find out whether the teacher helped.

    Without --teacher, Attar trains a big ensemble of networks first (of a regression and of
    several labels a row, a stack of trees). What is not said and makes distillation win is looked
    for on validation: T, alpha, pseudo-labels where few rows have a label, views of images, rows
    between the rows of a table, about which the teacher is asked too. --plain looks for nothing.
    """
    from attar.cli import show

    files = RunFiles(train, labels, validation, test, transfer)
    files.check(label, task)
    check_free(out, resume=resume)
    check_bundle(bundle)
    seen = views_of(shift, views)
    named = list(teacher or (["boosted-stack"] if task != "multiclass" else []))
    words = [TeacherWord.of(word) for word in named]
    if student is not None:
        check_student(student)
    not_both("parameters", parameters, "shrink", shrink)
    if shrink is not None:
        check_number("attar distill", "shrink", shrink, low=1)
    check_number("attar distill", "search-cost", search_cost, low=1)
    choices = Choices.of(recipe, task=task, student=student)
    if pseudo_labels and task != "multiclass":
        raise AttarError(f"attar distill: --pseudo-labels is there for classes. Got --task {task}.")
    numbers = training(
        "attar distill",
        **choices.numbers(temperature, alpha),
        loss=loss,
        seeds=seeds,
        steps=steps,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
    )
    need("torch", extra="train", purpose="attar distill")
    from attar import experiment as experiments
    from attar.experiment.arguments import pseudo_labels_to_choose
    from attar.experiment.between import is_table
    from attar.experiment.inputs import check_student as check_sized
    from attar.experiment.tracking import check_trackers

    check_trackers(track)
    reading = replace(recipe_of(words), label=label, size=size, task=task, lenient=lenient)
    splits, given = files.read(reading, seen)
    rows: dict[str, Any] = {"transfer": splits.transfer}
    rows |= choices.rows(transfer=transfer, shift=shift)
    guesses = choices.guesses(pseudo_labels)
    drawn = rows["transfer"] == "auto" and is_table(splits.train)
    open_ = pseudo_labels_to_choose(guesses, splits, numbers["alpha"], more=drawn)
    pictures = image_size(given) is not None
    chosen = student or ("convnet" if pictures else "mlp")
    own = student_named(chosen)
    if parameters is None and shrink is None and is_family(chosen):
        if any(word.form == "recipe" for word in words):  # trees have no parameters to shrink
            parameters = _PARAMETERS
        else:
            shrink = _SHRINK
    check_sized(own, parameters, shrink)
    with show.Reporter() as reporter:
        more: dict[str, Any] = {"shift": shift} if pictures else {"transfer": transfer}
        more |= {"pseudo_labels": pseudo_labels} if len(open_) > 1 else {}
        told = choices.told(temperature=temperature, alpha=alpha, **more)
        if told is not None:
            reporter.tell("recipe", told)
        for line in show.columns_in_words(given.columns):
            reporter.tell("columns", line)
        if words:
            asked = teachers_named(words, trust or [], given, splits, folds, task=task)
        else:
            big = Recipe.of(teacher_width, members, teacher_steps, pictures=pictures)
            big.check_room(own, given, parameters=parameters, shrink=shrink)
            asked = big.train(splits, out / "teacher", reporter)
            resume = True  # the folder is there now, with the teacher in it
        result = experiments.distill(
            asked,
            own,
            train=splits.train,
            validation=splits.validation,
            test=splits.test,
            **rows,
            parameters=parameters,
            shrink=shrink,
            folds=folds or None,
            out=out,
            resume=resume,
            any_threads=any_threads,
            calibrate=calibrate,
            track=track,
            progress=reporter,
            task=task,
            pseudo_labels=guesses,
            search_cost=search_cost,
            **numbers,
        )
    if bundle is not None:
        result.bundle(bundle)
    show.show_experiment(result, out)
