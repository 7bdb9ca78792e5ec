"""A store, opened: what any of its teachers said, by id."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attar.checks import AttarError
from attar.store import description, folder
from attar.store.asking import identity
from attar.store.encodings import Encoding
from attar.store.layer import Layer
from attar.store.places import place_of
from attar.store.repair import damage
from attar.types import VIEW, Data


class Store:
    """What teachers said about each input, found by id.

    Made by :meth:`open` or by :func:`attar.store.label`. It keeps logits, never probabilities
    at one temperature: the temperature belongs to the loss. Opening reads little, whatever the
    size: answers are mapped into memory as they are asked for, and each block of them is
    compared with its checksum once, before its values reach anyone.

    Several teachers may have been asked. Then :meth:`teacher` gives the part of one, and only
    that has logits. A store can be sent to another process: it is opened again there.

    Attributes:
        path: The folder, or the address.
        classes: The name of each class, in the order of the logits.
        teachers: The names of the teachers that were asked.

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

    def __init__(self, path: str | Path, layers: Sequence[Layer]) -> None:
        self.path = path
        self.layers = tuple(layers)
        self.classes = layers[0].about.classes
        self.teachers = tuple(dict.fromkeys(layer.about.teacher.name for layer in layers))

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open a store, with what is finished in it.

        Args:
            path: A folder, or an address of fsspec. Files of an address are copied to this
                machine as they are touched; see :class:`attar.store.places.RemotePlace`.

        Raises:
            AttarError: If nothing is finished there, a file is torn or missing, a description is
                damaged, from a newer Attar, or lies about itself.
        """
        place = place_of(path)
        layers = [Layer(place, about) for about in folder.descriptions(place) if about.data.views]
        if not layers:
            raise AttarError(
                f"Store.open: {place.address} is not finished. Run the same label() again: it "
                f"goes on where it stopped."
            )
        return cls(path, layers)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, tuple(layer.name for layer in self.layers))

    def teacher(self, name: str) -> Store:
        """The part of one teacher.

        Raises:
            AttarError: If no teacher of this name was asked.
        """
        layers = [layer for layer in self.layers if layer.about.teacher.name == name]
        if not layers:
            raise AttarError(
                f"Store.teacher: {self.path} knows {', '.join(map(repr, self.teachers))}. Got "
                f"{name!r}."
            )
        return Store(self.path, layers)

    def _only(self, owner: str) -> Sequence[Layer]:
        if len(self.teachers) > 1:
            raise AttarError(
                f"{owner}: {self.path} holds what {len(self.teachers)} teachers said. Choose one, "
                f"store.teacher({self.teachers[0]!r}), or combine them: as_teacher(store)."
            )
        return self.layers

    @property
    def manifest(self) -> dict[str, Any]:
        """What the description of its first layer says, as plain values."""
        layer = self._only("Store.manifest")[0]
        return description.to_json(layer.about)

    @property
    def encoding(self) -> Encoding:
        """How the rows are kept."""
        return self._only("Store.encoding")[0].about.encoding

    @functools.cached_property
    def ids(self) -> Tensor:
        """``[N]`` int64, the inputs that were labelled, in the order of the rows on disk.

        Made when it is asked for: eight bytes an input.
        """
        layers = self._only("Store.ids")
        return torch.from_numpy(np.concatenate([layer.ids() for layer in layers]))

    @functools.cached_property
    def fingerprint(self) -> str:
        """The hash of what the store holds: ids, answers and class names."""
        digest = hashlib.sha256("\0".join(self.classes).encode("utf-8", "surrogatepass"))
        for layer in self.layers:
            digest.update(f"\n{layer.name} {layer.views} {layer.about.encoding}\n".encode())
            digest.update(layer.sums().tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return sum(layer.count for layer in self._only("len(store)"))

    def __repr__(self) -> str:
        said = ", ".join(
            f"{layer.count} x {len(self.classes)} {layer.about.encoding.name}, by "
            f"{layer.about.teacher.name!r}"
            for layer in self.layers
        )
        return f"Store({str(self.path)!r}: {said})"

    def describes(self, data: Data) -> bool:
        """Whether these very rows were labelled, in as many of these very views or more."""
        fingerprint, transforms = identity(data)
        return any(
            layer.about.data.fingerprint == fingerprint
            and layer.views >= data.view_count
            and (data.view_count == 1 or layer.about.data.transforms == transforms)
            for layer in self.layers
        )

    def verify(self) -> None:
        """Read everything and compare it with its checksums.

        Raises:
            AttarError: If a block is not what was written; all of them are named.
        """
        names = {layer.name for layer in self.layers}
        found = [one for one in damage(self.path) if one.file.split("/")[0] in names]
        if found:
            shown = "; ".join(map(str, found[:5])) + ("; ..." if len(found) > 5 else "")
            raise AttarError(
                f"Store: {len(found)} blocks in {self.path} are not what was written: {shown}. "
                f"`attar store repair` asks the teacher for these rows again."
            )

    def logits(self, ids: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """What the teacher said about these inputs.

        Args:
            ids: ``[B]`` int64, ``view * VIEW + row``, in any order, repeated or not.
            dtype: What comes back. float16 is the fastest for a store of float16.

        Returns:
            ``[B, C]`` on the device of ``ids``. The look-up itself is made on the CPU.

        Raises:
            AttarError: If an id is not in the store (the message names the first), or stands in
                a damaged block (the block is named).
        """
        layers = self._only("Store.logits")
        wanted = self._wanted("Store.logits", ids)
        if len(layers) == 1:
            found = self._dense(layers[0], self._flat(wanted))
        else:
            found = torch.empty(len(wanted), len(self.classes))
            for layer, where, flat in self._parts(wanted):
                found[torch.from_numpy(where)] = self._dense(layer, flat).float()
        if found.dtype is not dtype:
            found = found.to(dtype)
        return found if ids.is_cpu else found.to(ids.device)

    def targets(self, ids: Tensor, *, dtype: torch.dtype = torch.float32) -> Any:
        """What the teacher said about these inputs, as the losses take it.

        Args:
            ids: ``[B]`` int64, as in :meth:`logits`.
            dtype: What logits come back in, all of them or the kept ones; the losses raise
                float16 themselves.

        Returns:
            ``[B, C]`` where every logit is kept; sparse targets where only some are. On the
            device of ``ids``.

        Raises:
            AttarError: As :meth:`logits`; or where the inputs stand in several layers that keep
                only some logits.
        """
        layers = self._only("Store.targets")
        encoding = layers[0].about.encoding
        if encoding.plain is not None:
            return self.logits(ids, dtype=dtype)
        wanted = self._wanted("Store.targets", ids)
        if len(layers) == 1:
            records = layers[0].records(self._flat(wanted))
        elif len({layer.about.encoding for layer in layers}) > 1:
            raise AttarError(
                f"Store.targets: {self.path} keeps its rows in several encodings. Label them in "
                f"one, or ask for logits."
            )
        else:
            records = np.empty(len(wanted), dtype=encoding.record)
            for layer, where, flat in self._parts(wanted):
                records[where] = layer.records(flat)
        found = encoding.decode(records, dtype)
        return found if ids.is_cpu else found.to(ids.device)

    def _wanted(self, owner: str, ids: Tensor) -> NDArray[np.int64]:
        if ids.dtype is not torch.int64 or ids.ndim != 1:
            raise AttarError(
                f"{owner}: ids must be int64 of shape [B]. Got {ids.dtype} of shape "
                f"{tuple(ids.shape)}."
            )
        wanted: NDArray[np.int64] = (ids if ids.is_cpu else ids.cpu()).numpy()
        return wanted

    @staticmethod
    def _dense(layer: Layer, flat: NDArray[np.int64]) -> Tensor:
        encoding = layer.about.encoding
        if encoding.plain is not None:
            return layer.plain(flat)
        return encoding.dense(layer.records(flat))

    def _flat(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places ``[B]`` in the only layer."""
        flat, here = self.layers[0].flat(ids)
        if here is not None:
            raise self._missing(ids, ~here)
        return flat

    def _parts(
        self, ids: NDArray[np.int64]
    ) -> list[tuple[Layer, NDArray[np.intp], NDArray[np.int64]]]:
        """Which of the ids stand in which layer: their positions in the batch, and there."""
        lacking = np.ones(len(ids), dtype=np.bool_)
        found = []
        for layer in self.layers:
            flat, known = layer.flat(ids)
            here = np.ones(len(ids), dtype=np.bool_) if known is None else known
            lacking &= ~here
            found.append((layer, here.nonzero()[0], flat[here]))
        if lacking.any():
            raise self._missing(ids, lacking)
        return found

    def _missing(self, ids: NDArray[np.int64], lacking: NDArray[np.bool_]) -> AttarError:
        left_out = lacking & np.logical_or.reduce([layer.left_out(ids) for layer in self.layers])
        if left_out.any():
            first = int(ids[int(np.argmax(left_out))])
            return AttarError(
                f"Store: {int(left_out.sum())} of {len(ids)} ids were left out of {self.path} when "
                f"it was labelled, the first is row {first % VIEW}: no fold held them out, so "
                f"whoever could label them has seen their labels. Train on the other rows, "
                f"data.take(torch.isin(data.rows, store.ids)), or label with folds that hold out "
                f"every row."
            )
        first = int(ids[int(np.argmax(lacking))])
        return AttarError(
            f"Store: {int(lacking.sum())} of {len(ids)} ids are not in {self.path}, the "
            f"first is row {first % VIEW} in view {first // VIEW}. The store holds {len(self)} "
            f"inputs: label the data that is trained on, with all of its views."
        )


def _reopen(path: str | Path, names: Sequence[str]) -> Store:
    store = Store.open(path)
    return Store(path, [layer for layer in store.layers if layer.name in names])
