"""A student that rounds as its int8 file will, while it learns: fake quantization in the graph.

Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-
Only Inference": weights and activations are rounded in the forward pass, and the backward pass
takes the rounding for the identity (the straight-through estimator of Bengio et al. 2013), so
that the weights settle where rounding does little. The operators are torch's own, and its
exporter writes them as QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from attar.checks import AttarError

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_ADDITIONS = (operator.add, operator.iadd, torch.add)

#: How fast the ranges of activations follow the batches, once there were some.
_FOLLOW = 0.01


class RoundedActivation(nn.Module):
    """Activations to 256 steps between the ends of a range that follows the batches.

    In training mode the ends are moving averages of each batch's smallest and largest value;
    in eval mode they stand.
    """

    low: Tensor
    high: Tensor
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        """The values as the file will have them; as they are before the first batch."""
        if self.training:
            with torch.no_grad():
                low, high = torch.aminmax(values.detach())
                self.seen += 1
                share = torch.clamp(1.0 / self.seen, min=_FOLLOW)
                self.low += share * (low - self.low)
                self.high += share * (high - self.high)
        scale, zero = self.grid()
        return torch.fake_quantize_per_tensor_affine(values, scale, zero, 0, 255)

    def grid(self) -> tuple[Tensor, Tensor]:
        """Width of a step, and the step that is 0: the range always holds 0."""
        low, high = self.low.clamp(max=0.0), self.high.clamp(min=0.0)
        scale = ((high - low) / 255.0).clamp(min=torch.finfo(torch.float32).tiny)
        return scale, torch.round(-low / scale).clamp(0, 255).to(torch.int32)


class RoundedLayer(nn.Module):
    """A convolution or linear layer whose weights are rounded, one scale a channel.

    Args:
        layer: The layer; its weights go on learning.
        largest: The largest whole number of a weight: 127, or 63 for 7 bits.
    """

    layer: Any  # one of _LAYERS

    def __init__(self, layer: nn.Module, largest: int) -> None:
        super().__init__()
        self.layer = layer
        self.largest = largest

    def forward(self, values: Tensor) -> Tensor:
        """What the layer says with rounded weights."""
        weight: Tensor = self.layer.weight
        scale, zero = self.grid()
        rounded = torch.fake_quantize_per_channel_affine(
            weight, scale, zero, 0, -self.largest - 1, self.largest
        )
        bias: Tensor | None = self.layer.bias
        if isinstance(self.layer, nn.Linear):
            return nn.functional.linear(values, rounded, bias)
        said: Tensor = self.layer._conv_forward(values, rounded, bias)
        return said

    def grid(self) -> tuple[Tensor, Tensor]:
        """Width of a step of each channel, and zeros: the rounding is symmetric."""
        weight: Tensor = self.layer.weight.detach()
        scale = weight.flatten(1).abs().amax(dim=1) / self.largest
        scale = scale.clamp(min=torch.finfo(torch.float32).tiny)
        return scale, torch.zeros_like(scale, dtype=torch.int32)


def with_rounding(student: nn.Module, *, reduce_range: bool = False) -> torch.fx.GraphModule:
    """A copy of a student that rounds weights and activations; batch normalisation is folded in.

    What enters a convolution, a linear layer or an addition is rounded, and what a convolution
    gives where it is added: the places where the integer kernels of ONNX Runtime want it. The
    logits are not.

    Args:
        student: A module whose forward torch.fx can trace (no branch on values).
        reduce_range: Weights in 7 bits instead of 8.

    Raises:
        AttarError: If it cannot be traced, or has no layer to round.
    """
    try:
        graph = torch.fx.symbolic_trace(copy.deepcopy(student).cpu().eval())
    except Exception as error:  # whatever its forward does with what is no tensor yet
        raise AttarError(
            f"quantize_aware: {type(student).__name__} cannot be traced by torch.fx, which puts "
            f"the rounding in: {str(error).splitlines()[0][:200]}. Its forward must not branch on "
            f"values; attar.export.quantize takes the exported file as it is."
        ) from error
    _fold_norms(graph)
    modules = dict(graph.named_modules())
    rounded = 0
    for node in list(graph.graph.nodes):
        layer = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(layer, _LAYERS):
            _round_inputs(graph, node)
            graph.set_submodule(str(node.target), RoundedLayer(layer, 63 if reduce_range else 127))
            rounded += 1
        elif node.op == "call_function" and node.target in _ADDITIONS and len(node.args) == 2:
            _round_inputs(graph, node)
    if not rounded:
        raise AttarError(
            f"quantize_aware: {type(student).__name__} has no convolution and no linear layer, so "
            f"there is nothing to round."
        )
    graph.graph.lint()
    graph.recompile()
    return graph


def settled(rounding: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """A copy for the exporter: eval mode, each grid a constant, each weight on its grid."""
    graph = copy.deepcopy(rounding).eval().requires_grad_(False)
    for name, module in list(graph.named_modules()):
        if isinstance(module, RoundedActivation):
            graph.set_submodule(name, _FixedActivation(module))
        elif isinstance(module, RoundedLayer):
            graph.set_submodule(name, _FixedLayer(module))
    graph.recompile()
    return graph


class _FixedActivation(nn.Module):
    def __init__(self, rounding: RoundedActivation) -> None:
        super().__init__()
        scale, zero = rounding.grid()
        self.scale, self.zero = float(scale), int(zero)

    def forward(self, values: Tensor) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(values, self.scale, self.zero, 0, 255)


class _FixedLayer(nn.Module):
    layer: Any
    scale: Tensor
    zero: Tensor

    def __init__(self, rounding: RoundedLayer) -> None:
        super().__init__()
        self.layer = copy.deepcopy(rounding.layer)
        scale, zero = rounding.grid()
        weight: Tensor = self.layer.weight
        # ONNX knows whole bytes alone: weights of 7 bits are put on their grid here.
        weight.copy_(
            torch.fake_quantize_per_channel_affine(
                weight, scale, zero, 0, -rounding.largest - 1, rounding.largest
            )
        )
        self.register_buffer("scale", scale)
        self.register_buffer("zero", zero)

    def forward(self, values: Tensor) -> Tensor:
        weight = torch.fake_quantize_per_channel_affine(
            self.layer.weight,
            self.scale,
            self.zero,
            0,
            -128,
            127,
        )
        bias: Tensor | None = self.layer.bias
        if isinstance(self.layer, nn.Linear):
            return nn.functional.linear(values, weight, bias)
        said: Tensor = self.layer._conv_forward(values, weight, bias)
        return said


def _round_inputs(graph: torch.fx.GraphModule, node: torch.fx.Node) -> None:
    """Put one rounding behind each value that enters a node, shared by all that it enters."""
    for value in node.all_input_nodes:
        name = f"round_{value.name}"
        if value.op == "call_module" and isinstance(
            graph.get_submodule(str(value.target)), RoundedActivation
        ):
            continue
        there = [user for user in value.users if user.target == name]
        if there:
            node.replace_input_with(value, there[0])
            continue
        graph.add_submodule(name, RoundedActivation())
        with graph.graph.inserting_after(value):
            rounded = graph.graph.call_module(name, (value,))
        node.replace_input_with(value, rounded)


def _fold_norms(graph: torch.fx.GraphModule) -> None:
    """Batch normalisation into the layer before it, where nothing else reads that layer."""
    modules: dict[str, Any] = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        if node.op != "call_module" or not isinstance(modules[str(node.target)], _NORMS):
            continue
        before = node.args[0]
        if before.op != "call_module" or len(before.users) > 1:
            continue
        layer, norm = modules[str(before.target)], modules[str(node.target)]
        if isinstance(layer, _LAYERS):
            fused: nn.Module
            if isinstance(layer, nn.Linear):
                fused = fuse_linear_bn_eval(layer, norm)
            else:
                fused = fuse_conv_bn_eval(layer, norm)
            graph.set_submodule(str(before.target), fused)
            modules[str(before.target)] = fused
            node.replace_all_uses_with(before)
            graph.graph.erase_node(node)
    graph.delete_all_unused_submodules()
    graph.recompile()
