"""What the methods of optimum-quanto share: where they run, which widths they take, and their config.

quanto keeps a layer's weights as integers with one scale a row (8 bits) or a scale and a shift for each group
of up to 128 weights (4 bits), in the model's dtype, and turns them into floats for each matrix product.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

LIBRARY: Final = "optimum.quanto"
_DEVICES: Final = ("cpu", "cuda", "mps")
# quanto 0.2.7 hands int8 layers in bfloat16 to torch's _weight_int8pack_mm whenever the width is a multiple
# of 4; the kernel takes 16 at a time and reads past the weights otherwise: a width of 172 ends the process
# with a segmentation fault. In 4 bits a width that no group of 32, 64, 96 or 128 divides gets a single scale
# a row, which costs accuracy. All Llamas of Meta have multiples of 64.
WIDTH: Final = 32


def refusal(device: str) -> str | None:
    """Return why optimum-quanto does not run on `device`."""
    kind = device.partition(":")[0]
    return None if kind in _DEVICES else f"optimum-quanto runs on {', '.join(_DEVICES)}, not on {device}."


def takes(out_features: int, in_features: int) -> bool:
    """Whether a layer of this shape is safe to quantise."""
    del out_features
    return in_features % WIDTH == 0


def config(keep: Sequence[str], kind: str) -> Any:
    """Return transformers' config for weights of `kind` "int4" or "int8"; activations stay as they are."""
    from transformers import QuantoConfig

    return QuantoConfig(weights=kind, modules_to_not_convert=list(keep))


def finish(module: "PreTrainedModel") -> None:
    """Let 4-bit layers run in inference mode, where quanto's own forward raises.

    It transposes the packed weights ("Cannot set version_counter for inference tensor", quanto 0.2.7).
    """
    from optimum.quanto import QLinear

    for layer in module.modules():
        if isinstance(layer, QLinear) and layer.weight_qtype.bits < 8:
            layer.forward = functools.partial(_forward, layer.forward)


def _forward(forward: Any, values: "torch.Tensor") -> "torch.Tensor":
    """Run quanto's forward on `values`, shape (..., in), outside of inference mode; no gradients are kept."""
    import torch

    if not torch.is_inference_mode_enabled():
        found: torch.Tensor = forward(values)
        return found
    with torch.inference_mode(False), torch.no_grad():
        # A copy, since an inference tensor cannot be seen from another side outside of its mode.
        return forward(values.clone())
