"""The encoding of a table inside the graph: raw columns in, probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError
from attar.columns import Column, encoded_width

#: What a file may take: encoded rows; one input a column; or all columns, numbers, in one.
Takes = Literal["encoded", "columns", "matrix"]

#: The version of the operators for machine learning that is not deep.
ML_OPSET = 3

_OWN = "attar/table/"


def encode_inside(proto: Any, columns: Sequence[Column], takes: Takes) -> None:
    """Put :func:`attar.columns.encode_columns` in front of a graph, in place.

    Where that function would refuse a row (a gap or a category that training did not have, and
    the description does not say what stands for it; infinity), a graph cannot: it answers NaN.

    Args:
        proto: A graph with the input ``[N, D]`` of encoded rows (``onnx.ModelProto``).
        columns: The description of the columns.
        takes: ``"columns"``: an input ``[N, 1]`` for each column, float32 with NaN for a gap or
            texts with ``""`` for one; called as the column, unless another value of the graph
            is. ``"matrix"``: one input ``[N, columns]`` of numbers, called as before.

    Raises:
        AttarError: If the matrix is wanted and a column holds texts.
    """
    encoder = _Encoder(proto, columns)
    if takes == "matrix":
        texts = [column["name"] for column in columns if column["kind"] != "number"]
        if texts:
            raise AttarError(
                f"to_onnx: takes='matrix' is for tables of numbers alone, and the column "
                f"{texts[0]!r} holds texts. Use takes='columns'."
            )
    encoder.write(takes)


class _Encoder:
    """Collects the nodes that encode a table."""

    def __init__(self, proto: Any, columns: Sequence[Column]) -> None:
        from onnx import TensorProto, helper

        self.proto, self.columns = proto, list(columns)
        self.helper, self.types = helper, TensorProto
        self.nodes: list[Any] = []
        self.doubts: list[str] = []

    def write(self, takes: Takes) -> None:
        graph = self.proto.graph
        encoded = self._rename({graph.input[0].name: f"{_OWN}encoded"})
        numbers = [i for i, column in enumerate(self.columns) if column["kind"] == "number"]
        texts = [i for i, column in enumerate(self.columns) if column["kind"] != "number"]
        inputs = self._inputs(takes)
        parts: list[str] = []
        places: list[float] = []
        if numbers:
            seen = inputs[0] if takes == "matrix" else self._joined([inputs[i] for i in numbers])
            part, where = self._numbers(seen, numbers)
            parts, places = [*parts, *part], [*places, *where]
        if texts:
            part, where = self._texts([inputs[i] for i in texts], texts)
            parts, places = [*parts, *part], [*places, *where]
        features = self._joined(parts)
        order = np.argsort(np.array(places), kind="stable")
        if (order != np.arange(len(order))).any():
            features = self.node("Gather", [features, self.constant(order)], axis=1)
        self.nodes.append(self.helper.make_node("Identity", [features], [encoded]))
        kept = list(graph.node)
        del graph.node[:]
        graph.node.extend([*self.nodes, *kept])
        self.nodes = []
        self._doubt_outputs()
        if "ai.onnx.ml" not in {one.domain for one in self.proto.opset_import}:
            self.proto.opset_import.append(self.helper.make_opsetid("ai.onnx.ml", ML_OPSET))

    def _rename(self, names: dict[str, str]) -> str:
        """Give values of the graph another name, so that the table's may have theirs."""
        for node in self.proto.graph.node:
            for some in (node.input, node.output):
                some[:] = [names.get(name, name) for name in some]
        return next(iter(names.values()))

    def _inputs(self, takes: Takes) -> list[str]:
        """Replace the graph's input by those of the table."""
        graph = self.proto.graph
        float32, string = self.types.FLOAT, self.types.STRING
        taken = {x.name for x in [*graph.initializer, *graph.output]}
        taken |= {name for node in graph.node for name in [*node.input, *node.output]}
        made = []
        if takes == "matrix":
            shape = ["batch", len(self.columns)]
            made.append(self.helper.make_tensor_value_info(graph.input[0].name, float32, shape))
        else:
            for place, column in enumerate(self.columns):
                name = str(column["name"])
                if not name or name in taken or name.startswith(_OWN):
                    name = f"column {place}: {name}"
                taken.add(name)
                kind = float32 if column["kind"] == "number" else string
                made.append(self.helper.make_tensor_value_info(name, kind, ["batch", 1]))
        del graph.input[:]
        graph.input.extend(made)
        return [value.name for value in made]

    def _numbers(self, seen: str, numbers: list[int]) -> tuple[list[str], list[float]]:
        """Gaps filled and marked; with where each feature belongs: its column, then its turn."""
        gaps = self.node("IsNaN", [seen])
        fills = [self.columns[i].get("fill") for i in numbers]
        parts, places = [seen], [float(i) for i in numbers]
        if any(fill is not None for fill in fills):
            values = np.array([[np.nan if f is None else f for f in fills]], dtype=np.float32)
            parts = [self.node("Where", [gaps, self.constant(values), seen])]
        marked = [k for k, i in enumerate(numbers) if self.columns[i].get("mark")]
        if marked:
            flags = self.node("Gather", [gaps, self.constant(np.array(marked))], axis=1)
            parts.append(self.node("Cast", [flags], to=self.types.FLOAT))
            places += [numbers[k] + 0.5 for k in marked]
        self.doubts.append(self.node("IsInf", [seen]))
        strict = [k for k, fill in enumerate(fills) if fill is None]
        if strict:
            self.doubts.append(self.node("Gather", [gaps, self.constant(np.array(strict))], axis=1))
        return parts, places

    def _texts(self, inputs: list[str], texts: list[int]) -> tuple[list[str], list[float]]:
        """One feature a category; none of them is 1 for a text that is new."""
        codes = []
        for name, place in zip(inputs, texts, strict=True):
            known = list(self.columns[place]["categories"])
            codes.append(
                self.node(
                    "LabelEncoder",
                    [name],
                    domain="ai.onnx.ml",
                    keys_strings=known,
                    values_int64s=list(range(len(known))),
                    default_int64=-1,
                )
            )
        found = self._joined(codes)
        sizes = [len(self.columns[place]["categories"]) for place in texts]
        whose = np.repeat(np.arange(len(texts)), sizes)
        which = np.concatenate([np.arange(size) for size in sizes])[None]
        spread = self.node("Gather", [found, self.constant(whose)], axis=1)
        same = self.node("Equal", [spread, self.constant(which)])
        strict = [
            k for k, place in enumerate(texts) if self.columns[place].get("unknown") != "ignore"
        ]
        if strict:
            some = self.node("Gather", [found, self.constant(np.array(strict))], axis=1)
            self.doubts.append(self.node("Less", [some, self.constant(np.array([[0]]))]))
        return [self.node("Cast", [same], to=self.types.FLOAT)], [float(texts[k]) for k in whose]

    def _doubt_outputs(self) -> None:
        """Rows that could not be encoded are answered with NaN."""
        graph = self.proto.graph
        flags = [self.node("Cast", [doubt], to=self.types.FLOAT) for doubt in self.doubts]
        if not flags:
            return
        some = self.node("ReduceMax", [self._joined(flags), self.constant(np.array([1]))])
        bad = self.node("Greater", [some, self.constant(np.array([[0.5]], dtype=np.float32))])
        nothing = self.constant(np.array([[np.nan]], dtype=np.float32))
        self._rename({output.name: f"{_OWN}{output.name}" for output in graph.output})
        for output in graph.output:
            answers = [bad, nothing, f"{_OWN}{output.name}"]
            self.nodes.append(self.helper.make_node("Where", answers, [output.name]))
        graph.node.extend(self.nodes)

    # ---- small pieces ----

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{_OWN}{kind}_{len(self.nodes)}_{len(self.proto.graph.node)}"
        self.nodes.append(self.helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, values: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"{_OWN}constant_{len(self.proto.graph.initializer)}"
        self.proto.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def _joined(self, parts: list[str]) -> str:
        return parts[0] if len(parts) == 1 else self.node("Concat", parts, axis=1)


def raw_rows(
    encoded: NDArray[np.float32], columns: Sequence[Column], takes: Takes
) -> dict[str, Any] | NDArray[np.float32]:
    """Rows that :func:`attar.columns.encode_columns` encodes as these; what a proof asks with.

    Args:
        encoded: ``[N, D]``.
        columns: The description of the columns.
        takes: For which file.

    Example:
        >>> columns = [{"name": "age", "kind": "number", "fill": 35.0, "mark": True}]
        >>> raw_rows(np.float32([[35, 1], [30, 0]]), columns, "matrix").tolist()
        [[nan], [30.0]]
    """
    assert encoded.shape[1] == encoded_width(columns)
    made: dict[str, Any] = {}
    place = 0
    for column in columns:
        if column["kind"] == "number":
            values = encoded[:, place].copy()
            if column.get("mark"):
                values[encoded[:, place + 1] > 0] = np.nan
            place += 2 if column.get("mark") else 1
        else:
            known = [*column["categories"], _new(column["categories"])]
            hot = encoded[:, place : place + len(known) - 1]
            at = np.where(hot.any(axis=1), hot.argmax(axis=1), -1)
            values = np.array(known, dtype=object)[at]
            place += len(known) - 1
        made[column["name"]] = values
    return np.stack(list(made.values()), axis=1) if takes == "matrix" else made


def _new(categories: Sequence[str]) -> str:
    """A text that is none of the categories."""
    name = "new"
    while name in categories:
        name += "!"
    return name
