"""Frozen layers of a half-precision model, multiplied in float32 where the CPU is slow in half precision.

On CPUs without instructions for bfloat16 torch takes a loop without vectors for what goes back through such a
layer: 0.3 to 0.8 GFLOP/s against 40 to 58 in float32, on one core of an AVX2 machine with 256 tokens through
2048 x 2048 and 1536 x 512. Widening a layer's weights for one product costs little beside that, and rounds
less. The same holds for quantised layers, which are made half-precision matrices first.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional as F

from llama_nb.loading.quantize.dequantise import dequantised

_HALF: Final = (torch.bfloat16, torch.float16)


class WideLinears:
    """The frozen linear layers of a half-precision module, which compute in float32 for a block.

    What comes in and goes out is in half precision as ever. In inference mode, as chats between two
    micro-batches are answered, they compute as the module always does.
    """

    def __init__(self, module: Any) -> None:
        self._layers: list[Any] = []
        if module.device.type == "cpu" and slow_in_half_precision(module.dtype):
            self._layers = [part for part in module.modules() if _frozen(part)]

    def __enter__(self) -> None:
        for layer in self._layers:
            layer.forward = _Wide(layer, layer.forward)

    def __exit__(self, *raised: object) -> None:
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

    def __init__(self, layer: Any, usual: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._layer = layer
        self._usual = usual

    def __call__(self, given: torch.Tensor) -> torch.Tensor:
        if torch.is_inference_mode_enabled():
            return self._usual(given)
        result: torch.Tensor = _WideProduct.apply(given, self._layer)
        return result


class _WideProduct(torch.autograd.Function):
    """F.linear with a frozen weight, in float32 in both directions."""

    @staticmethod
    def forward(ctx: Any, given: torch.Tensor, layer: Any) -> torch.Tensor:
        ctx.layer = layer  # and not its weight, which is taken apart in between where a base is sharded
        bias = None if layer.bias is None else layer.bias.float()
        return F.linear(given.float(), _weight(layer), bias).to(given.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (back,) = grads
        return (back.float() @ _weight(ctx.layer)).to(back.dtype), None


def _weight(layer: Any) -> torch.Tensor:
    """Return the weights of a layer in float32, shape (out, in)."""
    dense = dequantised(layer)
    return (layer.weight if dense is None else dense).detach().float()


def _frozen(part: Any) -> bool:
    """Whether a module is a linear layer whose weights stay, in half precision or quantised."""
    if not isinstance(part, nn.Linear) or part.weight.requires_grad or "forward" in vars(part):
        return False
    return part.weight.dtype in _HALF or type(part).__module__.startswith("bitsandbytes.")
