"""What soft targets are made of: their means at every temperature, and which classes are alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import need
from attar.report.run import Floats

#: The temperatures of the slider; that of the run joins them.
TEMPERATURES = tuple(float(t) for t in range(1, 21))
#: More answers than this (rows x classes) are thinned out evenly before they are averaged.
MOST_ANSWERS = 6_000_000


def softmax(logits: NDArray[Any], temperature: float = 1.0) -> Floats:
    """Probabilities ``[N, C]`` of logits at a temperature, in float64."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=-1, keepdims=True)
    return scaled


def thinned(rows: int, classes: int) -> slice:
    """Every row, or every k-th one where all would be too much to average at every T."""
    return slice(None, None, max(1, -(-rows * classes // MOST_ANSWERS)))


def mean_soft_targets(
    logits: NDArray[Any], labels: NDArray[np.int64], temperature: float
) -> Floats:
    """The mean over the rows of each true class of ``softmax(logits / T)``.

    The mean is taken over probabilities: the softmax of the mean logits is another thing.

    Args:
        logits: ``[N, C]``.
        labels: ``[N]``.
        temperature: Above 0.

    Returns:
        ``[C, C]``: a row a true class; NaN for a class without rows.

    >>> mean_soft_targets(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([0, 0]), 2.0).round(3)
    array([[0.616, 0.384],
           [  nan,   nan]])
    """
    probabilities = softmax(logits, temperature)
    classes = probabilities.shape[1]
    order = np.argsort(labels, kind="stable")
    present, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
    means = np.full((classes, classes), np.nan)
    means[present] = np.add.reduceat(probabilities[order], first, axis=0) / counts[:, None]
    return means


@dataclass(frozen=True)
class Order:
    """Classes put next to those that they are taken for.

    Attributes:
        classes: Class numbers, in the order of the leaves.
        joins: For each join of the dendrogram: left place, right place (a leaf's place in
            ``classes``, or ``len(classes) + i`` for the i-th join) and its height.
    """

    classes: list[int]
    joins: list[tuple[int, int, float]]


def distances(means: Floats) -> Floats:
    r"""How far apart classes are: ``-log sqrt(p_ij p_ji / (p_ii p_jj))``, ``[K, K]``.

    Paper: Shepard 1957, "Stimulus and response generalization": the similarity of two things
    that are taken for each other, however often each is answered.
    """
    log = np.log(np.maximum(means, 1e-12))
    own = np.diagonal(log)
    apart = (own[:, None] + own[None, :] - log - log.T) / 2
    np.fill_diagonal(apart, 0.0)
    lifted: Floats = np.maximum(apart, 0.0)
    return lifted


def order_by_likeness(means: Floats, among: NDArray[np.int64]) -> Order:
    """A dendrogram of these classes (average linkage), its leaves in the best order.

    Args:
        means: ``[C, C]`` mean soft targets.
        among: ``[K]`` class numbers that have rows.
    """
    hierarchy = need("scipy.cluster.hierarchy", extra="report", purpose="The report")
    condense = need("scipy.spatial.distance", extra="report", purpose="The report").squareform
    if len(among) < 2:
        return Order([int(one) for one in among], [])
    flat = condense(distances(means[np.ix_(among, among)]), checks=False)
    joins = hierarchy.linkage(flat, method="average", optimal_ordering=len(among) <= 200)
    leaves = hierarchy.leaves_list(joins)
    place = {int(leaf): position for position, leaf in enumerate(leaves)}
    count = len(among)

    def where(node: float) -> int:
        return place[int(node)] if node < count else int(node)

    return Order(
        [int(among[leaf]) for leaf in leaves],
        [(where(left), where(right), float(height)) for left, right, height, _ in joins],
    )


def most_confused(means: Floats, among: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Of many classes the few that are taken most for one another, in class order.

    The pairs of the largest mutual probability come in, one after the other, until ``count``
    classes are there.
    """
    inner = means[np.ix_(among, among)]
    mutual = inner + inner.T
    np.fill_diagonal(mutual, -1.0)
    first, second = np.triu_indices(len(among), k=1)
    picked: list[int] = []
    for pair in np.argsort(-mutual[first, second], kind="stable"):
        for one in (int(first[pair]), int(second[pair])):
            if one not in picked and len(picked) < count:
                picked.append(one)
        if len(picked) >= count:
            break
    chosen: NDArray[np.int64] = np.sort(among[picked])
    return chosen
