"""Where in a decoder's layers something can be changed: the tensors that its parts hand on.

Knows the names that transformers gives to a layer's blocks, and hooks; knows nothing of why they change.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from torch.utils.hooks import RemovableHandle

from llama_nb.core.errors import UnsupportedError
from llama_nb.core.intervention import Intervention

Change = Callable[[torch.Tensor], torch.Tensor]

_MLPS: Final = ("mlp", "feed_forward", "block_sparse_moe")
_SHARED: Final = ("shared_expert", "shared_experts")
_OUTPUTS: Final = ("o_proj", "out_proj", "dense")


class Place(Protocol):
    """What one part of a layer hands on, shape (..., width), the same whether it is read or changed."""

    def edit(self, change: Change) -> RemovableHandle:
        """Hand on what `change` makes of it, until the handle is removed."""

    def off(self, value: torch.Tensor) -> torch.Tensor:
        """Return what stands there when the part is off."""


class _Adding:
    """A place whose part adds to the residual stream: off, it adds nothing."""

    def off(self, value: torch.Tensor) -> torch.Tensor:
        """Return zeros."""
        return torch.zeros_like(value)


@dataclass(frozen=True, slots=True)
class HeadPlace(_Adding):
    """The values that one head mixed, before the projection that adds them: shape (..., head size)."""

    projection: Any
    head: int
    heads: int

    def edit(self, change: Change) -> RemovableHandle:
        """See Place.edit."""

        def hook(_module: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
            mixed, *rest = given
            width = mixed.shape[-1] // self.heads
            share = slice(self.head * width, (self.head + 1) * width)
            changed = mixed.clone()
            changed[..., share] = change(mixed[..., share])
            return (changed, *rest)

        return _handle(self.projection.register_forward_pre_hook(hook))


@dataclass(frozen=True, slots=True)
class OutputPlace(_Adding):
    """What a module returns, or the first of what it returns: shape (..., hidden)."""

    module: Any

    def edit(self, change: Change) -> RemovableHandle:
        """See Place.edit."""

        def hook(_module: Any, _given: Any, output: Any) -> Any:
            return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

        return _handle(self.module.register_forward_hook(hook))


@dataclass(frozen=True, slots=True)
class UpdatePlace(_Adding):
    """What a layer adds to the residual stream: shape (..., hidden)."""

    layer: Any

    def edit(self, change: Change) -> RemovableHandle:
        """See Place.edit."""

        def hook(_module: Any, given: tuple[Any, ...], named: Mapping[str, Any], output: Any) -> Any:
            before = given[0] if given else named["hidden_states"]
            after = output[0] if isinstance(output, tuple) else output
            changed = before + change(after - before)
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return _handle(self.layer.register_forward_hook(hook, with_kwargs=True))


def find_place(module: Any, part: Intervention) -> Place:
    """Return where a part of `module` hands on what it computes.

    Raises
    ------
    UnsupportedError
        If the model's layers have no such part.
    """
    assert part.layer is not None
    layer = layers_of(module)[part.layer]
    return _SITES[part.site](module, layer, part)


def decoder_of(module: Any) -> Any:
    """Return what holds the decoder layers of a model; UnsupportedError if there are none that we know."""
    # Llama 4's text model does not name its decoder as transformers' `base_model` expects it.
    for part in (module.base_model, getattr(module, "model", None)):
        if getattr(part, "layers", None) is not None:
            return part
    raise UnsupportedError(f"{type(module).__name__} has no list of decoder layers.")


def layers_of(module: Any) -> Any:
    """Return the decoder layers of a model, in order."""
    return decoder_of(module).layers


def heads_of(module: Any) -> int:
    """Return how many query heads a layer has."""
    return int(module.config.get_text_config().num_attention_heads)


def _attention(layer: Any) -> Any:
    return _first(layer, ("self_attn", "attention"), "attention")


def _mlp(layer: Any) -> Any:
    return _first(layer, _MLPS, "MLP")


def _head(module: Any, layer: Any, part: Intervention) -> Place:
    assert part.head is not None
    return HeadPlace(_first(_attention(layer), _OUTPUTS, "output projection"), part.head, heads_of(module))


def _first(holder: Any, names: Iterable[str], what: str) -> Any:
    found = next((block for name in names if (block := getattr(holder, name, None)) is not None), None)
    if found is None:
        raise UnsupportedError(f"A {type(holder).__name__} has no {what} that can be turned off.")
    return found


def _handle(handle: Any) -> RemovableHandle:
    found: RemovableHandle = handle
    return found


# A part of another kind is one more line here, and one more word in core/intervention.py.
_SITES: Final[Mapping[str, Callable[[Any, Any, Intervention], Place]]] = {
    "head": _head,
    "attention": lambda _module, layer, _part: OutputPlace(_attention(layer)),
    "mlp": lambda _module, layer, _part: OutputPlace(_mlp(layer)),
    "shared expert": lambda _module, layer, _part: OutputPlace(_first(_mlp(layer), _SHARED, "shared expert")),
    "layer": lambda _module, layer, _part: UpdatePlace(layer),
}
