"""The teacher's side of labelling: who is asked, about which rows, and whether it answers."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.checks import AttarError, check_finite, check_logits
from attar.store.description import Inputs, Source
from attar.store.hunt import FIRST_SIZE, find_pace
from attar.store.pace import AS_IT_IS, BATCH_SIZE, Pace
from attar.store.rows import runs
from attar.store.writer import batches
from attar.types import VIEW, Batch, Data, SparseTargets, Teacher, dense_logits

#: How many rows a teacher without a fingerprint of its own is recognised by.
PROBE_ROWS = 8
#: How many rows stand for all where the fidelity of an encoding is measured.
SAMPLE_ROWS = 1024
#: And how many of their logits, at 64 rows or more: what may be kept in memory for it.
SAMPLE_LOGITS = 2**25


class Asker:
    """A teacher and the rows it is asked about, by rising row number.

    Args:
        teacher: Anything callable with a batch.
        data: The rows.
        batch_size: Rows of one question; ``"auto"``: what a layer remembers, or is measured.
        name: What a store calls the teacher; None for its own name.
        backends: Further ways of asking a network, by name (:meth:`ModelTeacher.ways`).
        shares: Among how many askers the rows are shared out: a pass is as much shorter.

    Raises:
        AttarError: If there are no rows, their numbers are not all different, or the name is
            empty.
    """

    def __init__(
        self,
        teacher: Teacher,
        data: Data,
        *,
        batch_size: int | Literal["auto"],
        name: str | None = None,
        backends: Mapping[str, Any] | None = None,
        shares: int = 1,
    ) -> None:
        if not len(data):
            raise AttarError("label: the data has no rows.")
        if name is not None and not name.strip():
            raise AttarError("label: name= must not be empty. Leave it out for the teacher's own.")
        self.teacher = teacher
        self.name = name
        self.data = data
        self.fixed = batch_size != "auto"
        self.batch_size = BATCH_SIZE if batch_size == "auto" else int(batch_size)
        self._backends = backends or {}
        self._shares = shares
        self._way = AS_IT_IS
        self._voice: Teacher | None = None
        self.columns: int | None = len(data.classes) or None
        rows: NDArray[np.int64] = data.rows.cpu().numpy()
        self._order: NDArray[np.int64] | None = None
        if not bool((rows[1:] > rows[:-1]).all()):
            self._order = np.argsort(rows, kind="stable")
            rows = rows[self._order]
            if not bool((rows[1:] > rows[:-1]).all()):
                raise AttarError(
                    "label: the row numbers of the data must be all different, since a soft "
                    "target is found by them."
                )
        if int(rows[0]) < 0 or int(rows[-1]) >= VIEW:
            raise AttarError(
                f"label: the row numbers of the data must be 0 or more and below 2**40. Got "
                f"{int(rows[0])} to {int(rows[-1])}."
            )
        self.rows = rows
        self._kept: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}

    def find_pace(self, max_kl: float | None, temperatures: Sequence[float]) -> Pace:
        """How the teacher is best asked; measured where it has ways and the pass is a long one.

        A teacher without ``ways()`` is asked no question more than it must: an answer may cost
        money, or change the next one.
        """
        ways = getattr(self.teacher, "ways", None)
        if self.fixed or not callable(ways):
            return Pace(batch_size=self.batch_size)
        rows = len(self.rows)

        @functools.cache
        def batch(size: int) -> Batch:
            # From all over the data: the first rows may all be of one class.
            return self.data.batch(self._indices(torch.arange(size) * rows // size), 0)

        found = ways(batch(min(rows, FIRST_SIZE)), self._backends)
        if not found:  # an ensemble with a function in it
            return Pace(batch_size=self.batch_size)
        return find_pace(
            found,
            batch,
            rows=rows,
            total=rows * self.data.view_count // self._shares,
            max_kl=max_kl,
            temperatures=temperatures,
        )

    def keep(self, pace: Pace) -> None:
        """Ask in this way from now on; a number that was given stays."""
        if self.fixed:
            return
        self.batch_size = pace.batch_size
        if pace.way != self._way:
            self._way, self._voice = pace.way, None

    def voice(self) -> Teacher:
        """Who answers: the teacher, or what is asked in its way, made when it is first needed."""
        ways = getattr(self.teacher, "ways", None)
        if self._voice is None and self._way != AS_IT_IS and callable(ways):
            rows = torch.arange(min(len(self.rows), FIRST_SIZE))
            way = ways(self.data.batch(self._indices(rows), 0), self._backends).get(self._way)
            # What another machine lacks is asked as it is: the last bits differ, no more.
            with suppress(Exception):
                self._voice = None if way is None else way.make()
        self._voice = self._voice or self.teacher
        return self._voice

    def first(self) -> tuple[Tensor, Tensor]:
        """The first rows, whose answer is kept until it is asked for in its turn.

        They are the same ones whatever the batch size.
        """
        key = (0, 0, min(self.batch_size if self.fixed else BATCH_SIZE, len(self.rows)))
        if key not in self._kept:
            self._kept[key] = self._ask(torch.arange(0, key[2]), 0)
        return self._kept[key]

    def __call__(self, view: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Checked logits ``[B, C]``, float32 on the CPU, and ids ``[B]`` of these rows."""
        kept = self._kept.pop((view, start, stop), None)
        return self._ask(torch.arange(start, stop), view) if kept is None else kept

    def sample(self) -> tuple[Tensor, Tensor]:
        """Logits and ids of up to :data:`SAMPLE_ROWS` rows, evenly spread over view 0.

        Where these are all, they are not asked about again in their turn.
        """
        classes = self.columns or 1
        count = min(len(self.rows), SAMPLE_ROWS, max(64, SAMPLE_LOGITS // classes))
        if count == len(self.rows):
            for start, stop in batches(0, count, self.batch_size):
                key = (0, start, stop)
                if key not in self._kept:
                    self._kept[key] = self._ask(torch.arange(start, stop), 0)
            said = list(self._kept.values())
        else:
            places = torch.arange(count) * len(self.rows) // count
            said = [self._ask(some, 0) for some in torch.split(places, self.batch_size)]
        return torch.cat([logits for logits, _ in said]), torch.cat([ids for _, ids in said])

    def _indices(self, places: Tensor) -> Tensor:
        return places if self._order is None else torch.from_numpy(self._order[places.numpy()])

    def _ask(self, places: Tensor, view: int) -> tuple[Tensor, Tensor]:
        indices = self._indices(places)
        expected = torch.from_numpy(self.rows[places.numpy()]) + view * VIEW
        batch = self.data.batch(indices, view)
        if not torch.equal(batch.ids.cpu(), expected):
            raise AttarError(
                f"label: data.batch must return the ids view * 2**40 + row of what it was asked "
                f"for. Asked for id {int(expected[0])} first, got {batch.ids[:1].tolist()}."
            )
        with torch.no_grad():
            outputs = self.voice()(batch)
        logits = getattr(outputs, "logits", None)
        if isinstance(logits, SparseTargets):
            logits = dense_logits("label", outputs)
        if not isinstance(logits, Tensor):
            raise AttarError(
                f"label: the teacher must return attar.Outputs. Got {type(outputs).__name__}. "
                f"attar.teachers.as_teacher wraps a module, an estimator, a file or a function."
            )
        check_logits("label", "the teacher's answer", logits, rows=len(places))
        if self.columns is not None and logits.shape[1] != self.columns:
            raise AttarError(
                f"label: the teacher must answer for {self.columns} classes. Got "
                f"{logits.shape[1]} columns. Map its classes to those of the data first."
            )
        self.columns = logits.shape[1]
        logits = logits.detach().to("cpu", torch.float32)
        check_finite("label", "the teacher's logits", logits, ids=expected)
        return logits, expected

    def source(self) -> Source:
        """What a store remembers of the teacher, known before it is asked for the store.

        A teacher with a ``probe(batch)`` method is given the first rows first; one without a
        ``fingerprint()`` is recognised by its answers to them.
        """
        count = min(PROBE_ROWS, len(self.rows))
        teacher = self.teacher
        probe = getattr(teacher, "probe", None)
        if callable(probe):
            probe(self.data.batch(torch.arange(count)))
        own = getattr(teacher, "fingerprint", None)
        if callable(own):
            fingerprint, verified = str(own()), bool(getattr(teacher, "verified", True))
        else:
            fingerprint = answers_fingerprint(self._ask(torch.arange(count), 0)[0])
            verified = False
        own_name = getattr(teacher, "name", None) or getattr(teacher, "__name__", None)
        name = self.name or own_name
        return Source(
            name=str(name or type(teacher).__name__),
            fingerprint=fingerprint,
            verified=verified,
            outputs=self.outputs(),
            parameters=_count(teacher, "parameters"),
            bytes=_count(teacher, "bytes"),
        )

    def outputs(self) -> str | None:
        """``"logits"`` or ``"probabilities"``, where the teacher has decided."""
        outputs = getattr(self.teacher, "outputs", None)
        return outputs if outputs in ("logits", "probabilities") else None

    def inputs(self) -> Inputs:
        """What a store remembers of the rows."""
        fingerprint, transforms = identity(self.data)
        low, high, count = int(self.rows[0]), int(self.rows[-1]), len(self.rows)
        start = low if high - low + 1 == count else None
        return Inputs(
            fingerprint,
            count,
            start,
            transforms if self.data.view_count > 1 else "",
            left_out=self._left_out(),
        )

    def _left_out(self) -> tuple[tuple[int, int], ...]:
        """Which rows beside these the teacher will not answer, and says so."""
        left_out = getattr(self.teacher, "left_out", None)
        if not isinstance(left_out, Tensor) or not len(left_out):
            return ()
        return runs(left_out.cpu().numpy(), self.rows)


def identity(data: Data) -> tuple[str, str]:
    """The hash of inputs and row numbers, and the transforms that make the views, in words.

    The number of views enters neither, so that it can grow. Data that cannot tell its contents
    from its views stands with all of its views under one hash.
    """
    contents = getattr(data, "contents_fingerprint", None)
    if not callable(contents):
        return data.fingerprint(), ""
    views = getattr(data, "views", None)
    return str(contents()), "" if views is None else str(views.family)


def answers_fingerprint(logits: Tensor) -> str:
    """The hash of answers ``[N, C]``, blind to differences in the last bits."""
    rounded = np.round(logits.detach().cpu().numpy().astype("<f8"), 4) + 0.0  # no negative zero
    return hashlib.sha256(str(rounded.shape).encode() + rounded.tobytes()).hexdigest()


def _count(teacher: Any, name: str) -> int | None:
    value = getattr(teacher, name, None)
    return value if isinstance(value, int) and value >= 0 else None
