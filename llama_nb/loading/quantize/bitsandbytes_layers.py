"""What the methods of bitsandbytes share: where they run, their configs, and the guard on their layers.

The guard: on CPUs with AVX512-BF16, bitsandbytes 0.50 re-packs the weights of a Linear4bit in its first
forward in eval mode, and from then on gradients through it are silently wrong (cosine 0.29 to the true ones
after a single reply). Chatting while a LoRA trains is exactly that case, so the re-packing is turned off.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

LIBRARY: Final = "bitsandbytes"
# Elements that share one scale. A layer whose width is no multiple of it crashes in the 4-bit kernels.
BLOCK: Final = 64
_DEVICES: Final = ("cpu", "cuda")
# Said with every forward pass that is not in float16; the cast is what int8 does, not a mistake of the user.
_CAST_LINE: Final = "inputs will be cast from"


def refusal(device: str) -> str | None:
    """Return why bitsandbytes does not run on `device`."""
    kind = device.partition(":")[0]
    return None if kind in _DEVICES else f"bitsandbytes runs on {' and '.join(_DEVICES)}, not on {device}."


def four_bit_takes(out_features: int, in_features: int) -> bool:
    """Whether a layer of this shape can be stored in 4 bits."""
    del out_features
    return in_features % BLOCK == 0


def four_bit_config(keep: Sequence[str], kind: str, *, nested: bool = False) -> Any:
    """Return the config for `kind` "nf4" or "fp4"; `nested` quantises the scales too."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=kind,
        bnb_4bit_use_double_quant=nested,
        llm_int8_skip_modules=list(keep),
    )


def eight_bit_config(keep: Sequence[str]) -> Any:
    """Return the config of LLM.int8() (https://arxiv.org/abs/2208.07339), outliers kept in half precision."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(keep))


def finish(module: "PreTrainedModel") -> None:
    """Guard every 4-bit layer, let it compute in the model's dtype, and silence the line about casts."""
    for layer in four_bit_layers(module):
        layer.support_avx512bf16_for_cpu = False
        layer.compute_dtype = module.dtype
        layer.compute_type_is_set = True
    _quiet()


def four_bit_layers(module: "torch.nn.Module") -> Iterator[Any]:
    """Yield the 4-bit layers of a model."""
    from bitsandbytes.nn import Linear4bit

    return (layer for layer in module.modules() if isinstance(layer, Linear4bit))


def _quiet() -> None:
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    if _is_news not in logger.filters:
        logger.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return _CAST_LINE not in str(record.msg)
