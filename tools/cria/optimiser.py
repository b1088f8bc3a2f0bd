"""Muon for the matrices of the layers, AdamW for the rest, on one flat vector; and the schedule.

Muon (momentum made orthogonal by Newton-Schulz steps, K. Jordan 2024) learns in fewer tokens, which is
what a training on a few processor cores is short of.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

BETAS, EPS, DECAY = (0.9, 0.98), 1e-9, 0.02
MOMENTUM = 0.95


@dataclass(frozen=True)
class Rates:
    """Peak learning rates."""

    matrices: float = 0.02
    others: float = 0.004


def schedule(step: int, knots: list[list[float]]) -> float:
    """Return the factor on the rates, which runs straight from knot to knot; each knot is [step, factor].

    The factor of a step is that of its end, so that a warm-up from zero begins above zero.
    """
    for (left, low), (right, high) in pairwise(knots):
        if step + 1 <= right:
            return low + (high - low) * (step + 1 - left) / (right - left)
    return knots[-1][1]


def plain_knots(steps: int, warm_up: int, decay_share: float) -> list[list[float]]:
    """Return a warm-up, a plateau and a linear decay over the last share of the steps."""
    decay = max(1, round(steps * decay_share))
    warm = min(warm_up, max(1, steps - decay - 1))
    return [[0, 0.0], [warm, 1.0], [max(warm + 1, steps - decay), 1.0], [max(warm + 2, steps), 0.0]]


def decay_now(knots: list[list[float]], step: int, steps: int) -> list[list[float]]:
    """Return the knots with a decay to zero that begins at ``step`` and takes ``steps``."""
    before = [knot for knot in knots if knot[0] < step]
    return [*before, [step, schedule(step - 1, knots)], [step + steps, 0.0]]


def orthogonal(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Return the matrices [N, rows, columns] with singular values near one."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


class Optimiser:
    """Changes a flat vector of parameters in place.

    Parameters
    ----------
    model : the model whose parameters the vector holds, for names and shapes
    flat : the vector
    rates : peak learning rates
    """

    def __init__(self, model: nn.Module, flat: torch.Tensor, rates: Rates) -> None:
        self.flat, self.rates = flat, rates
        self.groups: dict[tuple[int, int, float], list[int]] = defaultdict(list)
        other = torch.ones(flat.numel(), dtype=torch.bool)
        at = 0
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 and ".layers." in name and "router" not in name:
                rows, columns = parameter.shape[-2:]
                # Experts come stacked, and hold their matrices as [in, out].
                ratio = max(1.0, columns / rows if parameter.ndim == 3 else rows / columns)
                places = range(at, at + parameter.numel(), rows * columns)
                self.groups[(rows, columns, ratio)] += places
                other[at : at + parameter.numel()] = False
            at += parameter.numel()
        self.other = other.nonzero().squeeze(1)
        self.state = {
            "momentum": torch.zeros_like(flat),
            "first": torch.zeros(len(self.other)),
            "second": torch.zeros(len(self.other)),
        }

    def step(self, gradient: torch.Tensor, step: int, factor: float) -> None:
        """Apply one step; ``step`` counts from 0."""
        self._muon(gradient, factor)
        self._adam(gradient[self.other], step, factor)

    def _adam(self, gradient: torch.Tensor, step: int, factor: float) -> None:
        first, second = self.state["first"], self.state["second"]
        first.lerp_(gradient, 1 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        scale = (1 - BETAS[1] ** (step + 1)) ** 0.5 / (1 - BETAS[0] ** (step + 1))
        rate = self.rates.others * factor
        self.flat[self.other] -= rate * scale * first / (second.sqrt() + EPS)

    def _muon(self, gradient: torch.Tensor, factor: float) -> None:
        momentum = self.state["momentum"]
        momentum.lerp_(gradient, 1 - MOMENTUM)
        for (rows, columns, ratio), places in self.groups.items():
            size = rows * columns
            stack = torch.stack(
                [torch.lerp(gradient[at : at + size], momentum[at : at + size], MOMENTUM) for at in places]
            )
            update = orthogonal(stack.view(-1, rows, columns)).reshape(len(places), size)
            rate = self.rates.matrices * factor
            for at, change in zip(places, update, strict=True):
                view = self.flat[at : at + size]
                view.mul_(1 - rate * DECAY).sub_(change, alpha=rate * ratio**0.5)
