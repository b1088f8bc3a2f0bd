"""nf4 by bitsandbytes with its scales in 8 bits: 0.37 bits a weight less (https://arxiv.org/abs/2305.14314)."""

from collections.abc import Sequence
from typing import Any, Final

from llama_nb.loading.quantize import bitsandbytes_layers

NAME: Final = "nf4-double"
SUMMARY: Final = "nf4 with quantised scales (bitsandbytes)"
LIBRARY: Final = bitsandbytes_layers.LIBRARY

refusal = bitsandbytes_layers.refusal
takes = bitsandbytes_layers.four_bit_takes
finish = bitsandbytes_layers.finish


def config(keep: Sequence[str]) -> Any:
    """Return transformers' quantisation config."""
    return bitsandbytes_layers.four_bit_config(keep, "nf4", nested=True)
