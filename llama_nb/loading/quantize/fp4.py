"""fp4 by bitsandbytes: 16 levels of a 4-bit float; for comparison, nf4 is closer at the same size."""

from collections.abc import Sequence
from typing import Any, Final

from llama_nb.loading.quantize import bitsandbytes_layers

NAME: Final = "fp4"
SUMMARY: Final = "4 bits a weight, levels of a 4-bit float (bitsandbytes)"
LIBRARY: Final = bitsandbytes_layers.LIBRARY

refusal = bitsandbytes_layers.refusal
takes = bitsandbytes_layers.four_bit_takes
finish = bitsandbytes_layers.finish


def config(keep: Sequence[str]) -> Any:
    """Return transformers' quantisation config."""
    return bitsandbytes_layers.four_bit_config(keep, "fp4")
