"""The arms of the experiment: what differs between them, and how one run of one is trained."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from attar.checks import AttarError, check_number
from attar.data import Batches
from attar.engine import Distiller, Record, TrainConfig, train
from attar.engine.processes import Processes
from attar.evaluation import accuracy, nll, predict_logits
from attar.experiment.growing import grow
from attar.experiment.inputs import Splits, StudentPlan, as_they_are
from attar.export.weights import load_weights, save_weights
from attar.files import write_text
from attar.losses import Objective, dkd, hard, jsd, kl, pseudo, soft, standardized
from attar.students import TreeEnsemble
from attar.types import Data, Teacher

#: A loss on logits: (student, teacher, *, temperature) -> [N].
SoftLoss = Callable[..., Tensor]

#: What ``loss="auto"`` chooses from, and what a loss may be called by.
LOSSES: dict[str, SoftLoss] = {
    "kl": kl,
    "jsd": jsd,
    "dkd": dkd,
    "standardized_kl": standardized(kl),
}

#: Strengths of label smoothing that are tried; the mean entropy of the soft targets joins them.
SMOOTHING = (0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Setting:
    """One arm with its numbers.

    Attributes:
        arm: ``"hard"``, ``"smoothed"``, ``"pseudo"`` or ``"distilled"``.
        temperature: Of the soft loss; only where distilled.
        alpha: The weight of the soft loss; only where distilled.
        smoothing: Strength of the label smoothing; only where smoothed.
        learning_rate: The peak of the schedule.
        loss: A name of :data:`LOSSES`, where the loss was chosen too; None: the experiment's.
        views: False where the student learns from the rows as they are, though they have views.
        further: False where it learns without the further rows that are there for the soft loss.
        pseudo_labels: True where rows without a label have the teacher's argmax in the hard loss
            beside the soft one; only where distilled.
    """

    arm: str
    learning_rate: float
    temperature: float | None = None
    alpha: float | None = None
    smoothing: float | None = None
    loss: str | None = None
    views: bool = True
    further: bool = True
    pseudo_labels: bool = False

    @property
    def key(self) -> str:
        """A name for folders and tables: ``distilled-T4-a0.9``."""
        words = [self.arm]
        if not self.views:
            words.append("no-views")
        if not self.further:
            words.append("own-rows")
        if self.pseudo_labels:
            words.append("pseudo-labels")
        if self.loss is not None:
            words.append(self.loss)
        if self.temperature is not None:
            words.append(f"T{self.temperature:g}")
        if self.alpha is not None:
            words.append(f"a{self.alpha:g}")
        if self.smoothing is not None:
            words.append(f"s{self.smoothing:.4g}")
        return "-".join([*words, f"lr{self.learning_rate:.4g}"])

    def objective(self, loss: SoftLoss) -> Objective:
        """What a student of this arm minimises."""
        if self.arm == "distilled":
            assert self.alpha is not None
            assert self.temperature is not None
            chosen = loss if self.loss is None else LOSSES[self.loss]
            terms = [soft(chosen, self.alpha, temperature=self.temperature)]
            if self.alpha < 1:
                beside = pseudo if self.pseudo_labels else hard
                terms.append(beside(1 - self.alpha))
            return Objective(terms)
        if self.arm == "pseudo":
            return Objective([pseudo(1.0)])
        return Objective([hard(1.0, smoothing=self.smoothing or 0.0)])

    def data(self, splits: Splits) -> Data:
        """The rows that a student of this arm learns from."""
        if self.arm not in ("distilled", "pseudo"):
            rows = splits.labelled
        else:
            rows = splits.taught if self.further else splits.own
        return rows if self.views else as_they_are(rows)


def entropy_smoothing(logits: Tensor) -> float:
    """The label smoothing whose targets have the mean entropy of these soft targets.

    Smoothing of strength s spreads s evenly over the C classes. The strength is found by
    bisection, since the entropy rises with it.

    >>> round(entropy_smoothing(torch.tensor([[4.0, 0.0, 0.0]])), 3)
    0.053
    """
    probabilities = logits.double().softmax(dim=1)
    wanted = float(-(probabilities * probabilities.clamp_min(1e-300).log()).sum(dim=1).mean())
    classes = logits.shape[1]
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        target = torch.full((classes,), middle / classes, dtype=torch.float64)
        target[0] += 1 - middle
        entropy = float(-(target * target.clamp_min(1e-300).log()).sum())
        low, high = (middle, high) if entropy < wanted else (low, middle)
    return (low + high) / 2


def candidates(
    temperatures: Sequence[float],
    alphas: Sequence[float],
    *,
    learning_rate: float,
    smoothing: Sequence[float],
    unlabelled: bool,
    views: Sequence[bool] = (True,),
    further: Sequence[bool] = (True,),
    pseudo_labels: Sequence[bool] = (False,),
) -> dict[str, list[Setting]]:
    """Each arm's settings to try, as many for every arm as the distilled one has.

    The smoothed arm always tries its own strengths, also where the distilled arm has a single
    setting: that gives it more trials, never fewer. With or without ``views``, where that is to
    be chosen, is tried with each of them; with or without ``further`` rows by the arms that hear
    the teacher; with or without ``pseudo_labels`` by the distilled one. The arm of pseudo-labels
    is there where rows are ``unlabelled``.
    """
    distilled = [
        Setting(
            "distilled",
            learning_rate,
            temperature=t,
            alpha=a,
            further=more,
            pseudo_labels=guess and a < 1,  # at 1 there is no hard loss, and no label in it
        )
        for t, a, guess, more in itertools.product(temperatures, alphas, pseudo_labels, further)
    ]
    distilled = list(dict.fromkeys(distilled))
    trials = len(distilled)
    rates = [learning_rate * factor for factor in _factors(trials)]
    fewer = [learning_rate * factor for factor in _factors(trials // len(further))]
    strengths = list(smoothing)
    missing = max(0, trials - len(strengths))
    # Further strengths: evenly on a logarithmic scale from 0.012 to 0.6.
    strengths += [0.012 * 50 ** (i / max(1, missing - 1)) for i in range(missing)]
    arms = {
        "hard": [Setting("hard", rate) for rate in rates],
        "smoothed": [Setting("smoothed", learning_rate, smoothing=s) for s in strengths],
    }
    if unlabelled:
        arms["pseudo"] = [
            Setting("pseudo", rate, further=more) for rate in fewer for more in further
        ]
    arms["distilled"] = distilled
    return {
        arm: [replace(one, views=seen) for seen in views for one in some]
        for arm, some in arms.items()
    }


def _factors(trials: int) -> list[float]:
    """Learning rates to try, as multiples: 1, and others from an eighth to four times.

    An arm without a choice of its own tries these: were it not tuned as often as the others,
    the comparison would reward tuning. Another learning rate keeps the starting weights.
    """
    others = [0.125 * 32 ** ((i + 0.5) / (trials - 1)) for i in range(trials - 1)]
    return [1.0, *others]


def as_choices(
    name: str,
    value: Any,
    *,
    auto: Sequence[float],
    low: float,
    high: float,
    owner: str = "distill",
) -> list[float]:
    """A number, a list of numbers, or "auto", as the list of values to choose from."""
    if isinstance(value, str):
        if value != "auto":
            raise AttarError(
                f"The '{name}' parameter of {owner} must be a number, a list of numbers, or "
                f"'auto'. Got {value!r} instead."
            )
        return list(auto)
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values:
        raise AttarError(f"The '{name}' parameter of {owner} is an empty list; give a value.")
    for one in values:
        check_number(owner, name, one, low=low, high=high, low_open=True)
    return [float(one) for one in values]


def as_losses(loss: Any) -> tuple[SoftLoss, Any]:
    """The loss of an experiment, and what to choose from: ``"auto"``, names, or nothing (None).

    Raises:
        AttarError: If a name is not known.
    """
    if callable(loss):
        return loss, None
    if isinstance(loss, str) and loss == "auto":
        return kl, "auto"
    names = list(loss) if isinstance(loss, Sequence) and not isinstance(loss, str) else [loss]
    unknown = [one for one in names if not isinstance(one, str) or one not in LOSSES]
    if unknown or not names:
        raise AttarError(
            f"The 'loss' parameter of distill must be a function, one of {', '.join(LOSSES)}, some "
            f"of these, or 'auto'. Got {loss!r} instead."
        )
    return LOSSES[names[0]], names if len(names) > 1 else None


def automatic(
    classes: int, parameters: int, *, few_labels: bool
) -> tuple[list[float], list[float]]:
    """Short lists of T and alpha for a student of this size and this many classes.

    Very small students want a low T (Hinton, Vinyals, Dean 2015, found 2.5 to 4 best for 30
    hidden units, and all above 8 alike for 300); over many classes a high T drowns the few that
    matter. Where few rows have a label nearly all weight belongs to the soft targets; where all
    have one, a teacher asked out of fold may be wrong about rows whose label is known.
    """
    if classes > 30 or parameters < 10_000:  # noqa: SIM108  # read as two cases
        temperatures = [1.0, 2.0, 4.0]
    else:
        temperatures = [2.0, 4.0, 8.0]
    return temperatures, [0.9] if few_labels else [0.5, 0.9]


@dataclass
class Run:
    """One trained student: an arm's setting under a seed.

    Attributes:
        setting: The arm and its numbers.
        seed: Of weights, order and dropout.
        model: The student, in eval mode.
        records: The training curve.
        validation: ``accuracy`` and ``nll`` on the validation rows.
    """

    setting: Setting
    seed: int
    model: nn.Module
    records: list[Record] = field(default_factory=list)
    validation: dict[str, float] = field(default_factory=dict)

    @property
    def rank(self) -> tuple[float, float]:
        """Higher is better: accuracy first, then the likelihood."""
        found = self.validation
        for error in ("mse", "pinball"):  # of values there is only one thing to say
            if error in found:
                return -found[error], 0.0
        return found["accuracy"], -found["nll"]


@dataclass
class Trainer:
    """Trains runs of any setting and seed; each lives in a folder and is trained only once."""

    splits: Splits
    plan: StudentPlan
    teacher: Teacher | None
    config: TrainConfig
    batch_size: int
    loss: SoftLoss
    folder: Path
    accelerator: Any = None
    processes: Processes = field(default_factory=Processes)
    on_step: Callable[[Setting, int, int], None] = lambda setting, seed, step: None
    on_record: Callable[[Setting, int, Record], None] = lambda setting, seed, record: None

    def run(self, setting: Setting, seed: int) -> Run:
        """Train it, go on with it, or read it back, whichever is left to do."""
        folder = self.folder / setting.key / f"seed-{seed}"
        # Whatever a factory draws from: the arms of a seed start from the same weights.
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        run = Run(setting, seed, self.plan.make())
        weights, curve = folder / "student.safetensors", folder / "run.json"
        if self.processes.from_main(curve.exists()):  # written last, so the weights are whole
            stored = json.loads(curve.read_text("utf-8"))
            run.records = [Record(**record) for record in stored["records"]]
            run.validation = stored["validation"]
            load_weights(run.model, weights)
            run.model.eval()
            for record in run.records:
                self.on_record(setting, seed, record)
            return run

        config = TrainConfig(
            **{**asdict(self.config), "seed": seed, "learning_rate": setting.learning_rate}
        )
        data = setting.data(self.splits)
        checkpoint = folder / "checkpoint.safetensors"
        if isinstance(run.model, TreeEnsemble):
            self._grow(run, data)
            return self._keep(run, weights, curve, checkpoint)
        distiller = Distiller(run.model, self.objective(setting), self.teacher)
        for record in train(
            distiller,
            Batches(data, self.batch_size, seed=seed),
            config,
            validate=self.validate,
            checkpoint=checkpoint,
            accelerator=self.accelerator,
        ):
            run.records.append(record)
            self.on_step(setting, seed, record.step)
            self.on_record(setting, seed, record)
        return self._keep(run, weights, curve, checkpoint)

    def _grow(self, run: Run, data: Data) -> None:
        """Build trees, which takes no steps: one record tells of it."""
        setting, started = run.setting, time.perf_counter()
        self.build(cast(TreeEnsemble, run.model), data, setting, run.seed)
        judged = self.processes.from_main(self.validate(run.model.eval()))
        seconds = time.perf_counter() - started
        record = Record(
            self.config.steps,
            judged.get("nll", judged.get("mse", 0.0)),
            {},
            0.0,
            None,
            seconds,
            validation=judged,
            best=True,
        )
        run.records.append(record)
        self.on_step(setting, run.seed, record.step)
        self.on_record(setting, run.seed, record)

    def build(self, trees: TreeEnsemble, data: Data, setting: Setting, seed: int) -> None:
        """Build the trees of an arm."""
        asked = setting.arm in ("distilled", "pseudo")
        grow(
            trees,
            data,
            self.teacher if asked else None,
            temperature=setting.temperature or 1.0,
            alpha=setting.alpha or 0.0,
            smoothing=setting.smoothing or 0.0,
            pseudo=setting.arm == "pseudo",
            pseudo_labels=setting.pseudo_labels,
            seed=seed,
        )

    def _keep(self, run: Run, weights: Path, curve: Path, checkpoint: Path) -> Run:
        """Judge a trained run and write it down, the curve last."""
        run.model.cpu()  # where test is opened, and where it ships
        run.validation = self.processes.from_main(self.validate(run.model))
        text = {"records": [asdict(r) for r in run.records], "validation": run.validation}
        if self.processes.main:
            save_weights(run.model, weights)
            write_text("distill", curve, json.dumps(text))
            checkpoint.unlink(missing_ok=True)
        return run

    def objective(self, setting: Setting) -> Objective:
        """What a student of this arm minimises."""
        return setting.objective(self.loss)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Accuracy and NLL on the validation rows."""
        logits = predict_logits(model, self.splits.validation)
        labels = self.splits.validation.labels
        assert labels is not None
        return {"accuracy": accuracy(logits, labels), "nll": nll(logits, labels)}
