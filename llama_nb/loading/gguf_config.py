"""A GGUF header as the config.json that the same model has on the hub.

Knows llama.cpp's names for the shape of a decoder (`llama.block_count`), and how its converter hides the
rotary scaling of Llama 3.1 in a tensor. No torch.
Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, "Standardized key-value pairs".
"""

import math
import struct
from collections.abc import Mapping
from typing import Any, Final

from llama_nb.core.errors import LoadError
from llama_nb.loading.gguf_file import GgufArray, GgufHeader

# GGUF architecture -> model_type and class, where transformers has another word for it.
_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "llama": ("llama", "LlamaForCausalLM"),
    "llama4": ("llama4_text", "Llama4ForCausalLM"),
    "mistral": ("mistral", "MistralForCausalLM"),
    "qwen2": ("qwen2", "Qwen2ForCausalLM"),
    "qwen3": ("qwen3", "Qwen3ForCausalLM"),
}
_NUMBERS: Final[Mapping[str, str]] = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.sliding_window": "sliding_window",
    "expert_count": "num_local_experts",
    "expert_used_count": "num_experts_per_tok",
    "interleave_moe_layer_step": "interleave_moe_layer_step",
}
_NEEDED: Final = ("hidden_size", "num_hidden_layers", "num_attention_heads")
_TOKENS: Final[Mapping[str, str]] = {
    "bos_token_id": "bos_token_id",
    "eos_token_id": "eos_token_id",
    "padding_token_id": "pad_token_id",
}
_ROPE_FACTORS: Final = "rope_freqs.weight"
# Of all Llama 3.1 to 3.3; the converter keeps only the factors that follow from them and from the theta.
_LLAMA3: Final = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def config(header: GgufHeader) -> dict[str, Any]:
    """Return a header's keys as a Hugging Face config.

    Raises
    ------
    LoadError
        If it is no language model, or a number of its shape is missing or a list that differs by layer.
    """
    kind = header.architecture
    if not kind:
        raise LoadError(f"{header.path.name} does not say general.architecture.", "Get the model again.")
    found: dict[str, Any] = {}
    for key, name in _NUMBERS.items():
        value = _number(header, f"{kind}.{key}")
        if value is not None:
            found[name] = value
    missing = [
        name for name in ("hidden_size", "num_hidden_layers", "num_attention_heads") if name not in found
    ]
    if missing:
        raise LoadError(
            f"{header.path.name} does not say {', '.join(missing)} of its {kind[:40]}: no language model.",
            "A vision projector or an adapter is not a model; load the file with the model itself.",
        )
    found |= _kind(header, kind, found)
    found["vocab_size"] = _vocabulary(header, kind)
    for key, name in _TOKENS.items():
        value = _number(header, f"tokenizer.ggml.{key}")
        if value is not None:
            found[name] = value
    found["tie_word_embeddings"] = "output.weight" not in header.tensors
    found["attention_bias"] = "blk.0.attn_q.bias" in header.tensors
    found["rope_parameters"] = _rope(header, kind, found)
    return found


def _kind(header: GgufHeader, kind: str, found: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "llama" and found.get("num_local_experts"):
        return {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"]}
    model_type, name = _KINDS.get(kind, (kind, ""))
    values: dict[str, Any] = {"model_type": model_type, "architectures": [name] if name else None}
    wide = _number(header, f"{kind}.expert_feed_forward_length")
    if kind == "llama4" and wide is not None:
        values |= {"intermediate_size": wide, "intermediate_size_mlp": found.get("intermediate_size")}
    return {key: value for key, value in values.items() if value is not None}


def _number(header: GgufHeader, key: str) -> int | float | None:
    """Return one number; a list by layer counts when all its entries are the same.

    Fractions are stored in float32: 1e-5 comes back as 1e-5, not as 9.99999974e-06.
    """
    value = header.keys.get(key)
    if value is None:
        return None
    values = set(value.numbers or ()) if isinstance(value, GgufArray) else {value}
    if len(values) == 1 and isinstance(number := values.pop(), int | float) and math.isfinite(number):
        return float(f"{number:.7g}") if isinstance(number, float) else number
    shown = f"{value.length:,} values that differ" if isinstance(value, GgufArray) else repr(value)[:40]
    raise LoadError(
        f"{header.path.name} says {key}: {shown}; only one number for all layers is read.",
        "Get another version of the model.",
    )


def _vocabulary(header: GgufHeader, kind: str) -> int:
    said = _number(header, f"{kind}.vocab_size")
    tokens = header.keys.get("tokenizer.ggml.tokens")
    if said is not None:
        return int(said)
    if isinstance(tokens, GgufArray):
        return tokens.length
    rows = header.tensors.get("token_embd.weight")
    if rows is None:
        raise LoadError(f"{header.path.name} has no vocabulary.", "Get the model again.")
    return rows.shape[0]


def _rope(header: GgufHeader, kind: str, found: Mapping[str, Any]) -> dict[str, Any]:
    theta = _number(header, f"{kind}.rope.freq_base")
    values: dict[str, Any] = {"rope_type": "default", "rope_theta": 10000.0 if theta is None else theta}
    if _ROPE_FACTORS in header.tensors:
        width = found.get("head_dim") or found["hidden_size"] // max(int(found["num_attention_heads"]), 1)
        return values | _llama3(header, int(width), float(values["rope_theta"]))
    scaling, factor = (
        header.keys.get(f"{kind}.rope.scaling.type"),
        _number(header, f"{kind}.rope.scaling.factor"),
    )
    if scaling in (None, "none") or factor is None:
        return values
    values |= {"rope_type": scaling, "factor": factor}
    original = _number(header, f"{kind}.rope.scaling.original_context_length")
    return values if original is None else values | {"original_max_position_embeddings": original}


def _llama3(header: GgufHeader, width: int, theta: float) -> dict[str, Any]:
    """Find the scaling whose factors, one for each pair of a head's dimensions, are those in the file."""
    stored = _factors(header)
    factor = max(stored, default=0.0)
    if 2 * len(stored) == width and 1 <= factor < math.inf and theta > 1:
        expected = llama3_factors(width, theta, factor)
        if all(math.isclose(one, other, rel_tol=1e-3) for one, other in zip(stored, expected, strict=True)):
            return {"rope_type": "llama3", "factor": round(factor, 6), **_LLAMA3}
    raise LoadError(
        f"{header.path.name} scales its rotary frequencies in another way than Llama 3.1 ({_ROPE_FACTORS}).",
        "Load the model that it was made from.",
    )


def llama3_factors(width: int, theta: float, factor: float) -> list[float]:
    """Return what Llama 3.1 divides the rotary frequencies of a head of `width` dimensions by.

    Long waves are slowed by `factor`, short ones are left, and between them the two are mixed (the function
    `apply_scaling` in meta-llama/llama-models, models/llama3/model.py).
    """
    context = _LLAMA3["original_max_position_embeddings"]
    low, high = _LLAMA3["low_freq_factor"], _LLAMA3["high_freq_factor"]
    factors = []
    for pair in range(0, width, 2):
        wave = 2 * math.pi * theta ** (pair / width)
        smooth = min(max((context / wave - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors


def _factors(header: GgufHeader) -> tuple[float, ...]:
    tensor = header.tensors[_ROPE_FACTORS]
    if tensor.type != "F32" or not 0 < tensor.parameters <= 4096:
        return ()
    with header.path.open("rb") as file:
        file.seek(tensor.offset)
        raw = file.read(tensor.bytes)
    return struct.unpack(f"<{tensor.parameters}f", raw) if len(raw) == tensor.bytes else ()
