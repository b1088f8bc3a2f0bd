"""How many parameters a Llama has, and the bytes that its weights and its KV cache take.

Works on the keys of a Hugging Face config.json. Dense Llama architectures only.
"""

from collections.abc import Mapping
from typing import Any, Final

from llama_nb.core.errors import LoadError, did_you_mean

BYTES: Final[Mapping[str, int]] = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


def parameters(config: Mapping[str, Any]) -> int:
    """Return the number of distinct parameters of a dense Llama.

    Per layer: q and o (hidden x heads x head dim each), k and v (hidden x kv heads x head dim each), gate, up
    and down (hidden x FFN each), two norms; besides, the embedding, the head unless tied, and the last norm.
    """
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    heads, ffn, vocabulary = config["num_attention_heads"], config["intermediate_size"], config["vocab_size"]
    size, kv_heads = head_dim(config), config.get("num_key_value_heads") or heads
    attention = 2 * hidden * size * (heads + kv_heads)
    if config.get("attention_bias"):
        attention += size * (heads + 2 * kv_heads) + hidden
    feed_forward = 3 * hidden * ffn + (2 * ffn + hidden if config.get("mlp_bias") else 0)
    embeddings = vocabulary * hidden * (1 if config.get("tie_word_embeddings") else 2)
    return int(layers * (attention + feed_forward + 2 * hidden) + embeddings + hidden)


def head_dim(config: Mapping[str, Any]) -> int:
    """Return the width of one attention head."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def weights_bytes(count: int, dtype: str) -> int:
    """Return the bytes that `count` parameters take in `dtype` ("float32", "bfloat16", "float16")."""
    return count * _bytes(dtype)


def kv_bytes_per_token(config: Mapping[str, Any], dtype: str) -> int:
    """Return the bytes that one token takes in the KV cache: 2 x layers x kv heads x head dim x bytes."""
    kv_heads = config.get("num_key_value_heads") or config["num_attention_heads"]
    return 2 * int(config["num_hidden_layers"]) * int(kv_heads) * head_dim(config) * _bytes(dtype)


def _bytes(dtype: str) -> int:
    if dtype not in BYTES:
        raise LoadError(
            f"dtype is {dtype!r}; it must be one of {', '.join(BYTES)}.", did_you_mean(dtype, BYTES)
        )
    return BYTES[dtype]
