"""How large and how alike the experts of a loaded model are, by their weights and by their router's rows.

Knows modules; knows no texts. The weights are read in pieces, so little more than they are needs to fit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from llama_nb.core.errors import Stopped, UnsupportedError
from llama_nb.engines.routers import Router, expert_weights, find_routers

Floats = npt.NDArray[np.float64]

_PIECE: Final = 1 << 23  # values at once: 34 MB


@dataclass(frozen=True, eq=False)
class ExpertWeights:
    """Norms and similarities of the experts, layer by layer.

    A cosine of weights near 0 does not say that two experts do different things: the same hidden units in
    another order give it, too. One near 1 says that they do the same.

    Attributes
    ----------
    layers
        The MoE layers, by their index in the model.
    norms
        The Frobenius norm of all matrices of an expert, (L, E).
    cosine
        Of the experts' weights, flattened, (L, E, E); biases are left out.
    router_cosine
        Of the rows of the router's weight, (L, E, E): how much alike the tokens are that two experts want.
    """

    layers: tuple[int, ...]
    norms: Floats
    cosine: Floats
    router_cosine: Floats

    def __repr__(self) -> str:
        layers = ", ".join(f"L{layer}" for layer in self.layers)
        return f"<weights of {self.norms.shape[1]} experts in {layers}, compared>"


def compare_experts(module: Any, *, stopped: Callable[[], str | None] = lambda: None) -> ExpertWeights:
    """Return norms and similarities of all experts of a model.

    Parameters
    ----------
    module
        A causal language model of transformers with MoE layers.
    stopped
        Asked between pieces.

    Raises
    ------
    UnsupportedError
        If it has no experts, or their weights are quantised or not in memory.
    Stopped
        If `stopped` says so.
    """
    routers = find_routers(module)
    if not routers:
        raise UnsupportedError("This model has no experts: every token goes through all of it.")
    found = [_compare(router, stopped) for router in routers]
    norms, cosine, router_cosine = (np.stack(each) for each in zip(*found, strict=True))
    return ExpertWeights(tuple(router.layer for router in routers), norms, cosine, router_cosine)


def _compare(router: Router, stopped: Callable[[], str | None]) -> tuple[Floats, Floats, Floats]:
    kinds = zip(*expert_weights(router), strict=True)
    products = sum(
        (_products([matrix.reshape(-1) for matrix in kind], stopped) for kind in kinds),
        start=np.zeros((router.experts, router.experts)),
    )
    rows = _products(list(router.module.weight), stopped)
    return np.sqrt(np.diag(products)), _cosine(products), _cosine(rows)


@torch.no_grad()
def _products(vectors: list[torch.Tensor], stopped: Callable[[], str | None]) -> Floats:
    """Return the inner products of vectors of one length, (E, E), summed in float64."""
    if any(vector.is_meta for vector in vectors):
        raise UnsupportedError("The weights of the experts are not in memory: part of the model is on disk.")
    found = np.zeros((len(vectors), len(vectors)))
    length = max(1, _PIECE // len(vectors))
    for start in range(0, len(vectors[0]), length):
        if (reason := stopped()) is not None:
            raise Stopped(f"Comparing the experts was {reason}.")
        piece = torch.stack([vector[start : start + length] for vector in vectors]).float()
        found += (piece @ piece.T).double().cpu().numpy()
    return found


def _cosine(products: Floats) -> Floats:
    """Return cosines from inner products; those of a vector of zeros are 0."""
    norms = np.sqrt(np.diag(products))
    outer = np.outer(norms, norms)
    found = np.divide(products, outer, out=np.zeros_like(products), where=outer > 0)
    return np.clip(found, -1.0, 1.0)
