"""Students without a network: one decision tree, or a few that add up."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attar.checks import AttarError, need
from attar.students.family import Family

#: Leaves of each tree of a boosted ensemble.
LEAVES = 16
#: What a boosted tree's answer is multiplied by (Friedman's shrinkage).
RATE = 0.3
#: The least probability of which a logit is taken: a forest says 0 where it means "rarely".
FLOOR = 0.01
#: A boosted tree sees at most so many rows, drawn anew for each (Friedman 2002).
ROWS = 50_000
#: A leaf has at least so many rows.
_FEWEST = 5

#: Trees of scikit-learn, one after the other, with what their nodes answer, ``[nodes, C]``.
Grown = Iterator[tuple[Any, NDArray[Any]]]
#: From the leaf of each row, and how many nodes there are: what these answer.
Leaves = Callable[[NDArray[Any], int], NDArray[Any]]


class TreeEnsemble(nn.Module):
    """The sum of some decision trees whose leaves hold logits, or values.

    It is no network: :meth:`fit` builds it in one go, and nothing in it takes a gradient. But it
    is a module like every other student, so it is judged, kept and exported in the same way. A
    row goes left where its feature is at most the threshold.

    Args:
        trees: How many, 1 or more.
        leaves: The most leaves of each, 2 or more.
        input_shape: The shape of one row.
        classes: How many logits come out; or how many values.

    Attributes:
        features: ``[T, L - 1]`` the feature that each inner node looks at.
        thresholds: ``[T, L - 1]`` what it is compared with.
        onwards: ``[T, L - 1, 2]`` where it goes on, left and right: an inner node, or ``~leaf``.
        values: ``[T, L, C]`` the logits of the leaves; those of all trees are added.

    Example:
        >>> model = TreeEnsemble(1, 2, input_shape=(1,), classes=2)
        >>> rows = torch.tensor([[0.0], [1.0], [4.0], [5.0]]).repeat(5, 1)
        >>> said = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8]]).repeat(5, 1)
        >>> model.fit(rows, said)
        >>> model(torch.tensor([[0.5], [4.5]])).softmax(dim=1).round(decimals=2)
        tensor([[0.8700, 0.1300],
                [0.2300, 0.7700]])

    References:
        Craven, Shavlik 1996, *Extracting tree-structured representations of trained networks*
        (NIPS); Friedman 2001, *Greedy function approximation: a gradient boosting machine*
        (Annals of Statistics); boosted on a teacher as in Che, Purushotham, Khemani, Liu 2015,
        *Distilling knowledge from deep networks*, https://arxiv.org/abs/1512.03542
    """

    onwards: Tensor

    def __init__(
        self, trees: int, leaves: int, *, input_shape: tuple[int, ...], classes: int
    ) -> None:
        super().__init__()
        self.inputs, self.classes = math.prod(input_shape), classes
        inner = (trees, leaves - 1)
        # What was learned counts as parameters; where a node goes on is bookkeeping.
        self.features = _kept(torch.zeros(inner, dtype=torch.int32))
        self.thresholds = _kept(torch.full(inner, torch.inf))
        self.register_buffer("onwards", torch.full((*inner, 2), -1, dtype=torch.int32))
        self.values = _kept(torch.zeros((trees, leaves, classes)))

    @property
    def depth(self) -> int:
        """The most questions that a row is asked by one tree."""
        return max((_depth(tree) for tree in self.onwards.cpu().numpy()), default=0)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[N, C]`` of inputs ``[N, ...]``."""
        rows = inputs.flatten(1).to(torch.float32)
        places = torch.zeros((rows.shape[0], len(self.values)), dtype=torch.int64)
        places = places.to(rows.device)
        trees = torch.arange(len(self.values), device=rows.device)
        for _ in range(self.depth):
            inner = places.clamp(min=0)
            seen = rows.gather(1, self.features[trees, inner].long())
            right = (seen > self.thresholds[trees, inner]).long()
            further = self.onwards[trees, inner, right].long()
            places = torch.where(places < 0, places, further)
        logits = torch.zeros((rows.shape[0], self.classes), device=rows.device)
        for tree, values in enumerate(self.values):
            logits = logits + values[~places[:, tree]]
        return logits

    def fit(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        weights: Tensor | None = None,
        values: bool = False,
        seed: int = 0,
    ) -> None:
        """Build the trees.

        A single tree is grown on the logits of the targets, and each of its leaves answers with
        the mean of the target probabilities of its rows. Of several, each is grown on the
        gradient of the cross-entropy to the targets, as boosted classifiers are on labels. On
        values both follow the squared error.

        Args:
            inputs: ``[N, ...]`` any number type, finite.
            targets: ``[N, C]`` probabilities, or values.
            weights: ``[N]`` 0 or more.
            values: Whether the targets are values.
            seed: Draws the rows of each boosted tree, and decides between equal splits.

        Raises:
            AttarError: If the shapes are not those of this model.
        """
        rows = inputs.detach().cpu().flatten(1).to(torch.float32).numpy()
        said = targets.detach().cpu().double().numpy()
        if rows.shape != (len(said), self.inputs) or said.shape[1:] != (self.classes,):
            raise AttarError(
                f"TreeEnsemble.fit: inputs and targets must be [N, {self.inputs}] and [N, "
                f"{self.classes}]. Got {list(rows.shape)} and {list(said.shape)}."
            )
        each = np.ones(len(rows)) if weights is None else weights.detach().cpu().double().numpy()
        counted = each > 0
        single = len(self.values) == 1
        if values:
            grown = _one_of_values if single else _boosted_on_values
        else:
            grown = _one if single else _boosted
        random = np.random.RandomState(seed % 2**32)
        count, leaves = self.values.shape[:2]
        with torch.no_grad():
            taught = _Taught(rows[counted], said[counted], each[counted], count, leaves, random)
            found = grown(taught)
            for place, (tree, answers) in enumerate(found):
                self._put(place, tree, answers)

    def in_unit(self, middle: Tensor, spread: Tensor) -> TreeEnsemble:
        """The same trees, whose values are multiplied by ``spread`` and moved by ``middle``.

        >>> model = TreeEnsemble(2, 2, input_shape=(1,), classes=1)
        >>> model.in_unit(torch.tensor([5.0]), torch.tensor([2.0]))(torch.zeros(1, 1))
        tensor([[5.]])
        """
        made = copy.deepcopy(self)
        with torch.no_grad():
            made.values.mul_(spread.float())
            made.values[0].add_(middle.float())
        return made

    def _put(self, place: int, tree: Any, values: NDArray[Any]) -> None:
        """Take over one of scikit-learn's trees; ``values`` are ``[nodes, C]``."""
        is_inner = tree.children_left >= 0
        number = np.where(is_inner, np.cumsum(is_inner) - 1, -np.cumsum(~is_inner))
        inner, leaves = int(is_inner.sum()), int((~is_inner).sum())
        self.features[place], self.thresholds[place] = 0, torch.inf
        self.onwards[place], self.values[place] = -1, 0
        self.values[place, :leaves] = torch.from_numpy(values[~is_inner]).float()
        if not inner:
            return  # a single leaf: the first node sends everything there
        self.features[place, :inner] = torch.from_numpy(tree.feature[is_inner]).int()
        self.thresholds[place, :inner] = torch.from_numpy(_below(tree.threshold[is_inner]))
        both = np.stack([tree.children_left[is_inner], tree.children_right[is_inner]], axis=1)
        self.onwards[place, :inner] = torch.from_numpy(number[both]).int()

    def rules(
        self,
        names: Sequence[str] | None = None,
        classes: Sequence[str] = (),
        *,
        values: bool = False,
    ) -> str:
        """The first tree as text, a line a node, for whoever must explain an answer.

        Args:
            names: Of the features; ``x0``, ``x1``, ... if not given.
            classes: Their names; or of the values.
            values: Whether the leaves hold values.

        Example:
            >>> model = TreeEnsemble(1, 2, input_shape=(1,), classes=2)
            >>> model.fit(torch.arange(20.0)[:, None], torch.eye(2)[(torch.arange(20) > 9).long()])
            >>> print(model.rules(["age"], ["young", "old"]))
            age <= 9.5
              -> young 0.95, old 0.05
            age > 9.5
              -> old 0.95, young 0.05
        """
        features = [f"x{i}" for i in range(self.inputs)] if names is None else list(names)
        kinds = list(classes) or [str(i) for i in range(self.classes)]

        def leaf(answers: Tensor) -> str:
            if values:
                told = [f"{value:.6g}" for value in answers.tolist()]
                one = len(told) == 1
                return told[0] if one else ", ".join(map(" ".join, zip(kinds, told, strict=True)))
            likely = sorted(zip(answers.softmax(dim=0).tolist(), kinds, strict=True), reverse=True)
            return ", ".join(f"{name} {share:.2f}" for share, name in likely[:3])

        return "\n".join(self._lines(0, features, leaf, ""))

    def _lines(
        self, node: int, names: list[str], leaf: Callable[[Tensor], str], indent: str
    ) -> Iterator[str]:
        if node < 0:
            yield f"{indent}-> {leaf(self.values[0, ~node])}"
            return
        left, right = self.onwards[0, node].tolist()
        name, at = names[int(self.features[0, node])], float(self.thresholds[0, node])
        if math.isinf(at):
            yield from self._lines(left, names, leaf, indent)
            return
        yield f"{indent}{name} <= {at:.6g}"
        yield from self._lines(left, names, leaf, indent + "  ")
        yield f"{indent}{name} > {at:.6g}"
        yield from self._lines(right, names, leaf, indent + "  ")


