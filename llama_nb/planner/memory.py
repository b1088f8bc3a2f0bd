"""The bytes that a model's weights and its KV cache take, in any format.

Works on a `Shape`, or on the keys of a Hugging Face config.json.
"""

from collections.abc import Mapping
from typing import Any, Final

from llama_nb.core.errors import LoadError, did_you_mean
from llama_nb.planner.formats import Format, find_format
from llama_nb.planner.shape import Shape, TensorGroup

BYTES: Final[Mapping[str, int]] = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


def weights_bytes(count: int, dtype: str) -> int:
    """Return the bytes that `count` parameters take in `dtype` ("float32", "bfloat16", "float16")."""
    return count * dtype_bytes(dtype)


def quantised_bytes(shape: Shape, quant: str, dtype: str = "bfloat16") -> int:
    """Return the bytes of the weights in memory.

    Linear layers take the bits of `quant`, scales included. Embedding, head, norms and biases stay in
    `dtype`, and so does what the method cannot take: other widths, and experts that lie in one tensor.

    Raises
    ------
    LoadError
        If `quant` or `dtype` is unknown.
    """
    chosen = find_format(quant, dtype)
    return round(sum(group_bytes(group, chosen, dtype) for group in shape.groups()))


def group_bytes(group: TensorGroup, chosen: Format, dtype: str) -> float:
    """Return the bytes of one group of tensors when the model is kept in `chosen`, else in `dtype`."""
    if is_quantised(group, chosen):
        return group.count * chosen.matrix_bytes(group.rows, group.columns)
    # GGUF keeps its norms in float32.
    return group.parameters * (4 if chosen.kind == "gguf" else dtype_bytes(dtype))


def is_quantised(group: TensorGroup, chosen: Format) -> bool:
    """Whether a group of tensors is kept in `chosen` and not in the dtype."""
    if chosen.kind == "float":
        return False
    if group.part in ("embedding", "head"):
        return chosen.quantises_embeddings
    if group.part == "experts" and not chosen.quantises_experts:
        return False
    return group.quantised and chosen.takes(group.rows, group.columns)


def kv_bytes_per_token(config: Mapping[str, Any] | Shape, dtype: str) -> int:
    """Return the bytes that one token takes in the KV cache: 2 x layers x kv heads x head dim x bytes.

    Layers with a window or chunks stop growing at it: `kv_cache_bytes` has what a whole context takes.
    """
    shape = config if isinstance(config, Shape) else Shape.from_config(config)
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * dtype_bytes(dtype)


def kv_cache_bytes(shape: Shape, context: int, dtype: str, batch: int = 1) -> int:
    """Return the bytes of the KV cache of `batch` sequences of `context` tokens."""
    per_key = 2 * shape.kv_heads * shape.head_dim * dtype_bytes(dtype)
    return batch * shape.kept_tokens(context) * per_key


def dtype_bytes(dtype: str) -> int:
    """Return the bytes of one number; LoadError with the nearest name for an unknown dtype."""
    if dtype not in BYTES:
        raise LoadError(
            f"dtype is {dtype!r}; it must be one of {', '.join(BYTES)}.", did_you_mean(dtype, BYTES)
        )
    return BYTES[dtype]
