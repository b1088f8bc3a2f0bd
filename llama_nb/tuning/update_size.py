"""How large an adapter's update B·A is in each layer, and how many directions it takes.

All from the small factors: with B = Qb·Rb and Aᵀ = Qa·Ra, the singular values of B·A are those of the small
matrix Rb·Raᵀ, so the update itself (4,096 x 14,336 in a layer of an 8B) is never made.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import torch

from llama_nb.tuning.adapters import AdapterSet

_NEARLY_ALL: Final = 0.9  # of the sum of squares: how many directions hold nearly all of the update


@dataclass(frozen=True, slots=True)
class UpdateSize:
    """The update of one layer, scale included.

    Attributes
    ----------
    path
        The layer: "model.layers.3.self_attn.q_proj".
    layer
        Its number, from 0; None outside of the decoder's layers.
    kind
        The last part of the path: "q_proj".
    norm
        Frobenius norm of the update.
    relative
        `norm` over the norm of the layer's own weight; None where that is not stored as plain numbers.
    singular
        The singular values, largest first; as many as the rank.
    effective_rank
        exp of the entropy of the singular values taken as shares: 1 when one direction holds everything, the
        rank when all are equal (Roy and Vetterli, 2007). 0 for an update that is zero.
    directions
        How many singular values hold 90 % of the sum of squares.
    """

    path: str
    layer: int | None
    kind: str
    norm: float
    relative: float | None
    singular: tuple[float, ...]
    effective_rank: float
    directions: int


def update_sizes(adapters: AdapterSet, name: str) -> tuple[UpdateSize, ...]:
    """Return the size of an adapter's update in each of its layers, in their order.

    For a DoRA this is its direction part B·A; that it also sets the length of each row is not in it.

    Raises
    ------
    AdapterError
        If there is no such adapter.
    """
    return tuple(
        _measured(path, layer, layer.lora_A[key].weight, layer.lora_B[key].weight, scale)
        for path, layer, key, scale in adapters.factors(name)
    )


def singular_values(down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """Return the singular values of `up @ down` in float64, largest first.

    Parameters
    ----------
    down
        A, shape (rank, inputs).
    up
        B, shape (outputs, rank).
    """
    left = torch.linalg.qr(up.detach().double(), mode="r").R
    right = torch.linalg.qr(down.detach().double().T, mode="r").R
    return torch.linalg.svdvals(left @ right.T)


def effective_rank(values: torch.Tensor) -> float:
    """Return exp of the entropy of singular values taken as shares of their sum; 0 if all are zero."""
    total = float(values.sum())
    if total <= 0:
        return 0.0
    shares = values / total
    return math.exp(-float(torch.xlogy(shares, shares).sum()))


def _measured(path: str, layer: Any, down: torch.Tensor, up: torch.Tensor, scale: float) -> UpdateSize:
    values = singular_values(down, up) * abs(scale)
    norm = float(values.square().sum().sqrt())
    shares = values.square().cumsum(0) / max(norm**2, 1e-300)
    directions = int((shares < _NEARLY_ALL).sum()) + 1 if norm > 0 else 0
    parts = path.split(".")
    number = next((int(part) for part in parts if part.isdigit()), None)
    return UpdateSize(
        path,
        number,
        parts[-1],
        norm,
        _relative(norm, layer.get_base_layer().weight),
        tuple(float(value) for value in values),
        effective_rank(values),
        directions,
    )


def _relative(norm: float, weight: torch.Tensor) -> float | None:
    if not weight.is_floating_point() or type(weight).__name__ not in ("Parameter", "Tensor"):
        return None
    own = float(weight.detach().float().norm())
    return norm / own if own > 0 else None