def soft_and_hard(
    labels: Tensor,
    *,
    classes: int,
    said: Tensor | None = None,
    alpha: float = 0.0,
    smoothing: float = 0.0,
) -> Tensor:
    """The probabilities that a tree learns: the teacher's and the label's, mixed.

    Args:
        labels: ``[N]`` a class, or -100 where it is not known: there the teacher's word stands
            alone.
        classes: How many, C.
        said: ``[N, C]`` the teacher's probabilities; not needed where ``alpha`` is 0.
        alpha: Their weight, the label has ``1 - alpha``.
        smoothing: Of the label, in [0, 1).

    Example:
        >>> said = torch.tensor([[0.8, 0.2], [0.8, 0.2]])
        >>> soft_and_hard(torch.tensor([1, -100]), classes=2, said=said, alpha=0.5)
        tensor([[0.4000, 0.6000],
                [0.8000, 0.2000]])
    """
    known = (labels >= 0).unsqueeze(1)
    hot = torch.nn.functional.one_hot(labels.clamp(min=0), classes).float()
    hot = hot * (1 - smoothing) + smoothing / classes
    if said is None:
        return hot
    return torch.where(known, alpha * said + (1 - alpha) * hot, said)


def _kept(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)


def _depth(children: NDArray[Any]) -> int:
    reached, depth = np.array([0]), 0
    while len(reached):
        onwards = children[reached].ravel()
        reached, depth = onwards[onwards >= 0], depth + 1
    return depth


