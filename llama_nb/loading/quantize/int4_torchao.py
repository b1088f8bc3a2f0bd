"""int4 by torchao: 16 levels, a scale and a zero point for each group of 128, for torch's own CUDA kernel.

torchao 0.18 has no kernel for it on a CPU, where it is refused. Written after torchao's sources and not run
on a GPU here.
"""

from collections.abc import Sequence
from typing import Any, Final

from llama_nb.loading.quantize import torchao_layers

NAME: Final = "int4-torchao"
SUMMARY: Final = "4 bits a weight in groups of 128 (torchao, GPU only)"
LIBRARY: Final = torchao_layers.LIBRARY
_GROUP: Final = 128
_ROWS: Final = 8  # output rows that the kernel computes together
_AMPERE: Final = (8, 0)  # the compute capability that the kernel asks for

finish = torchao_layers.finish


def refusal(device: str) -> str | None:
    """Return why it does not run on `device`."""
    if not device.startswith("cuda"):
        return f"quant {NAME} has kernels for CUDA only, none for {device}."
    import torch

    if not torch.cuda.is_available():
        return f"quant {NAME} needs a CUDA GPU; torch finds none here."
    capability = torch.cuda.get_device_capability(device)
    if capability >= _AMPERE:
        return None
    return f"quant {NAME} needs an Ampere GPU or newer (8.0); this one has {capability[0]}.{capability[1]}."


def takes(out_features: int, in_features: int) -> bool:
    """Whether the kernel takes a layer of this shape."""
    return in_features % _GROUP == 0 and out_features % _ROWS == 0


def config(keep: Sequence[str]) -> Any:
    """Return transformers' quantisation config."""
    from torchao.quantization import Int4WeightOnlyConfig

    # The default layout needs one more library; this one is torch's own.
    return torchao_layers.config(
        keep, Int4WeightOnlyConfig(group_size=_GROUP, int4_packing_format="tile_packed_to_4d")
    )
