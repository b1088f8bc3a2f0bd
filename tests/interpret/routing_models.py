"""Random tiny mixtures of experts of several architectures, whose routers choose by more than chance.

Weights are drawn so that gates are of order 1: with transformers' own small ones every margin would be 0.
"""

from typing import Any

import torch
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    Llama4ForCausalLM,
    Llama4TextConfig,
    MixtralConfig,
    MixtralForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

VOCABULARY = 97
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA4: dict[str, Any] = {
    "intermediate_size_mlp": 48,
    "num_local_experts": 8,
    "interleave_moe_layer_step": 2,
    "attention_chunk_size": 16,
    "floor_scale": 8,
}
QWEN3: dict[str, Any] = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
DEEPSEEK: dict[str, Any] = {
    "num_key_value_heads": 4,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 3,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 1,
    "moe_intermediate_size": 24,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
MIXTURES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama 4": (Llama4ForCausalLM, Llama4TextConfig, {**LLAMA4, "num_experts_per_tok": 1}),
    "llama 4, two chosen": (Llama4ForCausalLM, Llama4TextConfig, {**LLAMA4, "num_experts_per_tok": 2}),
    "mixtral": (MixtralForCausalLM, MixtralConfig, {"num_local_experts": 5, "num_experts_per_tok": 2}),
    "qwen 3": (
        Qwen3MoeForCausalLM,
        Qwen3MoeConfig,
        {**QWEN3, "norm_topk_prob": True, "mlp_only_layers": [0]},
    ),
    "qwen 3, not normalised": (Qwen3MoeForCausalLM, Qwen3MoeConfig, {**QWEN3, "norm_topk_prob": False}),
    "olmoe": (OlmoeForCausalLM, OlmoeConfig, {"num_experts": 6, "num_experts_per_tok": 3}),
    "gpt-oss": (
        GptOssForCausalLM,
        GptOssConfig,
        {"num_local_experts": 5, "num_experts_per_tok": 2, "sliding_window": 9},
    ),
    "deepseek": (DeepseekV3ForCausalLM, DeepseekV3Config, DEEPSEEK),
}
MOE_LAYERS = {"llama 4": (1, 3), "llama 4, two chosen": (1, 3), "qwen 3": (1, 2, 3), "deepseek": (1, 2, 3)}


def mixture(name: str, **changes: Any) -> Any:
    """Return one of `MIXTURES` in eval mode, the same each time; what would be 0 is random."""
    kind, config, own = MIXTURES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = kind(config(**(SHAPE | own | changes)))
        for named, parameter in module.named_parameters():
            if parameter.ndim == 1 or named.endswith(
                ("gate.weight", "router.weight", "experts.gate_up_proj")
            ):
                mean = float(parameter.detach().mean()) if parameter.ndim == 1 else 0.0
                torch.nn.init.normal_(parameter, mean=mean, std=0.3)
            elif "experts" in named:
                torch.nn.init.normal_(parameter, std=0.3)
        for named, buffer in module.named_buffers():
            if named.endswith("e_score_correction_bias"):
                torch.nn.init.normal_(buffer, std=0.1)
    return module.eval()


def moe_layers(name: str, layers: int = 4) -> tuple[int, ...]:
    """Return which layers of a mixture of `MIXTURES` have experts."""
    return MOE_LAYERS.get(name, tuple(range(layers)))
