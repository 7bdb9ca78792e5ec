"""Ask a teacher about every row, once, and keep what it said."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.checks import AttarError, check_finite, check_logits, check_number
from attar.store import layout
from attar.store.reader import Store
from attar.store.writer import Writer, clear_leftovers, refuse_another
from attar.types import VIEW, Data, Teacher

#: How many rows a teacher without a fingerprint of its own is recognised by.
PROBE_ROWS = 8


def label(
    teacher: Teacher,
    data: Data,
    path: str | Path,
    *,
    dtype: str = "float32",
    batch_size: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Ask the teacher about every view of every row and keep its logits in a folder.

    Killed at any moment and called again with the same arguments, it goes on where it stopped,
    and the files end with the same bytes as without the kill. Called again after it has
    finished, it opens the store without asking the teacher (only one without a fingerprint is
    asked about eight rows, to recognise it).

    Args:
        teacher: Anything callable with a batch. Its ``name`` and ``fingerprint()`` are used
            where it has them; otherwise its answers to the first eight rows stand for it and
            the manifest says that it is not verified.
        data: The rows. Each is labelled in each of its views.
        path: A folder that does not exist yet, is empty, or holds this very store.
        dtype: ``"float32"``, or ``"float16"`` for half the disk: it keeps about three
            significant digits and holds values up to 65504.
        batch_size: How many inputs the teacher is asked about at once. Another one may be used
            when resuming; the last bits of the logits may then differ.
        progress: Called after each batch with the inputs done so far and their total.

    Returns:
        The finished store, opened.

    Raises:
        AttarError: If the folder belongs to another teacher, other data or another dtype, or is
            no store; if the teacher's answer has a wrong shape, is not finite (the id is named)
            or is too large for float16.
    """
    check_number("label", "batch_size", batch_size, low=1, whole=True)
    if dtype not in layout.DTYPES:
        raise AttarError(
            f"The 'dtype' parameter of label must be one of {list(layout.DTYPES)}. Got {dtype!r} "
            f"instead."
        )
    if not len(data):
        raise AttarError("label: the data has no rows.")
    if len(torch.unique(data.rows)) != len(data) or int(data.rows.min()) < 0:
        raise AttarError(
            "label: the row numbers of the data must be 0 or more and all different, since a soft "
            "target is found by them."
        )
    folder = Path(path)
    job = layout.Job(
        teacher=describe(teacher, data),
        data=data.fingerprint(),
        dtype=dtype,
        count=len(data) * data.view_count,
    )
    if (folder / layout.MANIFEST).exists():
        store = Store.open(folder)
        refuse_another(folder, layout.read_manifest(folder).job, job)
        clear_leftovers(folder)  # a kill after the manifest, before the parts were gone
        return store
    writer = Writer(folder, job)
    writer.begin()
    _say(teacher, data, writer, batch_size=batch_size, progress=progress)
    parts = writer.parts(columns=None)
    writer.finish(
        parts,
        ids=all_ids(data),
        classes=data.classes or tuple(str(index) for index in range(parts[0].columns)),
        outputs=_decided(teacher),
    )
    return Store.open(folder)


