"""The early words of one experiment: looked for, told, and kept in the run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attar.evaluation import in_sample, predict_logits
from attar.experiment import early
from attar.experiment.arms import Run, Trainer
from attar.experiment.inputs import example_inputs
from attar.experiment.progress import WARNING, OnProgress, Progress
from attar.experiment.transfer import count_copies
from attar.files import write_text
from attar.store import Store
from attar.teachers import EnsembleTeacher, ModelTeacher, OnnxTeacher
from attar.types import UNLABELLED, Data, ask, dense_logits

#: Rows of a student's own that it is asked about.
_OWN = 2000
#: Labelled rows whose soft targets are looked at, and rows that are read at a time.
_LABELLED, _PIECE = 20_000, 4096
#: Rows from which the usual mean and standard deviation of the inputs are taken.
_LIKE = 1000

#: The word that the end of the experiment says again, from more rows.
IN_SAMPLE = "in sample"


class Foreseen:
    """Says what will fail as soon as it can be known, and keeps it in ``early.json``.

    Args:
        folder: The run folder. One that is gone on with has its words in it: a teacher is not
            asked again.
        tell: Told of each word.
        trainer: Who trains the students, on which rows.
        stores: The soft targets of ``"train"`` and ``"validation"``.

    Attributes:
        words: By what they are about: ``"order of classes"``, ``"inputs"``, ``"one class"``,
            ``"validation seen"``, ``"test seen"``, ``"never predicted"``, ``"in sample"``,
            ``"no better"``, ``"too small"``.
        cost: ``runs``, ``steps`` of each and about how many ``seconds`` in all.
    """

    def __init__(
        self, folder: Path, tell: OnProgress, trainer: Trainer, stores: Mapping[str, Store]
    ) -> None:
        self._path, self._tell = folder / "early.json", tell
        self._splits, self._stores = trainer.splits, stores
        self.words: dict[str, str] = {}
        self.cost: dict[str, float] = {}

    @property
    def warnings(self) -> list[str]:
        """The words that the result keeps."""
        return [text for about, text in self.words.items() if about != IN_SAMPLE]

    def before(self, teacher: Any) -> None:
        """Look at the soft targets before anything is trained.

        Args:
            teacher: Asked about a few rows in other units where it is a network.
        """
        if self._path.exists():
            there = json.loads(self._path.read_text("utf-8"))
            self.cost = there["cost"]
            for word in there["words"]:
                self._say(word["about"], word["text"])
            return
        splits, stores = self._splits, self._stores
        labelled, validation, classes = splits.labelled, splits.validation, splits.train.classes
        some = early.evenly(len(labelled), _LABELLED)
        own, labels = stores["train"].logits(labelled.rows[some]), _labels(labelled)[some]
        held_out, there = stores["validation"].logits(validation.rows), _labels(validation)
        pieces = torch.split(splits.train.rows, _PIECE)
        answers = [stores["train"].logits(rows).argmax(dim=1) for rows in pieces]
        said = torch.cat([*answers, held_out.argmax(dim=1)])
        known = torch.cat([_labels(splits.train), there])
        twins = count_copies(splits.train, validation, splits.test)
        found = {
            "order of classes": early.another_order(own, labels, held_out, there, classes),
            "inputs": _inputs(teacher, splits.train, validation),
            "one class": early.no_better_than_one_class(held_out, there, classes),
            "validation seen": early.seen_before(twins[0], len(validation), "validation"),
            "test seen": early.seen_before(twins[1], len(splits.test), "test"),
            "never predicted": early.never_predicted(said, known, classes),
            IN_SAMPLE: in_sample(own, labels, held_out, there),
        }
        for about, text in found.items():
            self._say(about, text)
        self._keep()

    def hand_on(self, folder: Path) -> None:
        """Put the words into the folder of an experiment with the same teacher and rows.

        It has them in its result, and does not look, nor ask the teacher, again.
        """
        if not (folder / "early.json").exists():
            write_text("distill", folder / "early.json", self._path.read_text("utf-8"))

    def costs(self, runs: int, steps: int, seconds: float) -> None:
        """Note what is about to be trained: runs, steps of each, seconds in all."""
        self.cost = {"runs": runs, "steps": steps, "seconds": round(seconds, 1)}
        self._keep()

    def trained(self, run: Run) -> None:
        """Look at the first student on hard labels, before the other arms are trained."""
        splits = self._splits
        teacher = _hits(
            self._stores["validation"].logits(splits.validation.rows), splits.validation
        )
        student = _hits(predict_logits(run.model, splits.validation), splits.validation)
        self._say("no better", early.no_better_than_hard(teacher, student))
        rows = run.setting.data(splits)
        own = _own_hits(run.model, rows)
        self._say("too small", early.too_small(own, teacher, views=rows.view_count))
        self._keep()

    def _say(self, about: str, text: str | None) -> None:
        if text is not None and about not in self.words:
            self.words[about] = text
            self._tell(Progress("early", WARNING + text))

    def _keep(self) -> None:
        words = [{"about": about, "text": text} for about, text in self.words.items()]
        told = {"format": 1, "cost": self.cost, "words": words}
        write_text("distill", self._path, json.dumps(told, indent=1))


def _labels(data: Data) -> Tensor:
    assert data.labels is not None
    return data.labels


def _hits(logits: Tensor, data: Data) -> Tensor:
    return logits.argmax(dim=1) == _labels(data)


def _inputs(teacher: Any, train: Data, validation: Data) -> str | None:
    """Ask a network in other units; what is no network may be slow, dear, or know rows by name."""
    if not _is_network(teacher):
        return None
    like = example_inputs(train, _LIKE)
    return early.otherwise_normalised(teacher, validation, like=like)


def _is_network(teacher: Any) -> bool:
    if isinstance(teacher, EnsembleTeacher):
        return all(_is_network(member) for member in teacher.active)
    return isinstance(teacher, ModelTeacher | OnnxTeacher)


def _own_hits(model: nn.Module, data: Data) -> Tensor:
    """``[N]``: where a student is right on rows that it learnt from, spread over their views."""
    rows = early.evenly(len(data), _OWN)
    batch = data.batch(rows, torch.arange(len(rows)) % data.view_count)
    if batch.labels is None or batch.mixture is not None:  # a mixed row has two labels
        batch = data.batch(rows)
    assert batch.labels is not None
    with torch.no_grad():
        answers = dense_logits("distill", ask(model, batch.inputs))
    known = batch.labels != UNLABELLED
    return (answers.argmax(dim=1) == batch.labels)[known]
