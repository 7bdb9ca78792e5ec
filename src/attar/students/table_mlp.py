"""The student for tables: a vector for each column, piecewise linear in its value, then an MLP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from attar.checks import AttarError
from attar.columns import Column
from attar.students.family import Family

#: Numbers are cut into at most so many bins, each with about as many training rows.
BINS = 16
#: The parts of a number and of its gap fit into one slot; a category of many values takes several.
SLOT = BINS + 1
#: The quantiles are those of at most so many rows, evenly spread over the table.
_ROWS = 200_000


class PiecewiseLinear(nn.Module):
    """Each feature as several parts, which fill up one after the other as it grows.

    A feature with the bin edges ``b_0 < b_1 < ...`` gives a part a bin:
    ``clamp((x - b_{t-1}) / (b_t - b_{t-1}), 0, 1)``. So a linear layer behind it can bend at
    every edge. Beyond the edges the end parts stay as they are, where the paper lets them grow
    on: a value that is far from all that was seen counts as the nearest one that was.

    A feature with few different values has an edge at each of them, so that 0 and 1 (an encoded
    category, say) stay 0 and 1; others have theirs at quantiles. A feature that is constant has
    no part.

    Args:
        features: ``[P]`` int64: which feature each part looks at.
        low: ``[P]`` where it begins to fill.
        width: ``[P]`` what it takes from there to be full, above 0.
        columns: ``[P]`` int64: the column of the table that it belongs to, counted from 0 without
            gaps.

    Example:
        >>> encoding = PiecewiseLinear.fit(torch.tensor([[0.0], [1.0], [3.0]]))
        >>> encoding(torch.tensor([[0.5], [2.0], [99.0]])).tolist()  # bins 0 to 1 and 1 to 3
        [[0.5, 0.0], [1.0, 0.5], [1.0, 1.0]]

    References:
        Gorishniy, Rubachev, Babenko 2022, *On Embeddings for Numerical Features in Tabular Deep
        Learning*, https://arxiv.org/abs/2203.05556, section 3.2
    """

    features: Tensor
    low: Tensor
    width: Tensor
    columns: Tensor

    def __init__(self, features: Tensor, low: Tensor, width: Tensor, columns: Tensor) -> None:
        super().__init__()
        low, width = low.to(torch.float32), width.to(torch.float32)
        if not (torch.isfinite(low).all() and torch.isfinite(width).all() and (width > 0).all()):
            raise AttarError(
                "PiecewiseLinear: bins must be finite in float32, and wider than 0. Use another "
                "unit for the columns with very large values."
            )
        self.register_buffer("features", features)
        self.register_buffer("low", low)
        self.register_buffer("width", width)
        self.register_buffer("columns", columns)

    def forward(self, inputs: Tensor) -> Tensor:
        """``[N, P]`` float32, from 0 to 1, of inputs ``[N, D]`` of any number type."""
        seen = inputs.to(torch.float32).index_select(1, self.features)
        return ((seen - self.low) / self.width).clamp(0.0, 1.0)

    @classmethod
    def fit(cls, inputs: Any, columns: Sequence[Column] | None = None) -> PiecewiseLinear:
        """The bins of these rows.

        Args:
            inputs: ``[N, D]``; any number type, finite.
            columns: What the features stand for (:mod:`attar.columns`); if not given, each is a
                column of its own.

        Raises:
            AttarError: If there is no row, or the shape is another one.
        """
        if not isinstance(inputs, Tensor) or inputs.ndim != 2 or inputs.numel() == 0:
            came = list(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
            raise AttarError(
                f"table_mlp: needs the rows of a table, a tensor [N, D] with at least one row. Got "
                f"{came}. For images there is convnet."
            )
        step = -(-len(inputs) // _ROWS)
        rows = inputs[::step].detach().cpu().to(torch.float32).numpy()
        features, low, width = [], [], []
        for feature in range(rows.shape[1]):
            edges = _edges(rows[:, feature])
            features += [feature] * (len(edges) - 1)
            low += edges[:-1].tolist()
            width += np.diff(edges.astype(np.float64)).tolist()
        if not features:  # nothing varies: every row has the same answer
            features, low, width = [0], [float(rows[0, 0])], [1.0]
        owners = np.array(_owners(rows.shape[1], columns))[features]
        _, found = np.unique(owners, return_inverse=True)
        return cls(
            torch.tensor(features),
            torch.tensor(low),
            torch.tensor(width, dtype=torch.float64),
            torch.from_numpy(found.astype(np.int64)),
        )


class TableMLP(nn.Module):
    """A vector for each column of a table, then two hidden layers.

    The vector of a column is the sum of a learned vector a part (:class:`PiecewiseLinear`), and a
    ReLU: for a number that is a curve which bends at its bins' edges, for a category the embedding
    of its value, and a gap has a vector too. Behind it ``width - width - C`` with ReLU.

    The parts of a column stand in slots of at most :data:`SLOT` places, and one small product a
    slot makes the sums: a product of all parts with all columns would be mostly zeros, which take
    time and would stand in the exported file.

    Args:
        width: Units of each of the two hidden layers; a column's vector has a quarter of that, at
            least 2 and at most 16.
        classes: How many logits come out.
        places: ``[S, size]`` int64, the parts in each slot; P where a place is empty.
        owners: ``[S, columns]`` 1 where a slot belongs to a column, else 0.
        scale: ``[P]`` the standard deviation that a part's vector is drawn with.
    """

    places: Tensor
    owners: Tensor

    def __init__(
        self, width: int, classes: int, *, places: Tensor, owners: Tensor, scale: Tensor
    ) -> None:
        super().__init__()
        dimensions = max(2, min(16, width // 4))
        count = owners.shape[1]
        drawn = torch.randn(dimensions, len(scale))
        self.vectors = nn.Parameter(drawn * scale.to(drawn.device))
        self.bias = nn.Parameter(torch.zeros(dimensions, count))
        # They follow from the encoding, and are no part of the weights.
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("owners", owners, persistent=False)
        self.first = nn.Linear(dimensions * count, width)
        self.second = nn.Linear(width, width)
        self.head = nn.Linear(width, classes)

    def forward(self, parts: Tensor) -> Tensor:
        """Logits ``[N, C]`` of parts ``[N, P]``."""
        hidden = F.relu(self.second(F.relu(self.first(F.relu(self._sums(parts))))))
        logits: Tensor = self.head(hidden)
        return logits

    def _sums(self, parts: Tensor) -> Tensor:
        """``[N, dimensions * columns]``: each column's vectors, times how full their parts are."""
        slots, size = self.places.shape
        places = self.places.flatten()
        # An empty place looks at any part, and has a vector of zeros behind the others.
        full = parts.index_select(1, places.clamp(max=parts.shape[1] - 1))
        full = full.reshape(-1, slots, size).transpose(0, 1)  # (slots, N, size)
        vectors = F.pad(self.vectors, (0, 1)).index_select(1, places)
        vectors = vectors.reshape(-1, slots, size).permute(1, 2, 0)  # (slots, size, dimensions)
        sums = torch.bmm(full, vectors).permute(1, 2, 0)  # (N, dimensions, slots)
        if slots > self.owners.shape[1]:  # some column has more parts than a slot has places
            sums = sums @ self.owners
        return (sums + self.bias).flatten(1)


