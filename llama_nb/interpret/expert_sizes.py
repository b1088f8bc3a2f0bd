"""What a mixture of experts weighs: all of it, one expert, and what one token reads.

Counts the tensors of a loaded module, quantised ones too, with the routers that were found in it. Knows no
routing: which experts a text takes is `interpret.routing`'s, what that costs is `interpret.routing_cost`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llama_nb.interpret.anatomy import Tensor, tensors_by_module

if TYPE_CHECKING:
    from llama_nb.engines.routers import Router


@dataclass(frozen=True, slots=True)
class ExpertSizes:
    """The sizes of a mixture of experts; whole numbers, so that they can be stored with a trace.

    Attributes
    ----------
    layers, experts, top_k
        How many layers have experts, how many routed experts each of them has, and how many of these a token
        passes through.
    expert_parameters, expert_bytes
        Of one routed expert in one layer.
    other_parameters, other_bytes
        Of everything that each token passes through whatever its router says: attention, dense feed-forward,
        shared experts, routers, norms, the head. The parameters include the embedding, as an "active" figure
        on a model card does; the bytes do not, unless it is the head too, since a token reads one row of it.
    embedding_bytes
        Of the embedding, where it is not the head.
    """

    layers: int
    experts: int
    top_k: int
    expert_parameters: int
    expert_bytes: int
    other_parameters: int
    other_bytes: int
    embedding_bytes: int

    @property
    def total_parameters(self) -> int:
        """Distinct parameters of the model."""
        return self.other_parameters + self.layers * self.experts * self.expert_parameters

    @property
    def active_parameters(self) -> int:
        """Parameters that one token passes through, embedding and head included."""
        return self.other_parameters + self.layers * self.top_k * self.expert_parameters

    @property
    def routed_bytes(self) -> int:
        """Bytes of all routed experts of all layers."""
        return self.layers * self.experts * self.expert_bytes

    @property
    def total_bytes(self) -> int:
        """Bytes of the model in memory: all experts lie there, whichever a token takes."""
        return self.other_bytes + self.embedding_bytes + self.routed_bytes

    @property
    def token_bytes(self) -> int:
        """Bytes of weights that decoding one token of one sequence reads."""
        return self.other_bytes + self.layers * self.top_k * self.expert_bytes


def sizes_of(module: Any, routers: Sequence["Router"]) -> ExpertSizes:
    """Return the sizes of a mixture of experts.

    Parameters
    ----------
    module
        A causal language model of transformers, or its decoder.
    routers
        What `engines.routers.find_routers` found in it: at least one.

    Raises
    ------
    ValueError
        If there is no router: a dense model has no experts to weigh.
    """
    if not routers:
        raise ValueError("a model without routers has no experts to weigh")
    tensors = tensors_by_module(module)
    roots = {id(router.block.experts) for router in routers}
    routed = _below([path for path, part in module.named_modules() if id(part) in roots], tensors)
    everything = [tensor for own in tensors.values() for tensor in own]
    count = len(routers) * routers[0].experts
    lookup = _embedding_bytes(module, tensors)
    return ExpertSizes(
        layers=len(routers),
        experts=routers[0].experts,
        top_k=routers[0].top_k,
        expert_parameters=_parameters(routed) // count,
        expert_bytes=_bytes(routed) // count,
        other_parameters=_parameters(everything) - _parameters(routed),
        other_bytes=_bytes(everything) - _bytes(routed) - lookup,
        embedding_bytes=lookup,
    )


def _below(roots: Sequence[str], tensors: Mapping[str, list[Tensor]]) -> list[Tensor]:
    """Return the tensors of the modules at `roots` and inside of them."""
    return [
        tensor
        for path, own in tensors.items()
        if any(path == root or path.startswith(f"{root}.") for root in roots)
        for tensor in own
    ]


def _embedding_bytes(module: Any, tensors: Mapping[str, list[Tensor]]) -> int:
    """Return the bytes of an embedding of which a token reads one row only: 0 where it is the head too."""
    paths = {id(part): path for path, part in module.named_modules()}
    embedding, head = module.get_input_embeddings(), module.get_output_embeddings()
    if head is not None and any(tensor.tied for tensor in tensors[paths[id(head)]]):
        return 0
    return _bytes(tensors[paths[id(embedding)]])


def _parameters(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.parameters for tensor in tensors)


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.bytes for tensor in tensors)
