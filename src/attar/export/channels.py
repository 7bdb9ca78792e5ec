"""Channels in fours: what a convolution needs to be fast in ONNX Runtime.

It computes a convolution in blocks of channels, several times as fast as otherwise, where the
channels that come in are a multiple of four. A student's width is whatever its budget of parameters
allows, so three students of four would miss that. Here the graph is given channels of zeros up to
the next multiple: nobody listens to them, and the answers stay what they were.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

#: Channels that come in must be a multiple of it.
_FOURS = 4

#: Fewer than these fill less than two thirds of a block, which gains nothing; but depthwise
#: convolutions are so slow without blocks that where there are any, all channels are given fours.
_LEAST = 11

#: A file may become so much larger, no more: it is there to be small as well as fast.
_GROWTH = 1.25

#: Each channel of what comes out depends on the same one of the first input, and is finite for 0.
_CHANNELWISE = (
    "AveragePool",
    "Clip",
    "Elu",
    "Gelu",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "MaxPool",
    "Relu",
    "Sigmoid",
    "Softplus",
    "Tanh",
)


@dataclass(frozen=True)
class _Padded:
    """A tensor that has more channels than it had, the new ones last."""

    before: int
    after: int
    sources: frozenset[str]  # the convolutions that began it
    flat: bool = False  # [N, C ...], and no longer [N, C, H, W]

    def joins(self, other: _Padded) -> bool:
        """Whether the two are added up channel by channel."""
        return (self.before, self.flat) == (other.before, other.flat)


class _RefusedError(Exception):
    """Something listens to all channels: those that these convolutions added have to go."""

    def __init__(self, sources: frozenset[str]) -> None:
        self.sources = sources


def in_fours(proto: Any) -> Any:
    """The graph (``onnx.ModelProto``) with channels added; itself where nothing is to be gained.

    Left as they are: convolutions whose channels reach an operation that is not known here, and
    a graph whose weights would grow by more than a quarter.

    Args:
        proto: A graph whose batch normalisation is folded into its convolutions.
    """
    import onnx

    if any(one.HasField("g") or one.graphs for node in proto.graph.node for one in node.attribute):
        return proto  # a graph within the graph may listen to anything
    left: frozenset[str] = frozenset()
    while True:
        graph = onnx.ModelProto()
        graph.CopyFrom(proto)
        try:
            changed = _Graph(graph.graph, left).pad()
        except _RefusedError as refused:
            left |= refused.sources  # one more each time, so this ends
            continue
        fits = _numbers(graph) <= _GROWTH * _numbers(proto)
        return graph if changed and fits else proto


def _groups(node: Any) -> int:
    """Into how many groups a convolution divides its channels."""
    return next((int(one.i) for one in node.attribute if one.name == "group"), 1)


def _set_groups(node: Any, count: int) -> None:
    for one in node.attribute:
        if one.name == "group":
            one.i = count


def _numbers(proto: Any) -> int:
    return sum(int(np.prod(tensor.dims)) for tensor in proto.graph.initializer)


class _Graph:
    """One pass through a graph, from the inputs on."""

    def __init__(self, graph: Any, left: frozenset[str]) -> None:
        self.graph, self.left = graph, left
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.padded: dict[str, _Padded] = {}
        depthwise = any(node.op_type == "Conv" and _groups(node) > 1 for node in graph.node)
        self.least = 2 if depthwise else _LEAST  # a single channel may be broadcast over others

    def pad(self) -> bool:
        """Whether any channel was added."""
        for node in self.graph.node:
            given = [self.padded[name] for name in node.input if name in self.padded]
            if node.op_type == "Conv":
                self._convolution(node)
            elif given:
                self._follow(node, given)
        for output in self.graph.output:
            if output.name in self.padded:
                raise _RefusedError(self.padded[output.name].sources)
        del self.graph.value_info[:]  # these sizes may be others now
        return bool(self.padded)

    def _convolution(self, node: Any) -> None:
        given = self.padded.get(node.input[0])
        refused = _RefusedError(given.sources if given else frozenset())
        constants = [name for name in node.input[1:] if name]
        known = all(name in self.weights and self.uses[name] == 1 for name in constants)
        if not known or len(self.weights[constants[0]].dims) != 4:
            if given:
                raise refused
            return
        count, inner = self.weights[constants[0]].dims[:2]
        groups = _groups(node)
        if groups > 1:
            if given is None:
                return
            if not groups == count == given.before:
                raise refused
            _set_groups(node, given.after)  # depthwise: each channel by itself
            self._lengthen(constants, 0, given.after)
            self.padded[node.output[0]] = given
            return
        if given:
            assert inner == given.before
            self._lengthen(constants[:1], 1, given.after)
        after = -(-count // _FOURS) * _FOURS
        if after > count >= self.least and node.output[0] not in self.left:
            self._lengthen(constants, 0, after)
            self.padded[node.output[0]] = _Padded(count, after, frozenset({node.output[0]}))

    def _follow(self, node: Any, given: list[_Padded]) -> None:
        first = given[0]
        sources = frozenset[str]().union(*(one.sources for one in given))
        kind = node.op_type
        alone = len(given) == 1 and node.input[0] in self.padded
        if kind in ("Add", "Mul") and len(given) == 2 and first.joins(given[1]):
            self.padded[node.output[0]] = replace(first, sources=sources)
        elif alone and kind in _CHANNELWISE:
            for name in node.output:
                self.padded[name] = first
        elif alone and self._flattens(node):
            self.padded[node.output[0]] = replace(first, flat=True)
        elif alone and kind == "Gemm" and self._weighs(node, first):
            pass  # what comes out has no channels any more
        else:
            raise _RefusedError(sources)

    def _flattens(self, node: Any) -> bool:
        """To rows of numbers: first those of the first channel, then those of the second."""
        import onnx

        settings = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type == "Flatten":
            return bool(settings.get("axis", 1) == 1)
        if node.op_type != "ReduceMean" or len(node.input) < 2 or settings.get("keepdims", 1):
            return False
        return sorted(axis % 4 for axis in self._constant(node.input[1])) == [2, 3]

    def _weighs(self, node: Any, given: _Padded) -> bool:
        """A linear layer that gets zeros for the new channels; False where it is another thing."""
        settings = {one.name: one.i for one in node.attribute}
        name = node.input[1]
        if settings.get("transA", 0) or name not in self.weights or self.uses[name] != 1:
            return False
        axis = 1 if settings.get("transB", 0) else 0
        each, rest = divmod(self.weights[name].dims[axis], given.before)  # numbers of a channel
        if rest:
            return False
        self._lengthen([name], axis, each * given.after)
        return True

    def _constant(self, name: str) -> list[int]:
        from onnx import numpy_helper

        if name in self.weights:
            return list(numpy_helper.to_array(self.weights[name]))
        for node in self.graph.node:
            if node.op_type == "Constant" and name in node.output:
                return list(numpy_helper.to_array(node.attribute[0].t))
        return []

    def _lengthen(self, names: list[str], axis: int, size: int) -> None:
        """Zeros at the end of an axis of these weights."""
        from onnx import numpy_helper

        for name in names:
            values = numpy_helper.to_array(self.weights[name])
            more = [(0, size - length if i == axis else 0) for i, length in enumerate(values.shape)]
            self.weights[name].CopyFrom(numpy_helper.from_array(np.pad(values, more), name))