def _below(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 numbers that are not above: the same rows go left."""
    near = thresholds.astype(np.float32)
    lower: NDArray[np.float32] = np.nextafter(near, np.float32(-np.inf))
    return np.where(near.astype(np.float64) > thresholds, lower, near)


def _grow(
    rows: NDArray[Any], targets: NDArray[Any], weights: NDArray[Any], leaves: int, seed: Any
) -> Any:
    trees = need("sklearn.tree", extra="train", purpose="tree students")
    grower = trees.DecisionTreeRegressor(
        max_leaf_nodes=leaves, min_samples_leaf=min(_FEWEST, len(rows)), random_state=seed
    )
    return grower.fit(rows, targets, sample_weight=weights).tree_


def _sums(leaf: NDArray[Any], values: NDArray[Any], nodes: int) -> NDArray[np.float64]:
    """``[nodes, C]`` the values ``[N, C]`` of the rows of each node, added up."""
    return np.stack([np.bincount(leaf, column, minlength=nodes) for column in values.T], axis=1)


def _logits(said: NDArray[Any]) -> NDArray[np.float64]:
    logits: NDArray[np.float64] = np.log(np.clip(said, FLOOR, 1.0))
    logits -= logits.mean(axis=1, keepdims=True)
    return logits


@dataclass(frozen=True)
class _Taught:
    """What trees are built from: rows ``[N, D]``, what is said of them ``[N, C]``, weights ``[N]``.

    Attributes:
        count: How many trees.
        leaves: The most leaves of each.
    """

    rows: NDArray[Any]
    said: NDArray[Any]
    weights: NDArray[Any]
    count: int
    leaves: int
    random: np.random.RandomState

    def tree(self, targets: NDArray[Any], part: Any = slice(None)) -> Any:
        """One of scikit-learn's trees, grown on targets of some rows."""
        rows, weights = self.rows[part], self.weights[part]
        return _grow(rows, targets[part], weights, self.leaves, self.random)


def _one(given: _Taught) -> Grown:
    """One tree on the logits; its leaves say the mean probabilities, with one row of the whole."""
    said, tree = given.said, given.tree(_logits(given.said))
    leaf, nodes = tree.apply(given.rows), tree.node_count
    mean = given.weights / given.weights.mean()
    prior = (mean[:, None] * said).mean(axis=0)
    prior = (prior + FLOOR / len(prior)) / (1 + FLOOR)  # a class that is in no row is not 0
    total = _sums(leaf, mean[:, None] * said, nodes) + prior
    yield tree, np.log(total / total.sum(axis=1, keepdims=True))


def _boosted(given: _Taught) -> Grown:
    """Trees one after the other, each a step of Newton's on the cross-entropy.

    Not on the squared error of logits: with many classes that is spent on telling apart what the
    teacher holds for impossible anyway.
    """
    said, weights = given.said, given.weights
    start = np.log(np.clip((weights[:, None] * said).sum(axis=0) / weights.sum(), 1e-6, 1.0))
    share = (said.shape[1] - 1) / said.shape[1]
    mean = weights / weights.mean()

    def step(now: NDArray[Any]) -> tuple[NDArray[Any], Leaves]:
        odds = np.exp(now - now.max(axis=1, keepdims=True))
        answers = odds / odds.sum(axis=1, keepdims=True)
        left = said - answers

        def values(leaf: NDArray[Any], nodes: int) -> NDArray[Any]:
            slope = _sums(leaf, mean[:, None] * left, nodes)
            bend = _sums(leaf, mean[:, None] * answers * (1 - answers), nodes)
            moved: NDArray[Any] = RATE * share * slope / (bend + 1.0)
            return moved

        return left, values

    return _in_turn(given, start, step)


def _one_of_values(given: _Taught) -> Grown:
    """One tree whose leaves say the mean of the values of their rows."""
    tree = given.tree(given.said)
    yield tree, _means(tree.apply(given.rows), given.said, given.weights, tree.node_count)


def _boosted_on_values(given: _Taught) -> Grown:
    """Trees one after the other, each on what those before leave of the values."""
    said, weights = given.said, given.weights

    def step(now: NDArray[Any]) -> tuple[NDArray[Any], Leaves]:
        left = said - now
        return left, lambda leaf, nodes: RATE * _means(leaf, left, weights, nodes)

    return _in_turn(given, (weights[:, None] * said).sum(axis=0) / weights.sum(), step)


def _in_turn(
    given: _Taught,
    start: NDArray[Any],
    step: Callable[[NDArray[Any]], tuple[NDArray[Any], Leaves]],
) -> Grown:
    """Trees one after the other.

    Args:
        given: What they are built from.
        start: ``[C]`` what is answered before the first.
        step: From the answers so far, ``[N, C]``, what a tree is grown on, and what its leaves add.
    """
    now = np.tile(start, (len(given.rows), 1))
    for place in range(given.count):
        part = _drawn(len(given.rows), given.random)
        left, values_of = step(now)
        tree = given.tree(left, part)
        leaf = tree.apply(given.rows)
        values = values_of(leaf, tree.node_count)
        now += values[leaf]
        yield tree, values + start if place == 0 else values


def _means(
    leaf: NDArray[Any], values: NDArray[Any], weights: NDArray[Any], nodes: int
) -> NDArray[np.float64]:
    """``[nodes, C]`` the mean of the values of the rows of each node; 0 where there are none."""
    heavy = np.bincount(leaf, weights, minlength=nodes)[:, None]
    found: NDArray[np.float64] = _sums(leaf, weights[:, None] * values, nodes)
    return np.divide(found, heavy, out=np.zeros_like(found), where=heavy > 0)


def _drawn(rows: int, random: np.random.RandomState) -> Any:
    return slice(None) if rows <= ROWS else random.choice(rows, ROWS, replace=False)


def _tree(width: int, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    return TreeEnsemble(1, width + 1, input_shape=input_shape, classes=classes)


def _ensemble(width: int, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    return TreeEnsemble(width, LEAVES, input_shape=input_shape, classes=classes)


#: Sized by the splits of its one tree; for tables. A split counts as two numbers, a leaf as C.
tree = Family("tree", _tree, standardized=False)
#: Sized by its trees, of up to 16 leaves each; for tables.
boosted = Family("boosted", _ensemble, standardized=False)
