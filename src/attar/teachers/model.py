"""A PyTorch module as a teacher."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from attar.checks import check_logits
from attar.store.pace import AS_IT_IS, Way
from attar.teachers import outputs as kinds
from attar.types import Batch, Outputs, ask, dense_logits

#: ``(module, inputs)`` -> a function from inputs to logits.
Backend = Callable[[nn.Module, Any], Callable[[Any], Any]]


class ModelTeacher:
    """A module that answers in eval mode, without gradients, on its own device.

    It is no module itself, and holds its module where none of PyTorch's registrations sees it:
    set as an attribute of a model that trains, it adds no parameters and hears of no ``train()``.

    Args:
        module: Called with the inputs of a batch, as keywords where they are a mapping. It
            returns logits or probabilities ``[N, C]``, an object with ``.logits`` (as Hugging
            Face models do), or :class:`attar.Outputs`.
        name: What to call it; the class of the module otherwise.
        outputs: ``"auto"``, ``"logits"`` or ``"probabilities"``.
        floor: The least probability, for a module that gives probabilities.

    Example:
        >>> linear = nn.Linear(2, 2, bias=False)
        >>> _ = linear.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, -2.0]]))
        >>> teacher = ModelTeacher(linear)
        >>> batch = Batch(torch.tensor([[3.0, 4.0]]), torch.tensor([0]))
        >>> teacher(batch).logits, teacher.parameters, teacher.bytes
        (tensor([[ 3., -8.]]), 4, 16)
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        name: str | None = None,
        outputs: kinds.Outputs = "auto",
        floor: float = 1e-6,
    ) -> None:
        self.name = name or type(module).__name__
        self._module = module
        self._run: Callable[[Any], Outputs] | None = None
        self._kind = kinds.OutputKind(outputs, owner=f"the teacher {self.name!r}", floor=floor)

    @property
    def module(self) -> nn.Module:
        """The module itself."""
        return self._module

    @property
    def outputs(self) -> str:
        """``"logits"`` or ``"probabilities"``; ``"auto"`` before the first answer."""
        return self._kind.decided

    @property
    def parameters(self) -> int:
        """How many parameters the module has, shared ones once."""
        return sum(parameter.numel() for parameter in self._module.parameters())

    @property
    def bytes(self) -> int:
        """Bytes of all parameters and buffers."""
        tensors = [*self._module.parameters(), *self._module.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def __call__(self, batch: Batch) -> Outputs:
        """Logits ``[N, C]`` float32, and the module's features where it returns ``Outputs``."""
        module = self._module
        # A part may be training while its parent is not; dropout there would be heard.
        if any(part.training for part in module.modules()):
            module.eval()
        # no_grad and not inference_mode: an inference tensor could not enter a loss.
        with torch.no_grad():
            like = next(_tensors(module), None)
            inputs = _moved(batch.inputs, like)
            said = ask(module, inputs) if self._run is None else self._run(inputs)
            answer = dense_logits(self._kind.owner, said)
            check_logits(self._kind.owner, "the module's answer", answer, rows=len(batch))
            logits = self._kind(answer, ids=batch.ids).to(batch.ids.device)
            return Outputs(logits, {k: v.to(batch.ids.device) for k, v in said.features.items()})

    def ways(self, example: Batch, backends: Mapping[str, Backend] = {}) -> dict[str, Way]:
        """The ways in which it can be asked; :func:`attar.label` measures which one is fastest.

        Args:
            example: A few rows.
            backends: Others, by name: ``make(module, inputs)`` gives a function from inputs to
                logits.
        """
        module = self._module
        found = {AS_IT_IS: Way(lambda: self)}
        if _convolves(module, example.inputs):
            found["channels_last"] = Way(lambda: self._through(_channels_last(module)))
            found["bfloat16, channels_last"] = Way(
                lambda: self._through(_in_bfloat16(_channels_last(module), module)), exact=False
            )
        found["bfloat16"] = Way(lambda: self._through(_in_bfloat16(module, module)), exact=False)
        for name, make in backends.items():
            found[name] = Way(lambda make=make: self._through(make(module, example.inputs)))  # type: ignore[misc]
        found["compiled"] = Way(lambda: self._through(_compiled(module)), slow_start=True)
        return found

    def _through(self, run: Callable[[Any], Any]) -> ModelTeacher:
        """The same teacher, its answers computed by a function of the inputs."""
        other = copy.copy(self)  # with the same memory of what the answers are
        other._run = lambda inputs: ask(run, inputs)
        return other

    def fingerprint(self) -> str:
        """The hash of architecture (class and ``repr``), weights and buffers."""
        module = self._module
        digest = hashlib.sha256()
        digest.update(f"{type(module).__qualname__}\n{module!r}\n{self._kind.requested}".encode())
        digest.update(repr(self._kind.floor).encode())
        state: dict[str, Any] = dict(module.state_dict())
        # Buffers that are not saved decide the answers too.
        state.update((k, v) for k, v in module.named_buffers() if k not in state)
        for key, value in sorted(state.items()):
            digest.update(f"\n{key} ".encode())
            if isinstance(value, Tensor):
                digest.update(f"{value.dtype} {tuple(value.shape)} ".encode())
                flat = value.detach().cpu().contiguous().reshape(-1)
                digest.update(flat.view(torch.uint8).numpy().data)
            else:
                digest.update(repr(value).encode())
        return digest.hexdigest()


def _convolves(module: nn.Module, inputs: Any) -> bool:
    """Whether the order of channels in memory can matter."""
    images = isinstance(inputs, Tensor) and inputs.ndim == 4
    return images and any(isinstance(part, nn.Conv2d) for part in module.modules())


def _channels_last(module: nn.Module) -> nn.Module:
    """A copy that computes with the channels innermost: the user's module stays as it is."""
    return copy.deepcopy(module).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _in_bfloat16(run: Callable[[Any], Any], module: nn.Module) -> Callable[[Any], Any]:
    """Matrix products and convolutions in bfloat16, sums and what is sensitive in float32."""
    like = next(_tensors(module), None)
    device = "cpu" if like is None else like.device.type

    def cast(*inputs: Any, **named: Any) -> Any:
        with torch.autocast(device, torch.bfloat16):
            said = ask(run, named or inputs[0])
        return Outputs(dense_logits("bfloat16", said).float(), said.features)

    return cast


def _compiled(module: nn.Module) -> Callable[[Any], Any]:
    # For any batch size: else the last batch, a smaller one, would be compiled for anew.
    compiled: Callable[[Any], Any] = torch.compile(module, dynamic=True)
    return compiled


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _moved(inputs: Any, like: Tensor | None) -> Any:
    """The inputs on the module's device; numbers with a point in the precision of its weights."""
    if isinstance(inputs, Mapping):
        return {name: _moved(value, like) for name, value in inputs.items()}
    if like is None:
        return inputs
    if inputs.is_floating_point() and like.is_floating_point():
        return inputs.to(like.device, like.dtype)
    return inputs.to(like.device)
