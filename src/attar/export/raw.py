"""A student whose file encodes the rows of a table itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError
from attar.columns import raw_columns
from attar.export.runtime import TAKES, Student, is_frame, transposed


class RawStudent(Student):
    """Takes rows as they are in the table: named columns, or an array with the columns in order.

    What :class:`~attar.export.runtime.Student` says of named columns holds here, too: they are
    checked before the file sees them, so that a gap or a new category that it could only answer
    with NaN is an error that names column and row. The file itself needs no Attar: any ONNX
    Runtime can ask it.
    """

    def _read_input(
        self, name: str, session: Any
    ) -> tuple[str, np.dtype[Any], tuple[int | None, ...], int | None]:
        inputs = session.get_inputs()
        self._names_of_inputs = [value.name for value in inputs]
        self._matrix = self._properties[TAKES] == '"matrix"'
        width = inputs[0].shape[1] if self._matrix else len(inputs)
        return inputs[0].name, np.dtype("float32"), (width,), None

    def _given(self, x: Any) -> dict[str, NDArray[Any]]:
        if self._matrix and isinstance(x, np.ndarray) and x.dtype.kind in "biuf":
            with np.errstate(over="ignore"):
                plain = x.astype(np.float32)
            if x.ndim == 2 and x.shape[1:] == self.input_shape and np.isfinite(plain).all():
                return {self._input: plain}  # nothing to look at more closely
        rows = self._by_name(x)
        assert self.columns is not None
        made = raw_columns(rows, self.columns)
        if not made or not len(made[0]):
            raise AttarError(f"{self._owner}: no rows. Leave out the call where there is none.")
        if self._matrix:
            return {self._input: np.concatenate(made, axis=1)}
        return dict(zip(self._names_of_inputs, made, strict=True))

    def _by_name(self, x: Any) -> Mapping[str, Any]:
        assert self.columns is not None
        if isinstance(x, Mapping):
            return x
        if isinstance(x, Sequence) and x and isinstance(x[0], Mapping):
            return transposed(self._owner, x)
        if is_frame(x):
            return {str(name): x[name].to_numpy() for name in x.columns}
        array = np.asarray(x)
        if array.ndim != 2 or array.shape[1] != len(self.columns):
            raise AttarError(
                f"{self._owner}: an array must have one value for each of the columns "
                f"{', '.join(str(c['name']) for c in self.columns[:5])}: [N, {len(self.columns)}]. "
                f"Got shape {list(array.shape)}. Named columns can come in any order."
            )
        return {column["name"]: array[:, i] for i, column in enumerate(self.columns)}
