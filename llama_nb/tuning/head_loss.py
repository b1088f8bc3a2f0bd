"""Cross entropy through a language model's head, a slice of tokens at a time, without keeping their logits.

With 128,256 tokens in the vocabulary the logits are the largest tensor of a step by far. Where the head is
frozen its gradient is wanted with regard to the hidden states only, so the forward pass computes it at once,
slice by slice, and the logits are gone before the next slice. Knows a head; knows nothing of decoders.
"""

from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional as F

from llama_nb.tuning.wide_linear import slow_in_half_precision

# Logits that are alive at once: 64 MiB in float32, and the half-precision ones beside them.
_SLICE: Final = 2**24
_PIECE: Final = 16_384  # rows of the head that are widened at once


def summed_loss(
    hidden: torch.Tensor, targets: torch.Tensor, head: nn.Module, cap: float | None = None
) -> torch.Tensor:
    """Return the sum of the cross entropies of `targets`, computed in float32.

    Parameters
    ----------
    hidden
        What the decoder leaves at the places that predict, shape (N, hidden).
    targets
        The tokens that come, shape (N,).
    head
        Makes logits of hidden states. A plain linear layer without gradients takes the fast way.
    cap
        Logits are capped at cap * tanh(logits / cap) where a model does so ("final_logit_softcapping").
    """
    if cap is None and _plain_and_frozen(head):
        total: torch.Tensor = _FrozenHead.apply(hidden, targets, head.weight)
        return total
    sums = [
        F.cross_entropy(_capped(head(part), cap).float(), wanted, reduction="sum")
        for part, wanted in _slices(hidden, targets, head)
    ]
    return torch.stack(sums).sum() if sums else hidden.sum() * 0.0


class _FrozenHead(torch.autograd.Function):
    """Sum of cross entropies of hidden @ weight.T, with the gradient for `hidden` made on the way."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        wanted = hidden.requires_grad
        gradient = torch.empty_like(hidden) if wanted else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        rows = max(1, _SLICE // weight.shape[0])
        for start in range(0, hidden.shape[0], rows):
            part = slice(start, start + rows)
            logits = _logits(hidden[part], weight)
            place = targets[part, None]
            top = logits.amax(-1, keepdim=True).float()
            shifted = torch.sub(logits, top)  # float32, whatever the logits are in
            del logits
            chosen = shifted.gather(-1, place)
            masses = shifted.exp_()
            mass = masses.sum(-1, keepdim=True)
            total += (mass.log() - chosen).sum()
            if gradient is not None:
                # softmax - onehot, times the sum of its row: the division waits for the short side.
                masses.scatter_add_(-1, place, -mass)
                gradient[part] = _back(masses, weight) / mass
        ctx.gradient = gradient
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, None, None]:
        gradient, ctx.gradient = ctx.gradient, None
        return (gradient * grads[0] if gradient is not None else None), None, None


def _logits(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return hidden @ weight.T, shape (N, V)."""
    if not _in_pieces(weight):
        return hidden @ weight.T
    return torch.cat([hidden.float() @ piece.float().T for piece in weight.split(_PIECE)], dim=-1)


def _back(masses: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return masses @ weight, shape (N, hidden)."""
    if not _in_pieces(weight):
        return masses.to(weight.dtype) @ weight
    pieces = zip(masses.split(_PIECE, dim=-1), weight.split(_PIECE), strict=True)
    total = torch.zeros(masses.shape[0], weight.shape[1])
    for mass, piece in pieces:
        total.addmm_(mass, piece.float())
    return total


def _in_pieces(weight: torch.Tensor) -> bool:
    """Whether the weight is widened piece by piece, since this CPU is slow with what it is in."""
    return weight.device.type == "cpu" and slow_in_half_precision(weight.dtype)


def _plain_and_frozen(head: nn.Module) -> bool:
    """Whether the head is a product with a matrix that stays, and nobody hooked into it."""
    return (
        type(head) is nn.Linear
        and head.bias is None
        and not head.weight.requires_grad
        and not (head._forward_hooks or head._forward_pre_hooks)
    )


def _slices(
    hidden: torch.Tensor, targets: torch.Tensor, head: Any
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    rows = max(1, _SLICE // int(head.weight.shape[0]))
    return list(zip(hidden.split(rows), targets.split(rows), strict=True)) if len(targets) else []


def _capped(logits: torch.Tensor, cap: float | None) -> torch.Tensor:
    return logits if cap is None else cap * torch.tanh(logits / cap)
