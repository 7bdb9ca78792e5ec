"""`attar distill`: from files to a student and a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from attar.checks import AttarError, check_number, need
from attar.cli.ensemble import WIDTH, Recipe
from attar.cli.files import check_bundle, check_free
from attar.cli.inputs import RunFiles, image_size, views_of
from attar.cli.options import (
    DATA,
    RUN,
    STUDENT,
    TEACHER,
    BundlePath,
    Label,
    Labels,
    Shift,
    Size,
    Teachers,
    Track,
    Trust,
    ViewCount,
)
from attar.cli.teachers import TeacherWord, load_all, out_of_fold, recipe_of
from attar.cli.words import check_student, choices, load_object, seeds_of

#: How many times smaller than a teacher's smallest member a student is, unless it is said.
_SHRINK = 10.0
#: The size of a student whose teacher is a stack of trees.
_PARAMETERS = 20_000
#: Of one class a row, or of numbers.
Task = Literal["multiclass", "regression"]


def distill(
    train: Annotated[
        str,
        typer.Option(
            help="A folder of images, a .csv or .parquet table, an idx file, or an .npz.",
            rich_help_panel=DATA,
        ),
    ],
    out: Annotated[Path, typer.Option(help="The run folder.", rich_help_panel=RUN)],
    label: Label = None,
    labels: Labels = None,
    size: Size = None,
    validation: Annotated[
        str | None,
        typer.Option(help="Labelled; a fifth of --train by default.", rich_help_panel=DATA),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(help="Labelled; a fifth of --train by default.", rich_help_panel=DATA),
    ] = None,
    transfer: Annotated[
        str | None,
        typer.Option(
            help="More rows, for the soft targets alone; or the part of the rows of --train that "
            "the student is distilled on.",
            rich_help_panel=DATA,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on in --out.", rich_help_panel=RUN)
    ] = False,
    any_threads: Annotated[
        bool,
        typer.Option(
            "--any-threads",
            help="Go on also with another thread count; the run then ends with other bits.",
            rich_help_panel=RUN,
        ),
    ] = False,
    track: Track = None,
    task: Annotated[
        Task,
        typer.Option(help="What --label names: a class, or a number.", rich_help_panel=DATA),
    ] = "multiclass",
    teacher: Teachers = None,
    trust: Trust = None,
    folds: Annotated[
        int,
        typer.Option(
            help="Estimators label the rows out of fold, by this many clones; 0: as they are.",
            rich_help_panel=TEACHER,
        ),
    ] = 5,
    members: Annotated[
        int,
        typer.Option(
            help="Networks of the ensemble that is trained without --teacher.",
            min=2,
            rich_help_panel=TEACHER,
        ),
    ] = 5,
    teacher_width: Annotated[
        int | None,
        typer.Option(
            help="Their width; by default 256, or 32 for images.",
            min=1,
            rich_help_panel=TEACHER,
        ),
    ] = None,
    teacher_steps: Annotated[
        int, typer.Option(help="Steps of each of them.", min=1, rich_help_panel=TEACHER)
    ] = 600,
    student: Annotated[
        str | None,
        typer.Option(
            help="mlp, tree or boosted for tables, convnet, plain_convnet or resnet for images, or "
            "module:function; by default convnet for images, else mlp.",
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
    temperature: Annotated[
        str,
        typer.Option(help="A number, a list to choose from, or auto.", rich_help_panel=STUDENT),
    ] = "4",
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Ship the student with a temperature that makes its probabilities honest, "
            "fitted on validation.",
            rich_help_panel=STUDENT,
        ),
    ] = False,
    alpha: Annotated[
        str,
        typer.Option(
            help="The weight of the soft targets: a number, a list, or auto.",
            rich_help_panel=STUDENT,
        ),
    ] = "0.9",
    loss: Annotated[
        str | None,
        typer.Option(
            help="kl, jsd, dkd, standardized_kl, a list of these, or auto. Where this, T or alpha "
            "is auto, or losses are several, all are searched for on validation.",
            rich_help_panel=STUDENT,
        ),
    ] = None,
    search_cost: Annotated[
        float,
        typer.Option(
            help="What a search may cost for each arm, in whole trainings.",
            min=1,
            rich_help_panel=STUDENT,
        ),
    ] = 3.0,
    seeds: Annotated[
        str, typer.Option(help="How many (3), or which (0,1,5).", rich_help_panel=STUDENT)
    ] = "3",
    steps: Annotated[
        int | None, typer.Option(help="Steps of every run.", min=1, rich_help_panel=STUDENT)
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(help="Instead: passes over --train (20).", rich_help_panel=STUDENT),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(help="Rows a step.", min=1, rich_help_panel=STUDENT)
    ] = 256,
    learning_rate: Annotated[
        float, typer.Option(help="The peak of the schedule.", rich_help_panel=STUDENT)
    ] = 1e-3,
    shift: Shift = None,
    views: ViewCount = None,
    bundle: BundlePath = None,
) -> None:
    """Distil a teacher into a small student, and find out whether the teacher helped.

    Without --teacher, Attar trains a big ensemble of networks first (of a regression, a stack
    of trees).
    """
    from attar.cli import show

    files = RunFiles(train, labels, validation, test, transfer)
    files.check(label, task)
    check_free(out, resume=resume)
    check_bundle(bundle)
    seen = views_of(shift, views)
    named = list(teacher or (["boosted-stack"] if task == "regression" else []))
    words = [TeacherWord.of(word) for word in named]
    if student is not None:
        check_student(student)
    _not_both("parameters", parameters, "shrink", shrink)
    _not_both("steps", steps, "epochs", epochs)
    for name, number in (("learning-rate", learning_rate), ("epochs", epochs)):
        if number is not None:
            check_number("attar distill", name, number, low=0, low_open=True)
    if shrink is not None:
        check_number("attar distill", "shrink", shrink, low=1)
    numbers: dict[str, Any] = {
        "temperature": choices("temperature", temperature, high=1e3),
        "alpha": choices("alpha", alpha, high=1.0),
        "search_cost": search_cost,
        "seeds": seeds_of(seeds),
        "steps": steps,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
    }
    if loss is not None:
        named_losses = loss.split(",")
        numbers["loss"] = named_losses if len(named_losses) > 1 else loss
    need("torch", extra="train", purpose="attar distill")
    from attar import experiment as experiments
    from attar.experiment.tracking import check_trackers

    check_trackers(track)
    reading = replace(recipe_of(words), label=label, size=size, task=task)
    splits, given = files.read(reading, seen)
    pictures = image_size(given) is not None
    chosen = student or ("convnet" if pictures else "mlp")
    own = _student(chosen)
    if parameters is None and shrink is None and _is_family(chosen):
        if any(word.form == "recipe" for word in words):  # trees have no parameters to shrink
            parameters = _PARAMETERS
        else:
            shrink = _SHRINK
    with show.Reporter() as reporter:
        for line in show.columns_in_words(given.columns):
            reporter.tell("columns", line)
        if words:
            loaded = load_all(words, trust or [], given, task=task)
            # An estimator alone, or of values, is cross-fitted by `distill` itself.
            if task == "multiclass" and len(loaded) > 1:
                loaded = [out_of_fold(one, splits.train, folds) for one in loaded]
            asked = loaded[0] if len(loaded) == 1 else loaded
        else:
            family = "plain_convnet" if pictures else "mlp"
            recipe = Recipe(family, teacher_width or WIDTH[family], members, teacher_steps)
            recipe.check_room(own, given, parameters=parameters, shrink=shrink)
            asked = recipe.train(splits, out / "teacher", reporter)
            resume = True  # the folder is there now, with the teacher in it
        result = experiments.distill(
            asked,
            own,
            train=splits.train,
            validation=splits.validation,
            test=splits.test,
            transfer=splits.transfer,
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
            **numbers,
        )
    if bundle is not None:
        result.bundle(bundle)
    show.show_experiment(result, out)


def _not_both(first: str, one: Any, second: str, other: Any) -> None:
    if one is not None and other is not None:
        raise AttarError(f"give --{first} or --{second}, not both.")


def _is_family(word: str) -> bool:
    """Whether a word names a family, which needs a size."""
    return ":" not in word


def _student(word: str) -> Any:
    from attar.students import family_named

    return family_named(word) if _is_family(word) else load_object(word, "--student")
