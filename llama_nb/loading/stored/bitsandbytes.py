"""Checkpoints that bitsandbytes wrote, in 4 or 8 bits, as transformers' save_pretrained stores them."""

import functools
import json
import re
from typing import Final

from llama_nb.core.errors import LoadError
from llama_nb.loading.quantize import bitsandbytes_layers
from llama_nb.loading.stored import Settings, StoredTensor

LIBRARY: Final = bitsandbytes_layers.LIBRARY
_KINDS: Final = ("nf4", "fp4")
_BYTE: Final = frozenset({"U8"})
_FLOAT: Final = frozenset({"F32", "F16", "BF16"})
_NESTED_BLOCK: Final = 256

finish = bitsandbytes_layers.finish


def label(settings: Settings) -> str:
    """Return "bitsandbytes int8", "bitsandbytes nf4" ..."""
    if settings.get("load_in_8bit"):
        return "bitsandbytes int8"
    kind = settings.get("bnb_4bit_quant_type", "fp4")
    if not settings.get("load_in_4bit") or kind not in _KINDS:
        raise LoadError(
            f"config.json says the weights are quantised by bitsandbytes, but neither in 8 bits nor as "
            f"{' or '.join(_KINDS)} (bnb_4bit_quant_type {str(kind)[:40]!r}).",
            "Get config.json again, or load the model that it was made from.",
        )
    return f"bitsandbytes {kind}{' double' if settings.get('bnb_4bit_use_double_quant') else ''}"


def refusal(settings: Settings, device: str) -> str | None:
    """Return why it does not run on `device`."""
    del settings
    return bitsandbytes_layers.refusal(device)


def keeps(module_name: str, settings: Settings) -> bool:
    """Whether a layer is stored as floats: the head, or what llm_int8_skip_modules names."""
    skipped = settings.get("llm_int8_skip_modules") or ["lm_head"]
    return any(
        module_name.endswith(str(part)) or re.match(rf"{re.escape(str(part))}(?:\.|$)", module_name)
        for part in skipped
    )


def tensors(module_name: str, shape: tuple[int, int], settings: Settings) -> dict[str, StoredTensor]:
    """Return the tensors of one layer: packed weights, scales, and how they were made."""
    weight = f"{module_name}.weight"
    rows, columns = shape
    if settings.get("load_in_8bit"):
        return {
            weight: StoredTensor(frozenset({"I8"}), shape),
            f"{module_name}.SCB": StoredTensor(_FLOAT, (rows,)),
            f"{module_name}.weight_format": StoredTensor(_BYTE, (), optional=True),
        }
    kind = settings.get("bnb_4bit_quant_type", "fp4")
    blocks = -(rows * columns // -bitsandbytes_layers.BLOCK)
    found = {
        # Two weights a byte, whatever dtype holds the bytes (bnb_4bit_quant_storage).
        weight: StoredTensor(_BYTE | _FLOAT, _packed(rows * columns, settings)),
        f"{weight}.quant_map": StoredTensor(_FLOAT, (16,)),
        f"{weight}.quant_state.bitsandbytes__{kind}": StoredTensor(
            _BYTE, None, wrong=functools.partial(_wrong_state, shape, kind)
        ),
    }
    if not settings.get("bnb_4bit_use_double_quant"):
        return found | {f"{weight}.absmax": StoredTensor(_FLOAT, (blocks,))}
    return found | {
        f"{weight}.absmax": StoredTensor(_BYTE, (blocks,)),
        f"{weight}.nested_absmax": StoredTensor(_FLOAT, (-(blocks // -_NESTED_BLOCK),)),
        f"{weight}.nested_quant_map": StoredTensor(_FLOAT, (256,)),
    }


def _wrong_state(shape: tuple[int, int], kind: str, raw: bytes) -> str | None:
    """Return what is wrong with a quant state: the kernels believe its shape and read past the weights."""
    try:
        state = json.loads(raw)
    except (ValueError, RecursionError):
        return "is not readable"
    must = {"quant_type": kind, "blocksize": bitsandbytes_layers.BLOCK, "shape": list(shape)}
    if isinstance(state, dict) and "nested_blocksize" in state:
        must["nested_blocksize"] = _NESTED_BLOCK
    if not isinstance(state, dict) or state.get("dtype") not in ("float32", "float16", "bfloat16"):
        return "says no dtype"
    for key, value in must.items():
        if state.get(key) != value:
            return f"says {key} {str(state.get(key))[:40]}, but the layer has {value}"
    return None


def _packed(weights: int, settings: Settings) -> tuple[int, int]:
    width = {"bfloat16": 2, "float16": 2, "float32": 4}.get(str(settings.get("bnb_4bit_quant_storage")), 1)
    return (weights // 2 // width, 1)
