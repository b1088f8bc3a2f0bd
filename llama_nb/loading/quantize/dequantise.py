"""A quantised layer's weights as floats: what its product computes with, whatever library holds them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def dequantised(layer: "torch.nn.Module") -> "torch.Tensor | None":
    """Return the weights of a quantised linear layer, shape (out, in); None for a layer of another kind."""
    weight: Any = getattr(layer, "weight", None)
    kind = type(weight).__name__
    if kind == "Params4bit":
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(weight.data, weight.quant_state)
    if kind == "Int8Params":
        from bitsandbytes.functional import int8_vectorwise_dequant

        # The first forward moves the codes and the scales into the layer's state.
        state: Any = layer.state
        held = state if state.CB is not None else weight
        return int8_vectorwise_dequant(held.CB, held.SCB)
    # torchao's and quanto's tensors hold plain ones inside.
    if hasattr(type(weight), "__tensor_flatten__") and hasattr(weight, "dequantize"):
        return weight.dequantize()
    return None
