"""Shapes of config.json files: counted as transformers counts, figures of the model cards, and bad input."""

from typing import Any

import pytest

from llama_nb.core.errors import LoadError, UnsupportedError
from llama_nb.planner.shape import Shape
from tests.planner.configs import MAVERICK, SCOUT, SMALL

ODD: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama tied, with biases": {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    "llama with wide heads": {"head_dim": 32},
    "mistral": {"model_type": "mistral", "sliding_window": 128},
    "mixtral": {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2": {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 64,
              "max_window_layers": 3},
    "qwen3": {"model_type": "qwen3", "head_dim": 32},
    "qwen3_moe": {
        "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48,
        "head_dim": 32, "decoder_sparse_step": 2, "mlp_only_layers": [1],
    },
    "qwen3_moe with windows": {
        "model_type": "qwen3_moe", "num_local_experts": 4, "use_sliding_window": True, "sliding_window": 64,
        "head_dim": 16,
    },
    "olmoe": {"model_type": "olmoe", "num_experts": 4, "num_experts_per_tok": 2, "head_dim": 16},
    "gpt_oss": {"model_type": "gpt_oss", "num_local_experts": 4, "head_dim": 16, "sliding_window": 32},
    "gpt_oss, layers named": {
        "model_type": "gpt_oss", "num_local_experts": 4, "head_dim": 16,
        "layer_types": ["full_attention", "full_attention", "sliding_attention", "full_attention"],
    },
    "llama4_text": {
        "model_type": "llama4_text", "num_local_experts": 4, "intermediate_size_mlp": 160, "head_dim": 16,
        "interleave_moe_layer_step": 2, "attention_chunk_size": 32,
    },
    "llama4_text, layers named": {
        "model_type": "llama4_text", "num_local_experts": 4, "intermediate_size_mlp": 160, "head_dim": 16,
        "moe_layers": [0, 1, 3], "attention_chunk_size": 32, "no_rope_layers": [1, 0, 0, 1],
    },
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_counts_and_cached_tokens_are_those_of_transformers(case: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

    values = {"model_type": "llama", **SMALL, **ODD[case]}
    config = AutoConfig.for_model(**values)
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config)
    shape = Shape.from_config(values)
    assert shape.parameters == sum(tensor.numel() for tensor in module.parameters())
    windows = [getattr(layer, "sliding_window", None) for layer in DynamicCache(config=config).layers]
    assert shape.kept_tokens(256) == sum(min(256, window or 256) for window in windows)


def test_llama_4_as_a_mixture_of_experts() -> None:
    scout, maverick = Shape.from_config(SCOUT), Shape.from_config(MAVERICK)
    assert scout.parameters == 107_769_861_120
    assert maverick.parameters == 400_711_848_960
    assert scout.expert_layers == 48
    assert maverick.expert_layers == 24
    for shape in (scout, maverick):
        assert round(shape.active_parameters / 1e9) == 17


def test_every_fourth_layer_of_llama_4_keeps_everything() -> None:
    shape = Shape.from_config(SCOUT)
    assert (shape.local_layers, shape.window) == (36, 8192)
    assert shape.kept_tokens(8192) == 48 * 8192
    assert shape.kept_tokens(131_072) == 12 * 131_072 + 36 * 8192


def test_the_nested_text_config_of_llama_4() -> None:
    text = {key: value for key, value in SCOUT.items() if key != "model_type"}
    nested = {
        "model_type": "llama4",
        "text_config": {**text, "model_type": "llama4_text"},
        "vision_config": {},
    }
    assert Shape.from_config(nested) == Shape.from_config(SCOUT)
    with pytest.raises(LoadError, match="text_config"):
        Shape.from_config({**nested, "text_config": [1]})


def test_groups_add_up_to_the_whole() -> None:
    shape = Shape.from_config(SMALL)
    assert sum(group.parameters for group in shape.groups()) == shape.parameters
    assert {group.part for group in shape.groups()} == {
        "embedding",
        "attention",
        "feed-forward",
        "norms",
        "head",
    }


@pytest.mark.parametrize("kind", ["mllama", "deberta-v2", "lama", 7])
def test_another_kind_is_named_with_what_there_is(kind: object) -> None:
    with pytest.raises(UnsupportedError, match=str(kind)) as caught:
        Shape.from_config({**SMALL, "model_type": kind})
    assert "llama" in caught.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [("hidden_size", None), ("hidden_size", 0), ("num_hidden_layers", 10**9), ("vocab_size", "many"),
     ("num_key_value_heads", -1), ("head_dim", 1.5), ("intermediate_size", True)],
)  # fmt: skip
def test_a_missing_or_impossible_number_is_named(key: str, value: object) -> None:
    with pytest.raises(LoadError, match=key):
        Shape.from_config({**SMALL, key: value})
