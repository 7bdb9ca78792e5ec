"""Ask a teacher about every row, once, and keep what it said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from attar.checks import AttarError, check_number
from attar.store import folder, layout, rows
from attar.store.asking import Asker
from attar.store.claims import claim_layer
from attar.store.description import Description
from attar.store.places import Place, place_of
from attar.store.reader import Store
from attar.store.wish import Wish
from attar.store.writer import LayerWriter, batches
from attar.types import Data, Teacher

Progress = Callable[[int, int], None]


def label(
    teacher: Teacher,
    data: Data,
    path: str | Path,
    *,
    dtype: str | None = None,
    top_k: int | Literal["auto"] | None = None,
    sample: int | None = None,
    temperatures: Sequence[float] = (1.0,),
    max_kl: float | None = None,
    seed: int = 0,
    batch_size: int | Literal["auto"] = "auto",
    name: str | None = None,
    backends: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Store:
    """Ask the teacher about every view of every row and keep its logits in a folder.

    Killed at any moment and called again with the same arguments, it goes on where it stopped,
    and the files end with the same bytes as without the kill. Called again after it has
    finished, it opens the store without asking the teacher (only one without a fingerprint is
    asked about eight rows, to recognise it). Called with more views of the same data, it asks
    about the new ones alone; called with another teacher, it adds that one's answers.

    Args:
        teacher: Anything callable with a batch. Its ``name`` and ``fingerprint()`` are used
            where it has them; otherwise its answers to the first eight rows stand for it and
            the manifest says that it is not verified. Row numbers in its ``left_out`` (of
            :class:`attar.teachers.CrossFitted`) are noted in ``manifest["data"]``, and
            reading such a row raises with the reason.
        data: The rows. Each is labelled in each of its views.
        path: A folder that does not exist yet, is empty, or holds a store; or an address of
            fsspec.
        dtype: ``"float32"`` (what is kept where nothing is said); ``"float16"`` for half the
            disk: it keeps about three significant digits and holds values up to 65504;
            ``"int8"`` for a quarter: 255 even steps over each row's range. With ``top_k`` what the
            kept logits are held in, float16 where nothing is said.
        top_k: Keep only so many of each row's best logits, and the log-sum-exp over all at each
            temperature; see :class:`~attar.types.TopKTargets`. ``"auto"``: whichever is smallest
            of the k best, float16, int8 and float32 and holds ``max_kl``. Below some hundred
            classes that keeps all.
        sample: Keep only so many classes of each row, drawn from the teacher's distribution at
            each temperature; see :class:`~attar.types.SampledTargets`.
        temperatures: At which sparse targets are to be used: a loss at another one raises. And
            at which the fidelity of what is kept is measured.
        max_kl: For ``top_k="auto"``: the largest mean divergence, in nats, between the teacher's
            softmax and the stored one that is allowed at any of the temperatures; 0.001 where
            nothing is said.
        seed: What ``sample`` draws follows from it and from the input's id.
        batch_size: How many inputs the teacher is asked about at once. ``"auto"``: where the pass
            takes longer than 20 seconds and the teacher is a network, an estimator or a file, a
            short measurement chooses this number and the way of asking a network (as it is,
            channels last, ONNX Runtime, compiled; in bfloat16 only with ``top_k="auto"``, where it
            may take a tenth of ``max_kl``), and ``manifest["pass"]`` keeps what was found; else
            256. A function, an API say, is asked no question more. A pass that goes on does so
            at its old pace; with another number the last bits of the logits may differ.
        name: What the store calls this teacher, so that several of one kind can stand in it; the
            teacher's own name where nothing is said. What was begun keeps its first name.
        backends: Further ways of asking a network, by name: ``make(module, inputs)`` gives a
            function from inputs to logits. :func:`attar.label` adds ONNX Runtime.
        progress: Called after each batch with the inputs done so far and their total.

    Returns:
        What this teacher said, opened; where other teachers were asked before, the store on the
        disk holds their part too (:meth:`Store.open`).

    Where something is lost, up to 1,024 rows are asked about first, and the manifest keeps what
    was measured on them, ``manifest["fidelity"]``: mean, 99th percentile and largest divergence
    between the teacher's softmax and the stored one, in nats, at each temperature. (Classes
    that top-k did not keep count as equally likely there.)

    Raises:
        AttarError: If the folder is no store; holds another teacher of the same name, the same
            rows with other contents, or the same answers in another encoding; if the teacher's
            answer has a wrong shape, is not finite (the id is named) or is too large for
            float16; if the disk is full (what is there stays whole).
    """
    store = label_shard(
        teacher,
        data,
        path,
        shard=(0, 1),
        dtype=dtype,
        top_k=top_k,
        sample=sample,
        temperatures=temperatures,
        max_kl=max_kl,
        seed=seed,
        batch_size=batch_size,
        name=name,
        backends=backends,
        progress=progress,
    )
    if store is None:
        raise AttarError(
            f"label: a file in {path} changed on the disk after it was written. Call label() "
            f"again: it asks for the missing rows."
        )
    return store


def label_shard(
    teacher: Teacher,
    data: Data,
    path: str | Path,
    *,
    shard: tuple[int, int],
    dtype: str | None = None,
    top_k: int | Literal["auto"] | None = None,
    sample: int | None = None,
    temperatures: Sequence[float] = (1.0,),
    max_kl: float | None = None,
    seed: int = 0,
    batch_size: int | Literal["auto"] = "auto",
    name: str | None = None,
    backends: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Store | None:
    """Ask the teacher about one share of the inputs, beside other processes that ask for theirs.

    All write to one store, at the same time or one after the other, on one machine or on
    several that see the same folder. The last one to be ready finishes the store, whichever it
    is. A share can be killed and started again, also twice at once. The bytes are those that
    :func:`label` alone would have written, with the same batch size.

    Args:
        teacher: As in :func:`label`.
        data: The same rows in every process, all of them.
        path: The same store.
        shard: ``(index, count)``: the share of index 0 to count - 1.
        dtype: As in :func:`label`; so are ``top_k``, ``sample``, ``temperatures``, ``max_kl`` and
            ``seed``.
        top_k: See ``dtype``.
        sample: See ``dtype``.
        temperatures: See ``dtype``.
        max_kl: See ``dtype``.
        seed: See ``dtype``.
        batch_size: As in :func:`label`; so are ``name`` and ``backends``.
        name: See ``batch_size``.
        backends: See ``batch_size``.
        progress: Called after each batch with the inputs of this share done, and their total.

    Returns:
        The store, opened; None while other shares are still to come.
    """
    if batch_size != "auto":
        check_number("label", "batch_size", batch_size, low=1, whole=True)
    index, count = shard
    check_number("label", "shard", count, low=1, whole=True)
    check_number("label", "shard", index, low=0, high=count - 1, whole=True)
    wish = Wish(dtype, top_k, sample, temperatures, max_kl, seed)
    wish.check()
    place = place_of(path)
    folder.claim(place)
    asker = Asker(teacher, data, batch_size=batch_size, name=name, backends=backends, shares=count)
    about = claim_layer(place, asker, wish)
    writer = LayerWriter(place, about)
    if about.data.views < data.view_count:
        _prepare(place, about, asker)
        share = about.geometry.shard(index, count, data.view_count)
        _say(asker, writer, share, data.view_count, progress)
    about = writer.conclude()
    if about.data.views < data.view_count:
        return None
    return Store.open(path).teacher(about.teacher.name)


def _prepare(place: Place, about: Description, asker: Asker) -> None:
    """What must be there before the first answer is written."""
    if about.data.start is None:
        name = f"{about.name}/{layout.ROWS}"
        if place.sizes(about.name).get(layout.ROWS) != rows.file_size(len(asker.rows)):
            place.write(name, rows.pack(asker.rows, about.name))
    if getattr(asker.teacher, "outputs", None) == "auto":
        # A teacher that tells logits from probabilities by its first answer must see the same
        # first batch in every process, killed before or not.
        asker.first()


def _say(
    asker: Asker,
    writer: LayerWriter,
    share: tuple[int, int],
    views: int,
    progress: Progress | None,
) -> None:
    """Fill every gap in the positions ``[start, stop)`` of all views, file by file."""
    geometry, encoding = writer.geometry, writer.about.encoding
    low, high = share
    total, done = high - low, 0
    finished = writer.finished()
    for span in geometry.spans(range(views)):
        offset = span.view * geometry.rows
        start, stop = max(low - offset, span.start), min(high - offset, span.stop)
        if start >= stop:
            continue
        gaps = [] if span in finished else writer.gaps(span, start, stop)
        old = stop - start - sum(end - begin for begin, end in gaps)
        done += old
        if old and progress is not None and done < total:
            progress(done, total)
        for begin, end in gaps:
            with writer.gap(span, begin, end) as gap:
                for at, until in batches(begin, end, asker.batch_size):
                    gap.add(encoding.encode(*asker(span.view, at, until)))
                    done += until - at
                    if progress is not None:
                        progress(done, total)
        if span not in finished and span not in writer.finished():
            writer.join(span)
