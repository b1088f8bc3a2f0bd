"""Weights as the bytes of a GGUF: which row comes where, how a number is stored, how far it is from itself.

Knows the types that are written here (`TYPES`) and nothing of files.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import ConvertError

if TYPE_CHECKING:
    import numpy as np
    import torch

TYPES: Final = ("F32", "F16", "BF16", "Q8_0")
_HEADS: Final = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
_PROJECTION: Final = re.compile(r".*\.self_attn\.([qk]_proj)\.(?:weight|bias)")


def row_order(name: str, rows: int, config: Mapping[str, Any]) -> "torch.Tensor | None":
    """Return the order in which llama.cpp has the rows of q and k; None for every other tensor.

    It rotates neighbours where transformers rotates halves of a head.
    """
    import torch

    found = _PROJECTION.fullmatch(name)
    if found is None:
        return None
    heads = config.get(_HEADS[found.group(1)]) or config["num_attention_heads"]
    return torch.arange(rows).reshape(heads, 2, rows // heads // 2).transpose(1, 2).reshape(-1)


def encode(values: "torch.Tensor", kind: str, name: str) -> "np.ndarray[Any, Any]":
    """Return rows as the bytes of a type: [rows, bytes of a row].

    Raises
    ------
    ConvertError
        If a value is no number, or too large for F16; `name` is the tensor's.
    """
    import numpy as np
    import torch

    if not bool(torch.isfinite(values).all()):
        raise ConvertError(
            f"{name} holds values that are no numbers (NaN or infinite): the model is damaged.",
            "Get the model again.",
        )
    if kind == "Q8_0":
        from gguf import GGMLQuantizationType, quants

        return np.asarray(quants.quantize(values.float().numpy(), GGMLQuantizationType.Q8_0))
    dtype = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[kind]
    stored = values.to(dtype).contiguous()
    if kind == "F16" and not bool(torch.isfinite(stored).all()):
        raise ConvertError(
            f"{name} has values up to {float(values.abs().max()):.3g}; F16 ends at 65,504.",
            "Convert with --type BF16 or F32.",
        )
    return stored.view(torch.uint8).numpy()


def exact(dtype: "torch.dtype", kind: str) -> bool:
    """Whether every number of a dtype is one of a type."""
    import torch

    halves = {torch.float16: "F16", torch.bfloat16: "BF16"}
    return kind == halves.get(dtype) or (kind == "F32" and dtype != torch.float64)


def squares(values: "torch.Tensor", encoded: "np.ndarray[Any, Any]", kind: str) -> tuple[float, float]:
    """Return the sums of squares of what encoding changed, and of the values."""
    import torch
    from gguf import GGMLQuantizationType, quants

    plain = values.double()
    back = torch.from_numpy(quants.dequantize(encoded, GGMLQuantizationType[kind])).reshape(plain.shape)
    return float((back - plain).square().sum()), float(plain.square().sum())
