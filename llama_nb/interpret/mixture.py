"""What kind of mixture of experts a module is, as a value that outlives it. Knows no tokens."""

from dataclasses import dataclass
from typing import Any

from llama_nb.core.errors import UnsupportedError
from llama_nb.engines.routers import Gate, find_routers
from llama_nb.interpret.expert_sizes import ExpertSizes, sizes_of


@dataclass(frozen=True, slots=True)
class Mixture:
    """The experts of a model.

    Attributes
    ----------
    architecture
        The class of the model: "Llama4ForCausalLM".
    layers
        The MoE layers, counted from 0 among all.
    experts, top_k
        How many experts each of them has, and how many the model itself chooses.
    gate
        "sigmoid" or "softmax".
    shared
        Whether there is an expert that every token goes through besides.
    sizes
        What it weighs.
    """

    architecture: str
    layers: tuple[int, ...]
    experts: int
    top_k: int
    gate: Gate
    shared: bool
    sizes: ExpertSizes


def mixture_of(module: Any) -> Mixture | None:
    """Return what kind of mixture a model is; None of a dense one.

    Raises
    ------
    UnsupportedError
        If its routers are not known, or its MoE layers differ from each other.
    """
    routers = find_routers(module)
    if not routers:
        return None
    if len({(router.experts, router.top_k) for router in routers}) > 1:
        raise UnsupportedError(
            f"The MoE layers of a {type(module).__name__} differ in how many experts they have or choose."
        )
    return Mixture(
        architecture=type(module).__name__,
        layers=tuple(router.layer for router in routers),
        experts=routers[0].experts,
        top_k=routers[0].top_k,
        gate=routers[0].gate,
        shared=any(router.shared is not None for router in routers),
        sizes=sizes_of(module, routers),
    )
