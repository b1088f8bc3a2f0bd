"""Random tiny decoders of several architectures, well conditioned, and what their eager attention is.

Weights are drawn so that scores are of order 1: with transformers' own small ones every map would be flat.
"""

from typing import Any

import numpy as np
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    Llama4ForCausalLM,
    Llama4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCABULARY = 97
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.15,
    "attn_implementation": "sdpa",
}
SLIDING: dict[str, Any] = {"sliding_window": 9, "use_sliding_window": True, "max_window_layers": 2}
MAKES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama, grouped": (LlamaForCausalLM, LlamaConfig, {}),
    "llama, one key each": (LlamaForCausalLM, LlamaConfig, {"num_key_value_heads": 6}),
    "llama 3.1": (
        LlamaForCausalLM,
        LlamaConfig,
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500_000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            }
        },
    ),
    "llama 4": (
        Llama4ForCausalLM,
        Llama4TextConfig,
        {"attention_chunk_size": 11, "num_local_experts": 2, "intermediate_size_mlp": 64, "floor_scale": 8},
    ),
    "mistral": (MistralForCausalLM, MistralConfig, {"sliding_window": 9}),
    "qwen 2": (Qwen2ForCausalLM, Qwen2Config, SLIDING),
    "qwen 3": (Qwen3ForCausalLM, Qwen3Config, SLIDING),
    "gemma 2": (
        Gemma2ForCausalLM,
        Gemma2Config,
        {"sliding_window": 9, "attn_logit_softcapping": 2.0, "attn_implementation": "eager"},
    ),
    "gpt-oss": (
        GptOssForCausalLM,
        GptOssConfig,
        {
            "sliding_window": 9,
            "num_local_experts": 3,
            "num_experts_per_tok": 2,
            "attn_implementation": "eager",
        },
    ),
}


def make(name: str, **changes: Any) -> Any:
    """Return one of `MAKES`, in eval mode, the same each time."""
    kind, config, own = MAKES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        module = kind(config(**(SHAPE | own | changes)))
        for parameter in module.parameters():
            if parameter.ndim == 1:  # biases, norms and sinks, which would be all 0 or all 1
                torch.nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.2)
    return module.eval()


def tokens(count: int, seed: int = 0) -> list[int]:
    """Return random token ids."""
    return np.random.default_rng(seed).integers(3, VOCABULARY, count).tolist()


@torch.inference_mode()
def eager_attention(module: Any, **inputs: torch.Tensor) -> list[Any]:
    """Return what eager attention is on every layer, each of shape (B, H, T, T)."""
    before = module.config._attn_implementation
    module.set_attn_implementation("eager")
    try:
        found = module(**inputs, output_attentions=True, use_cache=False).attentions
    finally:
        module.set_attn_implementation(before)
    return [layer.float().numpy() for layer in found]
