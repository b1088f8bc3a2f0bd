"""int4 by optimum-quanto: 16 even levels, with a scale and a shift for each group of up to 128 weights."""

from collections.abc import Sequence
from typing import Any, Final

from llama_nb.loading.quantize import quanto_layers

NAME: Final = "int4-quanto"
SUMMARY: Final = "4 bits a weight in groups of 128 (optimum-quanto)"
LIBRARY: Final = quanto_layers.LIBRARY

refusal = quanto_layers.refusal
takes = quanto_layers.takes
finish = quanto_layers.finish


def config(keep: Sequence[str]) -> Any:
    """Return transformers' quantisation config."""
    return quanto_layers.config(keep, "int4")
