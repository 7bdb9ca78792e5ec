"""A finished store: soft targets by id."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.checks import AttarError
from attar.store import layout
from attar.types import VIEW

# A table with one entry a row number is the fastest way from a row to its position. It is made
# when the row numbers are dense enough for it: 32 MiB are always granted.
_TABLE_ALWAYS = 4 * 2**20
_TABLE_FACTOR = 8

#: Stands in a table for "no such row"; any position made from it is out of range.
_NOWHERE = -(2**62)


class Store:
    """What a teacher said about each input, memory-mapped and found by id.

    Made by :meth:`open` or by :func:`attar.store.label`. It keeps logits, never probabilities
    at one temperature: the temperature belongs to the loss.

    Attributes:
        path: The folder.
        ids: ``[N]`` int64, the inputs that were labelled, in the order of the rows on disk.
        classes: The name of each class, in the order of the logits.
        manifest: What ``manifest.json`` says, as plain values.

    Example:
        >>> import tempfile, torch, attar.store
        >>> from attar.data import ArrayData
        >>> from attar.types import Outputs
        >>> data = ArrayData(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), None)
        >>> teacher = lambda batch: Outputs(batch.inputs * 10)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = attar.store.label(teacher, data, folder + "/soft")
        ...     store.logits(torch.tensor([2, 0]))
        tensor([[50., 60.],
                [10., 20.]])
    """

    def __init__(self, path: Path, manifest: layout.Manifest) -> None:
        count, _ = manifest.shape
        self.path = path
        self.classes = manifest.classes
        self.manifest: dict[str, Any] = layout.manifest_to_json(manifest)
        self._sums = {
            layout.LOGITS: manifest.logits_sha256,
            layout.IDS: manifest.ids_sha256,
        }
        logits = layout.map_array(
            path / layout.LOGITS, dtype=layout.DTYPES[manifest.job.dtype], shape=manifest.shape
        )
        ids = layout.map_array(path / layout.IDS, dtype=layout.ID_DTYPE, shape=(count,))
        self.ids: Tensor = torch.from_numpy(np.array(ids, dtype=np.int64))
        self._logits = torch.from_numpy(logits)
        self._half = manifest.job.dtype == "float16"
        self._index()

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open a finished store.

        Reads the manifest, the headers and the ids; the logits stay on the disk until asked for.

        Raises:
            AttarError: If the folder is no finished store, is torn, is from a newer Attar, or
                holds anything else than its manifest promises.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise AttarError(f"Store.open: {folder} is no folder. label() makes a store.")
        if not (folder / layout.MANIFEST).exists() and (folder / layout.JOB).exists():
            raise AttarError(
                f"Store.open: {folder} is not finished. Run the same label() again: it goes on "
                f"where it stopped."
            )
        return cls(folder, layout.read_manifest(folder))

    @property
    def fingerprint(self) -> str:
        """The hash of what the store holds: ids, logits and class names."""
        sums = self.manifest["sha256"]
        text = "\0".join([sums["logits"], sums["ids"], *self.classes])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        dtype, name = self.manifest["dtype"], self.manifest["teacher"]["name"]
        return f"Store({str(self.path)!r}: {len(self)} x {len(self.classes)} {dtype}, by {name!r})"

    def verify(self) -> None:
        """Read both arrays and compare them with the checksums of the manifest.

        Raises:
            AttarError: If a file is not what was written.
        """
        for name, expected in self._sums.items():
            found = layout.sha256(self.path / name)
            if found != expected:
                raise AttarError(
                    f"Store: {self.path / name} is not what was written: SHA-256 {expected[:12]} "
                    f"expected, {found[:12]} found. Delete the folder and label again."
                )

    def logits(self, ids: Tensor) -> Tensor:
        """What the teacher said about these inputs.

        Args:
            ids: ``[B]`` int64, ``view * VIEW + row``, in any order, repeated or not.

        Returns:
            ``[B, C]`` float32 on the device of ``ids``. The look-up itself is made on the CPU.

        Raises:
            AttarError: If an id is not in the store; the message names the first.
        """
        if ids.dtype is not torch.int64 or ids.ndim != 1:
            raise AttarError(
                f"Store.logits: ids must be int64 of shape [B]. Got {ids.dtype} of shape "
                f"{tuple(ids.shape)}."
            )
        wanted = ids if ids.is_cpu else ids.cpu()
        try:
            # A missing id becomes a position out of range, which index_select refuses: the
            # check costs nothing.
            found = self._logits.index_select(0, self._positions(wanted))
        except IndexError:
            raise self._missing(wanted) from None
        if self._half:
            found = found.float()
        return found if ids.is_cpu else found.to(ids.device)

    def _index(self) -> None:
        """Choose how an id is turned into a position; check that no id stands twice."""
        ids = self.ids.numpy()
        if ids.min() < 0:
            raise AttarError(f"Store: {self.path / layout.IDS} holds a negative id.")
        self._identity = bool(ids[0] == 0 and ids[-1] == len(ids) - 1 and (np.diff(ids) == 1).all())
        self._table: Tensor | None = None
        if self._identity:
            return
        # label() writes whole views, one after the other: then an id's position is
        # view * rows + (position of the row).
        rows = ids[ids < VIEW]
        count = len(rows)
        grid = count > 0 and len(ids) % count == 0
        if grid:
            views = np.arange(len(ids) // count, dtype=np.int64)[:, None] * VIEW
            grid = bool((ids.reshape(-1, count) == views + rows).all())
        if grid:
            low = int(rows.min())
            span = int(rows.max()) - low + 1
            if span <= max(_TABLE_ALWAYS, _TABLE_FACTOR * count):
                table = np.full(span, _NOWHERE, dtype=np.int64)
                table[rows - low] = np.arange(count)
                self._refuse_repeated(int((table >= 0).sum()), count)
                self._low, self._row_count = low, count
                self._one_view = count == len(ids)
                self._table = torch.from_numpy(table)
                return
        self._order = torch.from_numpy(np.argsort(ids, kind="stable"))
        self._sorted = self.ids[self._order]
        self._refuse_repeated(len(np.unique(ids)), len(ids))

    def _refuse_repeated(self, different: int, count: int) -> None:
        if different != count:
            raise AttarError(
                f"Store: {self.path / layout.IDS} must name every input once. {count - different} "
                f"ids stand there again."
            )

    def _positions(self, ids: Tensor) -> Tensor:
        """``[B]`` int64 positions; out of range, or an IndexError, for a missing id."""
        if self._identity:
            return ids
        if self._table is not None:
            if self._one_view:
                return self._table.index_select(0, ids - self._low if self._low else ids)
            rows = ids & (VIEW - 1)
            if self._low:
                rows.sub_(self._low)
            return self._table.index_select(0, rows).add_(ids >> 40, alpha=self._row_count)
        place = torch.searchsorted(self._sorted, ids).clamp_(max=len(self._sorted) - 1)
        if not torch.equal(self._sorted.index_select(0, place), ids):
            raise IndexError
        return self._order.index_select(0, place)

    def _missing(self, ids: Tensor) -> AttarError:
        there: NDArray[np.bool_] = np.isin(ids.numpy(), self.ids.numpy())
        first = int(ids[int(np.argmin(there))])
        return AttarError(
            f"Store.logits: {int((~there).sum())} of {len(ids)} ids are not in {self.path}, the "
            f"first is row {first % VIEW} in view {first // VIEW}. The store holds {len(self)} "
            f"inputs: label the data that is trained on, with all of its views."
        )
