"""int4 by optimum-quanto: 16 even levels, with a scale and a shift for each group of up to 128 weights."""

from collections.abc import Sequence
from typing import Any, Final

from llama_nb.loading.quantize import quanto_layers

NAME: Final = "int4-quanto"
SUMMARY: Final = "4 bits a weight in groups of 128 (optimum-quanto)"
LIBRARY: Final = quanto_layers.LIBRARY

refusal = quanto_layers.refusal
finish = quanto_layers.finish
# torch's _convert_weight_to_int4pack_cpu, which quanto calls for bfloat16, raises for other heights.
_HEIGHT: Final = 16


def takes(out_features: int, in_features: int) -> bool:
    """Whether a layer of this shape can be stored in 4 bits."""
    return out_features % _HEIGHT == 0 and quanto_layers.takes(out_features, in_features)


def config(keep: Sequence[str]) -> Any:
    """Return transformers' quantisation config."""
    return quanto_layers.config(keep, "int4")
