"""Frozen half-precision layers, multiplied in float32 on CPUs that have no instructions for half precision.

There torch takes a loop without any vectors for what goes back through a bfloat16 layer: 0.3 GFLOP/s against
40 to 50 in float32 on one core of an AVX2 machine, measured with 256 tokens through 2048 x 2048. Widening a
layer's weights for the length of one product costs little beside that, and rounds less.
"""

from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional as F

_HALF: Final = (torch.bfloat16, torch.float16)


class WideLinears:
    """The frozen half-precision linear layers of a module, which compute in float32 from `put` to `take`.

    What comes in and goes out is in half precision as ever. Without gradients, as in chats between two
    micro-batches, they compute as the module always does.
    """

    def __init__(self, module: Any) -> None:
        self._layers: list[Any] = []
        if module.device.type == "cpu" and slow_in_half_precision(module.dtype):
            self._layers = [part for part in module.modules() if _frozen_half(part)]

    def put(self) -> None:
        """Take over these layers."""
        for layer in self._layers:
            layer.forward = _Wide(layer)

    def take(self) -> None:
        """Give them back."""
        for layer in self._layers:
            vars(layer).pop("forward", None)


def slow_in_half_precision(dtype: torch.dtype) -> bool:
    """Whether this CPU multiplies matrices of `dtype` without instructions for it."""
    if dtype not in _HALF:
        return False
    ready = torch.ops.mkldnn._is_mkldnn_bf16_supported
    return not (ready() if dtype == torch.bfloat16 else torch.ops.mkldnn._is_mkldnn_fp16_supported())


class _Wide:
    """What one layer computes instead of its own forward."""

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer

    def __call__(self, given: torch.Tensor) -> torch.Tensor:
        layer = self._layer
        if not (torch.is_grad_enabled() and given.requires_grad):
            return F.linear(given, layer.weight, layer.bias)
        result: torch.Tensor = _WideProduct.apply(given, layer)
        return result


class _WideProduct(torch.autograd.Function):
    """F.linear with a frozen weight, in float32 in both directions."""

    @staticmethod
    def forward(ctx: Any, given: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
        ctx.layer = layer  # and not its weight, which is taken apart in between where a base is sharded
        bias = None if layer.bias is None else layer.bias.float()
        return F.linear(given.float(), layer.weight.float(), bias).to(given.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (back,) = grads
        return (back.float() @ ctx.layer.weight.float()).to(back.dtype), None


def _frozen_half(part: Any) -> bool:
    return (
        type(part) is nn.Linear
        and part.weight.dtype in _HALF
        and not part.weight.requires_grad
        and "forward" not in vars(part)
    )
