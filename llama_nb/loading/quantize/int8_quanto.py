"""int8 by optimum-quanto: 8 bits a weight and one scale a row; activations are not rounded."""

from collections.abc import Sequence
from typing import Any, Final

from llama_nb.loading.quantize import quanto_layers

NAME: Final = "int8-quanto"
SUMMARY: Final = "8 bits a weight (optimum-quanto)"
LIBRARY: Final = quanto_layers.LIBRARY

refusal = quanto_layers.refusal
takes = quanto_layers.takes
finish = quanto_layers.finish


def config(keep: Sequence[str]) -> Any:
    """Return transformers' quantisation config."""
    return quanto_layers.config(keep, "int8")