def _slots(columns: Tensor) -> tuple[Tensor, Tensor]:
    """The parts in each slot, ``[S, size]``, and the column of each, ``[S, columns]``."""
    places, owners = [], []
    for column in range(int(columns.max()) + 1):
        for own in torch.split((columns == column).nonzero()[:, 0], SLOT):
            places.append(own)
            owners.append(column)
    size = max(len(own) for own in places)
    nobody = len(columns)
    padded = [F.pad(own, (0, size - len(own)), value=nobody) for own in places]
    return torch.stack(padded), F.one_hot(torch.tensor(owners)).to(torch.float32)


def _edges(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The bins' edges, rising; a single one where there is nothing to tell apart."""
    different = np.unique(values)
    if len(different) <= BINS + 1:
        return different
    shares = np.linspace(0.0, 1.0, BINS + 1)
    return np.unique(np.quantile(values.astype(np.float64), shares).astype(np.float32))


def _owners(features: int, columns: Sequence[Column] | None) -> list[int]:
    """The column of each feature, as :func:`attar.columns.encode_columns` lays them out."""
    if columns is None:
        return list(range(features))
    owners: list[int] = []
    for place, column in enumerate(columns):
        is_number = column["kind"] == "number"
        own = 1 + bool(column.get("mark")) if is_number else len(column["categories"])
        owners += [place] * own
    if len(owners) != features:
        raise AttarError(
            f"table_mlp: the columns describe {len(owners)} features, and a row has {features}."
        )
    return owners


def _unfitted(width: int, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    raise AttarError(
        "table_mlp: its bins are read from training rows. Use the family that table_mlp.fit(rows) "
        "gives; attar.distill does so by itself."
    )


@dataclass(frozen=True)
class _Tables(Family):
    """A family whose members are made for the bins of a table."""

    def fit(
        self, inputs: Any, columns: Sequence[Column] | None = None
    ) -> tuple[Family, nn.Module | None]:
        encoding = PiecewiseLinear.fit(inputs, columns)
        return self._of(encoding), encoding

    def restore(self, weights: Mapping[str, Tensor]) -> tuple[Family, nn.Module | None]:
        names = ("features", "low", "width", "columns")
        encoding = PiecewiseLinear(*(weights[f"0.{name}"] for name in names))
        return self._of(encoding), encoding

    def _of(self, encoding: PiecewiseLinear) -> Family:
        places, owners = _slots(encoding.columns)
        # At the start a column's vector has about one size, however many of its parts fill up.
        scale = torch.bincount(encoding.features)[encoding.features].rsqrt()

        def build(width: int, input_shape: tuple[int, ...], classes: int) -> nn.Module:
            return TableMLP(width, classes, places=places, owners=owners, scale=scale)

        return Family(self.name, build)


#: Sized by the units of its hidden layers; for tables. ``table_mlp.fit`` reads its bins from rows.
table_mlp: Family = _Tables("table_mlp", _unfitted)
