"""What a task is made of: rows with all their labels, and a teacher who has answered about them.

A teacher of images is a cross-fitted ensemble of three networks, asked about every view; one of a
table is a forest and boosted trees, one of texts a linear model over words, both asked out of
fold. Every teacher has learnt from all labels of the training rows; a task may hide them from the
student.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "mnist"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tables"))
from fetch import mnist
from newsgroups import newsgroups
from packages import add_peers
from sets import SETS

from attar.columns import describe_columns, encode_columns
from attar.data import (
    ArrayData,
    Views,
    join,
    mix_neighbours,
    mixup,
    shift,
    split,
    without_copies,
    word_numbers,
)
from attar.experiment import train_ensemble
from attar.store import label
from attar.students import mlp, plain_convnet
from attar.teachers import (
    EnsembleTeacher,
    GivenTeacher,
    StoredTeacher,
    boosted_stack,
    cross_fit,
    weigh,
)
from attar.types import UNLABELLED, Teacher, dense_logits

FOLDS = 5
LENGTH = 200
#: By lesson, the family of a teacher that is networks.
MEMBERS = {"digits": "plain_convnet", "mnist": "mlp"}


@dataclass(frozen=True)
class Lesson:
    """A data set and its teacher.

    Attributes:
        train: Rows to learn from, with all labels.
        validation: Labelled rows to choose on.
        test: Labelled rows to judge on.
        teacher: Answers about all of them, out of fold about ``train``.
        parameters: Of the teacher's smallest member; None where it is no network.
        folder: Where its answers are kept.
        views: By name, how the rows may be seen.
        synthetic: Rows between the training rows that the teacher has answered, too.
    """

    train: ArrayData
    validation: ArrayData
    test: ArrayData
    teacher: Teacher
    parameters: int | None
    folder: Path
    views: dict[str, Views]
    synthetic: ArrayData | None = None

    def told(self, views: str | None) -> Teacher:
        """The teacher's answers about the training rows in their views, asked once."""
        if not self.views:
            return self.teacher
        rows = self.train if views is None else self.train.with_views(self.views[views])
        store = label(self.teacher, rows, self.folder / f"targets-{views}")
        return StoredTeacher(store)


def _digits(cache: Path) -> Lesson:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = torch.from_numpy(images).to(torch.uint8).reshape(-1, 1, 8, 8)
    data = ArrayData(pixels, torch.from_numpy(labels).long())
    train, validation, test = split(data, (0.5, 0.15, 0.35), seed=0)
    kind = {"family": plain_convnet, "width": 32, "steps": 600, "batch_size": 64}
    return _of_images(cache / "digits", train, validation, test, 32, kind)


def _mnist(cache: Path) -> Lesson:
    rows, test = mnist(cache.parents[1])
    train, validation = split(rows, (5 / 6, 1 / 6), seed=0)
    kind = {"family": mlp, "width": 500, "steps": 2500, "batch_size": 128}
    return _of_images(cache / "mnist", train, validation, test, 6, kind)


def _of_images(
    folder: Path, train: Any, validation: Any, test: Any, count: int, kind: dict[str, Any]
) -> Lesson:
    views = {
        "shift": Views([shift(1)], count),
        "mixup": Views([shift(1), mixup(1.0, probability=0.5)], count),
        "mixed": Views([mixup(1.0)], count),
    }
    teacher = train_ensemble(
        train.with_views(views["shift"]), members=3, folder=folder / "teacher", **kind
    )
    parameters = min(int(member.parameters or 0) for member in teacher.members)
    return Lesson(train, validation, test, teacher, parameters, folder, views)


def _table(name: str) -> Callable[[Path], Lesson]:
    def lesson(cache: Path) -> Lesson:
        add_peers(cache.parents[1])
        found = SETS[name](cache.parents[1])
        shuffled = np.random.default_rng(0).permutation(len(found.labels))
        parts = np.split(shuffled, [int(0.55 * len(shuffled)), int(0.7 * len(shuffled))])
        rows = [found.rows.iloc[part].reset_index(drop=True) for part in parts]
        drawn = mix_neighbours(rows[0], count=2 * len(rows[0]), seed=0)
        drawn = without_copies(drawn, rows[1], rows[2])
        columns = describe_columns(_named(rows[0]), lenient=True)
        first, made = 0, []
        for frame, labels in [
            *zip(rows, (found.labels[p] for p in parts), strict=True),
            (drawn, None),
        ]:
            numbers = torch.arange(first, first + len(frame))
            first += len(frame)
            made.append(
                ArrayData(
                    torch.from_numpy(encode_columns(_named(frame), columns)),
                    None if labels is None else torch.from_numpy(labels),
                    rows=numbers,
                    classes=tuple(found.classes),
                    columns=columns,
                )
            )
        train, validation, test, synthetic = made
        folder = cache / name
        teacher = _kept(folder / "answers.npz", made, lambda: _stack(train))
        return Lesson(train, validation, test, teacher, None, folder, {}, synthetic)

    return lesson


