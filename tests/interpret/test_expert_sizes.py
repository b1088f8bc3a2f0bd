"""What a mixture weighs: all of it once, one expert, what a token reads; against module and planner."""

from types import SimpleNamespace
from typing import Any

import pytest
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

from llama_nb.interpret.expert_sizes import ExpertSizes, sizes_of
from llama_nb.loading.quantize.accounting import tensor_bytes
from llama_nb.planner.shape import Shape

SHAPE: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "num_experts_per_tok": 2,
    "pad_token_id": 0,
    "eos_token_id": 1,
}
MAKES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama 4": (
        Llama4ForCausalLM,
        Llama4TextConfig,
        {
            "num_local_experts": 8,
            "num_experts_per_tok": 1,
            "interleave_moe_layer_step": 2,
            "intermediate_size_mlp": 40,
            "head_dim": 8,
        },
    ),
    "mixtral": (MixtralForCausalLM, MixtralConfig, {"num_local_experts": 4}),
    "qwen 3": (Qwen3MoeForCausalLM, Qwen3MoeConfig, {"num_experts": 8, "moe_intermediate_size": 16}),
    "olmoe": (OlmoeForCausalLM, OlmoeConfig, {"num_experts": 8}),
    "gpt-oss": (GptOssForCausalLM, GptOssConfig, {"num_local_experts": 4, "head_dim": 8}),
    "deepseek": (
        DeepseekV3ForCausalLM,
        DeepseekV3Config,
        {
            "num_key_value_heads": 4,
            "n_routed_experts": 8,
            "n_group": 2,
            "topk_group": 1,
            "moe_intermediate_size": 16,
            "first_k_dense_replace": 1,
            "q_lora_rank": 8,
            "kv_lora_rank": 8,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 4,
            "v_head_dim": 8,
        },
    ),
}


def make(name: str, **changes: Any) -> Any:
    kind, config, own = MAKES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return kind(config(**(SHAPE | own | changes))).eval()


def blocks(module: Any) -> list[Any]:
    """What `sizes_of` uses of the routers: the block, and the two numbers."""
    found = [part for part in module.modules() if hasattr(part, "experts")]
    per_token = module.config.num_experts_per_tok
    return [
        SimpleNamespace(block=block, experts=block.experts.gate_up_proj.shape[0], top_k=per_token)
        for block in found
    ]


@pytest.mark.parametrize("name", MAKES)
def test_everything_is_counted_once_and_one_expert_is_one_expert(name: str) -> None:
    module = make(name)
    routers = blocks(module)
    sizes = sizes_of(module, routers)
    assert sizes.total_parameters == sum(parameter.numel() for parameter in module.parameters())
    assert sizes.total_bytes == tensor_bytes(module)
    one = [parameter[0] for parameter in routers[0].block.experts.parameters()]
    assert sizes.expert_parameters == sum(tensor.numel() for tensor in one)
    assert sizes.expert_bytes == 4 * sizes.expert_parameters
    assert (sizes.layers, sizes.experts) == (len(routers), routers[0].experts)
    assert sizes.top_k == routers[0].top_k
    assert sizes.embedding_bytes == 64 * 32 * 4
    unread = sizes.layers * (sizes.experts - sizes.top_k) * sizes.expert_parameters
    assert sizes.active_parameters == sizes.total_parameters - unread
    assert sizes.token_bytes == sizes.total_bytes - 4 * unread - sizes.embedding_bytes


def test_an_embedding_that_is_the_head_too_is_read_for_every_token() -> None:
    apart, tied = (
        sizes_of(m, blocks(m)) for m in (make("llama 4"), make("llama 4", tie_word_embeddings=True))
    )
    assert tied.embedding_bytes == 0
    assert tied.total_bytes == apart.total_bytes - apart.embedding_bytes
    assert tied.token_bytes == apart.token_bytes


def test_half_precision_takes_half() -> None:
    module = make("mixtral")
    whole = sizes_of(module, blocks(module))
    half = sizes_of(module.to(torch.bfloat16), blocks(module))
    assert half.total_parameters == whole.total_parameters
    assert half.expert_bytes * 2 == whole.expert_bytes


@pytest.mark.parametrize("name", ["llama 4", "mixtral"])
def test_the_planner_counts_the_same(name: str) -> None:
    module = make(name)
    sizes, shape = sizes_of(module, blocks(module)), Shape.from_config(module.config.to_dict())
    assert sizes.total_parameters == shape.parameters
    assert sizes.active_parameters == shape.active_parameters


def test_sums_of_the_sizes() -> None:
    sizes = ExpertSizes(3, 8, 1, 10, 20, 100, 200, 50)
    assert (sizes.total_parameters, sizes.active_parameters) == (340, 130)
    assert (sizes.routed_bytes, sizes.total_bytes, sizes.token_bytes) == (480, 730, 260)


def test_a_dense_model_is_refused() -> None:
    with pytest.raises(ValueError, match="no experts"):
        sizes_of(torch.nn.Linear(2, 2), [])