def _say(
    teacher: Teacher,
    data: Data,
    writer: Writer,
    *,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Fill every gap between the parts that are there."""
    total = writer.job.count
    columns = len(data.classes) or None
    parts = writer.parts(columns=columns)
    done = sum(part.stop - part.start for part in parts)
    if parts:
        # A teacher that tells logits from probabilities by its first answer must see the same
        # first batch as in a run that was not killed.
        if getattr(teacher, "outputs", None) == "auto":
            ask(teacher, data, 0, min(batch_size, total), columns=columns)
        columns = parts[0].columns
        if progress is not None:
            progress(done, total)
    edges = [(0, 0), *((part.start, part.stop) for part in parts), (total, total)]
    for (_, begin), (end, _) in pairwise(edges):
        with writer.gap(begin) as gap:
            for start in range(begin, end, batch_size):
                stop = min(start + batch_size, end)
                logits = ask(teacher, data, start, stop, columns=columns)
                columns = logits.shape[1]
                gap.add(_stored(logits, data, start, writer.job.dtype))
                done += stop - start
                if progress is not None:
                    progress(done, total)


def ask(teacher: Teacher, data: Data, start: int, stop: int, *, columns: int | None) -> Tensor:
    """The teacher's checked logits ``[stop - start, C]``, float32 on the CPU.

    Positions run over view 0 of all rows, then view 1, and so on.
    """
    positions = torch.arange(start, stop)
    indices, views = positions % len(data), positions // len(data)
    batch = data.batch(indices, views)
    expected = _ids(data, positions)
    if not torch.equal(batch.ids.cpu(), expected):
        raise AttarError(
            f"label: data.batch must return the ids view * 2**40 + row of what it was asked for. "
            f"Asked for id {int(expected[0])} first, got {batch.ids[:1].tolist()}."
        )
    with torch.no_grad():
        outputs = teacher(batch)
    logits = getattr(outputs, "logits", None)
    if not isinstance(logits, Tensor):
        raise AttarError(
            f"label: the teacher must return attar.Outputs. Got {type(outputs).__name__}. "
            f"attar.teachers.as_teacher wraps a module, an estimator, a file or a function."
        )
    check_logits("label", "the teacher's answer", logits, rows=stop - start)
    if columns is not None and logits.shape[1] != columns:
        raise AttarError(
            f"label: the teacher must answer for {columns} classes. Got {logits.shape[1]} columns. "
            f"Map its classes to those of the data first."
        )
    logits = logits.detach().to("cpu", torch.float32)
    check_finite("label", "the teacher's logits", logits, ids=expected)
    return logits


def _stored(logits: Tensor, data: Data, start: int, dtype: str) -> NDArray[Any]:
    values: NDArray[np.float32] = logits.numpy()
    limit = float(np.finfo(layout.DTYPES[dtype]).max)
    if dtype != "float32" and float(np.abs(values).max()) > limit:
        row, column = np.unravel_index(int(np.abs(values).argmax()), values.shape)
        bad = int(_ids(data, torch.tensor([start + int(row)]))[0])
        raise AttarError(
            f"label: float16 holds values up to {limit:.0f}, and the teacher's largest logit so "
            f"far is {values[row, column]:.6g} (id {bad}). Use dtype='float32' and another folder."
        )
    return np.ascontiguousarray(values, dtype=layout.DTYPES[dtype])


def _ids(data: Data, positions: Tensor) -> Tensor:
    return data.rows.cpu()[positions % len(data)] + positions // len(data) * VIEW


def all_ids(data: Data) -> NDArray[np.int64]:
    """``[N * V]`` ids of all views of all rows: view 0 of each, then view 1, and so on."""
    rows: NDArray[np.int64] = data.rows.cpu().numpy()
    ids: NDArray[np.int64] = (
        np.arange(data.view_count, dtype=np.int64)[:, None] * VIEW + rows
    ).reshape(-1)
    return ids


def describe(teacher: Teacher, data: Data) -> layout.Source:
    """What a store remembers of a teacher, known before it is asked for the store.

    A teacher with a ``probe(batch)`` method is given the first rows first; one without a
    ``fingerprint()`` is recognised by its answers to them.
    """
    count = min(PROBE_ROWS, len(data))
    probe = getattr(teacher, "probe", None)
    if callable(probe):
        probe(data.batch(torch.arange(count)))
    own = getattr(teacher, "fingerprint", None)
    if callable(own):
        fingerprint, verified = str(own()), bool(getattr(teacher, "verified", True))
    else:
        fingerprint = answers_fingerprint(ask(teacher, data, 0, count, columns=None))
        verified = False
    name = getattr(teacher, "name", None) or getattr(teacher, "__name__", None)
    return layout.Source(
        name=str(name or type(teacher).__name__),
        fingerprint=fingerprint,
        verified=verified,
        parameters=_count(teacher, "parameters"),
        bytes=_count(teacher, "bytes"),
    )


def answers_fingerprint(logits: Tensor) -> str:
    """The hash of answers ``[N, C]``, blind to differences in the last bits."""
    rounded = np.round(logits.detach().cpu().numpy().astype("<f8"), 4) + 0.0  # no negative zero
    return hashlib.sha256(str(rounded.shape).encode() + rounded.tobytes()).hexdigest()


def _decided(teacher: Teacher) -> str | None:
    outputs = getattr(teacher, "outputs", None)
    return outputs if outputs in ("logits", "probabilities") else None


def _count(teacher: Teacher, name: str) -> int | None:
    value = getattr(teacher, name, None)
    return value if isinstance(value, int) and value >= 0 else None
