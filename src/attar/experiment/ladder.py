"""`ladder`: students of falling size from one teacher, and the smallest that is good enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attar.budget import Budget, Costs
from attar.checks import AttarError, check_number
from attar.data import Views
from attar.engine.processes import Processes
from attar.evaluation import accuracy
from attar.experiment import arms as arms_of
from attar.experiment.all_arms import runs_of
from attar.experiment.arguments import configured, seeds_of, steps_of, with_views
from attar.experiment.arms import Setting, SoftLoss, Trainer
from attar.experiment.climbing import Climb, identity_of, plan_kept
from attar.experiment.distill import READY_MADE, distill
from attar.experiment.folder import run_folder, settle
from attar.experiment.foreseen import Foreseen
from attar.experiment.growing import at_most_one
from attar.experiment.inputs import Splits, make_splits
from attar.experiment.ladder_advice import advise, doubts
from attar.experiment.ladder_arguments import check_room, check_sizes, students_of
from attar.experiment.ladder_result import Ladder, mark_front
from attar.experiment.opening import smallest_member
from attar.experiment.progress import OnProgress, Progress, not_twice, quietly
from attar.experiment.rungs import SHRINKS, Planned
from attar.experiment.targets import may_have_seen, targets_of, teacher_of
from attar.losses import kl
from attar.store import Store
from attar.teachers import StoredTeacher


def ladder(
    teacher: Any,
    students: Any = "auto",
    *,
    train: Any,
    budget: Any = None,
    keep: float = 0.97,
    shrinks: Sequence[float] = SHRINKS,
    parameters: Sequence[int] | None = None,
    validation: Any = None,
    test: Any = None,
    transfer: Any = None,
    classes: Sequence[str] | None = None,
    temperature: float | Sequence[float] | str = 4.0,
    alpha: float | Sequence[float] | str = 0.9,
    loss: SoftLoss | str | Sequence[str] = kl,
    search_cost: float = 3.0,
    seeds: int | Sequence[int] = 3,
    steps: int | None = None,
    epochs: float | None = None,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    views: Views | None = None,
    folds: int | None = 5,
    smoothing: Sequence[float] | None = None,
    evaluations: int = 10,
    latency_seconds: float = 0.5,
    stop_early: bool = True,
    calibrate: bool = False,
    split_seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    any_threads: bool = False,
    progress: OnProgress | None = None,
) -> Ladder:
    """Find the smallest student that keeps enough of the teacher's accuracy within a budget.

    The teacher is asked once. What every size costs (parameters, bytes of its ONNX file,
    multiply-adds, time of an answer here) is measured on untrained copies, before any training.
    Then one distilled student of each size is trained, large ones first; one that can no longer
    reach the goal is stopped, and smaller ones of its family are not begun. From the smallest
    that reached the goal upwards, students are trained under all seeds, until one reaches it in
    the mean. With that one the controlled experiment of :func:`attar.distill` is done.

    The goal and the budget are two things: ``keep`` is how accurate a student must be, ``budget``
    what it may cost. All choices are made on validation; test is opened once, for the student that
    was chosen. Sizes that are over the budget are trained only where none within it is good enough,
    to say what budget would do.

    Args:
        teacher: As for :func:`attar.distill`, as everything that is not named here.
        students: A family of :mod:`attar.students`, another student as it is, or a list of these;
            ``"auto"``: ``convnet`` and ``mlp`` for images, ``mlp`` and ``boosted`` for the rows of
            a table, else ``mlp``.
        train: ``(X, y)`` or an object of :mod:`attar.data`; inputs of one tensor.
        budget: Upper limits: ``"latency=200us"``, ``"size=100kB"``, ``"params=20000"``,
            ``"macs=1M"``, several with commas between or in a list, or a
            :class:`~attar.budget.Budget`. Each family then also tries the largest member that is
            within all limits. A time is the median of one row on one thread.
        keep: The goal: the fraction of the teacher's accuracy to keep, in (0, 1].
        shrinks: The sizes of a family: how many times smaller than the teacher (its smallest
            member, if it is an ensemble); where its parameters cannot be counted, sizes of 30,000
            to 1,000 parameters are tried.
        parameters: The sizes themselves, instead.
        validation: The same as ``train``, labelled; a fifth of the labelled rows by default. All
            choices are made on it, so it decides how fine two sizes can be told apart.
        test: The same, labelled; a fifth of the labelled rows by default.
        transfer: More rows to distil on, or which of ``train``: see :func:`attar.distill`.
        classes: The names of the classes in label order, where the data does not tell.
        temperature: The first of a list (of ``"auto"``, the middle one) tells the sizes apart; the
            experiment at the end tries all.
        alpha: The same; of ``"auto"`` the last one.
        loss: As T and alpha: of several, the first tells the sizes apart.
        search_cost: As for :func:`attar.distill`, of the experiment at the end.
        seeds: How many, or which. Sizes are screened under the first; the mean over all decides.
        steps: Optimizer steps of every run.
        epochs: Instead of ``steps``: passes over all training rows (by default 20, or
            as many as make 500 steps).
        batch_size: Rows a step.
        learning_rate: The peak of warm-up and cosine.
        weight_decay: AdamW's.
        views: Seeded transforms: teacher and student see the same views of each row.
        folds: Clones of an estimator that label the rows out of fold; None takes its own word.
        smoothing: Label smoothing strengths that the experiment chooses from.
        evaluations: How often a run is validated, and may be stopped.
        latency_seconds: How long each student is timed; 0 does not.
        stop_early: Whether the hopeless are stopped; else all sizes are trained to the end.
        calibrate: Ship the student with a temperature that was fitted on validation.
        split_seed: Of the splits that are made here.
        out: The run folder. Asked again in it, with ``resume`` and another budget, goal or other
            students, only what is missing is trained; but each further student that is tested
            makes test say a little less.
        resume: Go on in ``out``: nothing that was labelled, measured or trained is done again.
        any_threads: Go on also with another number of threads or version of torch.
        progress: Called with :class:`Progress` as things happen.

    Returns:
        The :class:`Ladder`, saved to ``out`` if that is given. ``met`` says whether the goal was
        reached; if not, ``best`` is the best found, ``chosen`` too if it is within the budget, and
        ``advice`` says what would help.

    Raises:
        AttarError: On inputs that do not fit, with what to do.

    Example:
        >>> import attar
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> X, y = load_iris(return_X_y=True)
        >>> found = ladder(LogisticRegression(max_iter=500), attar.students.mlp, train=(X, y),
        ...                parameters=[500, 60], keep=0.5, budget="params=300", steps=60, seeds=2,
        ...                learning_rate=0.02, latency_seconds=0)
        >>> [rung.name for rung in found.rungs], found.met
        (['mlp(18)', 'mlp(13)', 'mlp(4)'], True)
    """
    tell, numbers, limits = progress or quietly, seeds_of(seeds), Budget.of(budget)
    check_number("ladder", "keep", keep, low=0, high=1, low_open=True)
    check_number("ladder", "latency_seconds", latency_seconds, low=0)
    check_number("ladder", "search_cost", search_cost, low=1)
    check_number("ladder", "evaluations", evaluations, low=1, whole=True)
    shrinks, parameters = check_sizes(shrinks, parameters)
    for value in smoothing or ():
        check_number("ladder", "smoothing", value, low=0, high=1, high_open=True)
    if limits.latency_ms is not None and latency_seconds == 0:
        raise AttarError("ladder: a budget of latency needs latency_seconds above 0.")
    names = None if classes is None else tuple(str(name) for name in classes)
    splits = make_splits(train, validation, test, transfer, classes=names, seed=split_seed)
    cut_here = test is None or validation is None
    if views is not None:
        splits = with_views(splits, views)
    total = steps_of(steps, epochs, len(splits.train), batch_size)
    usual, losses = arms_of.as_losses(loss)
    setting_of = _settings(temperature, alpha, learning_rate, splits)
    strengths = len(arms_of.SMOOTHING) + 1 if smoothing is None else len(smoothing)
    runs_after = setting_of.runs_after(
        numbers,
        cost=None if losses is None and not setting_of.auto else search_cost,
        strengths=strengths,
        unlabelled=splits.unlabelled_rows > 0,
    )
    config = configured(
        total, evaluations, learning_rate, weight_decay=weight_decay, any_threads=any_threads
    )
    several = students_of(students, splits.train)
    if parameters is not None:
        check_room(several, splits.train, max(parameters))
    with run_folder(out, Processes(None), resume=resume) as folder:
        asked = teacher_of(teacher, splits, folds, refit=cut_here)
        planned, notes = plan_kept(
            folder / "plan.json",
            several,
            splits.train,
            largest=smallest_member(asked, "parameters"),
            shrinks=shrinks,
            parameters=parameters,
            budget=limits,
            seconds=latency_seconds,
            tell=tell,
        )
        stores = targets_of(asked, splits, folder / "targets", tell, Processes(None))
        said = StoredTeacher(stores["train"])

        def trainer_of(one: Planned) -> Trainer:
            place = folder / "rungs" / one.name / "arms"
            return Trainer(splits, one.plan, said, config, batch_size, usual, place)

        settle(
            folder,
            identity_of(trainer_of(planned[0]), setting_of(planned[0]), numbers, stores),
            owner="ladder",
        )
        foreseen = Foreseen(folder, tell, trainer_of(planned[0]), stores)
        foreseen.before(asked)  # what needs no student is known by now, the long part is ahead
        found = Ladder(
            rungs=[],
            keep=keep,
            budget=limits,
            by=_by(limits, timed=latency_seconds > 0),
            teacher_name=str(getattr(asked, "name", type(asked).__name__)),
            teacher_accuracy=_accuracy(stores["validation"], splits),
            teacher=Costs(getattr(asked, "parameters", None), getattr(asked, "bytes", None)),
            rows=len(splits.validation),
        )
        climb = Climb(found, splits, trainer_of, setting_of, runs_after, numbers, folder, tell)
        climb.screen(planned, early=stop_early)
        climb.measure(seconds=latency_seconds)
        climb.choose()
        wider = climb.beyond(seconds=latency_seconds)
        mark_front(found.rungs, found.by)
        if found.chosen is not None:
            best = climb.planned[found.chosen.name]
            tell(Progress("chosen", f"The experiment with {found.chosen.name}"))
            foreseen.hand_on(folder / "rungs" / best.name)
            found.experiment = distill(
                asked,
                best.plan,
                train=splits.train,
                validation=splits.validation,
                test=splits.test,
                transfer=splits.transfer,
                temperature=temperature,
                alpha=alpha,
                loss=loss,
                search_cost=search_cost,
                seeds=numbers,
                steps=total,
                batch_size=batch_size,
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                folds=folds,
                smoothing=smoothing,
                evaluations=evaluations,
                latency_seconds=latency_seconds,
                calibrate=calibrate,
                out=folder / "rungs" / best.name,
                targets=folder / "targets",
                resume=True,
                any_threads=any_threads,
                progress=not_twice(tell, list(foreseen.words.values())),
            )
        else:
            notes += foreseen.words.values()
        found.advice = advise(found, unlabelled=splits.unlabelled_rows > 0, wider=wider)
        if cut_here and (folds is None or may_have_seen(teacher)):
            notes.append(READY_MADE)
        found.notes = doubts(found.rows, found.goal, notes)
        if out is not None:
            found.save(folder)
    return found


@dataclass(frozen=True)
class _Settings:
    """How a student of each size learns: one setting, so that sizes alone differ."""

    temperature: Any
    alpha: Any
    learning_rate: float
    classes: int
    few_labels: bool

    def __call__(self, one: Planned) -> Setting:
        auto = arms_of.automatic(
            self.classes, one.costs.parameters or 0, few_labels=self.few_labels
        )
        middle, last = auto[0][1:2], auto[1][-1:]
        t = arms_of.as_choices("temperature", self.temperature, auto=middle, low=0, high=1e3)
        a = arms_of.as_choices("alpha", self.alpha, auto=last, low=0, high=1)
        if one.plan.grown:
            t = at_most_one(self.temperature)
        return Setting("distilled", self.learning_rate, temperature=t[0], alpha=a[0])

    @property
    def auto(self) -> bool:
        """Whether the experiment at the end looks for T or alpha."""
        return any(isinstance(one, str) for one in (self.temperature, self.alpha))

    def runs_after(
        self, seeds: list[int], *, cost: float | None, strengths: int, unlabelled: bool
    ) -> int:
        """About how many runs of a network follow when it is chosen.

        Args:
            seeds: Of the ladder and of its experiment.
            cost: Of a search in the experiment; None where it has lists to choose from.
            strengths: How many strengths of label smoothing it tries.
            unlabelled: Whether it has an arm of pseudo-labels.
        """
        t = arms_of.as_choices("temperature", self.temperature, auto=[1.0], low=0, high=1e3)
        a = arms_of.as_choices("alpha", self.alpha, auto=[1.0], low=0, high=1)
        tried = arms_of.candidates(
            t,
            a,
            learning_rate=self.learning_rate,
            smoothing=[0.1] * strengths,
            unlabelled=unlabelled,
        )
        runs = runs_of(tried, seeds, cost)
        if cost is None and len(tried["distilled"]) == 1:
            return runs - 1  # of one setting: the runs of the ladder are those of the experiment
        return runs + len(seeds) - 1


def _settings(temperature: Any, alpha: Any, learning_rate: float, splits: Splits) -> _Settings:
    for name, value, high in (("temperature", temperature, 1e3), ("alpha", alpha, 1.0)):
        arms_of.as_choices(name, value, auto=[1.0], low=0, high=high)
    few = splits.few_labels
    return _Settings(temperature, alpha, learning_rate, len(splits.train.classes), few)


def _by(budget: Budget, *, timed: bool) -> tuple[str, ...]:
    """What the front is about: the size of the file, and the costs of the budget or the time."""
    others = list(budget.limits) or (["latency_ms"] if timed else [])
    return tuple(dict.fromkeys(["bytes", *others]))


def _accuracy(store: Store, splits: Splits) -> float:
    labels = splits.validation.labels
    assert labels is not None
    return accuracy(store.logits(splits.validation.rows), labels)
