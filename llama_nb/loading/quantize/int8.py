"""int8 by bitsandbytes: 8 bits a weight and one scale a row; activations are rounded to 8 bits as well."""

from typing import Final

from llama_nb.loading.quantize import bitsandbytes_layers

NAME: Final = "int8"
SUMMARY: Final = "8 bits a weight (bitsandbytes LLM.int8)"
LIBRARY: Final = bitsandbytes_layers.LIBRARY

refusal = bitsandbytes_layers.refusal
config = bitsandbytes_layers.eight_bit_config
finish = bitsandbytes_layers.finish


def takes(out_features: int, in_features: int) -> bool:
    """Whether a layer of this shape can be stored in 8 bits: any can."""
    del out_features, in_features
    return True
