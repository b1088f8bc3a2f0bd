"""How a long text goes through a model: in pieces, with a cache that keeps every key.

Knows a model's configuration and caches; what is looked at meanwhile is others' business.
"""

from typing import Any, Final

import torch
from transformers import DynamicCache

from llama_nb.engines.kv_cache import GrowingLayer

_ATTENTION: Final = frozenset({"full_attention", "sliding_attention", "chunked_attention"})
# Their angles depend on how long the sequence is, so that pieces would be rotated unlike the whole.
_LENGTH_BOUND_ROPE: Final = ("dynamic", "longrope")
# Parameters of a layer times tokens of a piece: half a second at 100 GFLOP/s, which a stop may have to wait.
_WORK: Final = 2.5e10
_LEAST, _MOST = 64, 2048  # tokens of a piece; longer ones are no faster


def length_bound(module: Any) -> bool:
    """Whether what a token is computed to depends on how many follow it, or are read beside it."""
    rope = getattr(module.config.get_text_config(), "rope_parameters", None) or {}
    return rope.get("rope_type") in _LENGTH_BOUND_ROPE


def piece_of(module: Any, length: int) -> int:
    """Return how many of `length` tokens are read at once."""
    config = module.config.get_text_config()
    if set(getattr(config, "layer_types", None) or ()) - _ATTENTION:
        return length  # other layers need a cache of another kind
    if length_bound(module):
        return length
    weights = sum(parameter.numel() for parameter in module.base_model.parameters())
    step = int(_WORK * config.num_hidden_layers / max(1, weights))
    return min(length, max(_LEAST if module.device.type == "cpu" else _MOST, min(_MOST, step)))


def whole_cache(module: Any, length: int) -> DynamicCache:
    """Return a cache in which every layer keeps all keys: those with a sliding window would forget some."""
    cache = DynamicCache()
    layers = module.config.get_text_config().num_hidden_layers
    cache.layers = [_WholeLayer(length) for _ in range(layers)]
    return cache


class _WholeLayer(GrowingLayer):
    """Keys and values with room for a whole sequence from the start: what grows is copied meanwhile."""

    def _grow(self, key_states: torch.Tensor, value_states: torch.Tensor, needed: int) -> None:
        super()._grow(key_states, value_states, self._most or needed)
