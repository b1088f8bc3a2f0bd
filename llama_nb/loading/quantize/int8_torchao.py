"""int8 by torchao: 8 bits a weight, one scale and one zero point a row; activations are not rounded."""

from collections.abc import Sequence
from typing import Any, Final

from llama_nb.loading.quantize import torchao_layers

NAME: Final = "int8-torchao"
SUMMARY: Final = "8 bits a weight (torchao)"
LIBRARY: Final = torchao_layers.LIBRARY
_DEVICES: Final = ("cpu", "cuda")

finish = torchao_layers.finish


def refusal(device: str) -> str | None:
    """Return why it does not run on `device`."""
    kind = device.partition(":")[0]
    return None if kind in _DEVICES else f"quant {NAME} runs on {' and '.join(_DEVICES)}, not on {device}."


def takes(out_features: int, in_features: int) -> bool:
    """Whether a layer of this shape can be stored in 8 bits: any can."""
    del out_features, in_features
    return True


def config(keep: Sequence[str]) -> Any:
    """Return transformers' quantisation config."""
    from torchao.quantization import Int8WeightOnlyConfig

    return torchao_layers.config(keep, Int8WeightOnlyConfig())
