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


def token_losses(
    hidden: torch.Tensor, targets: torch.Tensor, head: Any, cap: float | None = None
) -> torch.Tensor:
    """Return the cross entropy of each target, computed in float32, shape (N,).

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
        losses: torch.Tensor = _FrozenHead.apply(hidden, targets, head.weight)
        return losses
    if not len(targets):
        return hidden.sum(-1).float()
    rows = _rows(int(getattr(head, "out_features", 0) or head.weight.shape[0]))
    parts = zip(hidden.split(rows), targets.split(rows), strict=True)
    return torch.cat(
        [
            F.cross_entropy(_capped(head(part), cap).float(), wanted, reduction="none")
            for part, wanted in parts
        ]
    )


class _FrozenHead(torch.autograd.Function):
    """Cross entropies of hidden @ weight.T, with their gradients for `hidden` made on the way."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        gradient = torch.empty_like(hidden) if hidden.requires_grad else None
        losses = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        rows = _rows(weight.shape[0])
        for start in range(0, len(targets), rows):
            part = slice(start, start + rows)
            place = targets[part, None]
            logits = _logits(hidden[part], weight)
            shifted = torch.sub(logits, logits.amax(-1, keepdim=True).float())  # float32, whatever they are
            del logits
            chosen = shifted.gather(-1, place)
            masses = shifted.exp_()
            mass = masses.sum(-1, keepdim=True)
            losses[part] = (mass.log() - chosen).squeeze(-1)
            if gradient is not None:
                # softmax - onehot, times the sum of its row: the division waits for the short side.
                masses.scatter_add_(-1, place, -mass)
                gradient[part] = _back(masses, weight) / mass
        ctx.gradient = gradient
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, None, None]:
        gradient, ctx.gradient = ctx.gradient, None
        return (None if gradient is None else gradient.mul_(grads[0][:, None])), None, None


def _logits(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return hidden @ weight.T, shape (N, V)."""
    if not _in_pieces(weight):
        return hidden @ weight.T
    return torch.cat([hidden.float() @ piece.float().T for piece in weight.split(_PIECE)], dim=-1)


def _back(masses: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return masses @ weight, shape (N, hidden)."""
    if not _in_pieces(weight):
        return masses.to(weight.dtype) @ weight
    total = torch.zeros(masses.shape[0], weight.shape[1])
    for mass, piece in zip(masses.split(_PIECE, dim=-1), weight.split(_PIECE), strict=True):
        total.addmm_(mass, piece.float())
    return total


def _in_pieces(weight: torch.Tensor) -> bool:
    """Whether the weight is widened piece by piece, since this CPU is slow with what it is in."""
    return weight.device.type == "cpu" and slow_in_half_precision(weight.dtype)


def _plain_and_frozen(head: Any) -> bool:
    """Whether the head is a product with a matrix that stays, and nobody (accelerate too) hooked into it."""
    return (
        type(head) is nn.Linear
        and head.bias is None
        and not head.weight.requires_grad
        and not (head._forward_hooks or head._forward_pre_hooks or hasattr(head, "_hf_hook"))
    )


def _rows(vocabulary: int) -> int:
    return max(1, _SLICE // vocabulary)


def _capped(logits: torch.Tensor, cap: float | None) -> torch.Tensor:
    return logits if cap is None else cap * torch.tanh(logits / cap)
