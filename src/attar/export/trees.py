"""Trees as ONNX: one ``TreeEnsembleRegressor``, the standard's own operator for them."""

from __future__ import annotations

import math
from typing import Any

from attar.students import TreeEnsemble

#: The version of the operators for machine learning that is not deep; every onnxruntime that
#: Attar allows reads it.
ML_OPSET = 3


def trees_graph(
    model: TreeEnsemble, temperature: float, *, names: tuple[str, ...], opset: int
) -> Any:
    """The trees as a graph (``onnx.ModelProto``): inputs to logits and probabilities, or values.

    A leaf that adds nothing for a class is not written for it, and neither is a node that no row
    can reach: the file is as large as the trees are, not as they might have become.

    Args:
        model: The trees.
        temperature: What the logits are divided by.
        names: Of the input, the logits and the probabilities; or of the input and the values.
        opset: The version of ONNX's operators.
    """
    from onnx import TensorProto, helper

    inputs, logits, *probabilities = names
    float32 = TensorProto.FLOAT
    scaled = temperature != 1.0
    nodes = [
        helper.make_node(
            "TreeEnsembleRegressor",
            [inputs],
            ["attar/sum" if scaled else logits],
            domain="ai.onnx.ml",
            n_targets=model.classes,
            aggregate_function="SUM",
            post_transform="NONE",
            **_attributes(model),
        )
    ]
    constants = []
    if scaled:
        constants.append(helper.make_tensor("attar/temperature", float32, [], [temperature]))
        nodes.append(helper.make_node("Div", ["attar/sum", "attar/temperature"], [logits]))
    if probabilities:
        nodes.append(helper.make_node("Softmax", [logits], probabilities, axis=1))
    graph = helper.make_graph(
        nodes,
        "attar",
        [helper.make_tensor_value_info(inputs, float32, ["batch", model.inputs])],
        [
            helper.make_tensor_value_info(name, float32, ["batch", model.classes])
            for name in (logits, *probabilities)
        ],
        constants,
    )
    versions = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


def _attributes(model: TreeEnsemble) -> dict[str, list[Any]]:
    """The nodes of all trees as the operator wants them, those of each numbered from its root."""
    told: dict[str, list[Any]] = {
        f"nodes_{name}": []
        for name in (
            "treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids"
        )
    } | {f"target_{name}": [] for name in ("treeids", "nodeids", "ids", "weights")}  # fmt: skip
    arrays = [x.tolist() for x in (model.features, model.thresholds, model.onwards, model.values)]
    for place, (features, thresholds, children, values) in enumerate(zip(*arrays, strict=True)):
        root = 0 if math.isfinite(thresholds[0]) else children[0][0]
        order, numbers = [root], {root: 0}
        for node in order:  # grows as it is read: breadth first
            for child in children[node] if node >= 0 else ():
                numbers[child] = len(order)
                order.append(child)
        for node in order:
            inner = node >= 0
            left, right = (numbers[child] for child in children[node]) if inner else (0, 0)
            row = (
                place,
                numbers[node],
                features[node] if inner else 0,
                "BRANCH_LEQ" if inner else "LEAF",
                thresholds[node] if inner else 0.0,
                left,
                right,
            )
            for key, value in zip(list(told)[:7], row, strict=True):
                told[key].append(value)
            for target, weight in enumerate(() if inner else values[~node]):
                for key, value in zip(
                    list(told)[7:], (place, numbers[node], target, weight), strict=True
                ):
                    told[key].append(value)
    return told
