"""Ten networks, and one that is distilled from them: how much of the ensemble's gain survives?

    python benchmarks/ensemble/run.py

MNIST, 784-230-230-10 throughout: ten networks on hard labels, their ensembles by arithmetic mean,
geometric mean and learnt weights, and one network of the same architecture distilled from the ten.
``ten`` has no augmentation, ``viewed`` has eight stored views of each image. Then ``unlike``, an
ensemble of unlike members (a convolutional network, a multilayer perceptron, boosted trees that
label out of fold), distilled into the same architecture. ``tries`` looks on the validation images
for a setting in which the gain of like members survives. Rows, cache folder, resuming and options
are those of ``benchmarks/hinton``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "hinton"))
import record
from lab import Lab
from measure import Asked, ask, choose, compared, opened, spread, validation_gap
from running import add_arguments, assistants, start, turned, write
from students import Student, errors, mean_nll, on_validation, train_all, trained

from attar.data import ArrayData
from attar.evaluation import predict_logits
from attar.store import Store
from attar.teachers import (
    EnsembleTeacher,
    ModelTeacher,
    cross_fit,
    fit_weights,
    mean_log_probability,
    mean_probability,
)

RESULTS = Path(__file__).with_name("results.json")
WIDTH, MEMBERS, SEEDS = 230, 10, 5
#: Of 512 rows: 22 passes over 55,000; on stored views 44.
STEPS, VIEW_STEPS = 2_400, 4_700
VIEWS = 8
TEMPERATURES = (2.0, 4.0, 8.0)
FOLDS = 3
#: Seeds of a setting that is only tried.
TRY_SEEDS = 3


def ten(lab: Lab) -> record.Part:
    """Ten networks that differ in their seed, and a student of the images that they learnt."""
    return _ten(lab, "ten", views=1, steps=STEPS)


def viewed(lab: Lab) -> record.Part:
    """The same on stored views, which the members do not know by heart."""
    return _ten(lab, "viewed", views=VIEWS, steps=VIEW_STEPS)


def _ten(lab: Lab, key: str, *, views: int, steps: int) -> record.Part:
    count = min(MEMBERS, lab.seeds(MEMBERS))
    base = Student("hard", WIDTH, rows="train", views=views, steps=lab.steps(steps))
    # Other seeds than those of the students that are compared with them.
    networks = [base.changed(seed=100 + number) for number in range(count)]
    train_all(lab, networks)
    members = [ModelTeacher(trained(lab, one), outputs="logits", name="mlp") for one in networks]
    rows, figures = _members(lab, members)
    plain = EnsembleTeacher(members)
    more, distilled = _distilled(lab, plain, f"{key}{count}", base)
    return rows + more, figures | distilled


def unlike(lab: Lab) -> record.Part:
    """A convolutional network, a multilayer perceptron and boosted trees."""
    network = ask(lab, "conv").teacher.members[0]
    perceptron = trained(lab, Student("hard", 800, rows="train", steps=lab.steps(STEPS), seed=100))
    members = [
        network,
        ModelTeacher(perceptron, outputs="logits", name="mlp"),
        cross_fit(_boosted_trees(lab), lab.train, folds=FOLDS, seed=0),
    ]
    rows, figures = _members(lab, members)
    weights = _weights(lab, members)
    more, distilled = _distilled(
        lab,
        EnsembleTeacher(members, weights=weights.tolist()),
        "unlike",
        Student("hard", WIDTH, rows="train", steps=lab.steps(STEPS)),
    )
    return rows + more, figures | distilled


@dataclass(frozen=True)
class _Try:
    """A setting in which ten networks may teach one.

    Attributes:
        words: What is different.
        hard: How a member and the hard arm are trained.
        distilled: How the distilled student differs from the hard arm.
    """

    words: str
    hard: Student
    distilled: dict[str, Any]


def _tries() -> list[_Try]:
    viewed = Student("hard", WIDTH, rows="train", views=VIEWS, steps=VIEW_STEPS)
    many = viewed.changed(views=32, steps=2 * VIEW_STEPS)
    return [
        _Try("as above", viewed, {"temperature": 2.0}),
        _Try("half of the loss on labels", viewed, {"temperature": 2.0, "alpha": 0.5}),
        _Try("32 views, twice the steps", many, {"temperature": 4.0}),
        _Try("32 views, of which 31 mixed", many.changed(view="shift mixup"), {"temperature": 2.0}),
        _Try("32 views, of which 31 cut", many.changed(view="shift cutmix"), {"temperature": 4.0}),
        _Try("30 units a layer", viewed.changed(width=30, steps=STEPS), {"temperature": 2.0}),
        _Try(
            "10,000 labels, the others unlabelled",
            Student("hard", WIDTH, rows="labels 10000", steps=STEPS),
            {"temperature": 2.0},
        ),
    ]


def tries(lab: Lab) -> record.Part:
    """Other settings, on validation: does the gain of ten like members survive in one of them?"""
    rows, figures = [], {}
    for number, one in enumerate(_tries()):
        # The members of the settings that only change the student are those of ``viewed``.
        views = min(one.hard.views, VIEWS)
        steps = min(one.hard.steps, VIEW_STEPS)
        member = one.hard.changed(views=views, view="shift", steps=lab.steps(steps))
        seeds = range(100, 100 + min(MEMBERS, lab.seeds(MEMBERS)))
        networks = [member.changed(seed=seed) for seed in seeds]
        train_all(lab, networks)
        members = [ModelTeacher(trained(lab, each), outputs="logits") for each in networks]
        single = [on_validation(lab, each)[0] for each in networks]
        teacher = EnsembleTeacher(members)
        key = (
            f"like-{member.width}-{member.rows.replace(' ', '-')}-v{views}-n{steps}-{len(members)}"
        )
        targets = lab.targets(teacher, key, one.hard.views, one.hard.view)
        row: dict[str, Any] = {"setting": one.words, "single_errors": sum(single) / len(single)}
        row["ensemble_errors"] = errors(_answers(lab, teacher, lab.validation), lab.validation)
        hard = one.hard.changed(steps=lab.steps(one.hard.steps))
        soft = hard.changed(arm="distilled", teacher=key, **one.distilled)
        for name, student in {"hard": hard, "distilled": soft}.items():
            each = [student.changed(seed=seed) for seed in range(lab.seeds(TRY_SEEDS))]
            train_all(lab, each, targets)
            found = [on_validation(lab, each_one, targets)[0] for each_one in each]
            row |= spread(found, f"{name}_errors")
        rows.append(row)
        figures |= {f"{number}_{k}": float(v) for k, v in row.items() if k != "setting"}
    return rows, figures


def _boosted_trees(lab: Lab) -> Any:
    """Boosted trees on images of 14 x 14 pixels."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    trees = HistGradientBoostingClassifier(
        max_iter=3 if lab.quick else 60, learning_rate=0.2, max_bins=32, random_state=0
    )
    return make_pipeline(FunctionTransformer(halved), trees)


