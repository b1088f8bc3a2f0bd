"""Parameter counts and bytes against the published figures (from model cards, computed by transformers)."""

from collections.abc import Mapping
from typing import Any

import pytest

from llama_nb.catalog import catalog
from llama_nb.core.errors import LoadError
from llama_nb.planner.memory import kv_bytes_per_token, weights_bytes
from llama_nb.planner.shape import Shape

# layers, hidden, heads, kv heads, head dim, FFN, vocabulary, tied, parameters
SHAPES = {
    "LLaMA 7B, Llama 2 7B": (32, 4096, 32, 32, 128, 11008, 32_000, False, 6_738_415_616),
    "LLaMA 13B, Llama 2 13B": (40, 5120, 40, 40, 128, 13824, 32_000, False, 13_015_864_320),
    "LLaMA 33B": (60, 6656, 52, 52, 128, 17920, 32_000, False, 32_528_943_616),
    "LLaMA 65B": (80, 8192, 64, 64, 128, 22016, 32_000, False, 65_285_660_672),
    "Llama 2 70B": (80, 8192, 64, 8, 128, 28672, 32_000, False, 68_976_648_192),
    "Code Llama 7B": (32, 4096, 32, 32, 128, 11008, 32_016, False, 6_738_546_688),
    "Code Llama 34B": (48, 8192, 64, 8, 128, 22016, 32_000, False, 33_743_970_304),
    "Llama 3.1 8B": (32, 4096, 32, 8, 128, 14336, 128_256, False, 8_030_261_248),
    "Llama 3.x 70B": (80, 8192, 64, 8, 128, 28672, 128_256, False, 70_553_706_496),
    "Llama 3.1 405B": (126, 16384, 128, 8, 128, 53248, 128_256, False, 405_853_388_800),
    "Llama 3.2 1B": (16, 2048, 32, 8, 64, 8192, 128_256, True, 1_235_814_400),
    "Llama 3.2 3B": (28, 3072, 24, 8, 128, 8192, 128_256, True, 3_212_749_824),
}


def parameters(config: Mapping[str, Any]) -> int:
    return Shape.from_config(config).parameters


def config(name: str) -> dict[str, int | bool]:
    layers, hidden, heads, kv_heads, width, ffn, vocabulary, tied, _ = SHAPES[name]
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": width,
        "intermediate_size": ffn,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    }


@pytest.mark.parametrize("name", SHAPES)
def test_parameters(name: str) -> None:
    assert parameters(config(name)) == SHAPES[name][-1]


@pytest.mark.parametrize("name", ["Llama 3.2 1B", "Code Llama 34B"])
def test_parameters_agree_with_the_architecture_itself(name: str) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**config(name)))
    assert parameters(config(name)) == sum(parameter.numel() for parameter in model.parameters())


def test_biases_count() -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {**config("Llama 3.2 1B"), "num_hidden_layers": 2, "attention_bias": True, "mlp_bias": True}
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**shape))
    assert parameters(shape) == sum(parameter.numel() for parameter in model.parameters())


def test_the_catalogue_says_the_same() -> None:
    dense = [card for card in catalog.cards() if card.shape and card.shape["model_type"] == "llama"]
    assert {row[-1] for row in SHAPES.values()} <= {card.parameters for card in dense}
    for card in dense:
        assert card.shape is not None
        assert card.parameters == parameters(card.shape)


def test_kv_cache_of_grouped_query_attention() -> None:
    small, large = config("Llama 3.1 8B"), config("Llama 3.x 70B")
    assert kv_bytes_per_token(small, "bfloat16") == 131_072
    assert kv_bytes_per_token(small, "bfloat16") * 8192 == 2**30
    assert kv_bytes_per_token(large, "bfloat16") == 327_680
    assert kv_bytes_per_token({**large, "num_key_value_heads": 64}, "bfloat16") == 8 * 327_680
    assert kv_bytes_per_token(small, "float32") == 2 * 131_072


def test_left_out_keys_have_their_usual_meaning() -> None:
    shape = config("LLaMA 7B, Llama 2 7B")
    bare = {key: value for key, value in shape.items() if key not in ("head_dim", "num_key_value_heads")}
    assert Shape.from_config(bare).head_dim == 128
    assert parameters(bare) == parameters(shape)
    assert kv_bytes_per_token(bare, "float16") == kv_bytes_per_token(shape, "float16")


def test_weights() -> None:
    assert weights_bytes(10, "float32") == 40
    assert weights_bytes(10, "bfloat16") == weights_bytes(10, "float16") == 20
    with pytest.raises(LoadError, match="one of") as caught:
        weights_bytes(10, "bfloat61")
    assert "bfloat16" in caught.value.hint
