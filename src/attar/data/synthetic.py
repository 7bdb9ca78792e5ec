"""Synthetic transfer sets for tables: new rows that look like the old ones, for a teacher to label.

A table of a few thousand rows shows a student only a little of what its teacher knows. These
samplers draw as many further rows as are wanted from close to the data; the teacher says what
they are. None of them looks at a label.

A table is an array ``[N, D]``, a mapping of columns, or a DataFrame of pandas or polars, and the
synthetic rows come back as the same. Columns of texts, bools and categories, and those that are
named in ``categorical``, only ever take values that are there; columns of whole numbers stay
whole; a gap (NaN, None) is a value like others, which a row can get and lose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError, check_number
from attar.data.codes import Codes, Index, columns_of, encode, keys, like

#: Neighbours of a batch of rows are looked up together; bounds the memory of the distances.
_CHUNK = 4096


def munge(
    table: Any,
    *,
    count: int,
    probability: float = 0.5,
    variance: float = 1.0,
    categorical: Sequence[str | int] = (),
    seed: int = 0,
) -> Any:
    """MUNGE: rows that exchange some of their values with those of their nearest neighbour.

    Row after row, with its nearest neighbour: each attribute is, with the given probability,
    exchanged between the two. A number is not exchanged as it is: each of the two gets a draw
    from the normal distribution around the other's value, whose standard deviation is what they
    differ by, over ``variance``. Passes over the whole table are repeated until there are
    enough rows.

    Args:
        table: Two rows or more; see :mod:`attar.data.synthetic`.
        count: How many rows to make, 1 or more.
        probability: That an attribute is exchanged, from 0 to 1. Higher: more unlike the data.
        variance: The paper's local variance parameter s, above 0. Higher: closer to the
            neighbour's value itself.
        categorical: Names (of an array: numbers) of columns of numbers whose values are codes.
        seed: The same seed gives the same rows.

    Returns:
        ``count`` rows, of the type of ``table``.

    Raises:
        AttarError: If the table has fewer than two rows or no column, or a number is out of
            range.

    Example:
        >>> rows = np.array([[0.0, 1.0], [0.1, 1.0], [5.0, 2.0], [5.2, 2.0]])
        >>> munge(rows, count=4, categorical=[1], seed=0).round(2)  # stays within the clusters
        array([[ 0.14,  1.  ],
               [-0.06,  1.  ],
               [ 5.  ,  2.  ],
               [ 5.2 ,  2.  ]])

    References:
        Bucila, Caruana, Niculescu-Mizil 2006, *Model Compression* (KDD), algorithm 1
    """
    check_number("munge", "probability", probability, low=0, high=1)
    check_number("munge", "variance", variance, low=0, low_open=True)
    codes = encode("munge", table, count, categorical)
    nearest = _neighbours(codes, 1)[:, 0]
    random = np.random.default_rng(seed)
    passes = []
    for _ in range(-(-count // len(codes.values))):
        values = codes.values.copy()
        # In turn and in place, as published: a row may be exchanged again as a neighbour's.
        chosen = random.random(values.shape) < probability
        noise = random.standard_normal((2, *values.shape))
        for row, other in enumerate(nearest):
            mine, theirs, swap = values[row].copy(), values[other].copy(), chosen[row]
            with np.errstate(invalid="ignore"):
                spread = np.abs(mine - theirs) / variance
            # A gap has no distance: it is exchanged as it is, like a category.
            spread = np.where(codes.is_number & np.isfinite(spread), spread, 0.0)
            values[row, swap] = (theirs + spread * noise[0, row])[swap]
            values[other, swap] = (mine + spread * noise[1, row])[swap]
        passes.append(values)
    return codes.decode(np.concatenate(passes)[:count])


def mix_neighbours(
    table: Any,
    *,
    count: int,
    neighbours: int = 5,
    categorical: Sequence[str | int] = (),
    seed: int = 0,
) -> Any:
    """Rows between a row and one of its nearest neighbours.

    A number is ``w a + (1 - w) b`` with one weight w, uniform from 0 to 1, for the whole row; a
    category, or a number where one of the two has a gap, is that of ``a`` with probability w.
    Unlike MUNGE it never leaves the region that the data spans.

    Args:
        table: Two rows or more; see :mod:`attar.data.synthetic`.
        count: How many rows to make, 1 or more.
        neighbours: Among how many nearest rows the partner is drawn, 1 or more.
        categorical: Names (of an array: numbers) of columns of numbers whose values are codes.
        seed: The same seed gives the same rows.

    Returns:
        ``count`` rows, of the type of ``table``.

    Raises:
        AttarError: As :func:`munge`.

    Example:
        >>> rows = np.array([[0.0], [1.0], [10.0], [12.0]])
        >>> mix_neighbours(rows, count=4, neighbours=1, seed=0).ravel().round(2).tolist()
        [0.96, 0.02, 10.37, 11.83]

    References:
        Zhang, Cisse, Dauphin, Lopez-Paz 2018, *mixup: Beyond Empirical Risk Minimization*,
        https://arxiv.org/abs/1710.09412; between neighbours as in Chawla et al. 2002, *SMOTE*,
        https://arxiv.org/abs/1106.1813
    """
    check_number("mix_neighbours", "neighbours", neighbours, low=1, whole=True)
    codes = encode("mix_neighbours", table, count, categorical)
    near = _neighbours(codes, min(neighbours, len(codes.values) - 1))
    random = np.random.default_rng(seed)
    rows = _spread_over(len(near), count, random)
    partners = near[rows, random.integers(near.shape[1], size=count)]
    weight = random.random((count, 1))
    first, second = codes.values[rows], codes.values[partners]
    mixed = weight * first + (1 - weight) * second
    picked = np.where(random.random(first.shape) < weight, first, second)
    return codes.decode(np.where(codes.is_number & np.isfinite(mixed), mixed, picked))


def resample(
    table: Any,
    *,
    count: int,
    sweeps: int = 1,
    neighbours: int = 10,
    categorical: Sequence[str | int] = (),
    seed: int = 0,
) -> Any:
    """Rows whose attributes are drawn anew, one after the other, given all the others.

    A Gibbs sampler whose conditional distributions are the data's own: an attribute is redrawn
    from its values in the rows of the table that are nearest in all other attributes. It keeps
    how the attributes hang together also where they are categories, which MUNGE, exchanging
    them independently, may break.

    Args:
        table: Two rows or more; see :mod:`attar.data.synthetic`.
        count: How many rows to make, 1 or more.
        sweeps: How often each attribute is drawn anew, 1 or more. More: further from the row
            that it started from.
        neighbours: From how many nearest rows a value is drawn, 1 or more.
        categorical: Names (of an array: numbers) of columns of numbers whose values are codes.
        seed: The same seed gives the same rows.

    Returns:
        ``count`` rows, of the type of ``table``.

    Raises:
        AttarError: As :func:`munge`; also where the table has a single column.

    Example:
        >>> rows = np.array([[0, 0], [0, 0], [1, 1], [1, 1]])  # the columns always agree
        >>> made = resample(rows, count=100, neighbours=2)
        >>> bool((made[:, 0] == made[:, 1]).all())
        True

    References:
        After Fakoor et al. 2020, *Fast, Accurate, and Simple Models for Tabular Data via
        Augmented Distillation* (FAST-DAD), https://arxiv.org/abs/2006.14284, whose conditional
        distributions are a network's
    """
    check_number("resample", "sweeps", sweeps, low=1, whole=True)
    check_number("resample", "neighbours", neighbours, low=1, whole=True)
    codes = encode("resample", table, count, categorical)
    if codes.values.shape[1] < 2:
        raise AttarError("resample: a table of one column has nothing to draw it from. Use munge.")
    random = np.random.default_rng(seed)
    values = codes.values[_spread_over(len(codes.values), count, random)]
    near = min(neighbours, len(codes.values))
    for _ in range(sweeps):
        for column in random.permutation(values.shape[1]):
            others = np.arange(values.shape[1]) != column
            index = Index(codes, others)
            for part in _parts(count):
                found = index.nearest(values[part], near)
                drawn = found[np.arange(len(found)), random.integers(near, size=len(found))]
                values[part, column] = codes.values[drawn, column]
    return codes.decode(values)


def without_copies(table: Any, *others: Any) -> Any:
    """The rows of a table that stand in none of the other tables.

    A transfer set must not hold the test rows: a teacher's answer about them would leak into
    the student. Compared are all columns, exactly; a gap equals a gap.

    Args:
        table: Synthetic rows, of the kinds that :func:`munge` takes.
        others: Tables with the same columns.

    Raises:
        AttarError: If the tables differ in their columns.

    Example:
        >>> without_copies(np.array([[1, 2], [3, 4]]), np.array([[3, 4]])).tolist()
        [[1, 2]]
    """
    columns = columns_of("without_copies", table)
    taken: set[tuple[Any, ...]] = set()
    for other in others:
        there = columns_of("without_copies", other)
        if list(there) != list(columns):
            raise AttarError(
                f"without_copies: the tables must have the same columns. Got {list(columns)} and "
                f"{list(there)}."
            )
        taken.update(keys(there))
    kept = np.array([key not in taken for key in keys(columns)], dtype=bool)
    return like(table, {name: values[kept] for name, values in columns.items()})


def _neighbours(codes: Codes, count: int) -> NDArray[np.int64]:
    """``[N, count]`` the nearest other rows of each row."""
    everything = np.ones(codes.values.shape[1], dtype=bool)
    index = Index(codes, everything)
    own = np.arange(len(codes.values))
    found = np.concatenate(
        [index.nearest(codes.values[part], count + 1) for part in _parts(len(own))]
    )
    # A row is among its own nearest, but where it has many twins not always in the first place.
    is_own = found == own[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    others: NDArray[np.int64] = found[~is_own].reshape(len(own), count)
    return others


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, _CHUNK):
        yield slice(start, min(start + _CHUNK, count))


def _spread_over(rows: int, count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """``count`` row numbers: every row equally often, the rest drawn without repeating."""
    whole, rest = divmod(count, rows)
    numbers = [np.tile(np.arange(rows), whole), random.permutation(rows)[:rest]]
    return np.concatenate(numbers).astype(np.int64)