def halved(rows: Any) -> Any:
    """Images ``[N, 784]`` as the means of two by two pixels, ``[N, 196]``."""
    return rows.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)


def _answers(lab: Lab, member: Any, data: ArrayData) -> Tensor:
    return predict_logits(member, data, batch_size=lab.ask_size)


def _weights(lab: Lab, members: list[Any]) -> Tensor:
    labels = lab.validation.labels
    assert labels is not None
    said = torch.stack([_answers(lab, member, lab.validation) for member in members])
    return fit_weights(said, labels)


def _members(lab: Lab, members: list[Any]) -> record.Part:
    """Each member alone, and all together in three ways."""
    said = torch.stack([_answers(lab, member, lab.test) for member in members])
    equal = torch.full((len(members),), 1 / len(members))
    learnt = _weights(lab, members)
    rows = [
        {"member": number, "name": member.name, "weight": float(learnt[number])}
        | {"errors": errors(one, lab.test), "nll": mean_nll(one, lab.test)}
        for number, (member, one) in enumerate(zip(members, said, strict=True))
    ]
    figures = {
        "members": float(len(members)),
        "single_errors_mean": sum(row["errors"] for row in rows) / len(rows),
        "single_nll_mean": sum(row["nll"] for row in rows) / len(rows),
    }
    together: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Tensor]] = {
        "arithmetic": (mean_probability, equal),
        "geometric": (mean_log_probability, equal),
        "learnt": (mean_probability, learnt),
    }
    for name, (combine, weights) in together.items():
        mixed = combine(said, weights)
        figures[f"{name}_errors"] = float(errors(mixed, lab.test))
        figures[f"{name}_nll"] = mean_nll(mixed, lab.test)
    return rows, figures


def _distilled(lab: Lab, teacher: EnsembleTeacher, key: str, hard: Student) -> record.Part:
    """One network of the same architecture, distilled; hard and smoothed labels beside it."""
    targets: Store = lab.targets(teacher, key, hard.views)
    said = lab.judged(teacher, key).logits(lab.test.rows)
    base = hard.changed(arm="distilled", teacher=key)
    trials = [base.changed(temperature=temperature) for temperature in TEMPERATURES]
    best, rows = choose(lab, trials, targets)
    settings = {
        "hard": hard,
        "smoothed": hard.changed(arm="smoothed", smoothing=0.1),
        "distilled": best,
    }
    asked = Asked(None, teacher, targets, said)
    gap = validation_gap(lab, asked, hard)
    arms = {name: opened(lab, one, targets, SEEDS) for name, one in settings.items()}
    more, figures = compared(lab, arms, said, gap)
    return rows + more, figures | {"temperature": best.temperature}


def main() -> None:
    """All ensembles; what is trained already is read back."""
    known = {"ten": ten, "viewed": viewed, "unlike": unlike, "tries": tries}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", choices=[*known, []], help=", ".join(known))
    add_arguments(parser)
    arguments = parser.parse_args()
    names = arguments.tables or list(known)
    lab = start(arguments)
    with assistants(arguments, names):
        for name in turned(arguments, names):
            part = known[name](lab)
            if arguments.assist is None:
                path = lab.folder / "ensemble.json" if arguments.quick else RESULTS
                seeds = {"split": 0, "members": 100, "students": SEEDS}
                write(lab, {name: part}, f"python benchmarks/ensemble/run.py {name}", seeds, path)


if __name__ == "__main__":
    main()
