"""nf4 by bitsandbytes: 16 levels as a normal distribution has them (https://arxiv.org/abs/2305.14314)."""

from collections.abc import Sequence
from typing import Any, Final

from llama_nb.loading.quantize import bitsandbytes_layers

NAME: Final = "nf4"
SUMMARY: Final = "4 bits a weight, levels of a normal distribution (bitsandbytes)"
LIBRARY: Final = bitsandbytes_layers.LIBRARY

refusal = bitsandbytes_layers.refusal
takes = bitsandbytes_layers.four_bit_takes
finish = bitsandbytes_layers.finish


def config(keep: Sequence[str]) -> Any:
    """Return transformers' quantisation config."""
    return bitsandbytes_layers.four_bit_config(keep, "nf4")
