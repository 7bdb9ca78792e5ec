"""A network that also gives what it computed on the way, with what is trained beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from attar.checks import AttarError
from attar.types import Outputs, ask

_INPUT = ":input"


class WithFeatures(nn.Module):
    """A network whose answer has the outputs of some of its layers as features.

    Projectors (from a student's feature to the shape of the teacher's) and losses with weights of
    their own are trained with it, and left behind: ``.network`` is what ships.

    Args:
        network: Gives logits ``[N, C]``, alone or as ``.logits``.
        layers: Names of modules, as in ``network.named_modules()``; their outputs are given. A name
            with ``":input"`` behind it: what goes into the module (the penultimate feature is the
            input of the classifier).
        projectors: By layer, what its feature goes through before it is given.
        losses: Losses that have weights, so that these are trained too.

    Raises:
        AttarError: If there is no layer of a name, or a layer is not called or gives no tensor.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> student = WithFeatures(network, ["1"], projectors={"1": nn.Linear(3, 8)})
        >>> said = student(torch.zeros(4, 2))
        >>> said.logits.shape, said.features["1"].shape
        (torch.Size([4, 2]), torch.Size([4, 8]))
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[str],
        *,
        projectors: Mapping[str, nn.Module] | None = None,
        losses: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.layers = tuple(layers)
        modules = dict(network.named_modules())
        for layer in self.layers:
            if layer.removesuffix(_INPUT) not in modules:
                known = [name for name in modules if name]
                raise AttarError(
                    f"WithFeatures: the network has no layer {layer!r}. It has "
                    f"{', '.join(known[:12])}{', ...' if len(known) > 12 else ''}."
                )
        given = dict(projectors or {})
        for layer in given:
            if layer not in self.layers:
                raise AttarError(
                    f"WithFeatures: a projector is for one of the layers {list(self.layers)}. Got "
                    f"{layer!r}."
                )
        self._places = tuple(given)
        self.projectors = nn.ModuleList(given.values())  # names of layers have dots in them
        self.losses = nn.ModuleList(losses)

    def forward(self, *inputs: Any, **named: Any) -> Outputs:
        """Logits ``[N, C]``, and the features by the names of their layers."""
        heard: dict[str, Any] = {}
        modules = dict(self.network.named_modules())
        # Put up for this call alone: a copy of this module would else report to the original.
        hooks = []
        for layer in self.layers:
            module, before = modules[layer.removesuffix(_INPUT)], layer.endswith(_INPUT)
            hooks.append(module.register_forward_hook(_listen(heard, layer, before=before)))
        try:
            said = ask(self.network, named or inputs[0])
        finally:
            for hook in hooks:
                hook.remove()
        features = dict(said.features)
        for layer in self.layers:
            value = heard.get(layer)
            if not isinstance(value, Tensor):
                what = "was not called" if layer not in heard else f"gives {type(value).__name__}"
                raise AttarError(f"WithFeatures: the layer {layer!r} {what}; name another one.")
            features[layer] = value
        for layer, projector in zip(self._places, self.projectors, strict=True):
            features[layer] = projector(features[layer])
        return Outputs(said.logits, features)


def _listen(heard: dict[str, Any], layer: str, *, before: bool) -> Callable[..., None]:
    def keep(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        heard[layer] = inputs[0] if before and inputs else output

    return keep