def _stack(train: ArrayData) -> Teacher:
    forest, _, boosted = boosted_stack()
    members = [cross_fit(one.set_params(n_jobs=1), train, folds=FOLDS) for one in (forest, boosted)]
    return weigh(EnsembleTeacher(members), train)


def _kept(path: Path, parts: list[ArrayData], ask: Callable[[], Teacher]) -> GivenTeacher:
    """The teacher's answers about all rows, read where they were asked for before."""
    if not path.exists():
        teacher = ask()
        said = [answers(teacher, part) for part in parts]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path.with_suffix(".tmp.npz"), answers=torch.cat(said).numpy())
        path.with_suffix(".tmp.npz").replace(path)
    with np.load(path, allow_pickle=False) as stored:
        rows = torch.cat([part.rows for part in parts])
        return GivenTeacher(stored["answers"], rows=rows, name="teacher", outputs="logits")


def answers(teacher: Teacher, rows: ArrayData, view: int = 0) -> Tensor:
    """Logits ``[N, C]`` of a teacher about rows in one view."""
    with torch.no_grad():
        parts = torch.arange(len(rows)).split(4096)
        said = [dense_logits("recipe", teacher(rows.batch(part, view))) for part in parts]
    return torch.cat(said)


def _named(rows: Any) -> dict[str, Any]:
    return {str(name): rows[name].to_numpy() for name in rows.columns}


def _news(cache: Path) -> Lesson:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    (texts, groups), (judged, judged_groups) = newsgroups(cache.parents[1])
    classes, codes = np.unique(groups, return_inverse=True)
    words = word_numbers(texts, length=LENGTH)
    place = {name: code for code, name in enumerate(classes)}
    test = ArrayData(
        word_numbers(judged, length=LENGTH),
        torch.tensor([place[name] for name in judged_groups]),
        rows=torch.arange(len(texts), len(texts) + len(judged)),
        classes=tuple(classes),
    )
    data = ArrayData(words, torch.from_numpy(codes).long(), classes=tuple(classes))
    train, validation = split(data, (0.8, 0.2), seed=0)
    path = cache / "news" / "answers.npz"
    if not path.exists():
        vectors = TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=(1, 2))
        learnt = [texts[i] for i in train.rows.tolist()]
        X = vectors.fit_transform(learnt)
        model = LogisticRegression(C=30.0, max_iter=60)
        out_of_fold = cross_val_predict(
            model, X, train.labels.numpy(), cv=FOLDS, method="predict_proba"
        )
        model.fit(X, train.labels.numpy())
        others = [[texts[i] for i in validation.rows.tolist()], judged]
        said = [out_of_fold, *(model.predict_proba(vectors.transform(one)) for one in others)]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path.with_suffix(".tmp.npz"), answers=np.concatenate(said))
        path.with_suffix(".tmp.npz").replace(path)
    with np.load(path, allow_pickle=False) as stored:
        teacher = GivenTeacher(
            stored["answers"],
            rows=torch.cat([train.rows, validation.rows, test.rows]),
            name="words",
            outputs="probabilities",
        )
    return Lesson(train, validation, test, teacher, None, cache / "news", {})


#: By name, from the folder that keeps what is made.
LESSONS: dict[str, Callable[[Path], Lesson]] = {
    "digits": _digits,
    "mnist": _mnist,
    "letter": _table("letter"),
    "diamonds": _table("diamonds"),
    "churn": _table("churn"),
    "lending": _table("lending"),
    "news": _news,
}


def with_labels(train: ArrayData, count: int | None, seed: int) -> ArrayData:
    """The rows, of which so many keep their label, every class as often as it is there."""
    if count is None:
        return train
    assert train.labels is not None
    share = count / len(train)
    kept, _ = split(train, (share, 1 - share), seed=seed)
    known = torch.isin(train.rows, kept.rows)
    return train.with_labels(torch.where(known, train.labels, UNLABELLED))


def with_synthetic(train: ArrayData, lesson: Lesson) -> ArrayData:
    """The rows, and those that were drawn between them."""
    assert lesson.synthetic is not None
    return join(train, lesson.synthetic)
