"""A tiny random Llama with adapters whose numbers are no zeros, for tests of what adapters do."""

from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llama_nb.tuning.adapters import AdapterSet
from llama_nb.tuning.recipe import Recipe

IDS = torch.tensor([[1, 5, 9, 33, 7, 2, 60]])


def tiny_llama(*, dtype: torch.dtype = torch.float32, seed: int = 0, hidden: int = 32) -> Any:
    """Return a Llama of two layers in eval mode, without gradients."""
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = LlamaForCausalLM(config)
    return module.to(dtype).eval().requires_grad_(False)


def adapters_of(module: Any, fingerprint: str = "0123456789abcdef", name: str = "tiny") -> AdapterSet:
    """Return the (empty) set of adapters of a module."""
    return AdapterSet(module, base_name=name, base_fingerprint=fingerprint)


def add_trained(
    adapters: AdapterSet, name: str, *, seed: int = 0, scale: float = 0.2, **options: Any
) -> None:
    """Put an adapter into the module that changes something: random numbers where training would write."""
    adapters.create(name, Recipe.of(**{"rank": 4, **options}))
    generator = torch.Generator().manual_seed(seed)
    values = {
        path: value + scale * torch.randn(value.shape, generator=generator)
        for path, value in adapters.weights(name).items()
    }
    adapters.put_weights(name, values)


def logits(module: Any) -> torch.Tensor:
    """Return the logits behind each of a few tokens, float32."""
    with torch.no_grad():
        found: torch.Tensor = module(IDS).logits.float()
    return found
